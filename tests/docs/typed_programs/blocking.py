"""Every name of ``sfjobs.sync``, as users write them."""

from __future__ import annotations

from sfjobs import Submission, sync

PROGRAM = "name p\nversion 1.0\ntarget X8_01 (shots=10)\nMeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]\n"


def connect() -> None:
    with sync.Connection("http://127.0.0.1:8080", api_key="key") as connection:
        print(connection.ping(), connection.settings.url)
        targets: list[str] = [device.target for device in connection.list_devices() if device.is_online]
        print(targets, connection.get_device("X8").specification, connection.recover().unknown)
        one_job(connection)
        many_jobs(connection)
        a_group(connection)
        engine(connection)
    connection.close()


def one_job(connection: sync.Connection) -> None:
    job: sync.Job = connection.create_job("X8_01", PROGRAM, shots=10, name="one")
    print(connection.program_text("X8_01", PROGRAM, shots=10), sync.Job.from_dict(job.to_dict(), connection) == job)
    job.refresh()
    print(job.wait(60, fetch_result=False).is_final, job.status.value, job.why().age, job.snapshot.id, job.meta)
    print(job.name, job.target, job.created_at, job.started_at, job.finished_at, job.running_time, job.connection)
    job.raise_for_status()
    job.require_result()
    result = job.result if job.has_result else job.finish()
    print(result.samples > 0, job.fetch_result().samples + 1, job.cancel(wait=True, timeout=5))
    with connection.open_result(job.id) as stream:
        found: sync.ResultStream = stream
        print(
            found.length,
            sum(len(piece) for piece in found),
            found.array() - 1,
            found.result().shots,
            found.save("r.npz"),
        )
    stream.close()
    print(connection.get_job(job.id), connection.get_job_circuit(job.id), connection.get_job_result(job.id).raw * 2)
    print(connection.cancel_job(job.id).is_final)
    job.delete()
    connection.delete_job(job.id)


def many_jobs(connection: sync.Connection) -> None:
    jobs: list[sync.Job] = list(connection.list_jobs(status="queued", limit=10))
    stream: sync.JobStream[sync.Job] = connection.create_jobs("X8_01", [PROGRAM], window=10)
    with stream:
        jobs += [item for item in stream if isinstance(item, sync.Job)]
    stream.close()
    events: sync.Events[sync.Job] = connection.events(jobs + stream.submitted)
    with events:
        print([(event.job.id, event.old, event.new) for event in events])
    events.close()
    completed: sync.Completions = sync.as_completed(jobs, timeout=60)
    with completed:
        print([job.result.samples > 0 for job in completed])
    completed.close()
    print(sync.first(jobs, 1)[0].id, sync.wait_all(jobs, progress=True)[0].is_final, sync.cancel_all(jobs, wait=True))


def a_group(connection: sync.Connection) -> None:
    group: sync.JobGroup = sync.JobGroup.open("sweep", connection)
    print(group.add("X8_01", PROGRAM, name="m").index, group.add_all("X8_01", [Submission(PROGRAM, name="n")]))
    print(group.submit(window=5).added, group.wait(60).is_over, group.rerun_failed(), len(group), group.name)
    print([result.samples + 1 for result in group.results() if result is not None], group.cancel().cancelled)
    print(group.members[0].key, group.jobs[0].id, group.progress, group.attempts(0), group.connection)
    group.remove()


def engine(connection: sync.Connection) -> None:
    with sync.RemoteEngine("X8", connection) as engine:
        print(engine.run(PROGRAM, shots=10).samples > 0, engine.run_async(PROGRAM).id, engine.device().status)
        print(engine.target, engine.connection)
    engine.close()
