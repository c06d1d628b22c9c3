"""The devices and their descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ...devices import TargetDevice
from ...errors import not_found
from ...jobs.target_status import TargetStatus
from ..extensions import EXTENSIONS
from ..responses import CompactJSONResponse


@dataclass(frozen=True, slots=True)
class DeviceRoutes:
    devices: Mapping[str, TargetDevice]
    targets: TargetStatus

    async def list_devices(self, _: Request) -> Response:
        return CompactJSONResponse(
            {"data": [self.targets.detail(target) for target in self.devices]}, headers=EXTENSIONS
        )

    async def get_device(self, request: Request) -> Response:
        return CompactJSONResponse(self.targets.detail(self._device(request).target))

    async def specification(self, request: Request) -> Response:
        return CompactJSONResponse(self._device(request).specification)

    async def certificate(self, request: Request) -> Response:
        return CompactJSONResponse(self._device(request).certificate)

    def _device(self, request: Request) -> TargetDevice:
        target = request.path_params["target"]
        if target not in self.devices:
            raise not_found(f"There is no device '{target}'. The devices are: {', '.join(self.devices)}.")
        return self.devices[target]
