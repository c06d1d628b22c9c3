"""The blocking ``RemoteEngine``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._client.engine import RemoteEngine as AsyncRemoteEngine
from .._protocol.blackbird_template import Params
from .._submission.programs import ProgramLike
from ..models import Device
from ._view import Closeable, View, unwrap
from .connection import Connection, Job, job_view

if TYPE_CHECKING:
    from ..results import Result


class RemoteEngine(Closeable, View[AsyncRemoteEngine]):
    """
    Programs run on one target, such as ``"simulon_gaussian"`` or ``"X8_01"``.

    ``"X8"``, ``"X12"`` and ``"simulon"`` are short for the latest device of the kind. Without ``connection`` the engine opens
    one with the settings of the environment and the configuration file, and ``close`` closes it.
    """

    def __init__(self, target: str, connection: Connection | None = None) -> None:
        self._connection = Connection() if connection is None else connection
        self._is_own = connection is None
        twin, portal = unwrap(self._connection)
        super().__init__(AsyncRemoteEngine(target, twin), portal)

    @property
    def target(self) -> str:
        """The target that runs the programs."""
        return self._async.target

    @property
    def connection(self) -> Connection:
        """The connection that the engine uses."""
        return self._connection

    def device(self) -> Device:
        """Return the target's device with specification and certificate; requested once."""
        return self._portal.call(self._async.device)

    def run(
        self,
        program: ProgramLike,
        *,
        shots: int | None = None,
        name: str | None = None,
        timeout: float | None = None,
        params: Params | None = None,
        crop: bool = False,
    ) -> Result:
        """Submit ``program``, wait for its result, and return it."""
        return self._portal.call(
            self._async.run, program, shots=shots, name=name, timeout=timeout, params=params, crop=crop
        )

    def run_async(
        self,
        program: ProgramLike,
        *,
        shots: int | None = None,
        name: str | None = None,
        params: Params | None = None,
    ) -> Job:
        """Submit ``program``, and return its job without waiting for its end."""
        job = self._portal.call(self._async.run_async, program, shots=shots, name=name, params=params)
        return job_view(job, self._connection)

    def close(self) -> None:
        """Close the connection that the engine has opened; a given ``connection`` stays open."""
        if self._is_own:
            self._connection.close()
