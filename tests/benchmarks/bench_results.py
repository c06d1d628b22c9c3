"""
Results from a platform on loopback into arrays: MB/s, CPU seconds, and the most memory above what the process had before, as a
multiple of the array's. Every array is compared with what was sent, after the clock has been stopped and the memory read.

``BENCH_REPETITIONS`` and ``BENCH_TABLES`` (large, packed, mapped, cut, small) change what is measured.
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

from .arena import QUICK, Broken, Helper, Table, median
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

_MOST_BROUGHT = 1 << 30

NPY, NPZ = "0.2.0", "0.4.0"
"""The protocol's version decides in which format a result comes."""
FORMATS: Mapping[str, str] = {NPY: "npy", NPZ: "npz"}


@dataclass(frozen=True, slots=True)
class Contestant:
    """A row of a table: the module below ``contestants`` that plays it, and its options."""

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


def everybody(version: str) -> list[Contestant]:
    """xcc reads archives only, and only they have a CRC-32."""
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
        self.url = f"http://127.0.0.1:{self.hear()['port']}"

    def do(self, command: str, **arguments: object) -> Any:
        self.tell({"do": command, **arguments})
        return self.hear()


class Goods:
    """The files that are sent, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, dict[str, str]] = {}
        self.add(WARM, np.random.default_rng(1).poisson(0.5, (30, 25)).astype(np.uint8))

    def add(self, name: str, array: Array, *, packed: bool = False) -> None:
        """Stores it as ``.npy`` and as ``.npz``, the latter deflated if it is to be ``packed``."""
        npy, npz = self._folder / f"{name}.npy", self._folder / f"{name}.npz"
        np.save(npy, array)
        (np.savez_compressed if packed else np.savez)(npz, array)
        self._made[name] = {"npy": str(npy), "npz": str(npz)}

    def add_sparse(self, name: str, nbytes: int) -> None:
        """A ``.npy`` file of int64, mostly of zeros that no disk has seen, with other numbers every 16 MiB."""
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
class Told:
    """What one contestant has measured of itself, and the depot of it."""

    wall: float
    cpu: float
    peak: int
    grown: int
    traced: int
    sent: int


class Course:
    """One result in one version of the protocol, fetched by whoever is asked to, until there is another course."""

    def __init__(self, depot: Depot, goods: Goods, name: str, version: str) -> None:
        self._depot = depot
        self._goods = goods
        self._name = name
        self._version = version
        self.size = goods.path(name, FORMATS[version]).stat().st_size
        depot.do("offer", results=goods.offered(name))

    def fetch(self, contestant: Contestant, *, times: int = 1, trace: bool = False, cut: int | None = None) -> Told:
        """Raises Broken for a contestant that falls, and for one that brings anything else than what was sent."""
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
            assert process.hear() == "ready"
            before = self._depot.do("report")["bytes"]
            if cut is not None:
                self._depot.do("cut", after=cut)
            _bring_memory(3 * self.size)
            process.tell("go")
            told = process.hear(300)
            sent = self._depot.do("report")["bytes"] - before
        if not told["is_same"]:
            raise Broken("it is not what was sent")
        return Told(told["wall"], told["cpu"], told["peak"], told["grown"], told.get("traced", 0), sent)


def _bring_memory(nbytes: int) -> None:
    """
    Takes that much memory and gives it back. A virtual machine's free memory may have gone to its host, which takes seconds:
    touching 200 MB then cost 0.5 s instead of 0.02, to whoever comes next, and not to those who come right after another.
    """
    np.empty(min(nbytes, _MOST_BROUGHT), np.uint8).fill(1)


@dataclass(frozen=True, slots=True)
class Row:
    """Medians: ``peak`` is the most memory above that before, over the array's; ``ratio`` the time over that of sfjobs."""

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
    """``again`` is what was sent of the body beyond its length, over its length."""

    client: str
    again: float
    seconds: float
    note: str


@dataclass(frozen=True, slots=True)
class SmallRow:
    """MB that a process has more after all results were fetched and dropped, resident and by Python's own count."""

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
            everybody(version),
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
                told = course.fetch(contestant, cut=course.size // 2)
            except Broken as broken:
                rows.append(CutRow(name, NAN, NAN, str(broken)))
                continue
            rows.append(CutRow(name, told.sent / course.size - 0.5, told.wall, ""))
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
    """All of them in each round."""
    told: dict[str, list[Told]] = {contestant.name: [] for contestant in contestants}
    notes: dict[str, str] = {}
    for turn in range(rounds):
        # Each round begins with another: what the one before has left in caches and free memory helps or hinders.
        first = turn * len(contestants) // rounds
        for contestant in (*contestants[first:], *contestants[:first]):
            try:
                told[contestant.name].append(course.fetch(contestant))
            except Broken as broken:
                notes[contestant.name] = str(broken)
    reference = median([one.wall for one in told[contestants[0].name]])
    rows = [_row(title, name, several, nbytes, reference, notes.get(name, "")) for name, several in told.items()]
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


def _row(table: str, client: str, told: Sequence[Told], nbytes: int, reference: float, note: str) -> Row:
    seconds, peak = median([one.wall for one in told]), median([float(one.peak) for one in told])
    return Row(
        table=table,
        client=client,
        mb_s=nbytes / seconds / 1e6,
        seconds=seconds,
        cpu_s=median([one.cpu for one in told]),
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
