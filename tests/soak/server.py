"""The platform of a soak: ``python -m tests.soak.server FOLDER WORKERS``. Tells its address, and for each line its tasks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path

from sfjobs.platform import Platform, PlatformSettings, run_server

from .children import keep_log, tell
from .programs import RUNNER


def main() -> None:
    folder = Path(sys.argv[1])
    keep_log(folder / "server.log")

    def on_ready(platform: Platform) -> None:
        tell(url=platform.url)
        loop = asyncio.get_running_loop()
        threading.Thread(target=_tell_tasks, args=(loop,), daemon=True).start()

    settings = PlatformSettings(
        data_dir=folder / "platform", workers=int(sys.argv[2]), runner=RUNNER, access_token_lifetime=60.0
    )
    run_server(settings=settings, port=0, grace=1.0, on_ready=on_ready)


def _tell_tasks(loop: asyncio.AbstractEventLoop) -> None:
    for line in sys.stdin:
        asyncio.run_coroutine_threadsafe(_tell(json.loads(line)), loop)
    os.kill(os.getpid(), signal.SIGTERM)  # nobody is left who would stop it


async def _tell(_: object) -> None:
    tell(tasks=len(asyncio.all_tasks()) - 1)


if __name__ == "__main__":
    main()
