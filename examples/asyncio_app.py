"""
Jobs inside an asyncio application: what the handlers of a web service would do, without the web framework.

    python examples/asyncio_app.py

One connection serves all requests. A request waits as long as its client does. The job goes on without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import sfjobs
from sfjobs.platform import serving

SQUEEZER = """\
name squeezer
version 1.0
target simulon_gaussian (shots={shots})

Squeezed({squeezing!r}) | 0
MeasureFock() | 0
"""


class Service:
    """Submits squeezed light and reports on it. The service keeps no state: a job is found again by its id."""

    def __init__(self, connection: sfjobs.Connection) -> None:
        self._connection = connection

    async def submit(self, squeezing: float, shots: int = 10_000) -> str:
        """POST /squeezers"""
        program = SQUEEZER.format(squeezing=squeezing, shots=shots)
        job = await self._connection.create_job("simulon_gaussian", program, name="squeezer")
        return job.id

    async def result(self, job_id: str, timeout: float) -> str:
        """GET /squeezers/{job_id}, held open for up to ``timeout`` seconds"""
        job = await self._connection.get_job(job_id)
        try:
            await job.wait(timeout=timeout)
            job.raise_for_status()
        except sfjobs.WaitTimeoutError:
            return f"202 still {job.status}, ask again"
        except sfjobs.FailedJobError as error:
            return f"422 {error.meta.get('error-detail', 'no reason given')}"
        except sfjobs.CancelledJobError:
            return "410 cancelled"
        return f"200 mean photon number {job.result.mean_photon_number()[0]:.3f}"

    async def cancel(self, job_id: str) -> str:
        """DELETE /squeezers/{job_id}"""
        try:
            return f"202 {await self._connection.cancel_job(job_id)}"
        except sfjobs.InvalidJobOperationError:
            return "409 it has ended already"


async def many_clients(service: Service) -> None:
    async def client(squeezing: float) -> str:
        return await service.result(await service.submit(squeezing), timeout=60)

    values = [0.2, 0.4, 0.6, 0.8, 1.0]
    async with asyncio.TaskGroup() as group:
        clients = {squeezing: group.create_task(client(squeezing)) for squeezing in values}
    for squeezing, task in clients.items():
        print(f"squeezing {squeezing}: {task.result()}")


async def bad_request(service: Service) -> None:
    try:
        await service.submit(squeezing=30.0)  # 260 dB: more than a double can hold, so the platform refuses it
    except sfjobs.ConflictError as error:
        print(f"squeezing 30.0: 422 {error.detail}")


async def client_that_hangs_up(service: Service) -> None:
    job_id = await service.submit(squeezing=0.5)
    request = asyncio.create_task(service.result(job_id, timeout=60))
    await asyncio.sleep(0)  # the handler has begun
    request.cancel()  # what web frameworks do when the client is gone
    await asyncio.wait([request])
    print(f"hung up: request cancelled: {request.cancelled()}, and later: {await service.result(job_id, timeout=60)}")


async def impatient_client(service: Service) -> None:
    job_id = await service.submit(squeezing=0.5, shots=10_000_000)
    print(f"impatient: {await service.result(job_id, timeout=0.05)}")
    print(f"impatient: cancels: {await service.cancel(job_id)}, and later: {await service.result(job_id, timeout=60)}")


async def main(settings: sfjobs.Settings) -> None:
    async with sfjobs.Connection(settings=settings) as connection:
        service = Service(connection)
        await many_clients(service)
        await bad_request(service)
        await client_that_hangs_up(service)
        await impatient_client(service)


@contextmanager
def any_platform() -> Iterator[sfjobs.Settings]:
    """The platform that is configured, else one on this machine for as long as this program runs."""
    settings = sfjobs.Settings.find()
    if settings is not None:
        yield settings
        return
    print("No platform is configured: starting one on this machine.")
    with serving() as platform:
        yield sfjobs.Settings(url=platform.url, api_key=platform.api_key, poll_interval_min=0.05)


if __name__ == "__main__":
    with any_platform() as settings:
        asyncio.run(main(settings))
