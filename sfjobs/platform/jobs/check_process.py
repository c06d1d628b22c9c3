"""
A process that checks programs, ``python -m sfjobs.platform.jobs.check_process``, started by ``check_pool``.

A request on its standard input is one line of JSON, with the ``size`` of the program, its ``target`` and whether to ``prepare``
it, and then the program in UTF-8. The responses on its standard output are lines of JSON: ``read`` with the checked program, then
``done``; or ``refused`` with the error response. It exits when its parent ends or closes the input.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from ..blackbird import parse
from ..devices import build_devices
from ..errors import ApiError
from ..execution.child import end_with_parent, redirect_stdout
from ..limits import Limits
from .preparation import Preparation
from .program_check import ProgramReader

_MEMORY_BYTES: Final = 3 << 30
"""Of address space. The dearest program within the limits takes 250 MB."""

_NICE: Final = 5
"""The event loop of the platform answers everyone, and comes first."""


def main(arguments: list[str]) -> None:
    """Check programs until the input ends. The argument is a JSON object: limits, test targets, and whether to prepare."""
    options = json.loads(arguments[0])
    output = redirect_stdout()
    end_with_parent()
    _limit()
    reader = ProgramReader(
        build_devices(test_targets=options["test_targets"]),
        parse,
        Limits(**options["limits"]),
        Preparation() if options["prepares"] else None,
    )

    def reply(event: str, **fields: Any) -> None:
        output.write(json.dumps({"event": event, **fields}).encode() + b"\n")
        output.flush()

    reply("ready")
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        circuit = sys.stdin.buffer.read(request["size"]).decode()
        _check(reader, circuit, request["target"], prepare=request["prepare"], reply=reply)


def _check(
    reader: ProgramReader, circuit: str, target: str | None, *, prepare: bool, reply: Callable[..., None]
) -> None:
    try:
        checked, program, seconds = reader.read(circuit, target)
        reply("read", program=checked.to_json())
        if seconds and prepare:
            reader.prepare(program, checked.shots)
        reply("done", is_complete=prepare or not seconds)
    except ApiError as error:
        reply("refused", status_code=error.status_code, code=error.code, detail=error.detail, meta=error.meta)


def _limit() -> None:
    if sys.platform != "win32":
        import resource

        os.nice(_NICE)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = _MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(_MEMORY_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1:])
