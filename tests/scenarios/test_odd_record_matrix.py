"""
Which record of an answer is odd x how the client learns of jobs x its transport x its journal, on real sockets. Never a false
outcome, a harmed neighbour or a hang. ``test_fault_matrix`` has the faults of the network.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Connection, Job, JobGroup, Submission
from sfjobs.cli.application import run
from tests.support.counter import circuit
from tests.support.fake_platform import KEY, FakeJob
from tests.support.fault_proxy import FaultProxy
from tests.support.odd_records import ODD_FIELDS, PLACES, SETUPS, OddPlatform, bad_ones

pytestmark = [
    pytest.mark.real_time,
    # trio warns of generators that are dropped half-way: httpx nests several and closes none of them.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <async_generator object (Async|HTTP11|PoolByteStream|Response)"
    ),
]

COUNT = 5
TRANSPORTS = ("ours", "httpx's")
ODDITIES: dict[str, dict[str, object]] = {
    "odd fields": ODD_FIELDS,
    "no status": {"status": None},
    "no id": {"id": None},
}


class NamedOddPlatform(OddPlatform):
    """The records of jobs whose names are ``bad`` are odd, from the moment when ``is_strict``, or always."""

    def __init__(self, setup: str, bad: set[str], changes: dict[str, object], *, offers_batches: bool) -> None:
        super().__init__(setup)
        self.offers_batches = offers_batches
        self.honours_keys = True
        self._bad = bad
        self._bad_changes = changes

    def add(self, **fields: Any) -> FakeJob:
        job = super().add(**{**fields, "ends_at": anyio.current_time() + 0.1})
        if job.name in self._bad:
            self.changes[job.id] = self._bad_changes
        return job


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfjobs._tracking.watchlist.MIN_UNREADABLE_SECONDS", 0.2)
    monkeypatch.setattr("sfjobs._client.job_group.OTHER_SENDERS_POLL_SECONDS", 0.02)


async def submitted(connection: Connection) -> list[Job]:
    programs = [Submission(circuit(number), name=f"p{number}") for number in range(COUNT)]
    return [item async for item in connection.create_jobs("X8_01", programs) if isinstance(item, Job)]


async def wait(connection: Connection, bad: set[str], *, is_readable: bool) -> None:
    jobs = await submitted(connection)
    assert len(jobs) == COUNT
    waiting = sfjobs.wait_all(jobs, timeout=30)
    if is_readable or not bad:
        assert await waiting == ["complete"] * COUNT
        assert all(job.has_result for job in jobs)
        return
    with pytest.raises(sfjobs.ProtocolError):
        await waiting
    outcomes = {f"p{number}": job.status.value for number, job in enumerate(jobs)}
    assert {name for name, status in outcomes.items() if status == "complete"} == outcomes.keys() - bad
    assert all(outcomes[name] == "open" for name in bad)


async def list_all(connection: Connection, bad: set[str], *, is_readable: bool) -> None:
    jobs = await submitted(connection)
    expected = {job.id for number, job in enumerate(jobs) if is_readable or f"p{number}" not in bad}
    assert {job.id async for job in connection.list_jobs()} == expected


async def group(connection: Connection, bad: set[str], *, is_readable: bool) -> None:
    sweep = await JobGroup.open("sweep", connection)
    await sweep.add_all("X8_01", [Submission(circuit(number), name=f"p{number}") for number in range(COUNT)])
    if is_readable:
        assert (await sweep.wait(timeout=30)).complete == COUNT
        return
    with pytest.raises(sfjobs.ProtocolError):
        await sweep.wait(timeout=30)
    assert (sweep.progress.complete, sweep.progress.unfinished) == (COUNT - len(bad), len(bad))


Operation: TypeAlias = Callable[..., Awaitable[None]]
OPERATIONS: dict[str, Operation] = {"wait": wait, "list": list_all, "group": group}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("anyio_backend", "place", "oddity"),
    [
        (backend, place, oddity)
        for backend in ("asyncio", "trio")
        for place, oddity in [*product(("middle", "all"), ODDITIES), ("first", "no status"), ("last", "no status")]
    ],
)
async def test_an_odd_record_has_no_false_outcome_and_harms_no_neighbour(
    operation: str, oddity: str, place: str, tmp_path: Path
) -> None:
    setups = [setup for setup in SETUPS if operation != "list" or setup != "single"]
    journals = [True] if operation == "group" else [True, False]
    failures: dict[object, BaseException] = {}

    async def play(setup: str, transport: str, journal: bool) -> None:
        try:
            with anyio.fail_after(50):
                await one(
                    operation, oddity, place, setup, transport, str(tmp_path / f"{setup}{transport}.db") * journal
                )
        except Exception as error:  # noqa: BLE001 - each cell is reported
            failures[setup, transport, journal] = error

    async with anyio.create_task_group() as cells:
        for cell in product(setups, TRANSPORTS, journals):
            cells.start_soon(play, *cell)
    assert not failures


async def one(operation: str, oddity: str, place: str, setup: str, transport: str, journal: str) -> None:
    bad = {f"p{number}" for number in bad_ones(place, COUNT)}
    platform = NamedOddPlatform(setup, bad, ODDITIES[oddity], offers_batches=len(setup) % 2 == 0)
    # A submission has its record: what is read of it is in test_create_jobs and below.
    platform.is_odd = lambda kind: kind != "submission" or oddity == "odd fields"
    proxy = FaultProxy(platform, "none")
    async with proxy.serving():
        settings = sfjobs.Settings(
            url=proxy.url, api_key=KEY, journal=journal or "off", retries=2,
            poll_interval_min=0.02, poll_interval_max=0.05,
        )  # fmt: skip
        given = None if transport == "ours" else httpx.AsyncHTTPTransport()
        async with Connection(settings=settings, transport=given) as connection:
            await OPERATIONS[operation](connection, bad, is_readable=oddity == "odd fields")
    assert len(platform.jobs) == COUNT


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("place", PLACES)
async def test_the_command_and_the_blocking_twin_list_the_others(
    place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = OddPlatform()
    platform.add_many([0.0] * COUNT, bad_ones(place, COUNT), status=None)
    good = [job_id for job_id in platform.jobs if job_id not in platform.changes][::-1]
    monkeypatch.setenv("SFJOBS_API_KEY", KEY)
    proxy = FaultProxy(platform, "none")
    async with proxy.serving():
        assert await anyio.to_thread.run_sync(run, ["--url", proxy.url, "list", "--ids"]) == 0
        assert capsys.readouterr().out.split() == good

        def blocking() -> list[str]:
            with sfjobs.sync.Connection(proxy.url, api_key=KEY) as connection:
                return [job.id for job in connection.list_jobs()]

        assert await anyio.to_thread.run_sync(blocking) == good
