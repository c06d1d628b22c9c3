"""Starts the platform, the proxy and the clients, samples them until all jobs have ended, and checks the outcome."""

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
from .clients import Assignment
from .ledger import read

CLIENTS_OF_AN_ACCOUNT = 5
WORKERS = 2
WAYS = ("asyncio", "asyncio", "trio", "threads")
"""Of the clients, one process each."""

WARM_UP_SECONDS = 60.0
RELEASE_TIMEOUT_SECONDS = 20.0

Clients: TypeAlias = list[tuple[int, int, int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The size of a soak test: ``jobs`` by ``clients`` in ``seconds``, with ``faults`` in that share of the requests."""

    jobs: int
    clients: int
    seconds: float
    seed: int = 1
    faults: float = 0.04
    growth: float = 0.10

    @property
    def warm_up(self) -> float:
        return min(WARM_UP_SECONDS, self.seconds / 3)

    @property
    def bound(self) -> float:
        """Seconds after which it has failed."""
        return self.seconds * 1.5 + 60


@dataclass(slots=True)
class Records:
    """The samples of every process, by name."""

    started: float = field(default_factory=time.monotonic)
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    @property
    def now(self) -> float:
        return time.monotonic() - self.started

    def add(self, name: str, pid: int, tasks: int) -> None:
        new = sample(pid, self.now, tasks)
        if new is not None:
            self.samples.setdefault(name, []).append(new)

    def growth(self, warm_up: float, end: float) -> list[Growth]:
        return [one for name, samples in self.samples.items() for one in growth(name, samples, warm_up, end)]


def soak(course: Course, folder: Path) -> list[str]:
    """Run the soak test and print its progress. Return the checks that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [part for part in _parts(course) if part[1]]
    with ExitStack() as stack:
        keys = _keys(folder / "platform", {account for _, clients in parts for _, _, _, account in clients})
        server = stack.enter_context(Child("server", str(folder), str(WORKERS), name="server", folder=folder))
        url: str = server.receive("url")
        arguments = url.rpartition(":")[2], str(course.seed), str(course.faults)
        line = stack.enter_context(Child("chaos", *arguments, name="line", folder=folder))
        proxy: str = line.receive("url")
        before = descriptors(server.pid)
        clients = [
            stack.enter_context(Child("clients", str(folder), f"clients-{n}-{way}", name=f"{n}-{way}", folder=folder))
            for n, (way, _) in enumerate(parts)
        ]
        for child, (way, its_clients) in zip(clients, parts, strict=True):
            its_keys = {account: keys[account] for _, _, _, account in its_clients}
            assignment = Assignment(
                url=proxy, way=way, clients=its_clients, keys=its_keys, seconds=course.seconds, seed=course.seed
            )
            child.send(asdict(assignment))
        problems, records, end = _watch(course, server, line, clients)
        print(_summary(line, clients), flush=True)
        # After that some clients have ended, and others catch up.
        grown = records.growth(course.warm_up, min(end, course.seconds))
        print(*grown, sep="\n", flush=True)
        problems += verdict.of_growth([one for one in grown if one.process != "line"], course.growth)
        for child in clients:
            if child.has_ended and child.process.wait() == 0:
                problems += verdict.of_left_over(
                    child.name, child.received["left"] | {"tasks": child.received["tasks_left"]}
                )
            else:
                problems.append(f"{child.name} has not ended")
        problems += verdict.of_left_over("server", {"descriptors": _left_over(server, before)})
        lines = [one for part in sorted(folder.glob("*.jobs")) for one in read(part)]
        print(f"statuses: {dict(Counter(one.status for one in lines))}", flush=True)
        problems += verdict.of_jobs(course.jobs, lines, _jobs(url, keys))
    for child in (server, line, *clients):
        problems += verdict.of_errors(child.name, child.errors)
    return problems


def _parts(course: Course) -> list[tuple[str, Clients]]:
    """Divide the clients by accounts, so that the clients that recover an account's submissions share a lock."""
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
    """Wait until all clients have ended. Return problems, samples, and when the first process of them had done its jobs."""
    records = Records()
    end, printed = 0.0, 0.0
    while not all(child.has_ended for child in clients):
        for child in (server, line):
            child.send("report")
        for child in (server, line, *clients):
            if not child.has_ended and "left" not in child.received:
                records.add(child.name, child.pid, child.received.get("tasks", -1))
        for n, pid in enumerate(sorted(children(server.pid))[:WORKERS]):
            records.add(f"worker {n}", pid, -1)
        if not end and any("tasks_left" in child.received for child in clients):
            end = records.now
        if records.now - printed >= min(60.0, course.seconds / 4):
            printed = records.now
            print(_minute(records, clients), flush=True)
        if server.has_ended or line.has_ended:
            return [f"{(server if server.has_ended else line).name} has ended too early"], records, records.now
        if records.now > course.bound:
            return [f"not done after {records.now:.0f} s"], records, end or records.now
        time.sleep(1 if course.seconds > 30 else 0.25)
    print(_minute(records, clients), flush=True)
    return [], records, end or records.now


def _minute(records: Records, clients: Sequence[Child]) -> str:
    done = sum(child.received.get("done", 0) for child in clients)
    processes = "  ".join(
        f"{name} {last.memory / 1e6:.0f} MB {last.descriptors} fd {last.threads} thr"
        + (f" {last.tasks} tasks" if last.tasks >= 0 else "")
        for name, samples in records.samples.items()
        for last in samples[-1:]
    )
    return f"{records.now:4.0f} s  {done} jobs done | {processes}"


def _summary(line: Child, clients: Sequence[Child]) -> str:
    troubles: Counter[str] = Counter()
    for child in clients:
        troubles.update(child.received.get("troubles", {}))
    requests, faults = line.received.get("requests", 0), line.received.get("faults", {})
    return f"{requests} requests; faults: {faults}\nerrors raised to callers: {dict(troubles)}"


def _left_over(server: Child, before: int) -> int:
    """Return the descriptors that the platform still holds for ended clients, after a while. Its idle threads may stay."""
    until = time.monotonic() + RELEASE_TIMEOUT_SECONDS
    while (left := descriptors(server.pid) - before) > 0 and time.monotonic() < until:
        time.sleep(0.2)
    return left


def _jobs(url: str, keys: dict[str, str]) -> dict[str, tuple[str | None, str]]:
    """Return every job of the platform, listed without the faulty proxy."""
    found: dict[str, tuple[str | None, str]] = {}
    for key in keys.values():
        with sync.Connection(url, api_key=key) as connection:
            found.update((job.id, (job.name, job.status.value)) for job in connection.list_jobs())
    return found
