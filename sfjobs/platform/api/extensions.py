"""The extensions of the protocol that responses offer by name. A client uses one only where it is offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMES: Final = ("delete", "priority")

EXTENSIONS: Final[Mapping[str, str]] = {"sfjobs-extensions": ", ".join(NAMES)}
"""The header, on responses of ``GET /jobs``, ``GET /jobs/{id}``, ``POST /jobs`` and ``GET /devices``."""
