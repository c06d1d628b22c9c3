"""
The clients of one process: ``python -m tests.soak.clients FOLDER NAME``, with an ``Assignment`` on stdin. They run on asyncio or
trio, or in threads. Sends the jobs done and the tasks alive, once a second.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

import sfjobs
from sfjobs import sync

from .blocking import BlockingPlayer
from .census import descriptors, threads
from .children import end_with_parent, keep_log, send
from .ledger import Ledger
from .plan import Round, rounds
from .playing import Player

KEPT_DESCRIPTORS = 1
"""Descriptors that a process keeps until it ends: its lock on the journal."""

RELEASE_TIMEOUT_SECONDS = 20.0
"""Seconds for released threads and descriptors to go away: idle threads end after ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """``clients`` are (index, first program, number of programs, account); ``way`` is a backend of anyio, or threads."""

    url: str
    way: str
    clients: list[tuple[int, int, int, str]]
    keys: dict[str, str]
    seconds: float
    seed: int

    def settings(self, account: str, folder: Path) -> sfjobs.Settings:
        return sfjobs.Settings(
            url=self.url,
            api_key=self.keys[account],
            journal=str(folder / "journal.sqlite3"),
            result_cache=str(folder / "cache") if sum(account.encode()) % 2 else "off",
            result_cache_bytes=4 << 20,
            read_timeout=4.0,
            attempt_timeout=15.0,
            poll_interval_max=5.0,
        )

    def rounds(self, client: tuple[int, int, int, str]) -> list[Round]:
        index, first, count, _ = client
        return rounds(index, first, count, self.seconds, self.seed)


async def _play(assignment: Assignment, ledger: Ledger, folder: Path) -> None:
    recovering: dict[str, anyio.Lock] = defaultdict(anyio.Lock)
    started = anyio.current_time()

    async def play(client: tuple[int, int, int, str]) -> None:
        index, _, _, account = client
        async with sfjobs.Connection(settings=assignment.settings(account, folder)) as connection:
            player = Player(connection, f"client-{index}", ledger, recovering[account], folder)
            for round_ in assignment.rounds(client):
                await anyio.sleep_until(started + round_.at)
                await player.play(round_)

    async with anyio.create_task_group() as group:
        for client in assignment.clients:
            group.start_soon(play, client)


async def _awaited(assignment: Assignment, ledger: Ledger, folder: Path) -> None:
    before = _tasks(assignment.way)
    done = anyio.Event()

    async def report() -> None:
        while not done.is_set():
            with anyio.move_on_after(1):
                await done.wait()
            _report(ledger, _tasks(assignment.way) - 2)

    async with anyio.create_task_group() as group:
        group.start_soon(report)
        await _play(assignment, ledger, folder)
        done.set()
    await anyio.lowlevel.checkpoint()
    send(tasks_left=_tasks(assignment.way) - before)


def _blocking(assignment: Assignment, ledger: Ledger, folder: Path) -> None:
    recovering = {account: threading.Lock() for _, _, _, account in assignment.clients}
    errors: list[BaseException] = []
    started = time.monotonic()

    def play(client: tuple[int, int, int, str]) -> None:
        index, _, _, account = client
        try:
            with sync.Connection(settings=assignment.settings(account, folder)) as connection:
                player = BlockingPlayer(connection, f"client-{index}", ledger, recovering[account])
                for round_ in assignment.rounds(client):
                    time.sleep(max(0.0, started + round_.at - time.monotonic()))
                    player.play(round_)
        except BaseException as error:
            errors.append(error)
            raise

    players = [threading.Thread(target=play, args=(client,)) for client in assignment.clients]
    for player in players:
        player.start()
    while any(player.is_alive() for player in players):
        time.sleep(1)
        _report(ledger, 0)
    if errors:
        raise errors[0]
    send(tasks_left=0)


def _tasks(way: str) -> int:
    """Count the tasks of the running event loop."""
    if way == "trio":
        import trio

        return trio.lowlevel.current_statistics().tasks_living
    import asyncio

    return len(asyncio.all_tasks())


def _report(ledger: Ledger, tasks: int) -> None:
    send(done=ledger.done, tasks=tasks, troubles=dict(ledger.troubles))


def _left_over(before: tuple[int, int]) -> dict[str, int]:
    """Return the descriptors and threads that are still there after a while."""
    until = time.monotonic() + RELEASE_TIMEOUT_SECONDS
    while True:
        gc.collect()
        left = {
            "descriptors": descriptors(os.getpid()) - before[0] - KEPT_DESCRIPTORS,
            "threads": threads(os.getpid()) - before[1],
        }
        if not any(count > 0 for count in left.values()) or time.monotonic() > until:
            return left
        time.sleep(0.2)


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    given: dict[str, Any] = json.loads(sys.stdin.readline())
    given["clients"] = [tuple(client) for client in given["clients"]]
    assignment = Assignment(**given)
    end_with_parent()
    keep_log(folder / f"{name}.log")
    ledger = Ledger(folder / f"{name}.jobs")
    before = descriptors(os.getpid()), threads(os.getpid())
    if assignment.way == "threads":
        _blocking(assignment, ledger, folder)
    else:
        anyio.run(partial(_awaited, assignment, ledger, folder), backend=assignment.way)
    _report(ledger, 0)
    send(left=_left_over(before))
    ledger.close()


if __name__ == "__main__":
    main()
