"""``sfjobs wait``: wait until jobs have ended, and run a command for each."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import job_ids as ids
from ..context import CommandContext, JSONOption, limit
from ..errors import ExitCode
from ..output.json import answer, write_json


def wait(
    context: typer.Context,
    job_ids: ids.IdsArgument,
    *,
    first: Annotated[bool, typer.Option("--any", help="Wait for the first of them only.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0, callback=limit, help="How long it may take in all; the jobs go on afterwards."
        ),
    ] = None,
    then: Annotated[
        str | None,
        typer.Option(
            metavar="CMD",
            help="Run this in a shell for each job as it ends, with SFJOBS_JOB_ID and SFJOBS_JOB_STATUS"
            " in its environment.",
        ),
    ] = None,
    as_json: JSONOption = False,
) -> int:
    """
    Wait until jobs have ended.

    Prints id and status of each as it ends. Ctrl-C and --timeout leave the jobs running.
    """
    shortened = ids.given(job_ids)
    if not shortened:  # an empty standard input
        if as_json:
            write_json({"jobs": [], "pending": [], "errors": []})
        return ExitCode.OK
    command = CommandContext.of(context)
    from ..waiting.session import WaitSession

    session = WaitSession(shortened, first=first, timeout=timeout, then=then, as_json=as_json)
    try:
        command.run(session.wait)
    except KeyboardInterrupt:
        return session.interrupted(command)
    finally:
        answer.so_far = session.document()
    session.raise_for_jobs()
    if as_json:
        write_json(answer.so_far)
    return ExitCode.OK
