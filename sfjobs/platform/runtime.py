"""Open everything a platform is made of, in order, and close it in the reverse order: the one place that knows all parts."""

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
from .execution.process_executor import ProcessExecutor
from .jobs.change_feed import ChangePublisher
from .jobs.scheduler import Scheduler
from .settings import PlatformSettings, locked_data_dir
from .store.accounts import LOCAL, hash_api_key, new_api_key
from .store.jobs import Store

_log = logging.getLogger(__name__)
_NO_KEYS: Final = (
    "other machines could reach this address, and no API key has been made for them\n"
    "Make one, `sfjobs platform keys add NAME --data-dir {data_dir}`, or listen at 127.0.0.1."
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """An open platform: the application to serve, the key of its account, and what is told when serving ends."""

    app: ASGIApp
    api_key: str = field(repr=False)
    executor: ProcessExecutor
    feed: ChangePublisher
    scheduler: Scheduler


@asynccontextmanager
async def open_platform(settings: PlatformSettings, *, public: bool = False) -> AsyncIterator[Runtime]:
    """
    Inside, jobs run. Raises ``ConfigurationError`` if the data directory cannot be used or is in use, and if others than this
    machine's users could come (``public``), but nobody has made a key for them.
    """
    with ExitStack() as stack:
        stack.enter_context(locked_data_dir(settings))
        store = stack.enter_context(closing(Store(settings.database)))
        if public and not store.has_keys_made_on_purpose:
            raise ConfigurationError(_NO_KEYS.format(data_dir=shlex.quote(str(settings.data_dir))))
        _sweep(settings.results, store)
        api_key = _api_key(settings.api_key, store)
        devices = build_devices(test_targets=settings.test_targets)
        executor = ProcessExecutor(
            settings.results,
            workers=settings.workers,
            runner=settings.runner,
            limits=settings.limits,
        )
        async with executor, Scheduler(store, executor, devices) as scheduler:
            feed = ChangePublisher(store, scheduler)
            app = create_app(
                store=store,
                scheduler=scheduler,
                tokens=AccessTokens(store, lifetime=settings.access_token_lifetime),
                devices=devices,
                results=settings.results,
                parse=parse,
                feed=feed,
                limits=settings.limits,
            )
            yield Runtime(app, api_key, executor, feed, scheduler)


def _sweep(results: Path, store: Store) -> None:
    """Remove what a crash has left: results that no job has, since the platform ended before it could say so."""
    kept = store.result_names()
    for path in results.iterdir():
        if path.name not in kept and path.is_file():  # a folder is somebody else's, as ``lost+found`` of a disk is
            path.unlink()


def _api_key(path: Path, store: Store) -> str:
    """
    The key in the file, made at first start; the store has only its hash, the file is readable by this user only. Without the
    file there is a new key, and the one that was in it is revoked. Raises ``ConfigurationError`` if the file cannot be used.
    """
    account = store.ensure_account(LOCAL)
    try:
        api_key = path.read_text().strip() if path.exists() else ""
        if not api_key:
            store.revoke_key(LOCAL)
            api_key = new_api_key()
            _write_durably(path, f"{api_key}\n")
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"the file {path}, which has the API key, cannot be used: {error}") from error
    store.add_key(account, hash_api_key(api_key))
    if store.key(hash_api_key(api_key)) is None:
        _log.warning("the API key in %s has been revoked: delete the file to get another", path)
    return api_key


def _write_durably(path: Path, text: str) -> None:
    """As a whole or not at all: an empty file would be the key that anyone has."""
    unfinished = path.with_name(path.name + ".part")
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
