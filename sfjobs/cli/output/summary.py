"""A result as plain numbers: ``charts`` prints them, ``as_json`` is for programs. The result has imported numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ...errors import ResultError
from ...models import JSONValue

if TYPE_CHECKING:
    import numpy.typing as npt

    from ...results import Result

MAX_PATTERNS = 20
"""Patterns in a summary; ``--output`` writes all samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSummary:
    """What summaries of samples have in common: the array's shape, with the shots first, and its type."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def shots(self) -> int:
        return self.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotonSummary(SampleSummary):
    """
    Photon numbers: the most frequent of ``num_patterns`` patterns with their counts, the observed probability of n photons in a
    shot at index n of ``distribution``, and the mean of each mode over shots and timebins.
    """

    num_patterns: int
    patterns: tuple[tuple[tuple[int, ...], int], ...]
    distribution: tuple[float, ...]
    mean: float
    mean_per_mode: tuple[float, ...]

    def as_json(self) -> Mapping[str, JSONValue]:
        return {
            "kind": "photon-numbers",
            "shape": list(self.shape),
            "dtype": self.dtype,
            "mean_photon_number": self.mean,
            "mean_photon_number_per_mode": list(self.mean_per_mode),
            "photon_number_distribution": list(self.distribution),
            "num_patterns": self.num_patterns,
            "most_frequent": [
                {"pattern": list(pattern), "count": count, "probability": count / self.shots}
                for pattern, count in self.patterns
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class QuadratureSummary(SampleSummary):
    """Homodyne (float) or heterodyne (complex) samples: mean and standard deviation of each mode over shots and timebins."""

    means: tuple[complex, ...]
    deviations: tuple[float, ...]

    @property
    def is_complex(self) -> bool:
        return self.dtype.startswith("complex")

    def as_json(self) -> Mapping[str, JSONValue]:
        return {
            "kind": "heterodyne" if self.is_complex else "homodyne",
            "shape": list(self.shape),
            "dtype": self.dtype,
            "modes": [
                {
                    "mean": [_number(mean.real), _number(mean.imag)] if self.is_complex else _number(mean.real),
                    "standard_deviation": _number(deviation),
                }
                for mean, deviation in zip(self.means, self.deviations, strict=True)
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySummary:
    """No samples, or samples of another kind."""

    reason: str

    shots: None = None

    def as_json(self) -> Mapping[str, JSONValue]:
        return {"kind": "other", "detail": self.reason}


Summary: TypeAlias = PhotonSummary | QuadratureSummary | ArraySummary


def summarize(result: Result) -> Summary:
    """Return the summary of a result; an ArraySummary for one that is not as the protocol says."""
    try:
        samples = result.raw
        if samples.dtype.kind in "biu":
            return _photons(result)
        if samples.dtype.kind in "fc" and samples.size and samples.ndim:
            return _quadratures(samples)
    except ResultError as error:
        return ArraySummary(reason=str(error))
    return ArraySummary(reason=f"samples of type {samples.dtype} and shape {samples.shape}")


def _photons(result: Result) -> PhotonSummary:
    distribution = result.photon_number_distribution()
    means = result.mean_photon_number()
    counts = result.counts()
    return PhotonSummary(
        shape=result.raw.shape if result.raw.ndim > 1 else (result.shots, 1),
        dtype=str(result.raw.dtype),
        num_patterns=len(counts),
        patterns=tuple(counts.most_common(MAX_PATTERNS)),
        distribution=tuple(distribution.tolist()),
        mean=float(means.sum()),
        mean_per_mode=tuple(means.reshape(len(means), -1).mean(axis=1).tolist()),
    )


def _quadratures(samples: npt.NDArray[Any]) -> QuadratureSummary:
    modes = samples.reshape(len(samples), 1) if samples.ndim == 1 else samples
    # One row a mode, of shots and timebins, in double precision.
    rows = modes.swapaxes(0, 1).reshape(modes.shape[1], -1)
    wide = rows.astype("complex128" if rows.dtype.kind == "c" else "float64")
    return QuadratureSummary(
        shape=modes.shape,
        dtype=str(samples.dtype),
        means=tuple(complex(mean) for mean in wide.mean(axis=1).tolist()),
        deviations=tuple(wide.std(axis=1).tolist()),
    )


def _number(value: float) -> float | None:
    """Return None for infinities and NaN, which JSON does not have."""
    return value if math.isfinite(value) else None
