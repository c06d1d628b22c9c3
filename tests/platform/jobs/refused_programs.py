"""Programs that the simulation cannot run, one for each reason that it has, with the refusal that their submission gets."""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_LINE = 5
"""The line of the first statement."""


@dataclass(frozen=True)
class Refused:
    """
    ``lines`` are the statements of a program for ``simulon_gaussian``; ``at`` is the index of the one that is to blame, None for
    the whole program.
    """

    lines: str
    words: str
    at: int | None = None
    code: str = "unsupported-circuit"
    shots: int = 10
    type: str = ""

    @property
    def circuit(self) -> str:
        kind = f"type {self.type}" if self.type else ""
        statements = self.lines.replace("; ", "\n")
        return f"name refused\nversion 1.0\ntarget simulon_gaussian (shots={self.shots})\n{kind}\n{statements}\n"

    @property
    def line(self) -> int | None:
        return None if self.at is None else _FIRST_LINE + self.at


def chain(modes: int, squeezing: float, measurement: str) -> str:
    squeezers = [f"Sgate({squeezing}) | {mode}" for mode in range(modes)]
    splitters = [f"BSgate(0.3, 0.2) | [{mode}, {mode + 1}]" for mode in range(modes - 1)]
    return "; ".join([*squeezers, *splitters, f"{measurement} | {list(range(modes))}"])


def matrix(kind: str, name: str, rows: str) -> str:
    count = rows.count("/") + 1
    return f"{kind} array {name}[{count}, {count}] =; " + "; ".join(f"    {row}" for row in rows.split(" / "))


COUNT = "MeasureFock() | 0"
LIMIT = "simulation-limit"

