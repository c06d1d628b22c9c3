"""
Results from a platform on loopback into arrays: MB/s, CPU seconds, and the peak memory above that before the fetch, as a multiple
of the array's size. Each array is compared with the one that was sent, after time and memory are measured.

``BENCH_REPETITIONS`` and ``BENCH_TABLES`` (large, packed, mapped, cut, small) change the measurement.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import sfjobs

from .arena import QUICK, Broken, Helper, Table, median, touch_memory
from .fast.board import KEY
from .fetching import WARM, Array

REPETITIONS = int(os.environ.get("BENCH_REPETITIONS") or (2 if QUICK else 5))
MODES = 8
LARGE_SHOTS = 500_000 if QUICK else 3_125_000
"""Of int64 in eight modes: 200 MB."""
PACKED_SHOTS = 1_000_000 if QUICK else 6_250_000
"""Of uint8 in eight modes: 50 MB."""
SMALL_SHOTS = 100_000
"""Of uint8 in eight modes: 0.8 MB."""
MAPPED_BYTES = 1 << 28 if QUICK else 1 << 31
SMALL_RESULTS = 20

NAN = float("nan")

NPY, NPZ = "0.2.0", "0.4.0"
"""The protocol's version decides in which format a result comes."""
FORMATS: Mapping[str, str] = {NPY: "npy", NPZ: "npz"}


@dataclass(frozen=True, slots=True)
class Contestant:
    """A row of a table: a module in ``contestants`` and its options."""

    name: str
    module: str
    options: Mapping[str, object] = field(default_factory=dict)


def by_hand(client: str, how: str) -> Contestant:
    return Contestant(f"{client}, {how}", "fetch_by_hand", {"client": client, "how": how})


SFJOBS = Contestant("sfjobs", "fetch_sfjobs")
SFJOBS_MAPPED = Contestant("sfjobs, mmap", "fetch_sfjobs", {"mmap": True})
XCC = Contestant("xcc", "fetch_xcc", {"widens": True})
XCC_NARROW = Contestant("xcc, not widened", "fetch_xcc", {"widens": False})
HTTPX_DROPPED = by_hand("httpx", "dropped")
AIOHTTP_WHOLE = by_hand("aiohttp", "whole")
CURL = Contestant("curl, dropped", "fetch_curl")


def all_contestants(version: str) -> list[Contestant]:
    """Return the contestants: xcc reads archives only, and only archives have a CRC-32."""
    is_archive = version == NPZ
    return [
        SFJOBS,
        *([SFJOBS_MAPPED] if can_map() else []),
        *([XCC, XCC_NARROW] if is_archive else []),
        AIOHTTP_WHOLE,
        by_hand("aiohttp", "placed"),
        by_hand("httpx", "whole"),
        by_hand("httpx", "placed"),
        *([by_hand("httpx", "checked")] if is_archive else []),
        HTTPX_DROPPED,
        *([CURL] if shutil.which("curl") else []),
    ]


def can_map() -> bool:
    return "mmap" in inspect.signature(sfjobs.Job.fetch_result).parameters


class Depot(Helper):
    """The platform of large results, and its commands."""

    def __init__(self) -> None:
        super().__init__("fast.depot")
        self.url = f"http://127.0.0.1:{self.receive()['port']}"

    def do(self, command: str, **arguments: object) -> Any:
        self.send({"do": command, **arguments})
        return self.receive()


