"""The devices and what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from ...errors import not_found
from ..responses import CompactJSONResponse


class ShownDevice(Protocol):
    """What is shown of a device; the last two are the JSON objects that clients fetch one by one."""

    @property
    def target(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def expected_uptime(self) -> Mapping[str, object]: ...
    @property
    def created_at(self) -> str: ...
    @property
    def specification(self) -> Mapping[str, object]: ...
    @property
    def certificate(self) -> Mapping[str, object]: ...


class DeviceRoutes:
    def __init__(self, devices: Mapping[str, ShownDevice]) -> None:
        self._devices = devices

    async def every(self, _: Request) -> Response:
        return CompactJSONResponse({"data": [_overview(device) for device in self._devices.values()]})

    async def one(self, request: Request) -> Response:
        return CompactJSONResponse(_overview(self._device(request)))

    async def specifications(self, request: Request) -> Response:
        return CompactJSONResponse(self._device(request).specification)

    async def certificate(self, request: Request) -> Response:
        return CompactJSONResponse(self._device(request).certificate)

    def _device(self, request: Request) -> ShownDevice:
        target = request.path_params["target"]
        if target not in self._devices:
            raise not_found(f"There is no device '{target}'. The devices are: {', '.join(self._devices)}.")
        return self._devices[target]


def _overview(device: ShownDevice) -> dict[str, object]:
    return {
        "target": device.target,
        "status": device.status,
        "expected_uptime": dict(device.expected_uptime),
        "created_at": device.created_at,
    }
