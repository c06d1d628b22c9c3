"""Programs whose check is dear are paid for by the account that sends them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import httpx
import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.devices import build_devices
from sfjobs.platform.errors import ApiError
from sfjobs.platform.jobs.check_pool import CheckPool
from sfjobs.platform.jobs.preparation import Preparation
from sfjobs.platform.jobs.program_check import ProgramReader
from sfjobs.platform.limits import DEFAULTS
from tests.platform.attacks.neighbours import neighbours
from tests.platform.runners import is_alive

pytestmark = [pytest.mark.real_time, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

HEAD = "name demo\nversion 1.0\ntarget simulon_gaussian (shots=4)\n\n"
MANY_GATES = "Sgate(0.1) | 0\n" * 400
UNSUPPORTED = f"{HEAD}{MANY_GATES}Kgate(0.1) | 0\nMeasureFock() | 0\n"


def dear(gates: int, number: int = 0) -> str:
    return f"{HEAD}# {number}\nfor int i in 0:{gates}\n    BSgate(0.1, 0.2) | [0, 1]\n\nMeasureFock() | [0, 1]\n"


def open_pool(processes: int = 1) -> CheckPool:
    reader = ProgramReader(build_devices(), parse, DEFAULTS, Preparation())
    return CheckPool(reader, DEFAULTS, test_targets=False, processes=processes)


async def test_a_dear_program_is_checked_in_a_process_as_it_is_in_a_thread() -> None:
    async with open_pool() as pool:
        checked = await pool.check("a", dear(100), None)
        assert (checked.name, checked.target, checked.shots, checked.is_complete) == (
            "demo",
            "simulon_gaussian",
            4,
            True,
        )
        (pid,) = pool.pids
        with pytest.raises(ApiError) as caught:
            await pool.check("a", UNSUPPORTED, None)
        assert (caught.value.status_code, caught.value.code, caught.value.meta["line"]) == (
            409,
            "unsupported-circuit",
            405,
        )
        with pytest.raises(ApiError, match="written for 'simulon_gaussian'"):
            await pool.check("a", dear(10), "X8_01")
        assert pool.pids == (pid,)
    assert not is_alive(pid)


async def test_cheap_programs_start_no_process() -> None:
    async with open_pool() as pool:
        await pool.check("a", f"{HEAD}Sgate(0.1) | 0\nMeasureFock() | 0\n", None)
        assert pool.pids == ()


async def test_a_check_that_is_not_wanted_any_more_is_stopped() -> None:
    async with open_pool() as pool:
        await pool.check("a", dear(10), None)
        (pid,) = pool.pids
        async with anyio.create_task_group() as tasks:
            os.kill(pid, signal.SIGSTOP)  # it cannot end before the test goes on
            tasks.start_soon(pool.check, "a", dear(30_000), None)
            await until_busy(pool)
            tasks.cancel_scope.cancel()
        assert not is_alive(pid)
        assert (await pool.check("b", dear(10), None)).shots == 4


async def until_busy(pool: CheckPool) -> None:
    with anyio.fail_after(60):
        while not pool.busy:  # noqa: ASYNC110 - there is no event of it
            await anyio.sleep(0.01)


async def test_a_process_that_ends_is_replaced_and_fails_one_check_only(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[ApiError] = []

    async def check(pool: CheckPool) -> None:
        try:
            await pool.check("a", dear(29_000), None)
        except ApiError as error:
            answers.append(error)

    async with open_pool() as pool:
        await pool.check("a", dear(10), None)
        (pid,) = pool.pids
        async with anyio.create_task_group() as tasks:
            os.kill(pid, signal.SIGSTOP)
            tasks.start_soon(check, pool)
            await until_busy(pool)
            os.kill(pid, signal.SIGKILL)
        assert (await pool.check("a", dear(10), None)).shots == 4
    assert [(answer.status_code, answer.code) for answer in answers] == [(503, "check-unavailable")]
    assert "submit it again" in caplog.text


async def test_a_check_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_pool() as pool:
        await pool.check("a", dear(10), None)
        monkeypatch.setattr("sfjobs.platform.jobs.check_pool.CHECK_TIMEOUT_SECONDS", 0.01)
        with pytest.raises(ApiError) as caught:
            await pool.check("a", dear(29_000), None)
        assert caught.value.status_code == 503
        assert pool.pids == ()


async def test_a_process_that_cannot_start_fails_nothing_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_pool() as pool:
        with monkeypatch.context() as patch:
            patch.setattr(pool, "_command", ["/nonexistent/python"])
            with pytest.raises(ApiError) as caught:
                await pool.check("a", dear(10), None)
        assert (caught.value.status_code, caught.value.headers) == (503, {"retry-after": "10"})
        assert (await pool.check("a", dear(10), None)).shots == 4


async def test_sixty_dear_programs_delay_another_account_by_one_check(tmp_path: Path) -> None:
    """They delayed it by 30 s, the time of all of them."""
    ended: list[str] = []

    async def submit(client: httpx.AsyncClient, name: str, circuit: str) -> None:
        response = await client.post("/jobs", json={"circuit": circuit})
        assert response.status_code == 201, response.text
        ended.append(name)

    async with neighbours(tmp_path) as both, anyio.create_task_group() as tasks:
        await submit(both.bystander, "first", dear(500))  # the processes have started
        for number in range(60):
            tasks.start_soon(submit, both.attacker, "attack", dear(500, number))
        while ended.count("attack") < 4:  # noqa: ASYNC110 - shorter than an event
            await anyio.sleep(0.01)
        before = ended.count("attack")
        await submit(both.bystander, "bystander", dear(500, -1))
        assert ended.count("attack") - before <= 20  # of 56; two are being checked, and some responses are on their way


async def test_a_client_that_disconnects_stops_its_check(tmp_path: Path) -> None:
    async with neighbours(tmp_path) as both:
        with anyio.move_on_after(0.3):  # it disconnects, wherever its check is by then
            await both.attacker.post("/jobs", json={"circuit": dear(30_000)})
        response = await both.bystander.post("/jobs", json={"circuit": dear(20)})
        assert response.status_code == 201
        assert (await both.attacker.get("/jobs")).json()["data"] == []
