"""Open all parts of a platform in order, and close them in the reverse order. The only module that knows all parts."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp

from ..errors import ConfigurationError
from .api.app import create_app
from .api.tokens import AccessTokens
from .blackbird import parse
from .devices import build_devices
from .execution.executor import Executor, PlatformTrouble
from .execution.process_executor import SIMULATE, ProcessExecutor
from .jobs.change_feed import ChangePublisher
from .jobs.check_pool import CheckPool
from .jobs.cleaner import Cleaner
from .jobs.disk_watch import DiskWatch
from .jobs.preparation import Preparation
from .jobs.program_check import ProgramReader
from .jobs.scheduler import Scheduler
from .private_files import make_private
from .results.folder import ResultFolder
from .settings import PlatformSettings, locked_data_dir
from .store.api_keys import LOCAL, has_created_key, hash_api_key, new_api_key
from .store.interface import AccountStore
from .store.sqlite.jobs import SQLiteStore

_log = logging.getLogger(__name__)
_NO_WORKER: Final = (
    "no worker can be started, so that no job could run: {reason}\n"
    "Check `--memory-limit`, the processes and open files that this user may have (`ulimit -u -n`), and the installation."
)
_NO_KEYS: Final = (
    "other machines could reach this address, and no API key has been made for them\n"
    "Make one with `sfjobs platform keys add NAME --data-dir {data_dir}`, or listen at 127.0.0.1."
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """An open platform: the application, the API key of the first start, and the parts that the server needs to stop it."""

    app: ASGIApp
    api_key: str = field(repr=False)
    feed: ChangePublisher
    scheduler: Scheduler


@asynccontextmanager
async def open_platform(settings: PlatformSettings, *, public: bool = False) -> AsyncIterator[Runtime]:
    """
    Run a platform; jobs run inside the ``async with`` block.

    Raises:
        ConfigurationError: the data directory cannot be used or is in use, no worker can be started, or other machines could
            connect (``public``) and no key was made for them.
    """
    with ExitStack() as stack:
        stack.enter_context(locked_data_dir(settings))
        store = stack.enter_context(closing(SQLiteStore(settings.database)))
        # After the store has been recognised: a directory of a newer version stays as it is.
        make_private(settings.data_dir, settings.results)
        if public and not has_created_key(store):
            raise ConfigurationError(_NO_KEYS.format(data_dir=shlex.quote(str(settings.data_dir))))
        results = ResultFolder(settings.results)
        cleaner = Cleaner(store, results, settings.retention)
        await cleaner.finish_deletions()
        try:
            results.reconcile(store.result_names())
        except OSError as error:
            raise ConfigurationError(f"the folder of results {settings.results} cannot be used: {error}") from error
        api_key = _api_key(settings.api_key, store)
        devices = build_devices(test_targets=settings.test_targets)
        executor = ProcessExecutor(
            settings.results, workers=settings.workers, runner=settings.runner, limits=settings.limits
        )
        preparation = Preparation() if settings.runner == SIMULATE else None
        reader = ProgramReader(devices, parse, settings.limits, preparation)
        checks = CheckPool(reader, settings.limits, test_targets=settings.test_targets)
        async with executor:
            problem = await _start_problem(executor)
            if problem is None:
                limit = settings.limits.running or None
                async with (
                    checks,
                    Scheduler(store, executor, devices, running_limit=limit) as scheduler,
                    DiskWatch(scheduler, settings.data_dir, settings.retention.free_disk),
                    cleaner,
                ):
                    feed = ChangePublisher(store, scheduler)
                    app = create_app(
                        store=store,
                        scheduler=scheduler,
                        tokens=AccessTokens(store, lifetime=settings.access_token_lifetime),
                        devices=devices,
                        results=results,
                        checks=checks,
                        feed=feed,
                        cleaner=cleaner,
                        limits=settings.limits,
                    )
                    yield Runtime(app, api_key, feed, scheduler)
        if problem is not None:  # not inside of the executor, whose task group would wrap it
            raise ConfigurationError(_NO_WORKER.format(reason=problem))


async def _start_problem(executor: Executor) -> str | None:
    """Wait until a worker is ready. Return why none is: a platform on which no job can run must not announce itself."""
    try:
        await executor.wait_ready()
    except PlatformTrouble as error:
        return error.detail
    return None


def _api_key(path: Path, accounts: AccountStore) -> str:
    """
    Return the key in the file, which is created at the first start, for this user only. If the file was deleted, the old key is
    revoked and a new one created. Raises ``ConfigurationError`` if the file cannot be used.
    """
    try:
        api_key = path.read_text().strip() if path.exists() else ""
        if not api_key:
            accounts.revoke_key(LOCAL)
            api_key = new_api_key()
            _write_durably(path, f"{api_key}\n")
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"the file {path}, which has the API key, cannot be used: {error}") from error
    accounts.add_key(accounts.ensure_account(LOCAL), hash_api_key(api_key), name=LOCAL)
    if accounts.key(hash_api_key(api_key)) is None:
        _log.warning("the API key in %s has been revoked; delete the file to get another", path)
    return api_key


def _write_durably(path: Path, text: str) -> None:
    """Write a file completely or not at all: an empty file would be an empty key."""
    unfinished = path.with_name(path.name + ".part")
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
