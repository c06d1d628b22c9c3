"""Short names of targets, and names that are not targets but are often given as one. No I/O."""

from __future__ import annotations

_ALIASES = {"X8": "X8_01", "X12": "X12_02", "simulon": "simulon_gaussian"}
_LOCAL_BACKENDS = frozenset({"fock", "gaussian"})


def resolved(target: str) -> str:
    """
    Return the target that ``target`` stands for: ``X8``, ``X12`` and ``simulon`` are short for the latest device of the kind.

    Raises:
        ValueError: ``target`` is a local backend of Strawberry Fields, which no platform has.
    """
    if target in _LOCAL_BACKENDS:
        raise ValueError(
            f"{target} is a local backend of Strawberry Fields, not a target of a platform: give simulon_gaussian as the target,"
            " on the command line --target simulon_gaussian"
        )
    return _ALIASES.get(target, target)
