"""
Name lookups that cannot be interrupted, kept away from the threads of the event loop. ``httpx_clients`` waits here before httpx
looks a name up.

On asyncio, httpx looks names up in the loop's own threads. A resolver that hangs there keeps the loop, and then the interpreter,
from ending. So a lookup that may hang is first made in a thread of ours, which no end waits for. The answer is not used: httpx
asks again, and gets it from the resolver that has just answered.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from contextlib import suppress
from functools import partial

from .._util.aio import in_daemon_thread

ANSWER_SECONDS = 10.0
"""For how long a resolver that has answered is trusted to answer again."""

_answered: dict[str, float] = {}


async def wait_until_answered(host: str) -> None:
    """Return when the resolver has answered for a host, also that there is no such host. Can be cancelled at any time."""
    now = time.monotonic()
    if now - _answered.get(host, -ANSWER_SECONDS) < ANSWER_SECONDS or _is_address(host):
        return
    with suppress(OSError, UnicodeError):
        await in_daemon_thread(partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM))
    _answered[host] = time.monotonic()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
