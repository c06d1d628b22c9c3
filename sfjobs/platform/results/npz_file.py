"""
Write a result to disk as one uncompressed ``.npz`` with one member, ``arr_0.npy``. Because it is uncompressed, one file serves
both formats of the protocol: the whole file is the ``.npz``, a range of its bytes is the ``.npy``.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from ..private_files import create_private
from ..program import Array
from ..records import ResultFile

_MEMBER: Final = "arr_0.npy"
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")  # signature ... length of the name, length of the extra field
_BLOCK_BYTES: Final = 1 << 20


def write_npz(path: Path, samples: Array) -> ResultFile:
    """
    Write ``samples`` to ``path`` durably and atomically: after a crash the file is complete or absent.

    Raises:
        ValueError: the array holds Python objects, which could only be stored as pickles.
        OSError: the file cannot be written; no partial file is left.
    """
    if samples.dtype.hasobject:
        raise ValueError(f"a result of dtype {samples.dtype} cannot be stored without pickle")
    unfinished = path.with_name(path.name + ".part")
    try:
        with open(unfinished, "wb", opener=create_private) as file:
            np.savez(file, np.ascontiguousarray(samples))
            file.flush()
            os.fsync(file.fileno())
        result = _describe(unfinished, path.name)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)  # it takes space on a disk that may be full
        raise
    _sync_folder(path.parent)
    return result


def _describe(path: Path, name: str) -> ResultFile:
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(_MEMBER)
    with path.open("rb") as file:
        file.seek(member.header_offset)
        _, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        start = member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        file.seek(0)
        whole, npy = hashlib.sha256(), hashlib.sha256()
        position = 0
        while block := file.read(_BLOCK_BYTES):
            whole.update(block)
            npy.update(block[max(0, start - position) : max(0, start + member.file_size - position)])
            position += len(block)
    return ResultFile(
        name=name,
        size=position,
        digest=whole.hexdigest(),
        npy_offset=start,
        npy_size=member.file_size,
        npy_digest=npy.hexdigest(),
    )


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there, and its entries are durable without this
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
