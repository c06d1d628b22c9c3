"""
The platform's HTTP interface as one ASGI application: what every request passes (size, identity, errors in one shape), and
which path leads where. The paths' own work is in ``routes_account``, ``routes_devices``, ``routes_jobs`` and ``routes_changes``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import ApiError
from .feed import CHANGES_PATH, ChangeFeed
from .intake import Intake
from .limits import DEFAULTS, Limits
from .routes_account import TOKEN_PATH, AccountRoutes
from .routes_changes import ChangeRoutes
from .routes_devices import DeviceRoutes, ShownDevice
from .routes_jobs import JobRoutes
from .scheduler import Scheduler
from .store import Store
from .submission import Parse, Submissions, SubmissionTarget
from .tokens import Bearer, Tokens

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
_log = logging.getLogger(__name__)


class Device(ShownDevice, SubmissionTarget, Protocol):
    """All that the platform needs of a device: what it shows of it, and what it asks it about a program."""


def create_app(
    *,
    store: Store,
    scheduler: Scheduler,
    tokens: Tokens,
    devices: Mapping[str, Device],
    results: Path,
    parse: Parse,
    feed: ChangeFeed | None = None,
    limits: Limits = DEFAULTS,
) -> Starlette:
    """
    The application around parts that are already open; ``results`` is the folder of result files. Who stops the server gives
    the feed, and closes it then.
    """
    feed = feed or ChangeFeed(store, scheduler)
    change = ChangeRoutes(feed, tokens)
    account = AccountRoutes(tokens)
    device = DeviceRoutes(devices)
    intake = Intake(store, scheduler, Submissions(devices, parse, limits), quota=limits.quota)
    job = JobRoutes(store=store, scheduler=scheduler, feed=feed, intake=intake, results=results, limits=limits)
    app = Starlette(
        routes=[
            _route(TOKEN_PATH, POST=account.token),
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
        middleware=[Middleware(Gate, tokens=tokens, limits=limits)],
        exception_handlers={HTTPException: _http_error},
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
    detail = f"{request.method} {request.url.path}: {error.detail}."
    return ApiError(error.status_code, code, detail, headers=error.headers).answer()


class Gate:
    """Around every request: limits first, then identity on every path but the token's, errors last, in their one shape."""

    def __init__(self, app: ASGIApp, tokens: Tokens, limits: Limits) -> None:
        self._app = app
        self._tokens = tokens
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits, started = self._limits, False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            if len(scope["query_string"]) > limits.query:
                raise ApiError(414, "uri-too-long", f"the query is longer than the {limits.query} bytes allowed")
            if len(scope["headers"]) > limits.headers:
                raise ApiError(
                    431, "too-many-headers", f"the request has more than the {limits.headers} headers allowed"
                )
            if scope["path"] != TOKEN_PATH:
                bearer = self._bearer(scope)
                scope["state"] = {**scope.get("state", {}), "account": bearer.account, "bearer": bearer}
            await self._app(scope, receive, watched_send)
        except ApiError as error:
            await error.answer()(scope, receive, send)
        except ClientDisconnect:
            _log.debug("%s %s: the client went away before its request was complete", scope["method"], scope["path"])
        except Exception:
            if started:  # too late for another status: breaking the connection is the only way left to say it
                raise
            _log.exception("%s %s failed", scope["method"], scope["path"])
            answer = ApiError(500, "server-error", "The platform failed at this request; its log says more.").answer()
            await answer(scope, receive, send)

    def _bearer(self, scope: Scope) -> Bearer:
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        bearer = self._tokens.bearer_of(authorization.decode("latin-1"))
        if bearer is None:
            detail = "The access token is missing, not valid, or has expired."
            raise ApiError(401, "unauthenticated", detail, headers={"www-authenticate": "Bearer"})
        return bearer