class Goods:
    """The files that are sent, created at first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, dict[str, str]] = {}
        self.add(WARM, np.random.default_rng(1).poisson(0.5, (30, 25)).astype(np.uint8))

    def add(self, name: str, array: Array, *, packed: bool = False) -> None:
        """Store an array as ``.npy`` and as ``.npz``, the latter deflated if ``packed``."""
        npy, npz = self._folder / f"{name}.npy", self._folder / f"{name}.npz"
        np.save(npy, array)
        (np.savez_compressed if packed else np.savez)(npz, array)
        self._made[name] = {"npy": str(npy), "npz": str(npz)}

    def add_sparse(self, name: str, nbytes: int) -> None:
        """Store a sparse ``.npy`` file of int64: zeros that take no disk space, and other numbers every 16 MiB."""
        path = self._folder / f"{name}.npy"
        array = np.lib.format.open_memmap(path, "w+", np.int64, (nbytes // 64, MODES))
        array[:: 1 << 18] = np.arange(1, len(array[:: 1 << 18]) * MODES + 1).reshape(-1, MODES)
        array.flush()
        self._made[name] = {"npy": str(path)}

    def offered(self, *names: str) -> dict[str, dict[str, str]]:
        return {name: self._made[name] for name in (WARM, *names)}

    def path(self, name: str, form: str) -> Path:
        return Path(self._made[name][form])


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """The measurements by one contestant, and by the depot."""

    wall: float
    cpu: float
    peak: int
    grown: int
    traced: int
    sent: int


class Course:
    """One result in one version of the protocol, for one contestant after another."""

    def __init__(self, depot: Depot, goods: Goods, name: str, version: str) -> None:
        self._depot = depot
        self._goods = goods
        self._name = name
        self._version = version
        self.size = goods.path(name, FORMATS[version]).stat().st_size
        depot.do("offer", results=goods.offered(name))

    def fetch(
        self, contestant: Contestant, *, times: int = 1, trace: bool = False, cut: int | None = None
    ) -> FetchOutcome:
        """Measure one contestant. Raises ``Broken`` if it fails or its array differs from the one that was sent."""
        task = {
            "url": self._depot.url,
            "api_key": KEY,
            "job": self._name,
            "sent": str(self._goods.path(self._name, "npy")),
            "size": self.size,
            "api_version": self._version,
            "times": times,
            "trace": trace,
            "options": dict(contestant.options),
        }
        with Helper(f"contestants.{contestant.module}", json.dumps(task)) as process:
            assert process.receive() == "ready"
            before = self._depot.do("report")["bytes"]
            if cut is not None:
                self._depot.do("cut", after=cut)
            touch_memory(3 * self.size)
            process.send("go")
            report = process.receive(300)
            sent = self._depot.do("report")["bytes"] - before
        if not report["is_same"]:
            raise Broken("it differs from the array that was sent")
        return FetchOutcome(
            report["wall"], report["cpu"], report["peak"], report["grown"], report.get("traced", 0), sent
        )


@dataclass(frozen=True, slots=True)
class Row:
    """Medians: ``peak`` is the peak memory above that before, over the array's; ``ratio`` the time over that of sfjobs."""

    table: str
    client: str
    mb_s: float
    seconds: float
    cpu_s: float
    peak: float
    peak_mb: float
    ratio: float
    note: str


@dataclass(frozen=True, slots=True)
class CutRow:
    """``again`` is the part of the body that was sent more than once, over its length."""

    client: str
    again: float
    seconds: float
    note: str


@dataclass(frozen=True, slots=True)
class SmallRow:
    """MB that a process has gained after all results were fetched and dropped: resident, and allocated by Python."""

    client: str
    rss_mb: float
    traced_mb: float
    note: str


def large(depot: Depot, goods: Goods) -> list[Row]:
    source = np.random.default_rng(2)
    goods.add("large", source.integers(-(2**63), 2**63 - 1, (LARGE_SHOTS, MODES)))
    nbytes = LARGE_SHOTS * MODES * 8
    return [
        row
        for version in (NPY, NPZ)
        for row in _compared(
            Course(depot, goods, "large", version),
            f"{nbytes / 1e6:.0f} MB of int64, .{FORMATS[version]}",
            nbytes,
            all_contestants(version),
        )
    ]


def packed(depot: Depot, goods: Goods) -> list[Row]:
    goods.add("packed", np.random.default_rng(3).poisson(1.0, (PACKED_SHOTS, MODES)).astype(np.uint8), packed=True)
    nbytes = PACKED_SHOTS * MODES
    contestants = [SFJOBS, XCC, XCC_NARROW, AIOHTTP_WHOLE]
    title = f"{nbytes / 1e6:.0f} MB of photon numbers (uint8, Poisson, mean 1), deflated .npz"
    return _compared(Course(depot, goods, "packed", NPZ), title, nbytes, contestants)


def mapped(depot: Depot, goods: Goods) -> list[Row]:
    if not can_map():
        print("\nThis version of sfjobs does not fetch into a memory map.")
        return []
    goods.add_sparse("mapped", MAPPED_BYTES)
    title = f"{MAPPED_BYTES / 1e9:.1f} GB of int64, .npy, into a memory map"
    return _compared(Course(depot, goods, "mapped", NPY), title, MAPPED_BYTES, [SFJOBS_MAPPED], rounds=1)


