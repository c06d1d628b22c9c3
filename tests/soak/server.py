"""The platform of a soak test: ``python -m tests.soak.server FOLDER WORKERS``. Sends its address, and its tasks for each line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path

from sfjobs.platform import Platform, PlatformSettings, run_server

from .children import keep_log, send
from .programs import RUNNER


def main() -> None:
    folder = Path(sys.argv[1])
    keep_log(folder / "server.log")

    def on_ready(platform: Platform) -> None:
        send(url=platform.url)
        loop = asyncio.get_running_loop()
        threading.Thread(target=_send_tasks, args=(loop,), daemon=True).start()

    settings = PlatformSettings(
        data_dir=folder / "platform", workers=int(sys.argv[2]), runner=RUNNER, access_token_lifetime=60.0
    )
    run_server(settings=settings, port=0, grace=1.0, on_ready=on_ready)


def _send_tasks(loop: asyncio.AbstractEventLoop) -> None:
    for line in sys.stdin:
        asyncio.run_coroutine_threadsafe(_send(json.loads(line)), loop)
    os.kill(os.getpid(), signal.SIGTERM)  # the parent has ended


async def _send(_: object) -> None:
    send(tasks=len(asyncio.all_tasks()) - 1)


if __name__ == "__main__":
    main()
