"""``sfjobs group``: the groups of jobs in the journal. Sends no request: what the journal knows is enough."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, JSONOption, stdout
from ..errors import CommandError, ExitCode, printable
from ..output.json import pick, write_json
from .recover import required_journal

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._client.job_group import JobGroup
    from ..._journal import GroupSummary

app = typer.Typer()


@app.command("list")
def list_groups(context: typer.Context, *, as_json: JSONOption = False) -> None:
    """List the groups in the journal, newest first, and the states of their submissions."""

    async def read(connection: Connection) -> tuple[Sequence[GroupSummary], Sequence[str], Sequence[str]]:
        from ..._client.connection import internals
        from ..._journal import names_of_others, summaries

        session = internals(connection).journal
        owner = required_journal(connection), session.url, session.account
        return await summaries(*owner), await names_of_others(*owner), owner[0].damaged_files

    groups, of_others, set_aside = CommandContext.of(context).run(read)
    if as_json:
        names = ("name", "programs", "added", "in_doubt", "submitted", "begun_at", "changed_at")
        write_json(
            {
                "groups": [pick(group, *names) for group in groups],
                "of_other_accounts": of_others,
                "set_aside": set_aside,
            }
        )
        return
    if groups:
        _show_groups(groups)
    else:
        typer.echo("No groups yet.")
    if of_others:
        names_of_others = ", ".join(map(printable, of_others))
        line = f"Groups of another API key: {names_of_others}. If this key has replaced it, open them to adopt them."
        typer.echo(line, err=True)
    for path in set_aside:
        typer.echo(f"A damaged journal was moved to {printable(path)}. Its groups are not listed.", err=True)


@app.command("show")
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the group.")],
    *,
    ids: Annotated[bool, typer.Option("--ids", help="Print the ids of its jobs and nothing else.")] = False,
    as_json: JSONOption = False,
) -> None:
    """Show the state of a group and of each of its programs, as the journal has them."""
    group = CommandContext.of(context).run(lambda connection: _open(name, connection))
    if as_json:
        names = ("index", "name", "state", "target", "shots", "key", "attempt", "job_id", "status", "reason")
        members = [pick(member, *names) for member in group.members]
        write_json({"name": group.name, "progress": asdict(group.progress), "members": members})
    elif ids:
        sys.stdout.write("".join(f"{printable(member.job_id)}\n" for member in group.members if member.job_id))
    else:
        _show_members(group)


@app.command("remove")
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a finished group.")],
    *,
    as_json: JSONOption = False,
) -> None:
    """Remove a finished group from the journal. Its jobs stay on the platform."""
    from ...errors import InvalidJobOperationError

    async def work(connection: Connection) -> None:
        group = await _open(name, connection)
        try:
            await group.remove()
        except InvalidJobOperationError as error:
            what, remedy = str(error), "`sfjobs group show NAME` has the state of each program."
            raise CommandError(what, remedy, ExitCode.NOT_READY) from error

    CommandContext.of(context).run(work)
    if as_json:
        write_json({"name": name, "removed": True})


async def _open(name: str, connection: Connection) -> JobGroup:
    from ..._client.job_group import JobGroup

    group = await JobGroup.open(name, connection)
    if not len(group):
        what = f"The journal has no group {printable(group.name)!r}."
        raise CommandError(what, "See `sfjobs group list`.", ExitCode.NOT_FOUND)
    return group


def _show_groups(groups: Sequence[GroupSummary]) -> None:
    from ..output.tables import cell, indented, moment, table

    grid = table("group", "begun")
    for column in ("programs", "added", "in doubt", "submitted"):
        grid.add_column(column, justify="right", no_wrap=True)
    for group in groups:
        counts = (group.programs, group.added, group.in_doubt, group.submitted)
        grid.add_row(cell(group.name), moment(group.begun_at), *map(str, counts))
    indented(stdout(), grid)


def _show_members(group: JobGroup) -> None:
    from ..output.tables import cell, counted, indented, short_ids, table

    counts = {state: count for state, count in asdict(group.progress).items() if count and state != "programs"}
    listed = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in counts.items())
    typer.echo(f"{printable(group.name)}: {counted(len(group), 'program')}, {listed}")
    grid = table("program", "state", "job", "attempt", "target")
    job_ids = short_ids([member.job_id or "" for member in group.members])
    for member, job_id in zip(group.members, job_ids, strict=True):
        state = member.state.value.replace("_", " ") if member.status is None else member.status.value
        row = (member.name or str(member.index), state, job_id, str(member.attempt), member.target)
        grid.add_row(*map(cell, row))
    indented(stdout(), grid)
