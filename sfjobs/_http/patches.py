"""
Whether a test or an instrumentation has patched httpx or httpcore in this process: respx, pytest-httpx, OpenTelemetry and others
put functions of their own in the place of those that every request of an ``httpx.AsyncClient`` passes. ``adapter`` then sends
through httpx.

A function is httpx's own if its globals are those of a module of httpx. That holds whenever the patch came, and needs no record
of the originals.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import getattr_static
from operator import attrgetter, is_
from types import FunctionType, ModuleType

_CLIENT = (
    "__init__",
    "_init_transport",
    "_init_proxy_transport",
    "send",
    "_send_handling_auth",
    "_send_handling_redirects",
    "_send_single_request",
    "_transport_for_url",
)
_HANDLES = ("handle_async_request",)
_CONNECTS = ("connect_tcp",)
_EXCHANGES = ("_send_request_headers", "_send_request_body", "_receive_response_headers")
_CLASSES = (
    ("httpx", "AsyncClient", _CLIENT),
    ("httpx", "AsyncHTTPTransport", ("__init__", *_HANDLES)),
    ("httpx._client", "AsyncHTTPTransport", ("__init__", *_HANDLES)),
    ("httpcore", "AsyncConnectionPool", ("__init__", *_HANDLES)),
    ("httpcore", "AsyncHTTPConnection", ("__init__", "_connect", *_HANDLES)),
    ("httpcore", "AsyncHTTP11Connection", ("__init__", *_HANDLES, *_EXCHANGES)),
    ("httpcore", "AnyIOBackend", _CONNECTS),
    ("httpcore", "TrioBackend", _CONNECTS),
    ("httpcore._backends.auto", "AutoBackend", ("_init_backend", *_CONNECTS)),
)
"""Module, class and methods. httpcore is loaded with the first request of httpx: what is not loaded is not patched."""


class Watch:
    """
    Some of these classes. ``is_patched`` takes 2 µs while nothing changes: it compares what it finds with what it found before,
    and looks closely at what has changed.
    """

    def __init__(self, *classes: tuple[str, str, tuple[str, ...]]) -> None:
        self._classes = classes
        self._modules = sorted({module for module, _, _ in classes})
        self._getters: dict[str, Callable[[object], tuple[object, ...]]] = {}
        self._found: list[object] = []
        self._is_patched = False

    def is_patched(self) -> bool:
        """Return whether a request of an ``httpx.AsyncClient`` would pass a function of another package."""
        found: list[object] = []
        for name in self._modules:
            module = sys.modules.get(name)
            if module is not None:
                try:
                    found += (self._getters.get(name) or self._getter(name, module))(module)
                except AttributeError:
                    return True
        if not are_same(found, self._found):
            self._found = found
            self._is_patched = any(_class_is_patched(*one) for one in self._classes)
        return self._is_patched

    def _getter(self, name: str, module: ModuleType) -> Callable[[object], tuple[object, ...]]:
        names: list[str] = []
        for of_module, class_name, methods in self._classes:
            if of_module == name and hasattr(module, class_name):  # another version may not have it
                kind = getattr(module, class_name)
                names += [class_name, *(f"{class_name}.{method}" for method in methods if hasattr(kind, method))]
        getter = self._getters[name] = attrgetter("__name__", *names, "__name__")
        return getter


def makers() -> list[object]:
    """Return what makes a client of httpx and its transport: a client that others made knows nothing of a later patch."""
    found: list[object] = []
    for module_name, class_name, _ in _CLASSES:
        kind = vars(sys.modules[module_name]).get(class_name) if module_name in sys.modules else None
        found += [
            kind,
            *(getattr(kind, name, None) for name in ("__init__", "_init_transport", "_init_proxy_transport")),
        ]
    return found


def are_same(before: list[object], now: list[object]) -> bool:
    """Return whether these are the same objects. Equality says less: a proxy is equal to what it wraps."""
    return len(before) == len(now) and all(map(is_, before, now))


def _class_is_patched(module_name: str, class_name: str, methods: tuple[str, ...]) -> bool:
    module = sys.modules.get(module_name)
    found = None if module is None else vars(module).get(class_name)
    if found is None:
        return False
    if not isinstance(found, type) or not _is_of_httpx(found.__module__):
        return True
    functions = [getattr_static(found, method, None) for method in methods]  # another version may not have all of them
    return any(
        function is not None
        and not (type(function) is FunctionType and _is_of_httpx(function.__globals__.get("__name__", "")))
        for function in functions
    )


def _is_of_httpx(module_name: str) -> bool:
    return module_name.partition(".")[0] in ("httpx", "httpcore")


client = Watch(*(one for one in _CLASSES if one[1] == "AsyncClient"))
"""``httpx.AsyncClient``, through which requests go with any transport."""

client_and_transport = Watch(*_CLASSES)
"""Also httpx's own transport, and what that uses of httpcore."""
