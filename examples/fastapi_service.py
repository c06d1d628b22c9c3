"""
Jobs behind FastAPI: one connection serves all requests, and is opened and closed with the application.

    pip install "sfjobs[platform]" fastapi
    python examples/fastapi_service.py
    curl -X POST 127.0.0.1:8000/squeezers -H "content-type: application/json" -d '{"squeezing": 0.5}'

It keeps no state: any of its processes finds a job again by its id. On SIGTERM or Ctrl-C no request is accepted any more, those
that wait have ``LONGEST_WAIT`` to end, then the connection is closed. The jobs go on.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse

import sfjobs
from sfjobs.platform import serving

LONGEST_WAIT = 20.0
"""Seconds for which a request waits for its job. Proxies end requests after 30 to 60 s, and so should a shutdown."""

SQUEEZER = """\
name squeezer
version 1.0
target simulon_gaussian (shots={shots})

Squeezed({squeezing!r}) | 0
MeasureFock() | 0
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        settings = sfjobs.Settings.find()
        if settings is None:
            print("No platform is configured: starting one on this machine.")
            platform = await stack.enter_async_context(serving())
            settings = sfjobs.Settings(url=platform.url, api_key=platform.api_key)
        app.state.connection = await stack.enter_async_context(sfjobs.Connection(settings=settings))
        await app.state.connection.recover()  # what an earlier process sent and had no response to
        yield
    print("The connection is closed; the jobs go on.", flush=True)


app = FastAPI(title="Squeezers", lifespan=lifespan)


def connection_of(request: Request) -> sfjobs.Connection:
    """Return the connection that all requests share."""
    connection: sfjobs.Connection = request.app.state.connection
    return connection


Shared = Annotated[sfjobs.Connection, Depends(connection_of)]


@app.exception_handler(sfjobs.RequestFailedError)
async def failed(_: Request, error: sfjobs.RequestFailedError) -> JSONResponse:
    """Say what the platform said, with a status for this service's own clients."""
    if isinstance(error, sfjobs.NotFoundError):
        return JSONResponse({"detail": error.detail}, 404)
    if isinstance(error, sfjobs.InvalidRequestError | sfjobs.ConflictError):
        return JSONResponse({"detail": error.detail}, 422)
    wait = getattr(error, "retry_after", None) or 5.0
    return JSONResponse({"detail": "the platform is not available"}, 503, {"Retry-After": f"{wait:.0f}"})


@dataclass
class Squeezer:
    """The body of POST /squeezers."""

    squeezing: float
    shots: int = 10_000


@dataclass
class Outcome:
    """How far a job is, and its result once it is complete."""

    status: sfjobs.JobStatus
    mean_photon_number: list[float] | None = None


@app.post("/squeezers", status_code=202)
async def submit(squeezer: Squeezer, connection: Shared) -> sfjobs.JobSnapshot:
    program = SQUEEZER.format(squeezing=squeezer.squeezing, shots=squeezer.shots)
    job = await connection.create_job("simulon_gaussian", program, name="squeezer")
    return job.snapshot


@app.get("/jobs")
async def jobs(connection: Shared, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> list[sfjobs.JobSnapshot]:
    return [job.snapshot async for job in connection.list_jobs(limit=limit)]


@app.get("/jobs/{job_id}")
async def job(job_id: str, connection: Shared) -> sfjobs.JobSnapshot:
    return (await connection.get_job(job_id)).snapshot


@app.get("/jobs/{job_id}/result")
async def result(
    job_id: str, connection: Shared, response: Response, wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0
) -> Outcome:
    job = await connection.get_job(job_id)
    try:
        await job.wait(timeout=wait)
    except sfjobs.WaitTimeoutError:
        response.status_code = 202  # ask again
        return Outcome(job.status)
    if job.status != sfjobs.JobStatus.COMPLETED:
        raise HTTPException(410, f"the job is {job.status}: {job.meta.get('error-detail', 'no reason given')}")
    return Outcome(job.status, job.result.mean_photon_number().tolist())


@app.delete("/jobs/{job_id}", status_code=202)
async def cancel(job_id: str, connection: Shared) -> sfjobs.JobSnapshot:
    job = await connection.get_job(job_id)
    if not job.status.is_final:
        await job.cancel()
    return job.snapshot


@app.get("/devices")
async def devices(connection: Shared) -> list[sfjobs.Device]:
    return await connection.list_devices()


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    uvicorn.run(app, port=port, timeout_graceful_shutdown=int(LONGEST_WAIT) + 5)
