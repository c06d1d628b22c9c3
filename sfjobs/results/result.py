"""
What a job measured, as numpy arrays, with what one asks of it first: which patterns, how many photons, a picture, a file.

``receive`` makes a ``Result`` from a response body; ``files`` keeps it on disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from ..errors import ResultError
from .counts import Counts, count_patterns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array: TypeAlias = npt.NDArray[np.generic]

# Beyond this many photons in one shot the samples are something else, and a distribution over them would fill the memory.
_MAX_PHOTONS = 1_000_000


class Result:
    """
    The outcome of one job. The arrays have the types that the platform sent and belong to the caller, who may write to them.

    Two results are equal only if they are the same object: comparing arrays is for ``numpy.array_equal``.
    """

    def __init__(
        self,
        outputs: Sequence[Array],
        metadata: Mapping[str, Array | np.generic] | None = None,
        *,
        job_id: str = "",
    ) -> None:
        self.outputs: tuple[Array, ...] = tuple(outputs)
        """All positional arrays of the result; mostly there is one, the samples."""
        self.metadata: Mapping[str, Array | np.generic] = MappingProxyType(dict(metadata or {}))
        """What came beside them by name: arrays, and scalars for arrays without dimensions."""
        self.job_id = job_id
        """The job that this is the result of; empty for a result from a file."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], *, job_id: str = "") -> Self:
        """From the members of an archive: ``arr_0``, ``arr_1``... up to the first gap are outputs, the others metadata."""
        outputs: list[Array] = []
        while (name := f"arr_{len(outputs)}") in arrays:
            outputs.append(arrays[name])
        names = arrays.keys() - {f"arr_{index}" for index in range(len(outputs))}
        metadata = {name: array[()] if array.ndim == 0 else array for name, array in arrays.items() if name in names}
        return cls(outputs, metadata, job_id=job_id)

    @property
    def samples(self) -> Array:
        """
        The first output: (shots, modes), or (shots, spatial modes, timebins) of a time-domain program. Whole numbers are
        photon numbers or clicks, floats homodyne and complex numbers heterodyne outcomes.

        Raises ``ResultError`` if the result has no outputs.
        """
        if not self.outputs:
            raise self._error("has no samples: the platform sent metadata only")
        return self.outputs[0]

    @property
    def shots(self) -> int:
        """How many times the program was measured."""
        return int(self._shaped().shape[0])

    @property
    def num_modes(self) -> int:
        """How many modes were measured; the spatial ones of a time-domain program, whatever the number of timebins."""
        return int(self._shaped().shape[1])

    def counts(self) -> Counts:
        """
        How often each pattern was measured, the most frequent first: a mapping from tuples of photon numbers to
        frequencies, with the same as arrays in ``.patterns`` and ``.frequencies``.

        Raises ``ResultError`` if the samples are not whole numbers.
        """
        return count_patterns(self._whole_numbers())

    def mean_photon_number(self) -> npt.NDArray[np.float64]:
        """
        The mean photon number of each mode, of shape (modes,) or (spatial modes, timebins); its sum is that of a shot.

        Raises ``ResultError`` if the samples are not photon numbers, or there are none.
        """
        means: npt.NDArray[np.float64] = self._photons().mean(axis=0, dtype=np.float64)
        return means

    def photon_number_distribution(self) -> npt.NDArray[np.float64]:
        """
        The observed probability of n photons in all modes of a shot together, at index n: shape (most photons + 1,).

        Raises ``ResultError`` if the samples are not photon numbers, or there are none.
        """
        photons = self._photons()
        totals = photons.reshape(len(photons), -1).sum(axis=1, dtype=np.int64)
        if int(totals.max()) > _MAX_PHOTONS:
            raise self._error(f"has a shot of {int(totals.max())} photons, which cannot be photon numbers")
        return np.bincount(totals) / len(totals)

    def threshold(self) -> npt.NDArray[np.uint8]:
        """
        What detectors that only click would have seen: 1 where there were photons, 0 elsewhere, of the samples' shape.

        Raises ``ResultError`` if the samples are not photon numbers.
        """
        samples = self._whole_numbers()
        if samples.dtype.kind == "i" and samples.size and int(samples.min()) < 0:
            raise self._error(f"has samples from {int(samples.min())} on, which cannot be photon numbers")
        return (samples > 0).view(np.uint8)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """
        Write the result to a ``.npy`` file (one output and no metadata), a ``.npz`` file (everything) or a ``.csv`` file, and
        return its path. The file appears whole or not at all. Blocks; in async code run it in a thread.

        A ``.csv`` file is for other programs and is not loaded again. It has a line for each shot and no metadata; its head
        names the columns ``mode_0``, ``mode_1``..., of time-domain programs ``mode_0_timebin_0``..., and complex outcomes
        have two columns each, ``mode_0_real`` and ``mode_0_imag``.

        Raises ``ValueError`` for another suffix, and for what such a file cannot hold.
        """
        from .storage import save

        return save(Path(path), self.outputs, self.metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False, max_bytes: int = 1 << 62) -> Self:
        """
        Read what ``save`` wrote, or any ``.npy`` or ``.npz`` file of plain arrays. Blocks; in async code run it in a thread.
        With ``mmap`` the file stays on disk and its outputs are read-only views of it; an archive is read through once before,
        to check it, and outputs that are deflated in it are unpacked to a temporary file.

        Raises ``ResultCorruptError`` or ``ResultTooLargeError``, and ``OSError`` if the file cannot be read.
        """
        from .storage import load

        return cls.from_arrays(load(Path(path), mmap=mmap, max_bytes=max_bytes))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """
        A figure of the photon-number distribution and the most frequent patterns, or a histogram of homodyne and heterodyne
        outcomes; saved to ``path`` if one is given, whose suffix is that of a picture: ``.png``, ``.svg``, ``.pdf``. The file
        appears whole or not at all. Needs the extra ``plot``. Leaves pyplot and its windows alone.

        Raises ``ConfigurationError`` without matplotlib, ``ResultError`` if there is nothing to draw, ``ValueError`` for another
        suffix.
        """
        from .plotting import draw

        figure = draw(self)
        if path is not None:
            from .storage import save_picture

            save_picture(figure, Path(path))
        return figure

    def __repr__(self) -> str:
        job = f" of job {self.job_id}" if self.job_id else ""
        outputs = ", ".join(f"{output.dtype} {output.shape}" for output in self.outputs) or "no samples"
        metadata = f", metadata {', '.join(self.metadata)}" if self.metadata else ""
        return f"<Result{job}: {outputs}{metadata}>"

    def _repr_html_(self) -> str:
        from .html import result_html

        return result_html(self)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.outputs, dict(self.metadata), self.job_id)

    def _shaped(self) -> Array:
        """The samples with their shots first and at least one mode."""
        samples = self.samples
        if not samples.ndim:
            raise self._error("has a single number in place of samples")
        return samples.reshape(-1, 1) if samples.ndim == 1 else samples

    def _whole_numbers(self) -> npt.NDArray[np.integer]:
        samples = self._shaped()
        if samples.dtype.kind not in "biu":
            raise self._error(f"has samples of type {samples.dtype}, where photon numbers would be whole numbers")
        return cast("npt.NDArray[np.integer]", samples.view(np.uint8) if samples.dtype.kind == "b" else samples)

    def _photons(self) -> npt.NDArray[np.integer]:
        samples = self._whole_numbers()
        if not samples.size:
            raise self._error(f"has no photon numbers: its shape is {samples.shape}")
        if int(samples.min()) < 0 or int(samples.max()) > _MAX_PHOTONS:
            extremes = f"{int(samples.min())} to {int(samples.max())}"
            raise self._error(f"has samples from {extremes}, which cannot be photon numbers")
        return samples

    def _error(self, problem: str) -> ResultError:
        return ResultError(f"the result{f' of job {self.job_id}' if self.job_id else ''} {problem}", job_id=self.job_id)


def _rebuild(
    cls: type[Result], outputs: tuple[Array, ...], metadata: dict[str, Array | np.generic], job_id: str
) -> Result:
    return cls(outputs, metadata, job_id=job_id)
