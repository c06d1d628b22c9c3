"""
``Result``: the arrays of one job, with their counts, statistics, pictures and files.

``download.to_memory`` makes it from a response body, ``storage`` from a file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from . import statistics
from .counts import Counts, count_patterns
from .formats.npy import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MetadataValue: TypeAlias = Array | Any
"""
An array, or a numpy scalar in place of an array without dimensions. ``np.generic`` would say this, but type checkers then accept
neither ``value + 1`` nor ``value[0]``.
"""


class Result:
    """
    The outcome of one job.

    ``samples`` are to calculate with; ``raw`` and ``outputs`` have the types that the platform sent. The arrays belong to the
    caller, who may write to them.

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
        self.metadata: Mapping[str, MetadataValue] = MappingProxyType(dict(metadata or {}))
        """The other arrays by name; an array without dimensions is a numpy scalar here."""
        self.job_id = job_id
        """Id of the job; empty for a result from a file."""
        self._samples: Array | None = None
        self._samples_lock = threading.Lock()

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

        Whole numbers are int64 here, so that differences, sums and products do not wrap as those of small types do. That array is
        made on first use, from ``raw`` as it is then, and kept; where the platform sent int64, floats or complex numbers, this is
        ``raw`` itself. It is read-only where ``raw`` is.

        Raises:
            ResultError: the result has no outputs, or has numbers that int64 does not hold.
        """
        # The lock: two threads must get one array, and never convert at the same time.
        with self._samples_lock:
            if self._samples is None:
                self._samples = statistics.as_int64(self.raw, self.job_id)
            return self._samples

    @property
    def raw(self) -> Array:
        """
        The samples in the type in which the platform sent them, often uint8.

        Arithmetic of small types wraps without a warning: in uint8, 0 - 1 is 255.

        Raises:
            ResultError: the result has no outputs.
        """
        return statistics.samples_of(self.outputs, self.job_id)

    @property
    def shots(self) -> int:
        """Number of shots: how often the program was measured."""
        return int(statistics.by_modes(self.raw, self.job_id).shape[0])

    @property
    def num_modes(self) -> int:
        """Number of measured modes; for a time-domain program that of its spatial modes."""
        return int(statistics.by_modes(self.raw, self.job_id).shape[1])

    def counts(self) -> Counts:
        """
        Count how often each pattern was measured.

        Returns a mapping from tuples of photon numbers to frequencies, the most frequent first; ``.patterns`` and
        ``.frequencies`` hold the same as arrays.

        Raises:
            ResultError: the samples are not whole numbers.
        """
        return count_patterns(statistics.whole_numbers(self.raw, self.job_id))

    def mean_photon_number(self) -> npt.NDArray[np.float64]:
        """
        Return the mean photon number of each mode, of shape (modes,) or (spatial modes, timebins).

        The sum of the array is the mean photon number of a shot.

        Raises:
            ResultError: the samples are not photon numbers, or there are no samples.
        """
        return statistics.mean_photon_number(self.raw, self.job_id)

    def photon_number_distribution(self) -> npt.NDArray[np.float64]:
        """
        Return the observed probability of n photons in all modes of a shot together, at index n.

        The array has the shape (highest photon number + 1,).

        Raises:
            ResultError: the samples are not photon numbers, or there are no samples.
        """
        return statistics.photon_number_distribution(self.raw, self.job_id)

    def covariance(self) -> npt.NDArray[np.float64]:
        """
        Return the covariance of the photon numbers of each pair of modes: a symmetric array of shape (modes, modes).

        It is the estimate from a sample, divided by shots - 1; the diagonal holds the variances. In a time-domain program each
        timebin of a spatial mode counts as a mode of its own, in the order of ``samples.reshape(shots, -1)``: ``timebin`` of
        ``spatial`` has the index spatial * timebins + timebin.

        Raises:
            ResultError: the samples are not photon numbers, there are fewer than two shots, or more than 10,000 modes.
        """
        return statistics.covariance(self.raw, self.job_id)

    def correlations(self) -> npt.NDArray[np.float64]:
        """
        Return the correlation coefficients of the photon numbers of each pair of modes, from -1 to 1.

        They are Pearson's, in a symmetric array of shape (modes, modes), with the modes in the order of ``covariance``. Those of
        a mode that has the same photon number in all shots are undefined: its row and column are NaN, also on the diagonal. The
        diagonal is 1 elsewhere.

        Raises:
            ResultError: the samples are not photon numbers, there are fewer than two shots, or more than 10,000 modes.
        """
        return statistics.correlations(self.raw, self.job_id)

    def threshold(self) -> npt.NDArray[np.int64]:
        """
        Return what threshold detectors measure: 1 where there were photons, 0 elsewhere, in the shape of the samples.

        Raises:
            ResultError: the samples are not photon numbers.
        """
        return statistics.threshold(self.raw, self.job_id)

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
