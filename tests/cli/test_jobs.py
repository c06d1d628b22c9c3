"""Every command about jobs and devices: what it prints in 80 columns and as JSON, and the exit code of each kind of failure."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from sfjobs import Connection, Job, Result
from sfjobs.cli.application import run
from sfjobs.cli.output.json import write_json
from sfjobs.platform.server.serving import Platform
from tests.support.commands import PROGRAM, start
from tests.support.raw_server import JSON_HEAD, Peer, RawServer, Script, answering, raw_server

pytestmark = pytest.mark.real_time

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def jobs(platform: Platform) -> dict[str, str]:
    """The ids of jobs by their status."""

    async def submit() -> dict[str, str]:
        async with Connection(platform.url, api_key=platform.api_key) as connection:
            complete = await connection.create_job(
                "simulon_gaussian", PROGRAM, name="a_name_that_is_longer_than_a_column"
            )
            failed = await connection.create_job("always_fails", PROGRAM)
            waiting = await connection.create_job("never", PROGRAM)
            cancelled = await connection.create_job("never", PROGRAM)
            await cancelled.cancel(wait=True)
            await complete.wait(fetch_result=False)
            await failed.wait()
            return {"complete": complete.id, "failed": failed.id, "waiting": waiting.id, "cancelled": cancelled.id}

    return anyio.run(submit)


@pytest.fixture(autouse=True)
def bad_script(home):
    (home / "bad.xbb").write_text(PROGRAM.replace("S2gate", "Kgate"))


def words_of(line: str, jobs: dict[str, str]) -> list[str]:
    """Split a command line, with the ids of jobs for ``{complete}`` and so on."""
    return [word.format(**jobs, unknown=UNKNOWN_ID, short=jobs["complete"][:8]) for word in line.split()]


async def job_of(platform: Platform, job_id: str) -> Job:
    async with Connection(platform.url, api_key=platform.api_key) as connection:
        return await connection.get_job(job_id)


# --- what they print -------------------------------------------------------------------------------------------------

WORKING = [
    "ping",
    "config show",
    "devices",
    "device X8_01",
    "device simulon_gaussian",
    "submit demo.xbb",
    "submit demo.xbb demo.xbb --target never --shots 3 --name two",
    "list",
    "list --status complete --limit 1",
    "show {complete}",
    "show {short}",
    "show {failed}",
    "wait {complete}",
    "wait {complete} {waiting} --any",
    "result {complete}",
    "circuit {complete}",
]


@pytest.mark.parametrize("line", WORKING)
def test_the_output_fits_80_columns_and_is_plain(configured, jobs, capsys, home, line):
    assert run(words_of(line, jobs)) == 0
    # A path is as long as it is.
    out = capsys.readouterr().out.replace(str(home), "")
    assert out.strip()
    assert [text for text in out.splitlines() if len(text) > 80 or "\x1b" in text or text.endswith(" ")] == []


@pytest.mark.parametrize("line", WORKING)
def test_json_is_one_document_and_nothing_else(configured, jobs, capsys, line):
    assert run([*words_of(line, jobs), "--json"]) == 0
    out = capsys.readouterr().out
    assert isinstance(json.loads(out), dict)
    assert out.count("\n") == 1


def document_of(capsys, *words: str) -> dict:
    run([*words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_submit_prints_the_ids_alone_in_the_order_of_the_programs(configured, capsys, home):
    (home / "second.xbb").write_text(PROGRAM.replace("name demo", "name second"))
    assert run(["submit", "demo.xbb", "second.xbb", "--target", "never"]) == 0
    ids = capsys.readouterr().out.split()
    names = [anyio.run(job_of, configured, job_id).name for job_id in ids]
    assert names == ["demo", "second"]


def test_submit_refuses_a_program_before_any_is_submitted(configured, capsys):
    """Compares ids, not jobs: jobs of other tests may still be running."""

    def ids() -> list[str]:
        assert run(["list", "--ids", "--limit", "100"]) == 0
        return capsys.readouterr().out.split()

    before = ids()
    assert run(["submit", "demo.xbb", "missing.xbb"]) == 1
    capsys.readouterr()
    assert ids() == before


def test_submit_goes_on_after_a_program_that_is_refused_and_names_it(configured, capsys):
    assert run(["submit", "demo.xbb", "bad.xbb", "demo.xbb"]) == 7
    captured = capsys.readouterr()
    assert len(captured.out.split()) == 2
    assert "Submitted 2 of 3 programs." in captured.err
    assert "Error: bad.xbb: The platform refused this (409 " in captured.err


def test_submit_stops_where_the_platform_cannot_take_the_others_either(configured, capsys, monkeypatch):
    monkeypatch.setenv("SFJOBS_API_KEY", "wrong")
    assert run(["submit", "demo.xbb", "bad.xbb", "--json"]) == 4
    captured = capsys.readouterr()
    assert "Submitted 0 of 2 programs. demo.xbb and those after it were not tried." in captured.err
    document = json.loads(captured.out)
    assert (document["jobs"], document["errors"], document["error"]["exit_code"]) == ([], [], 4)


def test_the_document_of_submit_has_the_jobs_and_the_refusals(configured, capsys):
    assert run(["submit", "bad.xbb", "demo.xbb", "--target", "simulon_gaussian", "--json"]) == 7
    document = json.loads(capsys.readouterr().out)
    assert [job["name"] for job in document["jobs"]] == ["demo"]
    assert [(error["program"], error["exit_code"], error["kind"]) for error in document["errors"]] == [
        ("bad.xbb", 7, "refused")
    ]
    assert document["error"]["exit_code"] == 7


def test_list_has_the_newest_first_and_whole_ids_for_pipes(configured, jobs, capsys):
    run(["submit", "demo.xbb", "--target", "never"])
    newest = capsys.readouterr().out.strip()
    assert run(["list", "--ids", "--limit", "2"]) == 0
    ids = capsys.readouterr().out.split()
    assert (len(ids), ids[0]) == (2, newest)


def test_device_prints_its_layout_alone(configured, capsys):
    assert run(["device", "X8_01", "--layout"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("name ")
    assert "{squeezing_amplitude_0}" in out


def test_circuit_prints_the_program_as_it_was_submitted(configured, jobs, capsys):
    assert run(["circuit", jobs["failed"]]) == 0
    assert capsys.readouterr().out.startswith("name demo\nversion 1.0\ntarget always_fails")


def test_result_writes_the_files_that_run_writes(configured, jobs, home):
    assert run(["result", jobs["complete"], "--output", "out.npz", "--plot", "out.png"]) == 0
    assert Result.load(home / "out.npz").samples.shape == (20, 2)
    assert (home / "out.png").read_bytes().startswith(b"\x89PNG")


def test_result_writes_a_table(configured, jobs, home):
    assert run(["result", jobs["complete"], "--output", "out.csv"]) == 0
    head, *shots = (home / "out.csv").read_text().splitlines()
    assert head == "mode_0,mode_1"
    assert len(shots) == 20


def test_cancel_prints_the_final_status_of_each(configured, capsys):
    run(["submit", "demo.xbb", "demo.xbb", "--target", "never"])
    ids = capsys.readouterr().out.split()
    assert run(["cancel", *ids, "--wait"]) == 0
    assert capsys.readouterr().out == "".join(f"{job_id} cancelled\n" for job_id in ids)


def test_delete_goes_on_after_a_job_that_has_not_ended(configured, jobs, capsys):
    run(["submit", "demo.xbb", "demo.xbb", "--target", "never"])
    first, second = capsys.readouterr().out.split()
    run(["cancel", first, second, "--wait"])
    capsys.readouterr()
    assert run(["delete", jobs["waiting"], first]) == 9
    captured = capsys.readouterr()
    assert captured.out == f"{first} deleted\n"
    assert "cancel it first" in captured.err
    assert run(["delete", second, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": [second], "errors": []}
    assert run(["show", first]) == 6


def test_cancel_goes_on_after_a_job_that_cannot_be_cancelled(configured, jobs, capsys):
    run(["submit", "demo.xbb", "--target", "never"])
    job_id = capsys.readouterr().out.strip()
    assert run(["cancel", jobs["failed"], job_id, "--wait"]) == 9
    assert capsys.readouterr().out == f"{job_id} cancelled\n"


# --- wait ------------------------------------------------------------------------------------------------------------


def test_wait_takes_ids_from_standard_input(configured, jobs, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{jobs['complete']}\n{jobs['complete'][:8]}\n"))
    assert run(["wait", "-"]) == 0
    assert capsys.readouterr().out == f"{jobs['complete']} complete\n"


def test_wait_runs_a_command_for_each_job_as_it_ends(configured, jobs, home, capfd):
    command = 'printf "%s %s\n" "$SFJOBS_JOB_ID" "$SFJOBS_JOB_STATUS" >> ended'
    assert run(["wait", jobs["complete"], jobs["failed"], "--then", command]) == 2
    lines = {f"{jobs['complete']} complete", f"{jobs['failed']} failed"}
    assert set((home / "ended").read_text().splitlines()) == lines


def test_the_output_of_a_command_is_kept_out_of_the_document(configured, jobs, capfd):
    assert run(["wait", jobs["complete"], "--then", "echo done", "--json"]) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)["jobs"][0]["then_exit_code"] == 0
    assert "done" in captured.err


def test_a_failed_command_sets_the_exit_code(configured, jobs, capfd):
    assert run(["wait", jobs["complete"], "--then", "exit 7"]) == 10
    assert f"7 for job {jobs['complete']}" in capfd.readouterr().err


def test_the_document_of_a_wait_that_timed_out_lists_pending_jobs(configured, jobs, capsys):
    assert run(["wait", jobs["waiting"], jobs["failed"], "--timeout", "0.5", "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert [job["id"] for job in answer["jobs"]] == [jobs["failed"]]
    assert answer["pending"] == [jobs["waiting"]]


def test_ctrl_c_ends_only_the_wait_and_prints_the_command_to_return_to_it(configured, jobs):
    with start("--url", configured.url, "wait", jobs["waiting"]) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if ": queued" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert lines[-1] == f"  Come back with sfjobs --url {configured.url} wait {jobs['waiting']}\n"
    assert anyio.run(job_of, configured, jobs["waiting"]).status == "queued"


# --- ids -------------------------------------------------------------------------------------------------------------


@contextmanager
def served(*scripts: Script) -> Iterator[RawServer]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(raw_server(*scripts)) as server:
        yield server


def job_object(job_id: str, **fields: object) -> dict[str, object]:
    return {"id": job_id, "status": "queued", "name": None, "target": "X8_01", "meta": {}, **fields}


def json_response(document: object) -> bytes:
    body = json.dumps(document).encode()
    return JSON_HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


ALIKE = [f"abcd{number}000-0000-4000-8000-000000000000" for number in range(2)]


def listing(**fields: object) -> bytes:
    return json_response({"data": [job_object(job_id, **fields) for job_id in ALIKE]})


@pytest.fixture
def scripted(monkeypatch):
    """Start a scripted server and connect commands to it."""

    @contextmanager
    def scripted(*scripts: Script) -> Iterator[RawServer]:
        with served(*scripts) as server:
            monkeypatch.setenv("SFJOBS_URL", server.url)
            monkeypatch.setenv("SFJOBS_ACCESS_TOKEN", "token")
            yield server

    return scripted


@pytest.mark.parametrize("command", ["show", "wait", "result", "circuit", "cancel", "delete"])
def test_an_ambiguous_id_lists_the_candidates(scripted, capsys, command):
    with scripted(answering(listing())):
        assert run([command, "abcd"]) == 1
    err = capsys.readouterr().err
    assert all(job_id in err for job_id in ALIKE)


def test_a_whole_id_costs_no_list_request(scripted, capsys):
    requests = []

    async def script(peer: Peer) -> None:
        requests.append((await peer.read_head()).split(b" ")[1])
        await peer.send(json_response(job_object(ALIKE[0])))

    with scripted(script):
        assert run(["show", ALIKE[0]]) == 0
    assert requests == [f"/jobs/{ALIKE[0]}".encode()]


def test_a_shortened_id_is_looked_up_among_the_newest_thousand_jobs(scripted, capsys):
    requests = []

    async def script(peer: Peer) -> None:
        head = await peer.read_head()
        requests.append(head.split(b" ")[1])
        page = len(requests)
        jobs = [job_object(f"{page:08x}-0000-4000-8000-{number:012x}") for number in range(100)]
        link = f'Link: </jobs?size=100&cursor={page}>; rel="next"\r\n'.encode()
        await peer.send(json_response({"data": jobs}).replace(b"\r\n\r\n", b"\r\n" + link + b"\r\n", 1))

    with scripted(script):
        assert run(["show", "ffff"]) == 6
    assert len(requests) == 10


def test_control_characters_of_a_platform_are_escaped(scripted, capsys):
    with scripted(answering(listing(name="\x1b[31mred"))):
        assert run(["list"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_watch_sends_one_request_an_update_and_prints_changes_only(scripted):
    requests = []

    async def script(peer: Peer) -> None:
        requests.append((await peer.read_head()).split(b" ")[1])
        await peer.send(listing(status="queued" if len(requests) < 3 else "failed"))

    with scripted(script), start("list", "--watch", "--interval", "0.1") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "abcd1000   failed" in line:  # once: a second Ctrl-C may meet an interpreter that is ending already
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert sum("target" in line for line in lines) == 2
    assert set(requests) == {b"/jobs?size=20"}


# --- exit codes ------------------------------------------------------------------------------------------------------

REQUESTING = [
    "ping",
    "devices",
    "device X8_01",
    "submit demo.xbb",
    "list",
    "show {complete}",
    "show {short}",
    "wait {complete}",
    "result {complete}",
    "circuit {complete}",
    "cancel {waiting}",
    "delete {complete}",
]


def code_and_error(capsys, line: str, jobs: dict[str, str]) -> tuple[int, int]:
    """Return the exit code, and the number of lines from the error message to the end of stderr."""
    code = run(words_of(line, jobs))
    lines = capsys.readouterr().err.splitlines()
    return code, len(lines) - next(
        (index for index, text in enumerate(lines) if text.startswith("Error: ")), len(lines)
    )


@pytest.mark.parametrize("line", REQUESTING)
def test_a_bad_key_exits_with_4(configured, jobs, capsys, monkeypatch, line):
    monkeypatch.setenv("SFJOBS_API_KEY", "wrong")
    assert code_and_error(capsys, line, jobs) == (4, 2)


@pytest.mark.parametrize("line", [*REQUESTING, "config show"])
def test_no_settings_exit_with_1(jobs, capsys, line):
    assert code_and_error(capsys, line, jobs) == (1, 2)


@pytest.mark.parametrize("line", REQUESTING)
def test_a_platform_that_cannot_be_reached_exits_with_5(jobs, capsys, monkeypatch, line):
    monkeypatch.setenv("SFJOBS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SFJOBS_API_KEY", "key")
    assert code_and_error(capsys, line, jobs) == (5, 2)


@pytest.mark.parametrize("line", REQUESTING)
def test_a_platform_that_fails_exits_with_5(scripted, jobs, capsys, line):
    with scripted(answering(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")):
        assert code_and_error(capsys, line, jobs) == (5, 2)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        *((f"{command} {{unknown}}", 6) for command in ("show", "wait", "result", "circuit", "cancel", "delete")),
        *((f"{command} ffffffff-unknown", 6) for command in ("show", "wait", "result", "circuit", "cancel", "delete")),
        ("show abc", 1),
        ("wait {failed}", 2),
        ("wait {failed} {complete}", 2),
        ("wait {failed} {cancelled}", 2),
        ("wait {cancelled}", 2),
        ("result {failed}", 2),
        ("result {cancelled}", 2),
        ("wait {waiting} --timeout 0.1", 3),
        ("result {waiting}", 8),
        ("cancel {complete}", 9),
        ("delete {waiting}", 9),
        ("submit bad.xbb", 7),
        ("submit missing.xbb", 1),
        ("submit demo.xbb --target X99", 7),
        ("device X99", 6),
        ("device ../jobs", 1),
        ("list --status running", 1),
        ("list --watch --json", 1),
        ("list --watch --limit 101", 1),
        ("result {complete} --output x.txt", 1),
    ],
)
def test_each_error_has_its_exit_code(configured, jobs, capsys, line, code):
    assert code_and_error(capsys, line, jobs) == (code, 2)


def test_json_is_valid_whatever_numbers_the_platform_sends(capsys):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    write_json({"meta": {"a": float("nan"), "b": [float("inf"), 1]}, "at": datetime(2026, 1, 27, tzinfo=UTC)})
    document = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert document == {"meta": {"a": None, "b": [None, 1]}, "at": "2026-01-27T00:00:00+00:00"}
