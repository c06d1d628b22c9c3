"""``sfjobs recover``: what became of submissions that were sent and have no answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, stderr
from ..errors import CommandError, ExitCode, printable
from ..output.json import write_json

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._journal import Journal
    from ..._submission.recovery import Recovered, Recovery
    from ...models import JSONValue


def recover(
    context: typer.Context,
    *,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Ask no more about those of which nobody knows after this.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """
    Find out what became of submissions that have no answer.

    One line each: what became of it, the id of its job, target and name. The journal has them; the platform is asked.
    """

    async def ask(connection: Connection) -> Recovery:
        required_journal(connection)
        return await connection.recover(give_up=give_up)

    recovery = CommandContext.of(context).ask(ask)
    if as_json:
        write_json(_described(recovery))
    else:
        sys.stdout.write("".join(f"{_line(found)}\n" for found in recovery.outcomes))
        _remark(recovery)
    return ExitCode.PLATFORM if recovery.unknown else ExitCode.OK


def required_journal(connection: Connection) -> Journal:
    """Raises CommandError where there is none, which knows of nothing."""
    from ..._client.connection import internals

    journal = internals(connection).journal.journal
    if journal is None:
        raise CommandError("The journal of submissions is off.", "Set SFJOBS_JOURNAL to on, or to the path of a file.")
    return journal


def _line(found: Recovered) -> str:
    words = [found.outcome, found.job_id or "-", found.target, found.name or "-"]
    told = "  ".join(printable(word) for word in words)
    return f"{told}  {printable(found.reason)}" if found.reason else told


def _remark(recovery: Recovery) -> None:
    console = stderr()
    if not recovery.outcomes:
        console.print("No submission is without an answer.", soft_wrap=True)
    if recovery.unknown:
        console.print(
            f"Nobody knows about {len(recovery.unknown)} of them: ask again later, or look at `sfjobs list` and give them up"
            " with --give-up.",
            soft_wrap=True,
        )
    if recovery.under_way:
        console.print(f"On their way, in a process that runs: {recovery.under_way}.", soft_wrap=True)
    if recovery.of_other_accounts:
        console.print(f"Submitted with another API key, and left alone: {recovery.of_other_accounts}.", soft_wrap=True)
    for path in recovery.set_aside:
        console.print(f"A damaged journal was set aside: {printable(path)}.", soft_wrap=True)


def _described(recovery: Recovery) -> dict[str, JSONValue]:
    return {
        "outcomes": [
            {
                "key": found.key,
                "outcome": found.outcome,
                "job_id": found.job_id,
                "target": found.target,
                "name": found.name,
                "group": found.group,
                "opened_at": found.opened_at.isoformat(),
                "reason": found.reason,
            }
            for found in recovery.outcomes
        ],
        "under_way": recovery.under_way,
        "of_other_accounts": recovery.of_other_accounts,
        "set_aside": list(recovery.set_aside),
    }
