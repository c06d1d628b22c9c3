"""
Results in files: written completely or not at all, and read with the checks of a response body. Blocking. Called by
``Result.save``, ``Result.load`` and ``Result.plot``.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from .._util.atomic_file import AtomicFile
from ..errors import ResultCorruptError, ResultTooLargeError
from .csv import write_table
from .formats.buffers import discarding
from .formats.decoder import QUOTED_BYTES, decoder_for
from .formats.memory_map import map_arrays
from .formats.npy import MAGIC, Array
from .formats.npz import NamedBufferFor, any_buffer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(path: Path, outputs: Sequence[Array], metadata: Mapping[str, Array | np.generic]) -> Path:
    """Write a file that is durable and appears complete. Arrays of objects raise ``ValueError``: nothing is pickled."""
    if path.suffix not in {".npy", ".npz", ".csv"}:
        raise ValueError(f"{path} ends in neither .npy nor .npz nor .csv: choose one of them")
    if path.suffix == ".npy" and (len(outputs) != 1 or metadata):
        raise ValueError(
            f"a .npy file holds one array; {len(outputs)} outputs and {len(metadata)} pieces of metadata need .npz"
        )
    if path.suffix == ".csv" and len(outputs) != 1:
        raise ValueError(f"a .csv file holds one array; {len(outputs)} outputs need .npz")
    with AtomicFile(path) as target:
        target.use(partial(_write, path.suffix, outputs, metadata))
        target.commit()
    return path


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as ``save`` writes a result, in the format of the suffix. Raises ``ValueError`` for an unknown one."""
    with AtomicFile(path) as target:
        target.use(lambda file: figure.savefig(file, format=path.suffix.removeprefix(".") or None))
        target.commit()


def load(path: Path, *, mmap: bool, max_bytes: int) -> dict[str, Array]:
    """Return the arrays of a file by name; that of a ``.npy`` file is ``arr_0``. The first bytes decide the format."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            is_npy = file.read(len(MAGIC)) == MAGIC
            file.seek(0)
            if mmap and not is_npy:
                _read(file, size, 1 << 62, discarding(max_bytes, size))
            return map_arrays(file) if mmap else _read(file, size, max_bytes)
    except (ResultCorruptError, ResultTooLargeError) as error:
        raise type(error)(f"{path}: {error.message}") from error.__cause__


def _read(file: BufferedReader, size: int, max_bytes: int, buffer_for: NamedBufferFor = any_buffer) -> dict[str, Array]:
    decoder = decoder_for(file.read(QUOTED_BYTES), max_bytes=max_bytes, declared_bytes=size, buffer_for=buffer_for)
    file.seek(0)
    while (room := decoder.room()) and (count := file.readinto(room)):
        decoder.wrote(count)
    if not room and file.read(1):
        raise ResultCorruptError("bytes follow the end of its arrays")
    return decoder.finish()


def _write(suffix: str, outputs: Sequence[Array], metadata: Mapping[str, Array | np.generic], file: IO[bytes]) -> None:
    if suffix == ".npy":
        np.lib.format.write_array(file, outputs[0], allow_pickle=False)
    elif suffix == ".csv":
        write_table(file, outputs[0])
    else:
        _write_archive(file, outputs, metadata)


def _write_archive(file: IO[bytes], outputs: Sequence[Array], metadata: Mapping[str, Array | np.generic]) -> None:
    arrays = {f"arr_{index}": output for index, output in enumerate(outputs)}
    if clash := arrays.keys() & metadata.keys():
        raise ValueError(f"metadata cannot be saved under the names of outputs: {', '.join(sorted(clash))}")
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, value in {**arrays, **metadata}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(value), allow_pickle=False)
