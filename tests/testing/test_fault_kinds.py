"""Each kind of fault does the same in memory, in virtual time, and on a socket, in real time."""

from __future__ import annotations

import anyio
import httpx
import pytest

import sfjobs
from sfjobs.testing import FakePlatform, Fault, Faults, serving
from sfjobs.testing.faults import FaultKind
from tests.support.raw_server import CERTIFICATE, tls_context
from tests.testing.conftest import PROGRAM, outcome_of_submitting

SUBMISSION = {"method": "POST", "path": "/jobs"}
IN_MEMORY_ONLY: set[FaultKind] = {"refused", "unresolved"}

# The fault of one submission, its outcome with a key that is known to be honoured and without keys, and the jobs without keys.
OUTCOMES: list[tuple[Fault, str, str, int]] = [
    (Fault.refused(), "complete", "complete", 1),
    (Fault.unresolved(), "complete", "complete", 1),
    (Fault.reset("before request", **SUBMISSION), "complete", "SubmissionUnknownError", 0),
    (Fault.reset("before answer", **SUBMISSION), "complete", "SubmissionUnknownError", 1),
    (Fault.lost_answer(**SUBMISSION), "complete", "SubmissionUnknownError", 1),
    (Fault.reset("in answer", **SUBMISSION), "complete", "SubmissionUnknownError", 1),
    (Fault.reset("after answer", **SUBMISSION), "complete", "complete", 1),
    (Fault.no_answer(**SUBMISSION), "complete", "SubmissionUnknownError", 1),
    (Fault.slow_answer(0.1, **SUBMISSION), "complete", "SubmissionUnknownError", 1),
    (Fault.cut_answer("head", **SUBMISSION), "complete", "SubmissionUnknownError", 1),
    (Fault.cut_answer("body", **SUBMISSION), "complete", "SubmissionUnknownError", 1),
    (Fault.garbage(**SUBMISSION), "complete", "SubmissionUnknownError", 1),
    (Fault.status(503, **SUBMISSION), "complete", "complete", 1),
    (Fault.status(400, '{"detail": "no"}', **SUBMISSION), "InvalidRequestError", "InvalidRequestError", 0),
    (Fault.status(429, headers={"Retry-After": "0"}, **SUBMISSION), "complete", "complete", 1),
    (Fault.page(**SUBMISSION), "ProtocolError", "SubmissionUnknownError", 0),
    (Fault.redirect("/elsewhere", **SUBMISSION), "ProtocolError", "ProtocolError", 0),
    (Fault.expired_token(**SUBMISSION), "complete", "complete", 1),
    (Fault.delay(0.2, **SUBMISSION), "complete", "complete", 1),
    (Fault.odd_record({"status": None}, **SUBMISSION), "ProtocolError", "SubmissionUnknownError", 1),
    (Fault.clock_skew(90_000, times=None), "complete", "complete", 1),
    (Fault.compressed("gzip", times=None), "complete", "complete", 1),
    (Fault.compressed("deflate", times=None), "complete", "complete", 1),
    (Fault.feed_cut(), "complete", "complete", 1),
    (Fault.feed_cut(ending="reset"), "complete", "complete", 1),
    (Fault.feed_cut(ending="no bytes"), "complete", "complete", 1),
    (Fault.feed_cut(ending="garbage"), "complete", "complete", 1),
    (Fault.feed_cut(ending="bye"), "complete", "complete", 1),
]
IDS = [
    f"{fault.kind} {fault.ending if fault.kind == 'feed cut' else fault.code or fault.coding}" for fault, *_ in OUTCOMES
]


async def check(platform: FakePlatform, fault: Fault, keyed: str, unkeyed: str, jobs: int, *, keys: bool) -> None:
    seconds = 1 if fault.kind in {"no answer", "slow answer"} else 20  # a busy machine may take long
    async with platform.connection(read_timeout=seconds, attempt_timeout=2 * seconds) as connection:
        if keys:  # the first submission shows that keys are honoured
            await connection.create_job("simulon_gaussian", PROGRAM, shots=1)
        else:
            await connection.ping()
        platform.faults.add(fault)
        platform.disconnect()
        async with anyio.create_task_group() as group:
            if fault.kind == "feed cut":  # the job must last until there is a feed
                platform.run_time = None
                group.start_soon(complete_after_a_fault, platform)
            assert await outcome_of_submitting(connection) == (keyed if keys else unkeyed)
    # With a key, a submission whose answer was lost is repeated, and makes no second job.
    assert len(platform.jobs) == (1 + max(keyed == "complete", jobs) if keys else jobs)
    assert platform.faults.applied() >= 1
    struck = [request for request in platform.requests if request.faults]
    assert [request.faults[0] for request in struck] == [fault.kind] * len(struck)
    assert bool(struck) is (fault.kind not in {"refused", "unresolved"})
    assert fault.kind != "expired token" or struck[0].status == 401


async def complete_after_a_fault(platform: FakePlatform) -> None:
    while not platform.faults.applied():  # noqa: ASYNC110 - the server is in another thread
        await anyio.sleep(0.02)
    for job in platform.jobs:
        if not job.status.is_final:
            job.complete()


