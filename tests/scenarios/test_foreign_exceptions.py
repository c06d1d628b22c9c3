"""
Every public coroutine x every exception of the layers below: none of httpx, h11, ssl, anyio, trio or the operating system leaves
a public function, and no exception group.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import h11
import httpx
import pytest
import socksio
import trio

import sfjobs
from sfjobs import Connection, Job, JobGroup, RemoteEngine
from tests.support.fake_platform import FakePlatform, refusal

PROGRAM = "name p\nversion 1.0\n\nMeasureFock() | 0\n"
JOB = "c1b2-job"


def group_of(error: Exception) -> Exception:
    return ExceptionGroup("of a task group", [ExceptionGroup("inside", [error])])


FAULTS: dict[str, Callable[[], Exception]] = {
    "httpx.ConnectError": lambda: httpx.ConnectError("x"),
    "httpx.ConnectTimeout": lambda: httpx.ConnectTimeout("x"),
    "httpx.PoolTimeout": lambda: httpx.PoolTimeout("x"),
    "httpx.ReadError": lambda: httpx.ReadError("x"),
    "httpx.ReadTimeout": lambda: httpx.ReadTimeout("x"),
    "httpx.WriteTimeout": lambda: httpx.WriteTimeout("x"),
    "httpx.CloseError": lambda: httpx.CloseError("x"),
    "httpx.ProxyError": lambda: httpx.ProxyError("x"),
    "httpx.RemoteProtocolError": lambda: httpx.RemoteProtocolError("x"),
    "httpx.LocalProtocolError": lambda: httpx.LocalProtocolError("x"),
    "httpx.UnsupportedProtocol": lambda: httpx.UnsupportedProtocol("x"),
    "httpx.DecodingError": lambda: httpx.DecodingError("x"),
    "httpx.TooManyRedirects": lambda: httpx.TooManyRedirects("x"),
    "httpx.InvalidURL": lambda: httpx.InvalidURL("x"),
    "httpx.StreamClosed": httpx.StreamClosed,
    "h11.RemoteProtocolError": lambda: h11.RemoteProtocolError("x"),
    "h11.LocalProtocolError": lambda: h11.LocalProtocolError("x"),
    "socksio": lambda: socksio.ProtocolError("x"),
    "ssl.SSLError": lambda: ssl.SSLError(1, "x"),
    "ssl.SSLCertVerificationError": lambda: ssl.SSLCertVerificationError(1, "x"),
    "ssl.SSLZeroReturnError": lambda: ssl.SSLZeroReturnError(6, "x"),
    "OSError": lambda: OSError(errno.EMFILE, "too many open files"),
    "ConnectionResetError": lambda: ConnectionResetError(errno.ECONNRESET, "x"),
    "ConnectionRefusedError": lambda: ConnectionRefusedError(errno.ECONNREFUSED, "x"),
    "BrokenPipeError": lambda: BrokenPipeError(errno.EPIPE, "x"),
    "TimeoutError": TimeoutError,
    "gaierror": lambda: socket.gaierror(-2, "x"),
    "EOFError": EOFError,
    "anyio.EndOfStream": anyio.EndOfStream,
    "anyio.ClosedResourceError": anyio.ClosedResourceError,
    "anyio.BrokenResourceError": anyio.BrokenResourceError,
    "anyio.BusyResourceError": lambda: anyio.BusyResourceError("reading"),
    "trio.BrokenResourceError": lambda: trio.BrokenResourceError("x"),
    "a group of httpx": lambda: group_of(httpx.ReadError("x")),
    "a group of OSError": lambda: group_of(OSError(errno.ECONNRESET, "x")),
}


def made(fault: str) -> Exception:
    return FAULTS[fault]()


async def drain(jobs: object) -> None:
    async for item in jobs:  # type: ignore[attr-defined]
        if isinstance(item, sfjobs.Refusal):
            raise item.error


async def group(connection: Connection) -> JobGroup:
    found = await JobGroup.open("sweep", connection)
    if not len(found):
        await found.add("X8_01", PROGRAM, name="p")
    return found


async def group_wait(connection: Connection) -> None:
    await (await group(connection)).wait(timeout=0.3)


async def group_submit(connection: Connection) -> None:
    progress = await (await group(connection)).submit()
    assert progress.in_doubt or progress.added
    raise sfjobs.SFJobsError("as the progress says")


async def stream_result(connection: Connection) -> None:
    async with connection.open_result(JOB):
        pass


def waits(job: Callable[[Job], Awaitable[object]]) -> Callable[[Connection], Awaitable[object]]:
    return lambda connection: job(Job(JOB, "queued", connection))


CALLS: dict[str, Callable[[Connection], Awaitable[object]]] = {
    "ping": lambda c: c.ping(),
    "create_job": lambda c: c.create_job("X8_01", PROGRAM),
    "create_jobs": lambda c: drain(c.create_jobs("X8_01", [PROGRAM])),
    "get_job": lambda c: c.get_job(JOB),
    "list_jobs": lambda c: drain(c.list_jobs()),
    "cancel_job": lambda c: c.cancel_job(JOB),
    "get_job_result": lambda c: c.get_job_result(JOB),
    "open_result": stream_result,
    "get_job_circuit": lambda c: c.get_job_circuit(JOB),
    "list_devices": lambda c: c.list_devices(),
    "get_device": lambda c: c.get_device("X8_01"),
    "events": lambda c: drain(c.events([Job(JOB, "queued", c)], timeout=0.3)),
    "Job.refresh": waits(lambda job: job.refresh()),
    "Job.cancel": waits(lambda job: job.cancel()),
    "Job.cancel, wait": waits(lambda job: job.cancel(wait=True, timeout=0.3)),
    "Job.wait": waits(lambda job: job.wait(timeout=0.3)),
    "Job.fetch_result": lambda c: Job(JOB, "complete", c).fetch_result(),
    "wait_all": lambda c: sfjobs.wait_all([Job(JOB, "queued", c)], timeout=0.3),
    "as_completed": lambda c: drain(sfjobs.as_completed([Job(JOB, "queued", c)], timeout=0.3)),
    "first": lambda c: sfjobs.first([Job(JOB, "queued", c)], timeout=0.3),
    "cancel_all": lambda c: sfjobs.cancel_all([Job(JOB, "queued", c)]),
    "cancel_all, wait": lambda c: sfjobs.cancel_all([Job(JOB, "queued", c)], wait=True, timeout=0.3),
    "RemoteEngine.device": lambda c: RemoteEngine("X8_01", c).device(),
    "RemoteEngine.run": lambda c: RemoteEngine("X8_01", c).run(PROGRAM, timeout=0.3),
}
GROUP_CALLS: dict[str, Callable[[Connection], Awaitable[object]]] = {
    "JobGroup.submit": group_submit,
    "JobGroup.wait": group_wait,
}


async def foreign_error(fault: str, call: Callable[[Connection], Awaitable[object]], **settings: object) -> object:
    """What leaves the call besides our errors, None if nothing does."""
    platform = FakePlatform()
    platform.add(id=JOB)
    strikes = False

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if strikes and not request.url.path.endswith("/token"):
            raise made(fault)
        return refusal(404, "not-found", "no") if request.url.path.startswith("/devices") else None

    platform.trouble = trouble
    async with platform.connection(retries=1, **settings) as connection:
        await connection.ping()
        strikes = True
        try:
            await call(connection)
        except sfjobs.SFJobsError:
            return None
        except Exception as error:  # noqa: BLE001 - these are what is looked for
            return error
    return "it succeeded"


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_exception_of_another_library_leaves_a_public_function(fault: str) -> None:
    found = {name: await foreign_error(fault, call) for name, call in CALLS.items()}
    assert {name: error for name, error in found.items() if error is not None} == {}


@pytest.mark.real_time
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_exception_of_another_library_leaves_a_group(fault: str, tmp_path: Path) -> None:
    found: dict[str, object] = {}

    async def play(name: str, call: Callable[[Connection], Awaitable[object]]) -> None:
        found[name] = await foreign_error(fault, call, journal=str(tmp_path / f"{name}.db"), poll_interval_min=0.02)

    async with anyio.create_task_group() as tasks:
        for name, call in GROUP_CALLS.items():
            tasks.start_soon(play, name, call)
    assert found == dict.fromkeys(GROUP_CALLS)


@pytest.mark.parametrize("fault", ["httpx.ReadError", "OSError", "h11.LocalProtocolError", "a group of httpx"])
async def test_no_exception_of_another_library_leaves_a_token_request(fault: str) -> None:
    platform = FakePlatform()

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/token"):
            raise made(fault)
        return None

    platform.trouble = trouble
    async with platform.connection(retries=1) as connection:
        with pytest.raises(sfjobs.SFJobsError):
            await connection.create_job("X8_01", PROGRAM)
        stream = connection.create_jobs("X8_01", [PROGRAM] * 1000)
        with pytest.raises(sfjobs.RequestFailedError) as caught:
            await anext(stream)
        assert not caught.value.sent
