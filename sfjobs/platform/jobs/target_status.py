"""Which targets run jobs now, and why the others do not: offline devices, and targets that the operator has paused."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ...models import JSONValue
from ..devices import TargetDevice
from ..records import Pause
from ..store.interface import PauseStore
from .representation import iso_time


class TargetStatus:
    """The devices and their pauses, as the store had them at the last ``refresh``."""

    def __init__(self, devices: Mapping[str, TargetDevice], store: PauseStore) -> None:
        self._devices = devices
        self._store = store
        self._pauses: dict[str, Pause] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Read the pauses again, and return whether others are in effect than before."""
        now = time.time_ns() // 1000
        pauses = {pause.target: pause for pause in self._store.pauses() if pause.until is None or now < pause.until}
        is_changed = pauses != self._pauses
        self._pauses = pauses
        return is_changed

    def runs(self, target: str) -> bool:
        """Whether jobs of this target run now."""
        device = self._devices.get(target)
        return (
            device is not None and device.engine != "never" and device.status == "online" and target not in self._pauses
        )

    def reason(self, target: str) -> str | None:
        """Return why jobs of this target wait, or None if the target is not the reason."""
        if (pause := self._pauses.get(target)) is not None:
            until = "" if pause.until is None else f" until {iso_time(pause.until)}"
            return f"{target} is paused{until}: {pause.reason}" if pause.reason else f"{target} is paused{until}"
        device = self._devices.get(target)
        if device is None:
            return f"this platform has no target {target} any more"
        return f"{target} is offline" if device.status != "online" else None

    def detail(self, target: str) -> dict[str, JSONValue]:
        """Return the body of ``GET /devices/{target}``. A paused device is ``offline``, and says why and until when."""
        detail = self._devices[target].detail()
        if (pause := self._pauses.get(target)) is not None:
            detail["status"] = "offline"
            times = {"since": iso_time(pause.since), "until": iso_time(pause.until)}
            detail["pause"] = {"reason": pause.reason, **times}
        return detail
