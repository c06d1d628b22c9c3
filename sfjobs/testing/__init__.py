"""
What tests of programs that use sfjobs need. It works with the core packages alone; the fixtures need pytest.

    platform = FakePlatform(result=[[0, 1]])          # in memory, no socket
    with serving(faults=Faults(Fault.status(503)))    # on a socket, so that any program can reach it

Map of the package:

    plugin.py             the fixtures ``sfjobs_platform``, ``sfjobs_connection``, ``sfjobs_async_connection``
    served.py             a platform on a socket: ``serving``
    embedded.py           the embedded platform behind a scripted one
    http_server.py        the server: HTTP/1.1 with scripted damage
    fake_platform.py      ``FakePlatform``, in memory
    in_memory.py          any of them as a transport of httpx
    scripted_platform.py  what they have in common for tests
    backend.py            what they have in common for a server
    exchange.py           one request: logged, with its faults applied
    endpoints.py          the endpoints of the protocol
    fake_feed.py          the change feed
    fake_backend.py       its jobs and their changes
    fake_job.py           ``FakeJob``
    scripted_job.py       the state of a job
    answers.py            answers as data, and what faults change in them
    faults.py             ``Fault`` and ``Faults``
    request_log.py        ``RequestLog``
    clock.py              ``VirtualClock``, which a test moves
    loops.py              event loops in which a sleep takes no time

Names are imported when they are first used. ``import sfjobs.testing`` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clock import VirtualClock as VirtualClock
    from .embedded import EmbeddedPlatform as EmbeddedPlatform
    from .fake_job import FakeJob as FakeJob
    from .fake_platform import FakePlatform as FakePlatform
    from .faults import Fault as Fault
    from .faults import Faults as Faults
    from .loops import Deadlock as Deadlock
    from .loops import run_in_virtual_time as run_in_virtual_time
    from .loops import virtual_time as virtual_time
    from .request_log import LoggedRequest as LoggedRequest
    from .request_log import RequestLog as RequestLog
    from .scripted_platform import ScriptedPlatform as ScriptedPlatform
    from .served import Served as Served
    from .served import serving as serving

_MODULE_OF = {
    "Deadlock": "loops",
    "EmbeddedPlatform": "embedded",
    "FakeJob": "fake_job",
    "FakePlatform": "fake_platform",
    "Fault": "faults",
    "Faults": "faults",
    "LoggedRequest": "request_log",
    "RequestLog": "request_log",
    "ScriptedPlatform": "scripted_platform",
    "Served": "served",
    "VirtualClock": "clock",
    "run_in_virtual_time": "loops",
    "serving": "served",
    "virtual_time": "loops",
}

__all__ = [
    "Deadlock",
    "EmbeddedPlatform",
    "FakeJob",
    "FakePlatform",
    "Fault",
    "Faults",
    "LoggedRequest",
    "RequestLog",
    "ScriptedPlatform",
    "Served",
    "VirtualClock",
    "run_in_virtual_time",
    "serving",
    "virtual_time",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sfjobs.testing' has no attribute {name!r}")
    value: object = getattr(import_module(f"sfjobs.testing.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
