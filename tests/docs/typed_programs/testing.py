"""Every name of ``sfjobs.testing``, as users write them."""

from __future__ import annotations

from sfjobs import sync, testing

PROGRAM = "Vac | 0\nMeasureFock() | 0\n"


def faults() -> testing.Faults:
    """Each fault once."""
    found = testing.Faults(testing.Fault.clock_skew(60.0, times=None), testing.Fault.compressed("gzip", damaged=True))
    found.add(testing.Fault.cut_answer("head"), testing.Fault.delay(1.0), testing.Fault.expired_token())
    found.add(
        testing.Fault.feed_cut(2), testing.Fault.garbage(), testing.Fault.lost_answer(), testing.Fault.no_answer()
    )
    found.add(testing.Fault.no_tls(), testing.Fault.odd_record({"status": None}), testing.Fault.page(200))
    found.add(testing.Fault.redirect("/elsewhere"), testing.Fault.refused(), testing.Fault.reset("before answer"))
    found.add(testing.Fault.slow_answer(0.1), testing.Fault.status(503, "busy"), testing.Fault.unresolved())
    for fault in found:
        print(fault.kind, fault.nth + 1, fault.times, fault.method, fault.path, fault.code + 1, dict(fault.headers))
        print(fault.body, fault.seconds + 1, dict(fault.fields), fault.job_id, fault.events, fault.ending, fault.coding)
        print(fault.is_damaged, fault.matches("GET", "/jobs"))
    print(found.applied() + 1, found.for_connection(), found.for_request("GET", "/jobs"))
    with found.checked_by(print):
        pass
    found.clear()
    return found


def scripted(platform: testing.ScriptedPlatform) -> None:
    platform.latency = platform.latency + 0.1
    platform.faults.add(testing.Fault.status(429))
    with platform.blocking_connection(retries=2) as connection:
        here: sync.Connection = connection
        print(here.ping(), platform.url, platform.api_key, platform.settings(retries=1).retries, platform.transport())
    platform.expire_tokens()
    platform.disconnect()
    log: testing.RequestLog = platform.requests
    request: testing.LoggedRequest = log[0]
    print(len(log), log.count("POST", "/jobs") + 1, log.matching("GET", "/jobs/*"), request.json, request.status)
    print(request.method, request.path, request.params, request.headers, request.body, request.time, request.faults)
    log.append(request)
    log.clear()


async def in_memory() -> None:
    clock = testing.VirtualClock()
    clock.on_advance(lambda: None)
    platform = testing.FakePlatform(run_time=None, faults=faults(), clock=clock)
    async with platform.connection() as connection:
        job = await connection.create_job("X8_01", PROGRAM, shots=10)
        fake: testing.FakeJob = platform.job(job.id)
        print(fake.id, fake.name, fake.target, fake.status.is_final, fake.shots + fake.modes, fake.program, fake.meta)
        fake.start()
        fake.end_after(5.0)
        clock.advance(10.0)
        fake.complete()
        fake.fail("it broke")
        fake.cancel()
        print(platform.add_job(name="other").id, len(platform.jobs))
    scripted(platform)


def served() -> None:
    try:
        testing.run_in_virtual_time(in_memory, backend="trio")
    except testing.Deadlock as error:
        print(error, testing.virtual_time("asyncio")[0])
    manager: testing.Served[testing.EmbeddedPlatform] = testing.serving(testing.EmbeddedPlatform(workers=2))
    with manager as platform:
        scripted(platform)
