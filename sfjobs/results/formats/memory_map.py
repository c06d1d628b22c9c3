"""
Maps the arrays of a file into memory: read-only views, whose bytes are read when they are used. Blocking; an archive must have
been checked before. Called by ``storage`` and ``fetcher``.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import zipfile
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Literal

import numpy as np

from ..._util.atomic_file import naming_file
from ...errors import ResultCorruptError
from .npy import MAGIC, Array, NpyDecoder, NpyHeader

_OUTPUT = re.compile(r"arr_\d+\.npy", re.ASCII)
_LOCAL_HEADER = struct.Struct("<26x2H")
_COPIED_BYTES = 1 << 20


def map_arrays(file: IO[bytes]) -> dict[str, Array]:
    """
    Return the arrays by name; that of a ``.npy`` file is ``arr_0``.

    Outputs are mapped, deflated ones from a temporary file that lives as long as they do; metadata is read.
    """
    file.seek(0)
    size = os.fstat(file.fileno()).st_size
    if file.read(len(MAGIC)) == MAGIC:
        return {"arr_0": map_array(file, 0, size)}
    with zipfile.ZipFile(file) as archive:
        return {
            member.filename.removesuffix(".npy"): _map_member(file, archive, member) for member in archive.infolist()
        }


def map_array(file: IO[bytes], start: int, size: int) -> Array:
    """Map the ``.npy`` file of ``size`` bytes at ``start``, after the decoder's checks of its header."""
    file.seek(start)
    header = NpyHeader()
    while header.layout is None and (piece := file.read(min(4096, start + size - file.tell()))):
        header.feed(memoryview(piece))
    layout = header.layout
    if layout is None:
        raise ResultCorruptError("the header is incomplete")
    if layout.offset + layout.nbytes != size:
        raise ResultCorruptError(f"it has {size} bytes, but its header declares {layout.offset + layout.nbytes}")
    order: Literal["F", "C"] = "F" if layout.fortran_order else "C"
    if not layout.nbytes:  # an empty range cannot be mapped
        return np.empty(layout.shape, layout.dtype, order)
    return np.memmap(file, layout.dtype, "r", start + layout.offset, layout.shape, order)


def _map_member(file: IO[bytes], archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    if not _OUTPUT.fullmatch(member.filename):
        decoder = NpyDecoder(member.file_size, member.file_size)
        decoder.feed(archive.read(member))
        return decoder.finish_array()
    if member.compress_type == zipfile.ZIP_STORED:
        file.seek(member.header_offset)
        lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        return map_array(file, member.header_offset + _LOCAL_HEADER.size + sum(lengths), member.file_size)
    # The system deletes a temporary file with its last user, even if the process is killed.
    with archive.open(member) as packed, TemporaryFile() as unpacked:
        with naming_file(Path(gettempdir())):
            shutil.copyfileobj(packed, unpacked, _COPIED_BYTES)
            unpacked.flush()
        return map_array(unpacked, 0, member.file_size)