def cut(depot: Depot, goods: Goods) -> list[CutRow]:
    goods.add("cut", np.random.default_rng(4).integers(-(2**63), 2**63 - 1, (LARGE_SHOTS // 4, MODES)))
    rows: list[CutRow] = []
    for version in (NPY, NPZ):
        course = Course(depot, goods, "cut", version)
        for contestant in (SFJOBS, SFJOBS_MAPPED) if can_map() else (SFJOBS,):
            name = f"{contestant.name}, .{FORMATS[version]}"
            try:
                outcome = course.fetch(contestant, cut=course.size // 2)
            except Broken as broken:
                rows.append(CutRow(name, NAN, NAN, str(broken)))
                continue
            rows.append(CutRow(name, outcome.sent / course.size - 0.5, outcome.wall, ""))
    table = Table("The connection ends in the middle of the body", "client", "sent after", "seconds", "note")
    for row in rows:
        table.row(row.client, None if row.note else f"{row.again:.1%}", row.seconds, row.note)
    return rows


def small(depot: Depot, goods: Goods) -> list[SmallRow]:
    goods.add("small", np.random.default_rng(5).poisson(1.0, (SMALL_SHOTS, MODES)).astype(np.uint8))
    course = Course(depot, goods, "small", NPZ)
    rows: list[SmallRow] = []
    for contestant in (SFJOBS, XCC):
        try:
            plain = course.fetch(contestant, times=SMALL_RESULTS)
            counted = course.fetch(contestant, times=SMALL_RESULTS, trace=True)
        except Broken as broken:
            rows.append(SmallRow(contestant.name, NAN, NAN, str(broken)))
            continue
        rows.append(SmallRow(contestant.name, plain.grown / 1e6, counted.traced / 1e6, ""))
    title = f"{SMALL_RESULTS} results of {SMALL_SHOTS * MODES / 1e6:.1f} MB, fetched and dropped: MB held afterwards"
    table = Table(title, "client", "RSS", "Python", "note")
    for row in rows:
        table.row(row.client, row.rss_mb, row.traced_mb, row.note)
    return rows


def _compared(
    course: Course, title: str, nbytes: int, contestants: Sequence[Contestant], rounds: int = REPETITIONS
) -> list[Row]:
    """Measure all contestants in each round."""
    outcomes: dict[str, list[FetchOutcome]] = {contestant.name: [] for contestant in contestants}
    notes: dict[str, str] = {}
    for turn in range(rounds):
        # Each round starts with another contestant: caches and free memory left by the previous one affect the next.
        first = turn * len(contestants) // rounds
        for contestant in (*contestants[first:], *contestants[:first]):
            try:
                outcomes[contestant.name].append(course.fetch(contestant))
            except Broken as broken:
                notes[contestant.name] = str(broken)
    reference = median([one.wall for one in outcomes[contestants[0].name]])
    rows = [_row(title, name, several, nbytes, reference, notes.get(name, "")) for name, several in outcomes.items()]
    table = Table(
        f"{title}, medians of {rounds}",
        "client",
        "MB/s",
        "seconds",
        "CPU s",
        "peak/array",
        "peak MB",
        "it/sfjobs",
        "note",
    )
    for row in rows:
        table.row(row.client, row.mb_s, row.seconds, row.cpu_s, row.peak, row.peak_mb, row.ratio, row.note)
    return rows


def _row(table: str, client: str, outcomes: Sequence[FetchOutcome], nbytes: int, reference: float, note: str) -> Row:
    seconds, peak = median([one.wall for one in outcomes]), median([float(one.peak) for one in outcomes])
    return Row(
        table=table,
        client=client,
        mb_s=nbytes / seconds / 1e6,
        seconds=seconds,
        cpu_s=median([one.cpu for one in outcomes]),
        peak=peak / nbytes,
        peak_mb=peak / 1e6,
        ratio=seconds / reference,
        note=note,
    )


TABLES: Mapping[str, Callable[[Depot, Goods], Sequence[Row] | Sequence[CutRow] | Sequence[SmallRow]]] = {
    "large": large,
    "packed": packed,
    "mapped": mapped,
    "cut": cut,
    "small": small,
}


def main() -> dict[str, object]:
    """Print the tables and return them for a file of results."""
    names = (os.environ.get("BENCH_TABLES") or ",".join(TABLES)).split(",")
    with tempfile.TemporaryDirectory() as folder, Depot() as depot:
        goods = Goods(Path(folder))
        tables = {name: [asdict(row) for row in TABLES[name](depot, goods)] for name in names}
    return {"name": "results", **tables}


if __name__ == "__main__":
    main()
