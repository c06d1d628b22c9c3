"""The conductor: starts the platform, the line and the clients, watches them until all is done, and gathers the evidence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

from sfjobs import sync
from sfjobs.platform.store.api_keys import create_key
from sfjobs.platform.store.sqlite.accounts import open_accounts

from . import verdict
from .census import Growth, Sample, children, descriptors, growth, sample
from .children import Child
from .clients import Orders
from .ledger import read

CLIENTS_OF_AN_ACCOUNT = 5
WORKERS = 2
WAYS = ("asyncio", "asyncio", "trio", "threads")
"""One process of clients each."""

WARM_UP = 60.0
AWHILE = 20.0

Clients: TypeAlias = list[tuple[int, int, int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is played: ``jobs`` by so many ``clients`` in ``seconds``, with ``faults`` in that share of the requests."""

    jobs: int
    clients: int
    seconds: float
    seed: int = 1
    faults: float = 0.04
    growth: float = 0.10

    @property
    def warm_up(self) -> float:
        return min(WARM_UP, self.seconds / 3)

    @property
    def bound(self) -> float:
        """Seconds after which something hangs."""
        return self.seconds * 1.5 + 60


@dataclass(slots=True)
class Records:
    """The samples of every process, by name."""

    started: float = field(default_factory=time.monotonic)
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    @property
    def now(self) -> float:
        return time.monotonic() - self.started

    def take(self, name: str, pid: int, tasks: int) -> None:
        taken = sample(pid, self.now, tasks)
        if taken is not None:
            self.samples.setdefault(name, []).append(taken)

    def growth(self, warm_up: float, end: float) -> list[Growth]:
        return [one for name, samples in self.samples.items() for one in growth(name, samples, warm_up, end)]


def soak(course: Course, folder: Path) -> list[str]:
    """Plays the course and prints how it goes; what did not hold, empty if all did."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [part for part in _parts(course) if part[1]]
    with ExitStack() as stack:
        keys = _keys(folder / "platform", {account for _, clients in parts for _, _, _, account in clients})
        server = stack.enter_context(Child("server", str(folder), str(WORKERS), name="server", folder=folder))
        url: str = server.hear("url")
        arguments = url.rpartition(":")[2], str(course.seed), str(course.faults)
        line = stack.enter_context(Child("chaos", *arguments, name="line", folder=folder))
        proxy: str = line.hear("url")
        before = descriptors(server.pid)
        clients = [
            stack.enter_context(Child("clients", str(folder), f"clients-{n}-{way}", name=f"{n}-{way}", folder=folder))
            for n, (way, _) in enumerate(parts)
        ]
        for child, (way, its_clients) in zip(clients, parts, strict=True):
            its_keys = {account: keys[account] for _, _, _, account in its_clients}
            orders = Orders(
                url=proxy, way=way, clients=its_clients, keys=its_keys, seconds=course.seconds, seed=course.seed
            )
            child.tell(asdict(orders))
        problems, records, end = _watch(course, server, line, clients)
        print(_told(line, clients), flush=True)
        # After that some have ended and others make up for lost time.
        grown = records.growth(course.warm_up, min(end, course.seconds))
        print(*grown, sep="\n", flush=True)
        problems += verdict.of_growth([one for one in grown if one.process != "line"], course.growth)
        for child in clients:
            if child.has_ended and child.process.wait() == 0:
                problems += verdict.of_left_over(child.name, child.heard["left"] | {"tasks": child.heard["tasks_left"]})
            else:
                problems.append(f"{child.name} has not come to its end")
        problems += verdict.of_left_over("server", {"descriptors": _left_over(server, before)})
        lines = [one for part in sorted(folder.glob("*.jobs")) for one in read(part)]
        print(f"statuses: {dict(Counter(one.status for one in lines))}", flush=True)
        problems += verdict.of_jobs(course.jobs, lines, _jobs(url, keys))
    for child in (server, line, *clients):
        problems += verdict.of_complaints(child.name, child.complaints)
    return problems


def _parts(course: Course) -> list[tuple[str, Clients]]:
    """Who plays what: whole accounts, so that those who recover an account's submissions know of each other."""
    shares = [len(range(n, course.jobs, course.clients)) for n in range(course.clients)]
    parts: list[tuple[str, Clients]] = [(way, []) for way in WAYS]
    for index, count in enumerate(shares):
        account = index // CLIENTS_OF_AN_ACCOUNT if course.clients > 2 * CLIENTS_OF_AN_ACCOUNT else index
        client = (index, sum(shares[:index]), count, f"account-{account}")
        parts[account % len(parts)][1].append(client)
    return parts


def _keys(folder: Path, accounts: set[str]) -> dict[str, str]:
    with open_accounts(folder, create=True) as made:
        return {account: create_key(made, account, account) for account in sorted(accounts)}


def _watch(course: Course, server: Child, line: Child, clients: Sequence[Child]) -> tuple[list[str], Records, float]:
    """Until all clients have ended: problems, samples, and when the first of them had played everything."""
    records = Records()
    end, told = 0.0, 0.0
    while not all(child.has_ended for child in clients):
        for child in (server, line):
            child.tell("how are you?")
        for child in (server, line, *clients):
            if not child.has_ended and "left" not in child.heard:
                records.take(child.name, child.pid, child.heard.get("tasks", -1))
        for n, pid in enumerate(sorted(children(server.pid))[:WORKERS]):
            records.take(f"worker {n}", pid, -1)
        if not end and any("tasks_left" in child.heard for child in clients):
            end = records.now
        if records.now - told >= min(60.0, course.seconds / 4):
            told = records.now
            print(_minute(records, clients), flush=True)
        if server.has_ended or line.has_ended:
            return [f"{(server if server.has_ended else line).name} has ended too early"], records, records.now
        if records.now > course.bound:
            return [f"not done after {records.now:.0f} s"], records, end or records.now
        time.sleep(1 if course.seconds > 30 else 0.25)
    print(_minute(records, clients), flush=True)
    return [], records, end or records.now


def _minute(records: Records, clients: Sequence[Child]) -> str:
    done = sum(child.heard.get("done", 0) for child in clients)
    processes = "  ".join(
        f"{name} {last.memory / 1e6:.0f} MB {last.descriptors} fd {last.threads} thr"
        + (f" {last.tasks} tasks" if last.tasks >= 0 else "")
        for name, samples in records.samples.items()
        for last in samples[-1:]
    )
    return f"{records.now:4.0f} s  {done} jobs done | {processes}"


def _told(line: Child, clients: Sequence[Child]) -> str:
    troubles: Counter[str] = Counter()
    for child in clients:
        troubles.update(child.heard.get("troubles", {}))
    requests, struck = line.heard.get("requests", 0), line.heard.get("struck", {})
    return f"{requests} requests; faults: {struck}\nerrors that callers had to see: {dict(troubles)}"


def _left_over(server: Child, before: int) -> int:
    """Descriptors that the platform still holds for clients that are gone, after a while. Its idle threads may stay."""
    until = time.monotonic() + AWHILE
    while (left := descriptors(server.pid) - before) > 0 and time.monotonic() < until:
        time.sleep(0.2)
    return left


def _jobs(url: str, keys: dict[str, str]) -> dict[str, tuple[str | None, str]]:
    """Every job of the platform, asked for without the bad line between."""
    found: dict[str, tuple[str | None, str]] = {}
    for key in keys.values():
        with sync.Connection(url, api_key=key) as connection:
            found.update((job.id, (job.name, job.status.value)) for job in connection.list_jobs())
    return found
