"""A program that the simulation cannot run is refused at its submission, with the worker's reason and the line."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from itertools import chain, repeat
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
import pytest

import sfjobs
from sfjobs.platform import serving
from sfjobs.platform.blackbird import parse
from sfjobs.platform.devices import build_devices
from sfjobs.platform.execution.executor import Work
from sfjobs.platform.execution.worker import simulate_work
from sfjobs.platform.jobs import acceptance
from sfjobs.platform.jobs.preparation import MAX_SECONDS, SHORT_SECONDS, Preparation
from sfjobs.platform.program import Program, ProgramError
from sfjobs.platform.simulation import preparation_seconds
from sfjobs.platform.simulation.pure_states import PureStateSampler
from tests.platform.jobs.refused_programs import REFUSED, Refused
from tests.platform.stand_ins import PROGRAM, Bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

BATCH = {"content-type": "application/jobs+json"}
UNSUPPORTED = PROGRAM.replace("Sgate(0.5)", 'Rgate("x")')
STREAM = (
    PROGRAM.replace("\n\n", "\ntype tdm (temporal_modes={bins})\n\n").replace("[0, 1]", "0").replace("| 0", "| 1", 1)
)


async def outcomes(client: httpx.AsyncClient, *circuits: str) -> list[dict[str, Any]]:
    response = await client.post("/jobs", json=[{"circuit": circuit} for circuit in circuits], headers=BATCH)
    assert response.status_code == 207, response.text
    data: list[dict[str, Any]] = response.json()["data"]
    return data


async def statuses(client: httpx.AsyncClient, *circuits: str) -> list[int]:
    return [item["status"] for item in await outcomes(client, *circuits)]


def is_expected(error: dict[str, Any], case: Refused) -> bool:
    told = (error["status_code"], error["code"], error["meta"].get("line"))
    return told == (409, case.code, case.line) and case.words in error["detail"]


# the reasons of the simulation


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_run_is_refused_with_its_reason_and_line(client: httpx.AsyncClient, name: str) -> None:
    response = await client.post("/jobs", json={"circuit": REFUSED[name].circuit})
    assert is_expected(response.json(), REFUSED[name]), response.text
    assert (await client.get("/jobs")).json() == {"data": []}


@pytest.mark.parametrize("name", REFUSED)
def test_the_worker_would_have_failed_with_the_same_code(name: str) -> None:
    case = REFUSED[name]
    work = Work(job_id="job", attempt=1, target="simulon_gaussian", circuit=case.circuit, shots=case.shots, seed=1)
    with pytest.raises(ProgramError) as caught:
        simulate_work(work)
    assert caught.value.code in {case.code, "mode-limit"}


async def test_in_a_batch_it_is_refused_in_its_place(client: httpx.AsyncClient) -> None:
    cases = list(REFUSED.values())
    for first in range(0, len(cases), 49):
        some = cases[first : first + 49]
        items = await outcomes(
            client, *chain.from_iterable(zip(repeat(PROGRAM), (case.circuit for case in some))), PROGRAM
        )
        assert {item["status"] for item in items[::2]} == {201}
        wrong = [item for item, case in zip(items[1::2], some, strict=True) if not is_expected(item["error"], case)]
        assert wrong == []


async def test_the_client_gets_a_refusal_for_each_and_the_jobs_beside_them() -> None:
    """Through sockets, in batches as the client makes them."""
    circuits = [case.circuit for case in REFUSED.values()]
    async with (
        serving() as platform,
        sfjobs.Connection(url=platform.url, api_key=platform.api_key) as connection,
    ):
        with pytest.raises(sfjobs.ConflictError, match="must be a real number") as caught:
            await connection.create_job("simulon_gaussian", UNSUPPORTED)
        programs = chain.from_iterable((circuit, PROGRAM) for circuit in circuits)
        outcomes = [outcome async for outcome in connection.create_jobs("simulon_gaussian", programs)]
    assert (caught.value.code, caught.value.meta["line"]) == ("unsupported-circuit", 5)
    assert {type(outcome) for outcome in outcomes[1::2]} == {sfjobs.Job}
    for outcome, case in zip(outcomes[::2], REFUSED.values(), strict=True):
        assert isinstance(outcome, sfjobs.Refusal)
        assert isinstance(outcome.error, sfjobs.ConflictError)
        assert (outcome.error.code, outcome.error.meta.get("line")) == (case.code, case.line)
        assert case.words in outcome.error.detail


async def test_a_missing_simulator_is_told_at_once(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "piquasso", None)
    monkeypatch.setattr(PureStateSampler, "applies", lambda *_: False)
    squeezers = "".join(f"Sgate(1.0) | {mode}\n" for mode in range(8))
    splitters = "".join(f"BSgate() | [{mode}, {mode + 1}]\n" for mode in range(7))
    gates = f"{squeezers}LossChannel(0.9) | 1\n{splitters}MeasureFock() | {list(range(8))}\n"
    text = f"name lossy\nversion 1.0\ntarget simulon_gaussian (shots=1)\n\n{gates}"
    response = await client.post("/jobs", json={"circuit": text})
    assert (response.status_code, response.json()["code"]) == (409, "simulator-missing")


@pytest.mark.parametrize("target", ["simulon_gaussian", "never", "always_fails"])
async def test_all_simulators_refuse_it(client: httpx.AsyncClient, target: str) -> None:
    response = await client.post("/jobs", json={"circuit": UNSUPPORTED.replace("simulon_gaussian", target)})
    assert (response.status_code, response.json()["code"]) == (409, "unsupported-circuit")


async def test_an_x12_refuses_more_shots_than_it_can_count_in_time(client: httpx.AsyncClient) -> None:
    device = build_devices()["X12_01"]
    layout = str(device.specification["layout"]).replace("shots=1", "shots={shots}")
    for name in parse(str(device.specification["layout"])).free_parameters:
        layout = layout.replace(f"{{{name}}}", "1.0" if name.startswith("squeezing") else "0.3")
    few, many = (layout.replace("{shots}", shots) for shots in ("1000000", "5000000"))
    assert [item["status"] for item in await outcomes(client, few, many)] == [201, 409]


async def test_ten_million_shots_of_an_x8_are_taken(client: httpx.AsyncClient) -> None:
    squeezers = "".join(f"S2gate(0.5, 0.0) | [{mode}, {mode + 4}]\n" for mode in range(4))
    text = PROGRAM.partition("Sgate")[0].replace("shots=4", "shots=10000000") + squeezers
    assert await statuses(client, f"{text}MeasureFock() | {list(range(8))}\n") == [201]


# what the check costs


def preparation(bench: Bench, prepare: Callable[[Program, int], object], seconds: float = 0.0) -> None:
    bench.app = bench.make_app(preparation=Preparation(prepare, lambda _: seconds))


def nothing(_program: Program, _shots: int) -> None: ...


async def test_without_a_preparation_the_worker_decides(bench: Bench) -> None:
    bench.app = bench.make_app(preparation=None)
    async with bench.client() as client:
        assert await statuses(client, UNSUPPORTED) == [201]


@pytest.mark.parametrize("error", [MemoryError(), FloatingPointError("overflow")])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
async def test_a_defect_of_the_check_is_logged_and_refuses_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture, error: Exception, seconds: float
) -> None:
    def fail(_program: Program, _shots: int) -> None:
        raise error

    preparation(bench, fail, seconds)
    async with bench.client() as client:
        assert await statuses(client, PROGRAM) == [201]
    assert "the worker decides" in caplog.text


async def test_a_check_that_takes_too_long_is_left_to_the_worker(bench: Bench) -> None:
    def refuse(_program: Program, _shots: int) -> None:
        raise ProgramError("unsupported-circuit", "no")

    answers = []
    for seconds in (SHORT_SECONDS / 2, SHORT_SECONDS * 2, MAX_SECONDS * 2):
        preparation(bench, refuse, seconds)
        async with bench.client() as client:
            answers += await statuses(client, PROGRAM)
    assert answers == [409, 409, 201]


async def test_long_checks_begin_in_time_or_not_at_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of them would keep its client waiting for longer than its timeout."""
    prepared: list[int] = []
    monkeypatch.setattr(acceptance, "_PREPARATION_TIMEOUT_SECONDS", -1.0)
    for seconds in (SHORT_SECONDS / 2, SHORT_SECONDS * 2):
        preparation(bench, lambda _, shots: prepared.append(shots), seconds)
        async with bench.client() as client:
            assert await statuses(client, *[PROGRAM + "#" * number for number in range(3)]) == [201] * 3
    assert len(prepared) == 3


