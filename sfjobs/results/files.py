"""
Results on disk: written whole or not at all, read with the same distrust as a response body. Blocking throughout.
Called by ``Result.save`` and ``Result.load``.
"""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np
import numpy.typing as npt

from ..errors import ResultCorruptError, ResultTooLargeError
from ..npy import MAGIC, NpyDecoder, NpyHeader
from .npz import PIECE_BYTES, NpzReader
from .tables import write_table


def save(
    path: Path,
    outputs: Sequence[npt.NDArray[np.generic]],
    metadata: Mapping[str, npt.NDArray[np.generic] | np.generic],
) -> Path:
    """Write beside ``path``, make it durable, and move it there. Objects are never pickled: they raise ``ValueError``."""
    if path.suffix not in {".npy", ".npz", ".csv"}:
        raise ValueError(f"{path} ends in neither .npy nor .npz nor .csv")
    if path.suffix == ".npy" and (len(outputs) != 1 or metadata):
        raise ValueError(
            f"a .npy file holds one array; {len(outputs)} outputs and {len(metadata)} pieces of metadata need .npz"
        )
    if path.suffix == ".csv" and len(outputs) != 1:
        raise ValueError(f"a .csv file holds one array; {len(outputs)} outputs need .npz")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            if path.suffix == ".npy":
                np.lib.format.write_array(file, outputs[0], allow_pickle=False)
            elif path.suffix == ".csv":
                write_table(file, outputs[0])
            else:
                _write_archive(file, outputs, metadata)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def load(path: Path, *, mmap: bool, max_bytes: int) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of a ``.npy`` (as ``arr_0``) or ``.npz`` file by name, recognised by its first bytes."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            is_npy = file.read(len(MAGIC)) == MAGIC
            file.seek(0)
            if not is_npy:
                return NpzReader(file, size=size, max_bytes=max_bytes).read()
            if mmap:
                return {"arr_0": _mapped(file, size)}
            decoder = NpyDecoder(max_bytes, size)
            while piece := file.read(PIECE_BYTES):
                decoder.feed(piece)
            return {"arr_0": decoder.finish()}
    except (ResultCorruptError, ResultTooLargeError) as error:
        raise type(error)(f"{path}: {error.message}") from error.__cause__


def _mapped(file: IO[bytes], size: int) -> npt.NDArray[np.generic]:
    """A read-only view of the file, whose header goes through the decoder's checks; no byte of the array is read."""
    header = NpyHeader()
    while header.layout is None and (piece := file.read(4096)):
        header.feed(memoryview(piece))
    layout = header.layout
    if layout is None:
        raise ResultCorruptError("the header is incomplete")
    if layout.offset + layout.nbytes != size:
        raise ResultCorruptError(f"it has {size} bytes, but its header speaks of {layout.offset + layout.nbytes}")
    order: Literal["F", "C"] = "F" if layout.fortran_order else "C"
    if not layout.nbytes:  # there is nothing to map
        return np.empty(layout.shape, layout.dtype, order)
    return np.memmap(file, layout.dtype, "r", layout.offset, layout.shape, order)


def _write_archive(
    file: IO[bytes],
    outputs: Sequence[npt.NDArray[np.generic]],
    metadata: Mapping[str, npt.NDArray[np.generic] | np.generic],
) -> None:
    arrays = {f"arr_{index}": output for index, output in enumerate(outputs)}
    if clash := arrays.keys() & metadata.keys():
        raise ValueError(f"metadata cannot be saved under the names of outputs: {', '.join(sorted(clash))}")
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, value in {**arrays, **metadata}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(value), allow_pickle=False)
