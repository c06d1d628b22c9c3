"""
What can be known from the text alone is an answer to the submission: types and sizes of arguments, modes, selections, readings,
targets, and the size of the simulation.
"""

from __future__ import annotations

from tests.interop.published.rows import array_text, haar, script

script(
    "a reading is used before it is there",
    "Xgate(q1) | 0\nMeasureX | 1\nMeasureX | 0",
    refused=r"line \d+.*q1",
)
script(
    "a selection that never happens",
    "Vacuum() | 0\nS2gate(0.3) | [0, 1]\nMeasureHomodyne(0.0, select=1e6) | 0\nMeasureX | 1",
    refused=r"select",
)
script(
    "a selected number of photons", "S2gate(0.3) | [0, 1]\nMeasureFock(select=1) | 0\nMeasureX | 1", refused="select"
)
script(
    "an array that is too short for its time bins",
    "float array p0[1, 2] =\n    0.1, 0.2\n\nSgate(0.5) | 1\nBSgate(p0) | [0, 1]\nMeasureX | 0",
    options={"header": "type tdm (temporal_modes=3)"},
    refused=r"p0|temporal_modes",
)
script(
    "too many copies",
    "float array p0[1, 2] =\n    0.1, 0.2\n\nSgate(0.5) | 1\nBSgate(p0) | [0, 1]\nMeasureX | 0",
    options={"header": "type tdm (temporal_modes=2, copies=1000000000)"},
    refused=r"copies",
)
script(
    "a matrix of another size",
    f"{array_text('U', haar(3, 60))}\n\nSgate(0.4) | 0\nInterferometer(U) | [0, 1, 2, 3]\nMeasureFock() | [0, 1, 2, 3]",
    refused=r"line \d+.*Interferometer",
)
script(
    "a transmission above one",
    "Sgate(0.4) | 0\nLossChannel(1.3) | 0\nMeasureFock() | 0",
    refused=r"line \d+.*LossChannel",
)
script("a squeezing beyond double precision", "Sgate(40) | 0\nMeasureX | 0", refused=r"line \d+.*Sgate")
script("a text as an argument", 'Sgate("strong") | 0\nMeasureX | 0', refused=r"line \d+.*Sgate")
script("a complex angle", "Rgate(0.3+0.4j) | 0\nMeasureX | 0", refused=r"line \d+.*Rgate")
script("a homodyne detector on two modes", "S2gate(0.4) | [0, 1]\nMeasureX | [0, 1]", refused=r"line \d+.*MeasureX")
script("one argument too many", "Rgate(0.3, 0.4, 0.5) | 0\nMeasureX | 0", refused=r"line \d+.*Rgate")
script("an option that is not there", "Rgate(theta=0.3, psi=1) | 0\nMeasureX | 0", refused=r"line \d+.*Rgate.*psi")
script(
    "more light than can be counted",
    "\n".join(
        [f"Sgate(1.8) | {mode}" for mode in range(24)]
        + [f"BSgate(0.7, 0.3) | [{mode}, {mode + 1}]" for mode in range(23)]
        + [f"MeasureFock() | {list(range(24))}"]
    ),
    refused=r"(?i)photon|time|limit",
)
script(
    "a target of the local engines", "Sgate(0.4) | 0\nMeasureFock() | 0", target="gaussian", refused="simulon_gaussian"
)
