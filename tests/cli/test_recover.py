"""``sfjobs recover`` and ``sfjobs group`` against a platform of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anyio
import pytest

from sfjobs import Connection, JobGroup, Submission
from sfjobs.cli.application import run
from sfjobs.platform.server.serving import Platform
from tests.support.commands import PROGRAM
from tests.support.journals import execute, states

pytestmark = pytest.mark.real_time


@pytest.fixture(autouse=True)
def journal(configured: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "submissions.db"
    monkeypatch.setenv("SFJOBS_JOURNAL", str(path))
    return path


def submit(name: str) -> str:
    async def work() -> str:
        async with Connection() as connection:
            return (await connection.create_job("simulon_gaussian", PROGRAM, name=name)).id

    return anyio.run(work)


def forget(journal: Path) -> None:
    """Make the journal as a process leaves it that was killed before it got responses."""
    body = json.dumps({"name": None, "target": "simulon_gaussian", "circuit": PROGRAM, "language": "blackbird:1.0"})
    execute(journal, "UPDATE intents SET state = 'open', owner = 12345, job_id = NULL, body = ?", body.encode())
    execute(journal, "DELETE FROM platforms")


def test_the_job_of_a_submission_without_a_response_is_named_and_adopted(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = submit("demo0")
    forget(journal)
    assert run(["recover"]) == 5
    told = capsys.readouterr()
    key = re.search("--adopt ([0-9a-f-]{36})=JOBID", told.out)
    assert key is not None
    assert job_id in told.out
    assert "--adopt" in told.err
    assert run(["recover", "--adopt", f"{key[1]}={job_id}"]) == 0
    assert capsys.readouterr().out == f"submitted  {job_id}  simulon_gaussian  demo0\n"
    assert states(journal) == ["submitted"]


def test_json_is_one_object(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = submit("demo1")
    forget(journal)
    assert run(["recover", "--json"]) == 5
    told = json.loads(capsys.readouterr().out)
    [found] = told.pop("outcomes")
    assert (found["outcome"], found["job_id"], found["name"]) == ("unknown", None, "demo1")
    assert found["candidates"] == [job_id]
    assert told == {"under_way": 0, "of_other_accounts": 0, "set_aside": []}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--adopt", "nonsense"], "takes KEY=JOBID"),
        (["--adopt", "=job"], "takes KEY=JOBID"),
        (["--adopt", "key="], "takes KEY=JOBID"),
        (["--adopt", "key=a", "--adopt", "key=b"], "one key twice"),
        (["--adopt", "key=a"], "no submission without a response has the key 'key'"),
    ],
)
def test_an_adoption_that_is_not_possible_exits_with_1(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recover", *options]) == 1
    assert words in capsys.readouterr().err


def test_an_unknown_outcome_exits_with_5_until_it_is_given_up(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit("demo2")
    forget(journal)
    execute(journal, "UPDATE intents SET name = 'other'")
    assert run(["recover"]) == 5
    out, err = capsys.readouterr()
    assert out.startswith("unknown  -  simulon_gaussian  other  the platform lists no such job")
    assert "--give-up" in err
    assert run(["recover", "--give-up"]) == 0
    assert run(["recover"]) == 0
    assert "Every submission has its response." in capsys.readouterr().err


def test_the_path_of_a_damaged_journal_is_printed(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal.write_bytes(b"no database" * 1000)
    assert run(["recover"]) == 0
    assert "A damaged journal was moved to " in capsys.readouterr().err


def test_a_journal_that_cannot_be_written_exits_with_1(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal.mkdir()
    assert run(["recover"]) == 1
    assert "SFJOBS_JOURNAL" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["recover", "group list", "group show sweep"])
def test_a_journal_that_is_off_is_not_reported_as_empty(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SFJOBS_JOURNAL", "off")
    assert run(line.split()) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "is off" in told.err


def test_the_settings_have_the_path_of_the_journal(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["journal"]["value"] == str(journal)
    monkeypatch.delenv("SFJOBS_JOURNAL")
    assert run(["config", "show"]) == 0
    assert "submissions.db" in capsys.readouterr().out.replace("\n", "").replace(" ", "")


# -- groups --------------------------------------------------------------------------------------------------------------


def begin(name: str, count: int) -> None:
    async def work() -> None:
        async with Connection() as connection:
            group = await JobGroup.open(name, connection)
            programs = [Submission(PROGRAM, name=f"demo{number}") for number in range(count)]
            await group.add_all("simulon_gaussian", programs)
            await group.wait()
            await group.add("simulon_gaussian", PROGRAM, name="late")

    anyio.run(work)


def test_groups_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["group", "list"]) == 0
    assert capsys.readouterr().out == "No groups yet.\n"
    begin("sweep", 2)
    begin("other", 1)
    assert run(["group", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["other", "sweep"]
    assert run(["group", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["groups"][1]
    assert [told[word] for word in ("name", "programs", "added", "in_doubt", "submitted")] == ["sweep", 3, 1, 0, 2]


def test_groups_of_another_key_are_named(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin("sweep", 1)
    execute(journal, "UPDATE intents SET account = 'another'")
    assert run(["group", "list"]) == 0
    told = capsys.readouterr()
    assert told.out == "No groups yet.\n"
    assert "another API key: sweep" in told.err
    assert run(["group", "show", "sweep"]) == 0  # the key has replaced the other one
    assert run(["group", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["groups"][0]["name"], told["of_other_accounts"]) == ("sweep", [])


def test_a_group_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    begin("sweep", 2)
    assert run(["group", "show", "sweep"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("sweep: 3 programs, 1 added, 2 complete\n")
    assert [line.split()[:2] for line in out.splitlines()[3:]] == [
        ["demo0", "complete"],
        ["demo1", "complete"],
        ["late", "added"],
    ]
    assert run(["group", "show", "sweep", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["progress"]["complete"], told["progress"]["added"]) == (2, 1)
    ids = [member["job_id"] for member in told["members"]]
    assert run(["group", "show", "sweep", "--ids"]) == 0
    assert capsys.readouterr().out.split() == ids[:2]


def test_a_finished_group_is_removed(capsys: pytest.CaptureFixture[str]) -> None:
    begin("sweep", 1)
    assert run(["group", "remove", "sweep"]) == 8
    assert "1 programs are yet to be sent" in capsys.readouterr().err

    async def finish() -> None:
        async with Connection() as connection:
            await (await JobGroup.open("sweep", connection)).wait()

    anyio.run(finish)
    capsys.readouterr()
    assert run(["group", "remove", "sweep", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "sweep", "removed": True}
    assert run(["group", "show", "sweep"]) == 6


def test_an_unknown_group_exits_with_6(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["group", "show", "nobodys"]) == 6
    assert "sfjobs group list" in capsys.readouterr().err


def test_groups_that_a_damaged_journal_may_have_are_not_reported_as_missing(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.write_bytes(b"no database" * 1000)
    assert run(["group", "list"]) == 0
    assert "A damaged journal was moved to " in capsys.readouterr().err
    assert run(["group", "show", "sweep"]) == 1
    assert f"set aside as {journal}.damaged-" in capsys.readouterr().err.replace("\n", " ")
    assert run(["group", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["set_aside"]) == 1