@pytest.mark.parametrize("keys", [True, False], ids=["keys", "no keys"])
@pytest.mark.parametrize(("fault", "keyed", "unkeyed", "jobs"), OUTCOMES, ids=IDS)
async def test_a_fault_in_memory(fault: Fault, keyed: str, unkeyed: str, jobs: int, keys: bool) -> None:
    platform = FakePlatform(run_time=0.5, keys=keys)
    await check(platform, fault, keyed, unkeyed, jobs, keys=keys)


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("fault", "unkeyed", "jobs"),
    [(fault, unkeyed, jobs) for fault, _, unkeyed, jobs in OUTCOMES if fault.kind not in IN_MEMORY_ONLY],
    ids=[name for name, row in zip(IDS, OUTCOMES, strict=True) if row[0].kind not in IN_MEMORY_ONLY],
)
@pytest.mark.asyncio_only
async def test_a_fault_on_a_socket(fault: Fault, unkeyed: str, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfjobs._tracking.change_feed.FEED_READ_TIMEOUT_SECONDS", 1)
    monkeypatch.setattr("sfjobs._http.rate_model.FIRST_PAUSE_SECONDS", 0.02)
    async with serving(FakePlatform(run_time=0.5, keys=False)) as platform:
        await check(platform, fault, "", unkeyed, jobs, keys=False)


@pytest.mark.real_time
async def test_a_reset_on_connect_meets_the_next_connection() -> None:
    async with serving() as platform, platform.connection() as connection:
        await connection.ping()
        platform.faults.add(Fault.reset("on connect"))
        platform.disconnect()
        await connection.ping()
        assert platform.faults.applied("reset on connect") == 1


@pytest.mark.real_time
async def test_a_server_with_tls_may_speak_none() -> None:
    async with serving(tls=tls_context()) as platform:
        assert platform.url.startswith("https://localhost:")
        async with platform.connection(ca_file=str(CERTIFICATE)) as connection:
            await connection.ping()
            platform.faults.add(Fault.no_tls())
            platform.disconnect()
            with pytest.raises(sfjobs.TLSError):
                await connection.ping()


async def test_a_name_without_an_address_and_no_tls_are_what_they_are_elsewhere() -> None:
    async with FakePlatform(faults=Faults(Fault.unresolved(times=None))).connection(retries=1) as connection:
        with pytest.raises(sfjobs.TransportError, match="name or service not known"):
            await connection.ping()
    async with FakePlatform(faults=Faults(Fault.no_tls())).connection() as connection:
        with pytest.raises(sfjobs.TLSError):
            await connection.ping()


async def test_a_feed_is_cut_after_some_events() -> None:
    platform = FakePlatform(run_time=None, faults=Faults(Fault.feed_cut(after_events=2, ending="reset")))
    async with platform.connection() as connection, anyio.create_task_group() as group:
        jobs = [await connection.create_job("simulon_gaussian", PROGRAM, shots=1) for _ in range(4)]
        group.start_soon(sfjobs.wait_all, jobs)
        await anyio.sleep(30)
        for job in platform.jobs:
            job.complete()
            await anyio.sleep(30)
    streams = platform.requests.matching(path="/jobs/changes")
    assert [bool(request.faults) for request in streams][:2] == [True, False]


@pytest.mark.parametrize("fault", [Fault.cut_answer(), Fault.reset("in answer")], ids=lambda fault: fault.kind)
async def test_half_of_a_body_arrives(fault: Fault) -> None:
    platform = FakePlatform(faults=Faults(Fault.status(500, "0123456789", times=1), fault))
    async with httpx.AsyncClient(transport=platform.transport(), base_url=platform.url) as client:
        whole = (await client.get("/jobs")).content
        assert whole == b"0123456789"
        arrived = b""
        async with client.stream("GET", "/jobs") as response:
            with pytest.raises(httpx.TransportError):
                async for piece in response.aiter_raw():
                    arrived += piece
            assert len(arrived) == int(response.headers["content-length"]) // 2


async def test_an_odd_record_may_be_that_of_one_job() -> None:
    platform = FakePlatform(run_time=None)
    odd, plain_one = platform.add_job(), platform.add_job()
    platform.faults.add(Fault.odd_record({"name": "odd"}, job_id=odd.id, times=None))
    async with platform.connection() as connection:
        assert {job.id: job.name async for job in connection.list_jobs()} == {odd.id: "odd", plain_one.id: None}
        assert (await connection.get_job(odd.id)).name == "odd"


@pytest.mark.real_time
def test_faults_that_no_server_can_bring_about_are_refused() -> None:
    for fault in (Fault.refused(), Fault.unresolved(), Fault.no_tls()):
        with pytest.raises(sfjobs.ConfigurationError, match="not possible over a socket"):
            serving(faults=Faults(fault)).__enter__()
    with serving() as platform, pytest.raises(sfjobs.ConfigurationError, match="not possible over a socket"):
        platform.faults.add(Fault.refused())
    platform.faults.add(Fault.refused())  # in memory again
