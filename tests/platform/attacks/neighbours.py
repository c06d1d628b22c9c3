"""A platform that listens, with two accounts: one attacks, and the other must not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from sfjobs.platform import Platform, PlatformSettings, serving
from sfjobs.platform.store.api_keys import create_key
from sfjobs.platform.store.sqlite.accounts import open_accounts

TOKEN_PATH = "/auth/realms/platform/protocol/openid-connect/token"


@dataclass
class Neighbours:
    """Clients of both accounts, with access tokens. ``attacker_key`` is the name of the attacker's API key."""

    platform: Platform
    attacker: httpx.AsyncClient
    bystander: httpx.AsyncClient
    attacker_key: str = "attacker"

    def request(
        self, method: str, path: str, *, body: bytes = b"", headers: str = "", length: int | None = None
    ) -> bytes:
        """Return a request of the attacker as it is sent; ``length`` announces a longer body than the one here."""
        size = len(body) if length is None else length
        authorization = self.attacker.headers["authorization"]
        lines = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ncontent-length: {size}\r\n"
        return f"{lines}{headers}\r\n".encode() + body


@asynccontextmanager
async def neighbours(folder: Path, **settings: Any) -> AsyncIterator[Neighbours]:
    data = folder / "data"
    with open_accounts(data, create=True) as accounts:
        keys = [create_key(accounts, name, name) for name in ("attacker", "bystander")]
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(serving(settings=PlatformSettings(data_dir=data, **settings)))
        attacker, bystander = [await stack.enter_async_context(client_of(platform, key)) for key in keys]
        yield Neighbours(platform, attacker, bystander)


@asynccontextmanager
async def client_of(platform: Platform, api_key: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=platform.url, trust_env=False, timeout=60, limits=limits) as client:
        form = {"grant_type": "refresh_token", "refresh_token": api_key, "client_id": "public"}
        token = (await client.post(TOKEN_PATH, data=form)).json()["access_token"]
        client.headers.update({"authorization": f"Bearer {token}", "accept-version": "0.4.0"})
        yield client
