"""
What stops every program is raised by ``create_jobs`` and by groups, and burns none of them; a Refusal is about one program. A
group's ``wait`` returns only when nothing is unsent and nothing is unfinished.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest

import sfjobs
from sfjobs import Connection, Job, JobGroup, Refusal, Settings, Submission, sync
from sfjobs._client.connection import internals
from sfjobs.cli.application import run
from tests.support.counter import Counter, Numbered, circuit, circuits
from tests.support.fake_platform import KEY, FakePlatform, refusal
from tests.support.journals import states

TARGET = "simulon_gaussian"


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def settings(**changes: Any) -> Settings:
    return Settings(**{"url": "http://platform.test:8080", "api_key": KEY, "retries": 1, **changes})


# -- what is wrong on this side --


class Program:
    """A program object whose text cannot be made, for a reason that is not its own."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def serialize(self) -> str:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        ImportError("no blackbird"),
        MemoryError(),
        OSError(errno.EMFILE, "too many open files"),
        sfjobs.JournalError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_wrong_with_this_machine_stops_the_stream(error: Exception) -> None:
    platform = FakePlatform()
    programs = iter([circuit(0), *(Program(error) for _ in range(10_000))])
    async with platform.connection() as connection:
        stream = connection.create_jobs(TARGET, programs)
        assert isinstance(await anext(stream), Job)
        with pytest.raises(type(error)):
            await anext(stream)
    assert len([*programs]) > 9_000, "no program was burnt"


@pytest.mark.parametrize("offers_batches", [False, True])
async def test_a_bug_in_the_sending_stops_the_stream_and_sends_nothing_twice(
    offers_batches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a bug became a refusal of each of a million programs."""
    platform = FakePlatform(offers_batches=offers_batches)
    async with platform.connection() as connection:
        stream = connection.create_jobs(TARGET, Numbered(), window=4000)
        await anext(stream)

        async def bug(request: httpx.Request) -> httpx.Response | None:
            if request.method == "POST" and request.url.path == "/jobs":
                platform._answer(request)  # it arrives, and the response meets a bug
                raise ZeroDivisionError
            return None

        platform.trouble = bug
        items: list[Job | Refusal] = []
        with pytest.raises(ZeroDivisionError):
            while True:
                items.append(await anext(stream))
        assert len(platform.jobs) < 1000
        platform.trouble = None
        while len(items) < 700:
            items.append(await anext(stream))
    unknown = [item.error for item in items if isinstance(item, Refusal)]
    assert unknown
    assert all(isinstance(error, sfjobs.SubmissionUnknownError) for error in unknown)
    sent = [job.circuit for job in platform.jobs.values()]
    assert len(sent) == len(set(sent)), "a program became two jobs"


async def test_trouble_with_the_specification_of_a_device_is_not_a_refusal() -> None:
    class Compiled:
        circuit = ()
        run_options = MappingProxyType[str, object]({})

        def compile(self, *, device: object) -> object:
            raise AssertionError

    platform = FakePlatform()

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return refusal(500, "server-error", "no") if request.url.path.endswith("/specifications") else None

    platform.trouble = trouble
    async with platform.connection(retries=1) as connection:
        stream = connection.create_jobs("X8_01", [Compiled() for _ in range(1000)])
        with pytest.raises(sfjobs.ServerError):
            await anext(stream)
    assert len(platform.requests) < 100


@pytest.mark.usefixtures("no_proxies")
async def test_a_proxy_that_cannot_be_used_stops_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://user:secret-word@proxy.test:1080")
    source = Numbered()
    async with Connection(settings=settings()) as connection:
        stream = connection.create_jobs(TARGET, source)
        with pytest.raises(sfjobs.ConfigurationError, match="ALL_PROXY") as caught:
            await anext(stream)
    assert "secret-word" not in str(caught.value)


@pytest.mark.real_time
@pytest.mark.usefixtures("no_proxies")
def test_the_blocking_twin_and_the_command_stop_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://user:secret-word@proxy.test:1080")
    with (
        sync.Connection(settings=settings()) as connection,
        pytest.raises(sfjobs.ConfigurationError, match="ALL_PROXY"),
    ):
        next(iter(connection.create_jobs(TARGET, circuits(100))))
    scripts = [tmp_path / f"{number}.xbb" for number in range(3)]
    for script in scripts:
        script.write_text(circuit(0), encoding="utf-8")
    monkeypatch.setenv("SFJOBS_API_KEY", KEY)
    arguments = ["--url", "http://platform.test:8080", "submit", "--target", TARGET, *map(str, scripts)]
    assert run(arguments) == 1
    shown = capsys.readouterr().err
    assert (shown.count("Error:"), "ALL_PROXY" in shown, "secret-word" in shown) == (1, True, False)


# -- groups --


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "submissions.db"


Act = Callable[[JobGroup], Any]


@pytest.mark.real_time
@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("act", [JobGroup.submit, JobGroup.wait, JobGroup.results], ids=["submit", "wait", "results"])
async def test_a_group_raises_what_stops_every_program(act: Act, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: `wait` returned at once, with all programs unsent and no word in the log."""
    monkeypatch.setenv("ALL_PROXY", "socks4://user:secret-word@proxy.test:1080")
    async with Connection(settings=settings(journal=str(path))) as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, [Submission(circuit(number), name=f"p{number}") for number in range(40)])
        with pytest.raises(sfjobs.ConfigurationError, match="ALL_PROXY"):
            await act(group)
        assert group.progress.added == 40
    assert set(states(path)) <= {"added", "unsent"}


