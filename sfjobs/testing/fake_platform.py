"""``FakePlatform``: a platform in memory, whose jobs end when the test says so."""

from __future__ import annotations

from collections.abc import Sequence

from .clock import VirtualClock
from .fake_backend import FakeBackend
from .fake_job import FakeJob, ResultSource
from .faults import Faults
from .scripted_platform import ScriptedPlatform

TARGETS = ("simulon_gaussian", "X8_01", "X12_01")


class FakePlatform(ScriptedPlatform):
    """
    A platform in memory for unit tests: it speaks the protocol, and runs no program.

        platform = FakePlatform(result=[[0, 1], [1, 0]])
        async with platform.connection() as connection:  # or: with platform.blocking_connection() as connection
            result = await connection.create_job("simulon_gaussian", program, shots=2)

    ``result`` is what jobs give: an array of shape (shots, modes), a list of numpy arrays, or a function of the ``FakeJob``.
    Without it each job gives zeros of its program's shots and modes, as a vacuum does. ``run_time`` is the number of seconds
    after which a job ends by itself; with None it stays queued until the test calls ``job.complete()``, ``job.fail()`` or
    ``job.cancel()``. A job that a client cancels is ``cancel_pending`` for ``cancel_time`` seconds.

    These seconds are of the caller's event loop, so they pass at once in ``virtual_time``, or of ``clock``, which the test moves
    itself. ``latency`` is in seconds of the event loop. ``feed``, ``keys`` and ``batches`` say which extensions the platform
    offers: the change feed, idempotency keys and batch submission. One platform may serve any number of connections, async and
    blocking, in any threads; ``serving`` puts it on a socket.
    """

    def __init__(
        self,
        *,
        result: ResultSource | None = None,
        run_time: float | None = 0.0,
        cancel_time: float = 0.0,
        faults: Faults | None = None,
        latency: float = 0.0,
        token_lifetime: float = 300.0,
        clock: VirtualClock | None = None,
        targets: Sequence[str] = TARGETS,
        feed: bool = True,
        keys: bool = True,
        batches: bool = True,
    ) -> None:
        self.result = result
        self.run_time = run_time
        self.cancel_time = cancel_time
        self._fake = FakeBackend(
            self, faults, latency, clock, targets=targets, token_lifetime=token_lifetime, feed=feed, keys=keys,
            batches=batches,
        )  # fmt: skip
        super().__init__(self._fake)

    @property
    def jobs(self) -> list[FakeJob]:
        """All jobs, oldest first."""
        return self._fake.jobs()

    def job(self, job_id: str) -> FakeJob:
        """
        Return the job with this id.

        Raises:
            KeyError: there is no such job.
        """
        return self._fake.job(job_id)

    def add_job(
        self,
        *,
        name: str | None = None,
        target: str = "simulon_gaussian",
        program: str = "",
        run_time: float | None = None,
    ) -> FakeJob:
        """Add a job that no request has submitted. It stays queued until the test ends it, or for ``run_time`` seconds."""
        return self._fake.add(name=name, target=target, program=program, run_time=run_time)
