"""Every name of the modules beside ``sfjobs`` and ``sfjobs.sync``, as users write them."""

from __future__ import annotations

import json
from datetime import UTC, time
from pathlib import Path

import numpy as np

from sfjobs import config, errors, models, platform, results


def handled(error: Exception) -> str:
    """What went wrong, by the class of the error."""
    match error:
        case errors.RateLimitedError():
            return f"{error.is_quota} {(error.retry_after or 0) + 1} {error.retryable}"
        case errors.ServerError() | errors.ConflictError() | errors.InvalidRequestError() | errors.NotFoundError():
            return f"{error.status_code + 1} {error.code} {error.detail} {error.meta.get('field')}"
        case errors.AuthenticationError() | errors.PermissionDeniedError() | errors.ResponseError():
            return error.url.upper() + error.method
        case errors.SubmissionUnknownError():
            return error.idempotency_key + (error.name or "")
        case errors.ProtocolError():
            return f"{error.reason} {error.is_lasting}"
        case errors.TLSError() | errors.RequestTimeoutError() | errors.TransportError() | errors.RequestFailedError():
            return f"{error.sent} {error.attempts + 1}"
        case errors.WaitTimeoutError():
            return ", ".join(error.done + error.pending)
        case (
            errors.FailedJobError() | errors.CancelledJobError() | errors.InvalidJobOperationError() | errors.JobError()
        ):
            return f"{error.job_id.upper()} {error.status and error.status.is_final} {error.meta}"
        case errors.ResultCorruptError() | errors.ResultTooLargeError() | errors.ResultUnavailableError():
            return error.job_id
        case errors.ResultError():
            return error.job_id + error.url
        case errors.ConfigurationError() | errors.JournalError() | errors.SFJobsError():
            return f"{error.retryable} {error.args}"
        case errors.ConnectionClosedError():
            return str(error)
        case _:
            return repr(error)


def made() -> list[models.JSONValue]:
    day = (time(9, tzinfo=UTC), time(17, tzinfo=UTC))
    specification = models.DeviceSpecification(target="a", modes={"spatial": 2}, gate_parameters={"r": [0, [0.5, 1]]})
    device = models.Device(target="a", status="online", expected_uptime={"monday": day}, specification=specification)
    cursor = models.Cursor("/jobs/changes?since=e.1", "e", 1)
    print(device.is_online, cursor.covers(models.Cursor(cursor.path)), cursor.epoch, (cursor.number or 0) + 1)
    snapshot = models.JobSnapshot(id="j", status=models.JobStatus.OPEN, meta={"a": [1, None]}, cursor=cursor)
    outlook = models.JobOutlook(job_id=snapshot.id, status=snapshot.status, age=1.0)
    text: str = models.in_seconds(outlook.age or 0.0)
    return [text, 1, 2.5, None, True, {"a": [snapshot.meta]}, json.loads("{}")]


class NoBytes:
    """The body of a response, for ``receive``."""

    length: int | None = None

    async def read_into(self, buffer: memoryview) -> int:
        return 0 * len(buffer)


async def bytes_to_samples() -> results.Array:
    result: results.Result = await results.receive(NoBytes(), max_bytes=1 << 20, job_id="j")
    stacked: results.Array = results.move_vac_modes(result.samples + 1, 2, crop=True)
    print(stacked > 0, np.asarray(stacked).sum(), results.ResultStream.__name__)
    return stacked


def configured() -> None:
    arguments: config.SettingsArguments = {"url": "http://127.0.0.1:8080", "retries": 2, "api_key": config.Secret("k")}
    settings = config.Settings(**arguments)
    folder, size = config.known_cache(config.DEFAULT_PROFILE)
    print(settings.url, folder, size + 1, config.config_path({}), config.known_url("lab") or "", config.own_folder(str))
    entry = config.KeyringEntry(url=settings.url, profile="lab")
    config.check_keyring()
    entry.store(config.Secret("key"))
    print(entry.url, entry.profile, entry.service, entry.fetch() == settings.api_key)
    config.store_profile("config.toml", "lab", {"url": settings.url}, without=["api_key"])


def served() -> None:
    limits = platform.Limits(shots=1000)
    sizes: int = (
        limits.head + limits.headers + limits.query + limits.body + limits.circuit + limits.quota + limits.running
    )
    sizes += limits.storage + limits.requests + limits.streams + limits.downloads + limits.bodies + limits.connections
    print(sizes, limits.modes + limits.memory + limits.shots, limits.time)
    kept = platform.Retention(results=86_400.0, jobs=None)
    print(kept.results, kept.jobs, kept.free_disk + 1)
    settings = platform.PlatformSettings(data_dir=Path("data"), workers=2, limits=limits, retention=kept)
    print(settings.retention == kept)
    print(settings.api_key.name, settings.database.name, settings.results.name, settings.data_dir, settings.workers)
    print(settings.test_targets, settings.access_token_lifetime, settings.limits == limits, settings.runner)
    with platform.serving(settings=settings, port=0) as running:
        here: platform.Platform = running
        print(here.url, here.host, here.port + 1, here.data_dir, here.workers, here.is_public, here.api_key)
    platform.run_server(port=8000, on_ready=lambda ready: print(ready.url))
