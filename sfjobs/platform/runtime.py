"""Open everything a platform is made of, in order, and close it in the reverse order: the one place that knows all parts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from starlette.types import ASGIApp

from .app import create_app
from .blackbird import parse
from .devices import build_devices
from .execution.processes import ProcessExecutor
from .feed import ChangeFeed
from .scheduler import Scheduler
from .settings import PlatformSettings, locked_data_dir
from .store import Store
from .tokens import Tokens, hash_api_key, new_api_key

_ACCOUNT = "local"


@dataclass(frozen=True, slots=True)
class Runtime:
    """An open platform: the application to serve, the key of its account, and the feed, to be closed when serving ends."""

    app: ASGIApp
    api_key: str = field(repr=False)
    executor: ProcessExecutor
    feed: ChangeFeed


@asynccontextmanager
async def open_platform(settings: PlatformSettings) -> AsyncIterator[Runtime]:
    """Inside, jobs run. Raises ``ConfigurationError`` if the data directory cannot be used or is in use."""
    with ExitStack() as stack:
        stack.enter_context(locked_data_dir(settings))
        for unfinished in settings.results.glob("*.part"):
            unfinished.unlink()
        store = stack.enter_context(closing(Store(settings.database)))
        api_key = _api_key(settings.api_key, store)
        devices = build_devices(test_targets=settings.test_targets)
        executor = ProcessExecutor(
            settings.results,
            workers=settings.workers,
            runner=settings.runner,
            time_limit=settings.time_limit,
            memory_limit=settings.memory_limit,
        )
        async with executor, Scheduler(store, executor, devices) as scheduler:
            feed = ChangeFeed(store, scheduler)
            app = create_app(
                store=store,
                scheduler=scheduler,
                tokens=Tokens(store, lifetime=settings.access_token_lifetime),
                devices=devices,
                results=settings.results,
                parse=parse,
                feed=feed,
            )
            yield Runtime(app, api_key, executor, feed)


def _api_key(path: Path, store: Store) -> str:
    """The key in the file, made at first start; the store has only its hash, the file is readable by this user only."""
    account = store.ensure_account(_ACCOUNT)
    try:
        api_key = path.read_text().strip()
    except FileNotFoundError:
        api_key = new_api_key()
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"{api_key}\n")
    store.add_key(account, hash_api_key(api_key))
    return api_key
