"""
The platform's HTTP interface as one ASGI application: what every request passes (size, identity, errors in one shape), and
which path leads where. The paths' own work is in ``routes_account``, ``routes_devices``, ``routes_jobs`` and ``routes_changes``.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ApiError, server_error
from ..jobs.acceptance import JobAcceptance
from ..jobs.change_feed import CHANGES_PATH, ChangePublisher
from ..jobs.scheduler import Scheduler
from ..jobs.validation import Parse, SubmissionTarget, SubmissionValidator
from ..limits import DEFAULTS, Limits
from ..store.jobs import Store
from .openapi import OPENAPI_PATH, show_document
from .responses import error_response
from .routes.account import TOKEN_PATH, AccountRoutes
from .routes.changes import ChangeRoutes
from .routes.devices import DeviceRoutes, ShownDevice
from .routes.jobs import JobRoutes
from .tokens import AccessTokens, Bearer

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
_PAUSE_WITHOUT_STORE: Final = 10
"""Seconds that a client is told to wait for room on a disk."""
PUBLIC_PATHS: Final = frozenset({TOKEN_PATH, OPENAPI_PATH})
_log = logging.getLogger(__name__)


class DeviceDescription(ShownDevice, SubmissionTarget, Protocol):
    """All that the platform needs of a device: what it shows of it, and what it asks it about a program."""


def create_app(
    *,
    store: Store,
    scheduler: Scheduler,
    tokens: AccessTokens,
    devices: Mapping[str, DeviceDescription],
    results: Path,
    parse: Parse,
    feed: ChangePublisher | None = None,
    limits: Limits = DEFAULTS,
) -> Starlette:
    """
    The application around parts that are already open; ``results`` is the folder of result files. Who stops the server gives
    the feed, and closes it then.
    """
    feed = feed or ChangePublisher(store, scheduler)
    change = ChangeRoutes(feed, tokens)
    account = AccountRoutes(tokens)
    device = DeviceRoutes(devices)
    intake = JobAcceptance(store, scheduler, SubmissionValidator(devices, parse, limits), quota=limits.quota)
    job = JobRoutes(store=store, scheduler=scheduler, feed=feed, intake=intake, results=results, limits=limits)
    app = Starlette(
        routes=[
            _route(TOKEN_PATH, POST=account.token),
            _route(OPENAPI_PATH, GET=show_document),
            _route("/healthz", GET=account.healthz),
            _route("/devices", GET=device.every),
            _route("/devices/{target}", GET=device.one),
            _route("/devices/{target}/specifications", GET=device.specifications),
            _route("/devices/{target}/certificate", GET=device.certificate),
            _route("/jobs", GET=job.every, POST=job.submit),
            _route(CHANGES_PATH, GET=change.changes),
            _route("/jobs/{id}", GET=job.one, PATCH=job.change),
            _route("/jobs/{id}/circuit", GET=job.circuit),
            _route("/jobs/{id}/result", GET=job.result),
        ],
        middleware=[Middleware(RequestGuard, tokens=tokens, limits=limits)],
        exception_handlers={HTTPException: _http_error, Exception: _last_error},
    )
    app.router.redirect_slashes = False
    return app


def _route(path: str, **methods: Endpoint) -> Route:
    """One route a path, so that a 405 can name every method the path has."""

    async def endpoint(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, endpoint, methods=list(methods))


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: an unknown path, an unknown method."""
    assert isinstance(error, HTTPException)
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "invalid-request")
    # The path of the scope: that of ``request.url`` comes after the Host header, which may be any nonsense.
    detail = f"{request.method} {request.scope['path']}: {error.detail}."
    return error_response(ApiError(error.status_code, code, detail, headers=error.headers))


async def _last_error(_request: Request, _error: Exception) -> Response:
    """For what fails outside of ``RequestGuard``, or in it."""
    return error_response(server_error())


class RequestGuard:
    """Around every request: limits first, then identity on every path but the public ones, errors last, in their one shape."""

    def __init__(self, app: ASGIApp, tokens: AccessTokens, limits: Limits) -> None:
        self._app = app
        self._tokens = tokens
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._let_in(scope, receive, watched_send)
        except ClientDisconnect:
            _log.debug("%s %s: the client went away before its request was complete", scope["method"], scope["path"])
        except anyio.get_cancelled_exc_class():
            if not started:
                await error_response(_stopping())(scope, receive, send)
            raise
        except Exception as error:
            if started:  # too late for another status: breaking the connection is the only way left to say it
                raise
            await error_response(_refusal(error, scope))(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self._limits
        if len(scope["query_string"]) > limits.query:
            raise ApiError(414, "uri-too-long", f"the query is longer than the {limits.query} bytes allowed")
        if len(scope["headers"]) > limits.headers:
            raise ApiError(431, "too-many-headers", f"the request has more than the {limits.headers} headers allowed")
        if scope["path"] not in PUBLIC_PATHS:
            bearer = self._bearer(scope)
            scope["state"] = {**scope.get("state", {}), "account": bearer.account, "bearer": bearer}
        await self._app(scope, receive, send)

    def _bearer(self, scope: Scope) -> Bearer:
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        bearer = self._tokens.bearer_of(authorization.decode("latin-1"))
        if bearer is None:
            detail = "The access token is missing, not valid, or has expired."
            raise ApiError(401, "unauthenticated", detail, headers={"www-authenticate": "Bearer"})
        return bearer


def _refusal(error: Exception, scope: Scope) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, sqlite3.OperationalError):  # a full disk, or one that fails: it may be mended
        _log.error("%s %s: the store cannot be used: %s", scope["method"], scope["path"], error)
        return _unavailable()
    _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
    return server_error()


def _unavailable() -> ApiError:
    detail = (
        "The platform cannot use its disk now, and has done nothing: ask again later, and tell whoever looks after it."
    )
    return ApiError(503, "store-unavailable", detail, headers={"retry-after": str(_PAUSE_WITHOUT_STORE)})


def _stopping() -> ApiError:
    detail = "The platform is stopping; what this request asked for may or may not have been done."
    return ApiError(503, "stopping", detail, headers={"retry-after": "1"})
