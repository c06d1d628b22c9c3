"""A program, and the outcome of a submission as a word."""

from __future__ import annotations

import sfjobs

PROGRAM = "name v\nversion 1.0\n\nVac | 0\nMeasureFock() | [0, 1]\n"


async def outcome_of_submitting(connection: sfjobs.Connection) -> str:
    """Submit, wait and fetch; return the status or the name of the error."""
    try:
        job = await connection.create_job("simulon_gaussian", PROGRAM, shots=3)
        return (await job.wait(timeout=30)).value
    except sfjobs.SFJobsError as error:
        return type(error).__name__
