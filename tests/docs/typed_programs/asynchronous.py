"""Every name of ``sfjobs``, as users write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt

import sfjobs

PROGRAM = "name p\nversion 1.0\ntarget X8_01 (shots=10)\nMeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]\n"


async def connect() -> None:
    key = sfjobs.Secret.wrap("key") or sfjobs.Secret("other")
    print(len(key.reveal()), sfjobs.__version__, sfjobs.sync.__name__)
    settings = sfjobs.Settings(url="http://127.0.0.1:8080", api_key=key)
    found: sfjobs.Settings | None = sfjobs.Settings.find("lab", retries=2)
    checked = sfjobs.Settings.for_login(url=settings.url, api_key="key")
    print(checked.url, sfjobs.Settings.load("lab", url=settings.url))
    settings = (found or settings).with_defaults(journal="on")
    seconds: float = settings.connect_timeout + settings.read_timeout + settings.attempt_timeout
    seconds += settings.poll_interval_min + settings.poll_interval_max + settings.retries
    size: int = settings.max_result_bytes + settings.result_cache_bytes
    texts: list[str | None] = [
        settings.ca_file,
        settings.result_cache,
        settings.journal,
        settings.api_version,
        settings.http,
    ]
    print(settings.api_key or settings.access_token, dict(settings.sources), seconds, size, texts)
    async with sfjobs.DirectTransport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", settings.url))
        print(response.status_code)
    async with sfjobs.Connection(settings=settings, transport=sfjobs.DirectTransport()) as connection:
        is_up: bool = await connection.ping()
        print(is_up, connection.settings.url)
        await devices(connection)
        await one_job(connection)
        await many_jobs(connection)
        await a_group(connection)
        await engine(connection)
    await connection.aclose()


async def devices(connection: sfjobs.Connection) -> None:
    online: list[sfjobs.Device] = [device for device in await connection.list_devices() if device.is_online]
    device = await connection.get_device(online[0].target)
    hours = {day: (start.hour, end.hour) for day, (start, end) in device.expected_uptime.items()}
    print(device.paused_until and device.paused_until.year, device.pause_reason)
    print(device.status, device.created_at and device.created_at.year, device.certificate, hours)
    specification: sfjobs.DeviceSpecification | None = device.specification
    if specification is not None:
        print(specification.target, specification.layout.splitlines(), specification.compiler[:1])
        modes = specification.modes
        print(modes + 1 if isinstance(modes, int) else modes["spatial"], specification.gate_parameters.get("r0"))


async def one_job(connection: sfjobs.Connection) -> None:
    job: sfjobs.Job = await connection.create_job("X8_01", PROGRAM, shots=10, name="one", params={"r": 0.5})
    text: str = await connection.program_text("X8_01", Path("p.xbb"), shots=10)
    kept = job.to_dict()
    again = sfjobs.Job.from_dict(kept, connection)
    print(again == sfjobs.Job(job.id, sfjobs.JobStatus.OPEN, connection), job.name, job.meta.get("attempts"), text)
    await job.refresh()
    status: sfjobs.JobStatus = await job.wait(timeout=60, fetch_result=False)
    print(status.is_final and status.is_known, status == sfjobs.JobStatus("queued"), status.upper())
    known = [sfjobs.JobStatus.OPEN, sfjobs.JobStatus.QUEUED, sfjobs.JobStatus.CANCEL_PENDING]
    known += [sfjobs.JobStatus.CANCELLED, sfjobs.JobStatus.COMPLETED, sfjobs.JobStatus.FAILED]
    times: list[datetime | None] = [job.created_at, job.started_at, job.finished_at]
    print(known, job.target, times, (job.running_time or 0.0) + 1, job.connection is connection)
    if not job.has_result:
        job.raise_for_status()
        job.require_result()
        await job.fetch_result(into=np.zeros((10, 8), np.uint8))
        await job.fetch_result(mmap=True)
    result: sfjobs.Result = job.result if job.has_result else await job.finish()
    await statistics(result)
    await statistics(await job)
    outlook(job.why())
    snapshot(job.snapshot, again.snapshot)
    print(await job.cancel(wait=True, timeout=10), await connection.cancel_job(job.id))
    await job.delete()
    await connection.delete_job(job.id)
    async with connection.open_result(job.id) as stream:
        await streamed(stream)
    found = await connection.get_job(job.id)
    print(found.status, await connection.get_job_circuit(job.id), (await connection.get_job_result(job.id)).shots)


def outlook(outlook: sfjobs.JobOutlook) -> None:
    seconds = [outlook.age, outlook.last_check, outlook.next_check, outlook.failing_for, outlook.resting_for]
    print(outlook.job_id, outlook.status.value, outlook.started_at, outlook.queue_position, outlook.last_error)
    print(outlook.queue_reason)
    print(outlook.is_told, [value + 1 for value in seconds if value is not None], outlook.rate)


def snapshot(earlier: sfjobs.JobSnapshot, later: sfjobs.JobSnapshot) -> None:
    print(earlier.is_behind(later), later.is_news_after(earlier), dataclasses.asdict(later)["status"])
    print(later.id, later.status.name, later.name, later.target, later.language, later.cursor, dict(later.meta))
    print(later.created_at, later.started_at, later.finished_at, later.running_time)


async def statistics(result: sfjobs.Result) -> None:
    samples: npt.NDArray[np.int64] = result.samples + 1
    clicks: npt.NDArray[np.bool_] = result.samples > 0
    counts = result.counts()
    print(samples, clicks, result.raw.dtype, result.outputs[0], result.metadata["seed"] + 1, result.job_id)
    print(counts.shots, counts.most_common(3), counts[0, 0], counts.patterns + 1, result.num_modes * result.shots)
    numbers = result.mean_photon_number() + result.covariance() @ result.correlations()
    print(numbers, result.photon_number_distribution().sum(), result.threshold() - 1)
    path: Path = result.save("result.npz")
    loaded: sfjobs.Result = sfjobs.Result.load(path, mmap=True)
    print(sfjobs.Result.from_arrays({"arr_0": loaded.raw}), sfjobs.Result([samples], job_id="j").plot("p.png"))


async def streamed(stream: sfjobs.ResultStream) -> None:
    size: int = sum([len(piece) async for piece in stream])
    print(size, stream.length, await stream.array() + 1, await stream.result(), await stream.save("r.npz"))
    await stream.aclose()


async def many_jobs(connection: sfjobs.Connection) -> None:
    programs = [sfjobs.Submission(PROGRAM, shots=5, name="a", target="X8_01", params={"r": 1}, priority=2)]
    print(programs[0].priority)
    first = programs[0]
    print(first.program, first.shots, first.name, first.target, first.params)
    jobs: list[sfjobs.Job] = []
    stream: sfjobs.JobStream = connection.create_jobs("X8_01", programs, shots=10, window=20)
    async with stream:
        async for item in stream:
            if isinstance(item, sfjobs.Refusal):
                print(item.index + 1, item.program, item.error.args)
            else:
                jobs.append(item)
    await stream.aclose()
    jobs += stream.submitted + [job async for job in connection.list_jobs(status="queued", limit=10)]
    async with connection.events(jobs, timeout=60) as events:
        async for event in events:
            change: sfjobs.JobEvent[sfjobs.Job] = event
            print(change.job.id, change.old.value, change.new.is_final, change.at, change.seen_at.isoformat())
    async for job in sfjobs.as_completed(jobs, timeout=60):
        print(job.result.samples > 0)
    fastest: list[sfjobs.Job] = await sfjobs.first(jobs, 2)
    statuses: Sequence[sfjobs.JobStatus] = await sfjobs.wait_all(jobs, timeout=60, progress=True)
    print(fastest, statuses, await sfjobs.cancel_all(jobs, wait=True))
    recovery: sfjobs.Recovery = await connection.recover(give_up=True, adopt={"key": "id"})
    print(recovery.submitted, recovery.refused, recovery.under_way + recovery.of_other_accounts, recovery.set_aside)
    recovered: Sequence[sfjobs.Recovered] = recovery.unknown or recovery.outcomes
    for found in recovered:
        print(found.key, found.outcome == "unknown", found.target, found.name, found.group, found.opened_at.year)
        print(found.job_id, found.reason, found.candidates[:1])


async def a_group(connection: sfjobs.Connection) -> None:
    group: sfjobs.JobGroup = await sfjobs.JobGroup.open("sweep", connection, begin_anew=True)
    print(sfjobs.JobGroup("other", connection).name, group.connection, len(group))
    member: sfjobs.GroupMember = await group.add("X8_01", PROGRAM, shots=10, name="m")
    await group.add_all("X8_01", [sfjobs.Submission(PROGRAM, name="n")])
    print(member.index + member.attempt, member.key, member.state.value, member.target, member.shots, member.name)
    print(member.digest, member.job_id, member.status, member.reason, member.follows, group.attempts(0) + group.members)
    progress: sfjobs.GroupProgress = await group.submit(window=10)
    print(progress.programs, progress.added, progress.in_doubt, progress.refused, progress.given_up, progress.is_over)
    print(progress.unfinished + progress.complete + progress.failed + progress.cancelled == len(group.jobs))
    print(group.progress == await group.wait(60, progress=True), await group.rerun_failed(2), await group.cancel())
    print([result.samples + 1 for result in await group.results() if result is not None])
    await group.remove()


async def engine(connection: sfjobs.Connection) -> None:
    async with sfjobs.RemoteEngine("X8", connection) as engine:
        job = await engine.run_async(PROGRAM, shots=10)
        result = await engine.run(PROGRAM, shots=10, timeout=60, crop=True)
        print(job.id, result.samples - 1, engine.target, engine.connection, (await engine.device()).target)
    await engine.aclose()
