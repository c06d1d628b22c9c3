"""``sfjobs recover``: submissions that were sent and never got a response."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, JSONOption
from ..errors import CommandError, ExitCode, printable
from ..output.json import pick, write_json

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._journal import Journal
    from ..._submission.recovery import Recovered, Recovery


def recover(
    context: typer.Context,
    *,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Do not look for those again that are still unknown after this.")
    ] = False,
    as_json: JSONOption = False,
) -> int:
    """
    Look up submissions that never got a response.

    Prints one line each: outcome, job id, target and name. They are in the journal; the platform is searched for their jobs.
    """

    async def work(connection: Connection) -> Recovery:
        required_journal(connection)
        return await connection.recover(give_up=give_up)

    recovery = CommandContext.of(context).run(work)
    if as_json:
        names = ("key", "outcome", "job_id", "target", "name", "group", "opened_at", "reason")
        outcomes = [pick(found, *names) for found in recovery.outcomes]
        write_json({"outcomes": outcomes, **pick(recovery, "under_way", "of_other_accounts", "set_aside")})
    else:
        sys.stdout.write("".join(f"{_line(found)}\n" for found in recovery.outcomes))
        _print_notes(recovery)
    return ExitCode.PLATFORM if recovery.unknown else ExitCode.OK


def required_journal(connection: Connection) -> Journal:
    """Return the journal. Raises CommandError when it is off."""
    from ..._client.connection import internals

    journal = internals(connection).journal.journal
    if journal is None:
        raise CommandError("The journal of submissions is off.", "Set SFJOBS_JOURNAL to on, or to the path of a file.")
    return journal


def _line(found: Recovered) -> str:
    words = [found.outcome, found.job_id or "-", found.target, found.name or "-"]
    return "  ".join(map(printable, [*words, found.reason] if found.reason else words))


def _print_notes(recovery: Recovery) -> None:
    note = partial(typer.echo, err=True)
    if not recovery.outcomes:
        note("Every submission has its response.")
    if recovery.unknown:
        unknown = f"The outcome of {len(recovery.unknown)} is still unknown"
        note(f"{unknown}: try again later, or check `sfjobs list` and give them up with --give-up.")
    if recovery.under_way:
        note(f"Being sent by a running process: {recovery.under_way}.")
    if recovery.of_other_accounts:
        note(f"Submitted with another API key, not changed: {recovery.of_other_accounts}.")
    for path in recovery.set_aside:
        note(f"A damaged journal was moved to {printable(path)}.")
