"""
The fast platform as a process. Its first line on standard output is ``{"port": ...}``. It then replies to each command, a line of
JSON on standard input, with a line of JSON. It ends at the end of its standard input.

    {"do": "scenario", ...}                           a new board with all counts 0; accepts the fields of ``Scenario``
    {"do": "create", "jobs": 1000}                    jobs without a submission
    {"do": "start", "first": 1, "last": 20, "seed": 1}   the jobs end at equal intervals; replies with the time of the start
    {"do": "report"}                                  the counts before and since the start, and the end of each job
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from typing import Any

from .board import uniform
from .protocol import Platform, Scenario, Tally
from .wire import Talk

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop  # type: ignore[assignment]  # each loop is one


class Control:
    """The commands."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.platform = Platform(loop, Scenario())
        self._before = Tally()
        self._cpu = 0.0

    def do(self, command: dict[str, Any]) -> dict[str, object]:
        match command.pop("do"):
            case "scenario":
                self.platform.close()
                self.platform = Platform(self._loop, Scenario(**command))
                self._before, self._cpu = Tally(), time.process_time()
                return {"epoch": self.platform.board.epoch}
            case "create":
                for _ in range(command["jobs"]):
                    self.platform.board.submit(time.monotonic(), {"name": "benchmark"})
                return {"jobs": len(self.platform.board)}
            case "start":
                offsets = uniform(len(self.platform.board), command["first"], command["last"], command["seed"])
                self._mark()
                start = time.monotonic()
                self.platform.start(start, offsets)
                return {"start": start}
            case "report":
                return self._report()
            case unknown:
                raise ValueError(f"there is no command {unknown!r}")

    def _mark(self) -> None:
        self._before, self.platform.tally = self.platform.tally, Tally()
        self._cpu = time.process_time()

    def _report(self) -> dict[str, object]:
        return {
            "before": self._before.as_json(),
            "since": self.platform.tally.as_json(),
            "ended": self.platform.board.ended,
            "cpu": time.process_time() - self._cpu,
        }


def main() -> None:
    loop = new_event_loop()
    control = Control(loop)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    loop.run_until_complete(loop.create_server(lambda: Talk(lambda: control.platform), sock=listener, backlog=4096))
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)

    def obey(line: str) -> None:
        try:
            print(json.dumps(control.do(json.loads(line))), flush=True)
        except Exception:
            loop.stop()
            raise

    def listen() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(obey, line)
        loop.call_soon_threadsafe(loop.stop)

    threading.Thread(target=listen, daemon=True).start()
    loop.run_forever()


if __name__ == "__main__":
    main()