@pytest.mark.real_time
@pytest.mark.parametrize("offers_batches", [False, True])
async def test_a_group_waits_for_a_job_whose_record_has_odd_fields(offers_batches: bool, path: Path) -> None:
    platform = FakePlatform(offers_batches=offers_batches)
    make = platform.add

    def add(**fields: Any) -> Any:
        job = make(**fields, ends_at=0.0)
        plain = job.json
        job.json = lambda: {**plain(), "created_at": 7, "running_time": "12.5"}  # type: ignore[method-assign]
        return job

    platform.add = add  # type: ignore[method-assign]
    async with platform.connection(journal=str(path), poll_interval_min=0.01) as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, [Submission(circuit(number), name=f"p{number}") for number in range(9)])
        assert await group.wait(timeout=60) == sfjobs.GroupProgress(programs=9, complete=9)
    assert set(states(path)) == {"submitted"}


@pytest.mark.real_time
async def test_a_group_whose_submissions_stay_without_a_response_raises_after_the_others_ended(path: Path) -> None:
    platform = FakePlatform()
    counter = Counter(platform, latency=0.0, duration=lambda: 0.02)

    async def lose(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST" and b"Sgate(3)" in request.content:
            raise httpx.ReadError("the response was lost")
        return await counter.handle(request)

    platform.trouble = lose
    async with platform.connection(journal=str(path), retries=1, poll_interval_min=0.01) as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, [Submission(circuit(number), name=f"p{number}") for number in range(6)])
        with pytest.raises(sfjobs.SubmissionUnknownError, match=r"1 programs of the group 'sweep'.*sfjobs recover"):
            await group.wait(timeout=60)
        assert group.progress == sfjobs.GroupProgress(programs=6, complete=5, in_doubt=1)
        await connection.recover(give_up=True)
        assert (await group.wait(timeout=60)).given_up == 1


@pytest.mark.real_time
async def test_a_group_raises_a_bug_instead_of_returning(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = FakePlatform()
    async with platform.connection(journal=str(path)) as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, [Submission(circuit(number), name=f"p{number}") for number in range(6)])

        async def bug(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(internals(connection).transport, "send", bug)
        with pytest.raises(ZeroDivisionError):
            await group.wait(timeout=60)
