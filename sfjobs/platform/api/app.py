"""
The ASGI application: the limits, authentication and error shape of every request, and the routes. The endpoints are in
``routes/``.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..devices import TargetDevice
from ..errors import ApiError, ClientGone, server_error
from ..jobs.acceptance import JobAcceptance
from ..jobs.change_feed import CHANGES_PATH, ChangePublisher
from ..jobs.cleaner import Cleaner
from ..jobs.readiness import Readiness
from ..jobs.scheduler import Scheduler
from ..jobs.validation import ProgramChecks, SubmissionValidator
from ..limits import DEFAULTS, KEEP_ALL, Limits
from ..results.interface import ResultStore
from ..store.interface import JobStore
from .abort import IS_REVOKED
from .budgets import BodyShare, Budgets
from .openapi import OPENAPI_PATH, show_document
from .responses import error_response
from .routes.account import TOKEN_PATH, AccountRoutes
from .routes.changes import ChangeRoutes
from .routes.devices import DeviceRoutes
from .routes.health import LIVE_PATH, READY_PATH, HealthRoutes
from .routes.jobs import JobRoutes
from .tokens import AccessTokens, Bearer

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
_STORE_RETRY_AFTER_SECONDS: Final = 10
PUBLIC_PATHS: Final = frozenset({TOKEN_PATH, OPENAPI_PATH, LIVE_PATH, READY_PATH})
_log = logging.getLogger(__name__)


def create_app(
    *,
    store: JobStore,
    scheduler: Scheduler,
    tokens: AccessTokens,
    devices: Mapping[str, TargetDevice],
    results: ResultStore,
    checks: ProgramChecks,
    feed: ChangePublisher | None = None,
    cleaner: Cleaner | None = None,
    limits: Limits = DEFAULTS,
) -> Starlette:
    """
    Return the application around open parts. A caller that stops the server passes the feed, to close it then.
    """
    feed = feed or ChangePublisher(store, scheduler)
    budgets = Budgets(limits)
    change = ChangeRoutes(feed, tokens, budgets.streams)
    account = AccountRoutes(tokens)
    device = DeviceRoutes(devices, scheduler.targets)
    health = HealthRoutes(Readiness(store, scheduler))
    validator = SubmissionValidator(checks, limits)
    acceptance = JobAcceptance(store, scheduler, validator, quota=limits.quota, storage=limits.storage)
    job = JobRoutes(
        store=store,
        scheduler=scheduler,
        feed=feed,
        acceptance=acceptance,
        results=results,
        cleaner=cleaner or Cleaner(store, results, KEEP_ALL),
        limits=limits,
        downloads=budgets.downloads,
    )
    app = Starlette(
        routes=[
            _route(TOKEN_PATH, POST=account.token),
            _route(OPENAPI_PATH, GET=show_document),
            _route(LIVE_PATH, GET=health.livez),
            _route(READY_PATH, GET=health.readyz),
            _route("/healthz", GET=account.healthz),
            _route("/devices", GET=device.list_devices),
            _route("/devices/{target}", GET=device.get_device),
            _route("/devices/{target}/specifications", GET=device.specification),
            _route("/devices/{target}/certificate", GET=device.certificate),
            _route("/jobs", GET=job.list_jobs, POST=job.submit),
            _route(CHANGES_PATH, GET=change.changes),
            _route("/jobs/{id}", GET=job.get_job, PATCH=job.cancel, DELETE=job.delete),
            _route("/jobs/{id}/circuit", GET=job.circuit),
            _route("/jobs/{id}/result", GET=job.result),
        ],
        middleware=[Middleware(RequestGuard, tokens=tokens, limits=limits, budgets=budgets)],
        exception_handlers={HTTPException: _http_error, Exception: _unexpected_error},
    )
    app.router.redirect_slashes = False
    return app


def _route(path: str, **methods: Endpoint) -> Route:
    """Return one route for all methods of a path, so that a 405 can name them."""

    async def endpoint(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, endpoint, methods=list(methods))


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer what Starlette itself refuses: an unknown path or method."""
    assert isinstance(error, HTTPException)
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "invalid-request")
    # The path of the scope, since ``request.url`` depends on the Host header, which may be malformed.
    detail = f"{request.method} {request.scope['path']}: {error.detail}."
    return error_response(ApiError(error.status_code, code, detail, headers=error.headers))


async def _unexpected_error(_request: Request, _error: Exception) -> Response:
    """Answer an exception that was raised outside of ``RequestGuard``, or in it."""
    return error_response(server_error())


@dataclass(frozen=True, slots=True)
class RequestGuard:
    """Middleware of every request: limits, authentication on all paths but the public ones, and error responses."""

    app: ASGIApp
    tokens: AccessTokens
    limits: Limits
    budgets: Budgets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._admit(scope, receive, noting_send)
        except (ClientDisconnect, ClientGone):
            _log.debug("%s %s: the client disconnected before its request was complete", scope["method"], scope["path"])
        except anyio.get_cancelled_exc_class():
            if not started:
                detail = "The platform is stopping. This request may or may not have been carried out."
                stopping = ApiError(503, "stopping", detail, headers={"retry-after": "1"})
                await error_response(stopping)(scope, receive, send)
            raise
        except Exception as error:
            if started:  # too late for another status: only a broken connection can show the failure
                raise
            await error_response(_api_error(error, scope))(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self.limits
        if len(scope["query_string"]) > limits.query:
            raise ApiError(414, "uri-too-long", f"the query is longer than the {limits.query} bytes allowed")
        if len(scope["headers"]) > limits.headers:
            raise ApiError(431, "too-many-headers", f"the request has more than the {limits.headers} headers allowed")
        state = dict(scope.get("state", ()))
        if scope["path"] in PUBLIC_PATHS:
            owner = f"address {(scope.get('client') or ('unknown',))[0]}"
        else:
            bearer = self._bearer(scope)
            owner = bearer.account
            state |= {"account": bearer.account, "bearer": bearer, IS_REVOKED: partial(self.tokens.is_revoked, bearer)}
        share = BodyShare(self.budgets.bodies, owner)
        scope["state"] = {**state, "owner": owner, "body_share": share}
        with self.budgets.requests.hold(owner):
            try:
                await self.app(scope, receive, send)
            finally:
                share.close()

    def _bearer(self, scope: Scope) -> Bearer:
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        bearer = self.tokens.bearer_of(authorization.decode("latin-1"))
        if bearer is None:
            detail = "The access token is missing, not valid, or has expired."
            raise ApiError(401, "unauthenticated", detail, headers={"www-authenticate": "Bearer"})
        return bearer


def _api_error(error: Exception, scope: Scope) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, sqlite3.OperationalError):  # a full or failing disk, which may be repaired
        _log.error("%s %s: the store cannot be used: %s", scope["method"], scope["path"], error)
        detail = "The platform cannot use its disk now and did nothing. Try again later, or tell its operator."
        retry_after = {"retry-after": str(_STORE_RETRY_AFTER_SECONDS)}
        return ApiError(503, "store-unavailable", detail, headers=retry_after)
    _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
    return server_error()
