"""``sfjobs group``: the groups of jobs in the journal. Asks the platform nothing that the journal can say."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, stderr, stdout
from ..errors import CommandError, ExitCode, printable
from ..output.json import write_json
from .recover import required_journal

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._client.job_group import JobGroup
    from ..._journal import GroupMember, GroupSummary
    from ...models import JSONValue

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Look at groups of jobs.")


@app.callback()
def _group() -> None:  # a group of commands
    pass


@app.command("list")
def list_groups(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """List the groups in the journal, newest first, and how far their submissions are."""

    async def ask(connection: Connection) -> tuple[Sequence[GroupSummary], Sequence[str]]:
        from ..._client.connection import internals
        from ..._journal import names_of_others, summaries

        session = internals(connection).journal
        whose = required_journal(connection), session.url, session.account
        return await summaries(*whose), await names_of_others(*whose)

    groups, of_others = CommandContext.of(context).ask(ask)
    if as_json:
        write_json({"groups": [_described(group) for group in groups], "of_other_accounts": list(of_others)})
        return ExitCode.OK
    if groups:
        _show_groups(groups)
    else:
        stdout().print("No groups yet.")
    if of_others:
        names = ", ".join(map(printable, of_others))
        stderr().print(
            f"Begun with another API key: {names}. If this one has replaced that, open them.", soft_wrap=True
        )
    return ExitCode.OK


@app.command("show")
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the group.")],
    *,
    ids: Annotated[bool, typer.Option("--ids", help="Print the ids of its jobs and nothing else.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Show how far a group is, as the journal has it, and each of its programs."""

    async def ask(connection: Connection) -> JobGroup:
        from ..._client.job_group import JobGroup

        return _there_is(await JobGroup.open(name, connection))

    group = CommandContext.of(context).ask(ask)
    if as_json:
        write_json(_whole(group))
    elif ids:
        sys.stdout.write("".join(f"{printable(member.job_id)}\n" for member in group.members if member.job_id))
    else:
        _show_members(group)
    return ExitCode.OK


@app.command("remove")
def remove(
    context: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a group that is over.")]
) -> int:
    """Forget a group that is over. Its jobs stay on the platform."""

    async def work(connection: Connection) -> None:
        from ..._client.job_group import JobGroup

        await _there_is(await JobGroup.open(name, connection)).remove()

    CommandContext.of(context).ask(work)
    return ExitCode.OK


def _there_is(group: JobGroup) -> JobGroup:
    if not len(group):
        raise CommandError(f"There is no group {printable(group.name)!r}.", "See `sfjobs group list`.")
    return group


def _show_groups(groups: Sequence[GroupSummary]) -> None:
    from rich.text import Text

    from ..output.tables import indented, moment, table

    console = stdout()
    grid = table("group", "begun")
    for column in ("programs", "added", "in doubt", "submitted"):
        grid.add_column(column, justify="right", no_wrap=True)
    for group in groups:
        counts = (group.programs, group.added, group.in_doubt, group.submitted)
        grid.add_row(Text(printable(group.name)), moment(group.begun_at), *map(str, counts))
    indented(console, grid)


def _show_members(group: JobGroup) -> None:
    from rich.text import Text

    from ..output.tables import counted, indented, short_ids, table

    console = stdout()
    counts = {word: count for word, count in _counts(group).items() if count and word != "programs"}
    told = ", ".join(f"{count:,} {word.replace('_', ' ')}" for word, count in counts.items())
    console.print(f"{printable(group.name)}: {counted(len(group), 'program')}, {told}", soft_wrap=True)
    grid = table("program", "state", "job", "attempt", "target")
    job_ids = short_ids([member.job_id or "" for member in group.members])
    for member, job_id in zip(group.members, job_ids, strict=True):
        words = (member.name or str(member.index), _standing(member), job_id, str(member.attempt), member.target)
        grid.add_row(*(Text(printable(word)) for word in words))
    indented(console, grid)


def _standing(member: GroupMember) -> str:
    """What is known of the job, else of the submission."""
    return member.state.value.replace("_", " ") if member.status is None else member.status.value


def _described(group: GroupSummary) -> dict[str, JSONValue]:
    return {
        "name": group.name,
        "programs": group.programs,
        "added": group.added,
        "in_doubt": group.in_doubt,
        "submitted": group.submitted,
        "begun_at": group.begun_at.isoformat(),
        "changed_at": group.changed_at.isoformat(),
    }


def _counts(group: JobGroup) -> dict[str, int]:
    from dataclasses import asdict

    return asdict(group.progress)


def _whole(group: JobGroup) -> dict[str, JSONValue]:
    counts: dict[str, JSONValue] = {**_counts(group)}
    members: list[JSONValue] = [
        {
            "index": member.index,
            "name": member.name,
            "state": member.state.value,
            "target": member.target,
            "shots": member.shots,
            "key": member.key,
            "attempt": member.attempt,
            "job_id": member.job_id,
            "status": None if member.status is None else member.status.value,
            "reason": member.reason,
        }
        for member in group.members
    ]
    return {"name": group.name, "progress": counts, "members": members}