async def test_short_checks_pass_a_long_one(bench: Bench) -> None:
    is_checked, may_end = anyio.Event(), threading.Event()

    def prepare(program: Program, _shots: int) -> None:
        if program.name == "long":
            anyio.from_thread.run_sync(is_checked.set)
            assert may_end.wait(30)

    bench.app = bench.make_app(preparation=Preparation(prepare, lambda program: 1.0 if program.name == "long" else 0.0))
    async with bench.client() as client, anyio.create_task_group() as tasks:
        try:
            tasks.start_soon(statuses, client, PROGRAM.replace("demo", "long"))
            await is_checked.wait()
            assert await statuses(client, PROGRAM) == [201]
        finally:
            may_end.set()


async def test_one_program_of_many_jobs_is_checked_once(bench: Bench) -> None:
    prepared: list[int] = []
    preparation(bench, lambda _, shots: prepared.append(shots))
    async with bench.client() as client:
        for _ in range(3):
            assert await statuses(client, PROGRAM) == [201]
        response = await client.post("/jobs", json={"circuit": PROGRAM, "target": "X8_01"})
    assert (prepared, response.status_code) == ([4], 400)
    seeds = {record.seed for record in bench.store.jobs(bench.account, size=5)}
    assert len(seeds) == 3


async def test_a_refused_program_is_refused_again(client: httpx.AsyncClient) -> None:
    assert [await statuses(client, UNSUPPORTED) for _ in range(2)] == [[409], [409]]


async def test_only_so_many_programs_are_remembered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfjobs.platform.jobs.validation._MAX_KNOWN_CIRCUITS", 2)
    prepared: list[int] = []
    preparation(bench, lambda _, shots: prepared.append(shots))
    texts = [PROGRAM.replace("shots=4", f"shots={shots}") for shots in (1, 2, 3)]
    async with bench.client() as client:
        for text in (*texts, texts[2], texts[0]):
            assert await statuses(client, text) == [201]
    assert prepared == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        (PROGRAM, 0.0, 0.02),
        (STREAM.format(bins=3), 0.0, 0.03),
        (STREAM.format(bins=600), 5.0, 60.0),
        (STREAM.format(bins=10**9), 0.0, 0.0),
        (STREAM.format(bins=0), 0.0, 0.0),
        (STREAM.format(bins=10**6).replace("MeasureFock()", "MeasureX"), 0.0, 0.02),
    ],
)
def test_the_time_of_a_preparation_is_known_from_modes_and_time_bins(text: str, low: float, high: float) -> None:
    assert low <= preparation_seconds(parse(text)) <= high
