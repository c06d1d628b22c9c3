"""``sfjobs recover``: submissions that were sent and never got a response."""

from __future__ import annotations

import sys
from collections.abc import Sequence
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
    adopt: Annotated[
        list[str] | None,
        typer.Option(
            "--adopt", metavar="KEY=JOBID", help="This job is the one of the submission KEY. May be repeated."
        ),
    ] = None,
    as_json: JSONOption = False,
) -> int:
    """
    Look up submissions that never got a response.

    Prints one line each: outcome, job id, target and name. They are in the journal. Where the platform cannot tell, the
    jobs that one may be are named: --adopt says which it is.
    """
    jobs = _adoptions(adopt or ())

    async def work(connection: Connection) -> Recovery:
        await required_journal(
            connection
        ).flush()  # an error here is for the user of this command, also with journal = "auto"
        try:
            return await connection.recover(give_up=give_up, adopt=jobs)
        except ValueError as error:
            raise CommandError(
                f"{error}.", "`sfjobs recover --json` has the keys and the jobs that they may be."
            ) from error

    recovery = CommandContext.of(context).run(work)
    if as_json:
        names = ("key", "outcome", "job_id", "target", "name", "group", "opened_at", "reason", "candidates")
        outcomes = [pick(found, *names) for found in recovery.outcomes]
        write_json({"outcomes": outcomes, **pick(recovery, "under_way", "of_other_accounts", "set_aside")})
    else:
        sys.stdout.write("".join(f"{_line(found)}\n" for found in recovery.outcomes))
        _print_notes(recovery)
    return ExitCode.PLATFORM if recovery.unknown else ExitCode.OK


def _adoptions(options: Sequence[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    for option, (key, _, job_id) in zip(options, pairs, strict=True):
        if not key or not job_id:
            raise CommandError(f"--adopt takes KEY=JOBID, not {printable(option)!r}.", "`sfjobs recover` names them.")
    if len(jobs := {key: job_id for key, _, job_id in pairs}) < len(pairs):
        raise CommandError("--adopt has one key twice.", "A submission has one job: leave out one of them.")
    return jobs


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
        note(f"{unknown}: check `sfjobs list`, then name their jobs with --adopt or give them up with --give-up.")
    if recovery.under_way:
        note(f"Being sent by a running process: {recovery.under_way}.")
    if recovery.of_other_accounts:
        note(f"Submitted with another API key, not changed: {recovery.of_other_accounts}.")
    for path in recovery.set_aside:
        note(f"A damaged journal was moved to {printable(path)}.")
