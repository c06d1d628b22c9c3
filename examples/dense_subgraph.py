"""
A graph problem solved with samples: who does the same things? Twelve laboratories use eight instruments. Three combinations
in ten are chance, but five laboratories use the same four instruments: a dense subgraph, which the samples find.

    python examples/dense_subgraph.py --picture dense_subgraph.png

The table A is encoded in twin beams: its singular value decomposition A = U diag(s) V^T gives a two-mode squeezer with
tanh(r) = c s for each singular value, the interferometer U for the signal modes (laboratories) and V for the idler modes
(instruments). A pattern without collisions, k photons on either side, is a choice of k laboratories and k instruments, and
its probability is proportional to perm(A_k)^2, the squared number of ways to pair them up. Dense blocks have most ways.
(J. M. Arrazola and T. R. Bromley, Phys. Rev. Lett. 121, 030503 do this for graphs with one kind of node.)
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import sfjobs
from sfjobs.platform import serving

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABORATORIES, INSTRUMENTS = 12, 8
SIDE = 4  # photons on either side: blocks are 4 by 4
STRONGEST = 0.63  # tanh(r) of the strongest squeezer
DENSE = 0.8  # what counts as a find in the report
TIED = 0.8  # the share of a block's other side that a member is tied to

Table = npt.NDArray[np.int64]
Block = tuple[tuple[int, ...], tuple[int, ...]]


def planted_table(rng: np.random.Generator) -> Table:
    """Which laboratory uses which instrument, with a block hidden in it."""
    table = (rng.random((LABORATORIES, INSTRUMENTS)) < 0.3).astype(np.int64)
    rows = rng.choice(LABORATORIES, 5, replace=False)
    columns = rng.choice(INSTRUMENTS, 4, replace=False)
    table[np.ix_(rows, columns)] = 1
    return table


def program(table: Table, shots: int) -> str:
    """The Blackbird program whose photon patterns prefer dense blocks of ``table``."""
    u, singular, vt = np.linalg.svd(table.astype(float))
    squeezing = np.arctanh(STRONGEST * singular / singular[0]).tolist()
    signal, idler = range(LABORATORIES), range(LABORATORIES, LABORATORIES + INSTRUMENTS)
    lines = ["name dense_block", "version 1.0", f"target simulon_gaussian (shots={shots})", ""]
    for name, matrix in (("U", u), ("V", vt.T)):
        lines.append(f"float array {name} =")
        lines += ["    " + ", ".join(map(repr, row)) for row in matrix.tolist()]
    lines += [f"S2gate({r!r}, 0.0) | [{a}, {b}]" for r, a, b in zip(squeezing, signal, idler, strict=False)]
    lines += [f"Interferometer(U) | {list(signal)}", f"Interferometer(V) | {list(idler)}"]
    return "\n".join([*lines, f"MeasureFock() | {[*signal, *idler]}", ""])


def sampled_blocks(photons: npt.NDArray[np.int64]) -> list[Block]:
    """The blocks that patterns name which hold ``SIDE`` pairs of photons, no two of them in one mode."""
    usable = (photons.max(axis=1) == 1) & (photons.sum(axis=1) == 2 * SIDE)
    return [(members(row[:LABORATORIES]), members(row[LABORATORIES:])) for row in photons[usable]]


def random_blocks(number: int, rng: np.random.Generator) -> list[Block]:
    """As many blocks of the same size, each as likely as any other."""

    def choice(of: int) -> tuple[int, ...]:
        return tuple(sorted(rng.choice(of, SIDE, replace=False).tolist()))

    return [(choice(LABORATORIES), choice(INSTRUMENTS)) for _ in range(number)]


def members(mask: npt.NDArray[np.generic]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())


def density(table: Table, block: Block) -> float:
    return float(table[np.ix_(*block)].mean())


def grown(table: Table, block: Block) -> Block:
    """Greedily: each side in turn becomes all who are tied to enough of the other, a few times over."""
    for _ in range(5):
        rows = members(table[:, block[1]].mean(axis=1) >= TIED)
        columns = members(table[rows, :].mean(axis=0) >= TIED) if rows else ()
        if not columns:
            break
        block = rows, columns
    return block


@dataclass(frozen=True)
class Search:
    """What one way of proposing blocks came to: their densities, the best of them, and what that one grew into."""

    densities: list[float]
    best: float
    found: Block

    @classmethod
    def among(cls, blocks: list[Block], table: Table) -> Search:
        densities = [density(table, block) for block in blocks]
        best = int(np.argmax(densities))
        return cls(densities, densities[best], grown(table, blocks[best]))

    def report(self, name: str, table: Table) -> str:
        rows, columns = self.found
        dense = np.mean(np.array(self.densities) >= DENSE)
        return (
            f"{name:>8}: mean density {np.mean(self.densities):.2f}, {dense:.0%} at least {DENSE}, best {self.best:.2f};"
            f" grown to {len(rows)} x {len(columns)} of density {density(table, self.found):.2f}"
        )


def draw(table: Table, sampled: Search, uniform: Search, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), dpi=120, layout="constrained")
    graph, histogram = figure.subplots(1, 2, width_ratios=[1, 1.25])
    draw_graph(graph, table, sampled.found)
    edges = np.arange(-0.5, SIDE**2 + 1) / SIDE**2
    for search, colour, label in (
        (uniform, "#9ca3af", "chosen uniformly"),
        (sampled, "#3576b8", "named by photon patterns"),
    ):
        weights = np.full(len(search.densities), 1 / len(search.densities))
        histogram.hist(search.densities, edges.tolist(), weights=weights, color=colour, alpha=0.65, label=label)
        histogram.axvline(float(np.mean(search.densities)), color=colour, linestyle="--", linewidth=1.5)
    histogram.set(xlabel="density of the block", ylabel="share of the blocks", xlim=(0, 1.04))
    histogram.set_title(f"{len(sampled.densities)} blocks of {SIDE} x {SIDE}, each way", loc="left", fontsize=11)
    figure.legend(loc="outside lower right", ncols=2, frameon=False)
    histogram.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    print(f"Wrote the picture to {path}.")


def draw_graph(axes: Axes, table: Table, found: Block) -> None:
    heights = [np.linspace(1, 0, LABORATORIES), np.linspace(0.94, 0.06, INSTRUMENTS)]
    for row, column in np.argwhere(table):
        inside = row in found[0] and column in found[1]
        ends = [heights[0][row], heights[1][column]]
        axes.plot(
            [0, 1], ends, color="#e07b39" if inside else "#d1d5db", linewidth=1.8 if inside else 1, zorder=1 + inside
        )
    for side, (names, align) in enumerate((("L", "right"), ("I", "left"))):
        for index, height in enumerate(heights[side].tolist()):
            inside = index in found[side]
            axes.plot(side, height, "o", color="#e07b39" if inside else "#9ca3af", markersize=9, zorder=3)
            place = (side + (0.06 if side else -0.06), height)
            weight = "bold" if inside else "normal"
            axes.annotate(f"{names}{index + 1}", place, ha=align, va="center", fontsize=9, fontweight=weight)
    axes.set_title("laboratories, instruments, and the block found", loc="left", fontsize=11)
    axes.set_xlim(-0.25, 1.25)
    axes.axis("off")


@contextmanager
def any_platform() -> Iterator[sfjobs.Settings]:
    """The platform that is configured, else one on this machine for as long as this program runs."""
    settings = sfjobs.Settings.find()
    if settings is not None:
        yield settings
        return
    print("No platform is configured: starting one on this machine.", flush=True)
    with serving() as platform:
        yield sfjobs.Settings(url=platform.url, api_key=platform.api_key, poll_interval_min=0.05)


async def main(settings: sfjobs.Settings, shots: int, seed: int, picture: Path) -> None:
    rng = np.random.default_rng(seed)
    table = planted_table(rng)
    async with sfjobs.Connection(settings=settings) as connection:
        job = await connection.create_job("simulon_gaussian", program(table, shots), name="dense_subgraph")
        result = await job
    blocks = sampled_blocks(result.samples)
    if not blocks:
        sys.exit(f"None of {shots} shots names a block: give more --shots.")
    sampled = Search.among(blocks, table)
    uniform = Search.among(random_blocks(len(blocks), rng), table)
    print(f"{len(blocks)} of {shots} patterns name a block of {SIDE} x {SIDE}; as many are chosen uniformly.")
    print(sampled.report("patterns", table))
    print(uniform.report("uniform", table))
    print("(Growing the best block greedily often mends a poor start on so small a graph.)")
    draw(table, sampled, uniform, picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Find a dense subgraph with Gaussian boson sampling.")
    parser.add_argument("--shots", type=int, default=50_000, help="photon patterns to draw (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=7, help="of the graph and of the uniform search (default: %(default)s)"
    )
    parser.add_argument(
        "--picture", type=Path, default=Path("dense_subgraph.png"), metavar="FILE", help="where to draw"
    )
    given = parser.parse_args()
    with any_platform() as settings:
        asyncio.run(main(settings, given.shots, given.seed, given.picture))