REFUSED = {
    # operations and modes
    "a cubic phase": Refused(f"Vgate(0.1) | 0; {COUNT}", "Gaussian", 0),
    "an unknown gate": Refused(f"Rgate(0.1) | 0; Wgate() | 0; {COUNT}", "no such operation", 1),
    "no measurement": Refused("Rgate(0.1) | 0", "measures nothing", 0),
    "a mode too many": Refused(f"Rgate(0.1) | [0, 1]; {COUNT}", "acts on 1 modes", 0),
    "the 217th mode": Refused("MeasureFock() | 216", "216 modes", 0),
    "two modes on one homodyne detector": Refused("MeasureX | [0, 1]", "measures one mode", 0),
    # arguments
    "an argument too many": Refused(f"Rgate(0.1, 0.2) | 0; {COUNT}", "at most 1", 0),
    "an unknown option": Refused(f"Rgate(0.1, angle=1) | 0; {COUNT}", "no parameter 'angle'", 0),
    "an argument twice": Refused(f"Rgate(0.1, theta=1) | 0; {COUNT}", "twice", 0),
    "no argument": Refused(f"Vac | 0; Sgate() | 0; {COUNT}", "needs the parameter 'r'", 1),
    "a text": Refused(f'Rgate("x") | 0; {COUNT}', "must be a real number", 0),
    "a truth value": Refused(f"Rgate(True) | 0; {COUNT}", "must be a real number", 0),
    "a complex number": Refused(f"Sgate(1+1j) | 0; {COUNT}", "must be a real number", 0),
    "a number for a truth value": Refused(
        f"{matrix('float', 'S', '1, 0 / 0, 1')}; GaussianTransform(S, vacuum=1) | 0; {COUNT}", "True or False", 3
    ),
    "gain": Refused(f"LossChannel(1.2) | 0; {COUNT}", "between 0 and 1", 0),
    "negative photons": Refused(f"Thermal(-1) | 0; {COUNT}", "between 0", 0),
    "another angle of Fouriergate": Refused(f"Fouriergate(1.0) | 0; {COUNT}", "pi / 2", 0),
    "negative dark counts": Refused("MeasureFock(dark_counts=-1) | 0", "dark_counts", 0),
    "a number for a matrix": Refused(f"Interferometer(0.5) | [0, 1]; {COUNT}", "must be a matrix", 0),
    "a matrix of another size": Refused(
        f"{matrix('float', 'U', '1, 0, 0 / 0, 1, 0 / 0, 0, 1')}; Interferometer(U) | [0, 1]; {COUNT}", "(2, 2)", 4
    ),
    "no unitary": Refused(f"{matrix('float', 'U', '1, 1 / 1, 1')}; Interferometer(U) | [0, 1]; {COUNT}", "unitary", 3),
    "not symplectic": Refused(
        f"{matrix('float', 'S', '2, 0 / 0, 2')}; GaussianTransform(S) | 0; {COUNT}", "symplectic", 3
    ),
    "not real": Refused(
        f"{matrix('complex', 'S', '1+1j, 0 / 0, 1')}; GaussianTransform(S) | 0; {COUNT}", "must be real", 3
    ),
    "no state": Refused(f"{matrix('float', 'V', '0.5, 0 / 0, 0.5')}; Gaussian(V) | 0; {COUNT}", "uncertainty", 3),
    "no covariance": Refused(f"{matrix('float', 'V', '1, 0.5 / 0, 1')}; Gaussian(V) | 0; {COUNT}", "symmetric", 3),
    "means of another size": Refused(
        f"{matrix('float', 'V', '1, 0 / 0, 1')}; Gaussian(V, r=[1, 2, 3]) | 0; {COUNT}", "2 real numbers", 3
    ),
    "an amplifier": Refused(
        f"{matrix('float', 'T', '1.1, 0 / 0, 1')}; PassiveChannel(T) | [0, 1]; {COUNT}", "amplifies", 3
    ),
    "a graph with a direction": Refused(
        f"{matrix('float', 'A', '0, 1 / 0, 0')}; GraphEmbed(A) | [0, 1]; {COUNT}", "symmetric", 3
    ),
    "a graph without edges": Refused(
        f"{matrix('float', 'A', '0, 0 / 0, 0')}; GraphEmbed(A) | [0, 1]; {COUNT}", "too small", 3
    ),
    "a bipartite graph of three": Refused(
        f"{matrix('float', 'A', '1')}; BipartiteGraphEmbed(A) | [0, 1, 2]; {COUNT}", "even number", 2
    ),
    "a graph in light": Refused(
        f"{matrix('float', 'A', '0, 1 / 1, 0')}; Sgate(0.1) | 0; GraphEmbed(A) | [0, 1]; {COUNT}", "vacuum", 4
    ),
    # too large
    "squeezing": Refused(f"Sgate(50) | 0; {COUNT}", "more squeezing", 0, LIMIT),
    "squeezing step by step": Refused("Sgate(2.0) | 0; " * 9 + COUNT, "more squeezing", 5, LIMIT),
    "a displacement": Refused(f"Dgate(1e9, 0.0) | 0; {COUNT}", "more light", 0, LIMIT),
    "photons in a shot": Refused(f"Sgate(9.0) | 0; {COUNT}", "photons", None, LIMIT),
    "bright light": Refused(f"Thermal(5e7) | 0; Dgate(9e4, 0.0) | 0; {COUNT}", "photons on average", None, LIMIT),
    "counts": Refused(f"MeasureFock() | {list(range(200))}", "photon counts", None, LIMIT, 10**6),
    "bytes": Refused("; ".join(f"MeasureX | {mode}" for mode in range(8)), "640000000 bytes", None, LIMIT, 10**7),
    "amplitudes": Refused("; ".join(f"MeasureHD | {mode}" for mode in range(4)), "bytes", None, LIMIT, 10**7),
    "the time of photon counts": Refused(chain(40, 1.2, "MeasureFock()"), "the time allowed", None, LIMIT, 10**4),
    "the time of clicks": Refused(chain(40, 1.2, "MeasureThreshold()"), "the time allowed", None, LIMIT, 10**4),
    "counts after a reading": Refused(
        chain(40, 1.2, "MeasureX").replace(str(list(range(40))), "39") + f"; MeasureFock() | {list(range(39))}",
        "at most, not 30000",
        None,
        LIMIT,
        30_000,
    ),
    # time domain
    "another type": Refused(f"Vac | 0; {COUNT}", "type 'fock'", None, type="fock"),
    "copies": Refused(f"Vac | 0; {COUNT}", "copies", None, type="tdm (temporal_modes=3, copies=7)"),
    "no time bins": Refused(f"Vac | 0; {COUNT}", "positive number", None, type="tdm (temporal_modes=0)"),
    "no registers": Refused(f"Vac | 0; {COUNT}", "N must be", None, type="tdm (temporal_modes=3, N=[0])"),
    "registers that do not add up": Refused(
        "Vac | 2; MeasureX | 0", "must add up", None, type="tdm (temporal_modes=3, N=[1, 1])"
    ),
    "a band without a detector": Refused(
        "Vac | 2; MeasureX | 0", "one register of each band", 1, type="tdm (temporal_modes=3, N=[1, 2])"
    ),
    "an array of another length": Refused(
        "float array p0[1, 2] =;     0.1, 0.2; Sgate(p0) | 1; MeasureX | 0",
        "2 values",
        2,
        type="tdm (temporal_modes=3)",
    ),
    "an array of impossible losses": Refused(
        "float array p0[1, 2] =;     1.2, 0.2; LossChannel(p0) | 1; MeasureX | 0",
        "between",
        2,
        type="tdm (temporal_modes=2)",
    ),
    "time bins of photon counters": Refused(
        "Sgate(0.1) | 1; MeasureFock() | 0", "at most 1024", None, LIMIT, type="tdm (temporal_modes=2000)"
    ),
    "readings of a stream": Refused(
        "Sgate(0.1) | 1; MeasureX | 0", "bytes of samples", None, LIMIT, 10**6, type="tdm (temporal_modes=2000)"
    ),
    "steps of a stream": Refused(
        "Rgate(1.0) | 0; " * 10 + "MeasureX | 0", "steps", None, LIMIT, 1, type="tdm (temporal_modes=10000000)"
    ),
    "a graph in a stream": Refused(
        f"{matrix('float', 'A', '0, 1 / 1, 0')}; GraphEmbed(A) | [0, 1]; MeasureX | 0",
        "TDM program",
        3,
        type="tdm (temporal_modes=3)",
    ),
}
