"""
Handles that belong to one process: copies share what they stand for, and pickling is refused with what to keep instead. joblib,
multiprocessing and Dask pickle; ``dataclasses.asdict`` copies.
"""

from __future__ import annotations

from typing import ClassVar, Final, NoReturn, Self

IDS_INSTEAD: Final = "keep the id of each job, or job.to_dict() for Job.from_dict(data, connection)"


class Handle:
    """The base of objects that stand for something open. ``copy`` and ``deepcopy`` return the object itself."""

    __slots__ = ()

    _instead: ClassVar[str] = "make it where it is needed"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled, since it stays in its process: {self._instead}")
