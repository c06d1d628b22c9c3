"""``run_server`` in a process of its own, which can be sent signals and be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

from sfjobs.platform import Platform

SCRIPT = """
import json, sys
from pathlib import Path
from sfjobs.platform import PlatformSettings, run_server
folder, settings, grace, tls = sys.argv[1:]
run_server(
    settings=PlatformSettings(data_dir=Path(folder), **json.loads(settings)),
    port=0,
    grace=float(grace),
    tls_certificate=Path(tls) if tls else None,
    tls_key=Path(tls) if tls else None,
    on_ready=lambda info: print(info.url, info.api_key, flush=True),
    on_stopping=lambda running: print("stopping", running, flush=True),
)
print("stopped cleanly", flush=True)
"""


class ServerProcess:
    """A platform on ``folder``; ``settings`` are those of ``PlatformSettings``, ``runner`` is a function in ``runners``."""

    def __init__(
        self,
        folder: Path,
        *,
        runner: str | None = None,
        grace: float = 10.0,
        tls: Path | None = None,
        **settings: object,
    ) -> None:
        self.folder = folder
        if runner is not None:
            settings["runner"] = f"tests.platform.runners:{runner}"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                SCRIPT,
                str(folder),
                json.dumps(settings),
                str(grace),
                str(tls or ""),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        weakref.finalize(self, self.process.kill)  # for a test that fails before it stops the server

    def ready(self) -> Platform:
        """Wait until it listens."""
        url, key = self.line().split()
        host, port = url.partition("://")[2].split(":")
        return Platform(url=url, host=host, port=int(port), data_dir=self.folder, workers=1, api_key=key)

    def line(self) -> str:
        """Return the next line of its output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()
        return line.rstrip("\n")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Return its exit code, the rest of its output, and its error output."""
        out, error = self.process.communicate(timeout=60)
        return self.process.returncode, out, error

    def stop(self, number: int) -> tuple[int, str, str]:
        self.signal(number)
        return self.end()
