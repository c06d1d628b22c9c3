"""
``Result``: the arrays of one job, with their counts, statistics, pictures and files.

``download.to_memory`` makes it from a response body, ``storage`` from a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from . import statistics
from .counts import Counts, count_patterns
from .formats.npy import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Result:
    """
    The outcome of one job. The arrays have the types that the platform sent. They belong to the caller, who may write to them.

    Two results are equal only if they are the same object; compare arrays with ``numpy.array_equal``.
    """

    def __init__(
        self,
        outputs: Sequence[Array],
        metadata: Mapping[str, Array | np.generic] | None = None,
        *,
        job_id: str = "",
    ) -> None:
        self.outputs: tuple[Array, ...] = tuple(outputs)
        """All positional arrays of the result. Most results have one, the samples."""
        self.metadata: Mapping[str, Array | np.generic] = MappingProxyType(dict(metadata or {}))
        """The other arrays by name; an array without dimensions is a numpy scalar here."""
        self.job_id = job_id
        """Id of the job; empty for a result from a file."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], *, job_id: str = "") -> Self:
        """
        Make a result from the members of an archive.

        ``arr_0``, ``arr_1``... up to the first gap are outputs, the others metadata.
        """
        outputs: list[Array] = []
        while (name := f"arr_{len(outputs)}") in arrays:
            outputs.append(arrays[name])
        names = arrays.keys() - {f"arr_{index}" for index in range(len(outputs))}
        metadata = {name: array[()] if array.ndim == 0 else array for name, array in arrays.items() if name in names}
        return cls(outputs, metadata, job_id=job_id)

    @property
    def samples(self) -> Array:
        """
        The first output, of shape (shots, modes), or (shots, spatial modes, timebins) for a time-domain program. Whole numbers
        are photon numbers or clicks, floats are homodyne outcomes, complex numbers are heterodyne outcomes.

        Raises:
            ResultError: the result has no outputs.
        """
        return statistics.samples_of(self.outputs, self.job_id)

    @property
    def shots(self) -> int:
        """Number of shots: how often the program was measured."""
        return int(statistics.by_modes(self.samples, self.job_id).shape[0])

    @property
    def num_modes(self) -> int:
        """Number of measured modes; for a time-domain program that of its spatial modes."""
        return int(statistics.by_modes(self.samples, self.job_id).shape[1])

    def counts(self) -> Counts:
        """
        Count how often each pattern was measured.

        Returns a mapping from tuples of photon numbers to frequencies, the most frequent first; ``.patterns`` and
        ``.frequencies`` hold the same as arrays.

        Raises:
            ResultError: the samples are not whole numbers.
        """
        return count_patterns(statistics.whole_numbers(self.samples, self.job_id))

    def mean_photon_number(self) -> npt.NDArray[np.float64]:
        """
        Return the mean photon number of each mode, of shape (modes,) or (spatial modes, timebins).

        The sum of the array is the mean photon number of a shot.

        Raises:
            ResultError: the samples are not photon numbers, or there are no samples.
        """
        return statistics.mean_photon_number(self.samples, self.job_id)

    def photon_number_distribution(self) -> npt.NDArray[np.float64]:
        """
        Return the observed probability of n photons in all modes of a shot together, at index n.

        The array has the shape (highest photon number + 1,).

        Raises:
            ResultError: the samples are not photon numbers, or there are no samples.
        """
        return statistics.photon_number_distribution(self.samples, self.job_id)

    def threshold(self) -> npt.NDArray[np.uint8]:
        """
        Return what threshold detectors measure: 1 where there were photons, 0 elsewhere, in the shape of the samples.

        Raises:
            ResultError: the samples are not photon numbers.
        """
        return statistics.threshold(self.samples, self.job_id)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """
        Write the result to a ``.npy`` file (one output, no metadata), a ``.npz`` file (everything) or a ``.csv`` file.

        Returns the path. The file appears complete or not at all. Blocks; in async code run it in a thread.

        A ``.csv`` file is for other programs; ``load`` does not read it. It has a line for each shot and no metadata. Its header
        names the columns ``mode_0``, ``mode_1``..., for time-domain programs ``mode_0_timebin_0``...; a complex outcome has
        two columns, ``mode_0_real`` and ``mode_0_imag``.

        Raises:
            ValueError: the suffix is another one, or such a file cannot hold this result.
            OSError: the file cannot be written.
        """
        from .storage import save

        return save(Path(path), self.outputs, self.metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False, max_bytes: int = 1 << 62) -> Self:
        """
        Read a file that ``save`` wrote, or any ``.npy`` or ``.npz`` file of plain arrays.

        Blocks; in async code run it in a thread. With ``mmap`` the file stays on disk and the outputs are read-only views of
        it. An archive is read once to check it, and compressed outputs are unpacked to a temporary file. ``max_bytes`` limits
        the size of all arrays together.

        Raises:
            ResultCorruptError: the file is not a complete, well-formed file of plain arrays.
            ResultTooLargeError: the arrays have more than ``max_bytes``.
            OSError: the file cannot be read.
        """
        from .storage import load

        return cls.from_arrays(load(Path(path), mmap=mmap, max_bytes=max_bytes))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """
        Draw the photon-number distribution and the most frequent patterns, or a histogram of homodyne or heterodyne outcomes.

        With ``path`` the figure is saved there too, in the format of the suffix: ``.png``, ``.svg``, ``.pdf``. The file appears
        complete or not at all. Needs the extra ``plot``; pyplot is not used, so no window opens.

        Raises:
            ConfigurationError: matplotlib is not installed.
            ResultError: there is nothing to draw.
            ValueError: matplotlib does not know the suffix.
            OSError: the file cannot be written.
        """
        from .plotting import draw

        figure = draw(self.outputs, self.job_id)
        if path is not None:
            from .storage import save_figure

            save_figure(figure, Path(path))
        return figure

    def __repr__(self) -> str:
        job = f" of job {self.job_id}" if self.job_id else ""
        outputs = ", ".join(f"{output.dtype} {output.shape}" for output in self.outputs) or "no samples"
        metadata = f", metadata {', '.join(self.metadata)}" if self.metadata else ""
        return f"<Result{job}: {outputs}{metadata}>"

    def _repr_html_(self) -> str:
        from .html import result_html

        return result_html(self.outputs, self.metadata, self.job_id)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.outputs, dict(self.metadata), self.job_id)


# Pickles of earlier versions name this function; it stays where it is.
def _rebuild(
    cls: type[Result], outputs: tuple[Array, ...], metadata: dict[str, Array | np.generic], job_id: str
) -> Result:
    return cls(outputs, metadata, job_id=job_id)
