"""The routes of `/v1`: one customer from whichever worker owns it, the most endangered here, and status."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from stream_app.adapters.metrics import Recorder
from stream_app.core.outputs import TIERS
from stream_app.worker.http_ports import WorkerViews
from stream_app.worker.http_views import JsonObject, customer_view, most_at_risk

HOP_HEADER: Final = "X-Stream-App-Hop"
"""Set on a request that one worker passes on to another: it is answered there or not at all, never passed on again."""
HOP_TIMEOUT_SECONDS: Final = 5.0
MOST_CUSTOMERS: Final = 500

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """A request that cannot be answered: an HTTP status, a code for programs and a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def is_loopback(host: str) -> bool:
    """Tell whether a bind address or host name can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class CustomerApi:
    """Answers `/v1`.

    With a token every request must carry it. Without one the API listens on loopback only, and refuses requests whose
    Host is another name than loopback's, so that a web page in a browser on this machine cannot read customers by
    rebinding DNS.

    Parameters
    ----------
    views
        The worker.
    token
        Bearer token; empty for none.
    session
        For the one hop to another worker; the caller closes it.
    """

    def __init__(self, views: WorkerViews, token: str, metrics: Recorder, session: aiohttp.ClientSession) -> None:
        self._views = views
        self._token = token
        self._metrics = metrics
        self._session = session

    def application(self) -> web.Application:
        """Return the aiohttp application with all routes."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/v1/customers/{customer_id}", self._customer, name="customer")
        app.router.add_get("/v1/customers", self._customers, name="customers")
        app.router.add_get("/v1/experiments", self._experiments, name="experiments")
        app.router.add_get("/v1/fairness", self._fairness, name="fairness")
        app.router.add_get("/v1/status", self._status, name="status")
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = request.match_info.route.name or "unknown"
        try:
            self._authorise(request)
            response = await handler(request)
        except ApiError as error:
            response = _json({"error": {"code": error.code, "message": error.message}}, error.status)
            if error.status == web.HTTPUnauthorized.status_code:
                response.headers["WWW-Authenticate"] = "Bearer"
            if error.status == web.HTTPServiceUnavailable.status_code:
                response.headers["Retry-After"] = "1"
        except web.HTTPException as error:
            message = f"{request.method} {request.path.split('/')[1][:20]}: {error.reason}; routes start with /v1/"
            response = _json({"error": {"code": "no_such_route", "message": message}}, error.status)
        self._metrics.count("api_requests", route=route, status=str(response.status))
        return response

    def _authorise(self, request: web.Request) -> None:
        if self._token:
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), f"Bearer {self._token}".encode()):
                raise ApiError(401, "unauthorised", "send the header 'Authorization: Bearer <STREAM_APP_API_TOKEN>'")
        elif not is_loopback(request.url.host or ""):
            raise ApiError(
                403, "foreign_host", "without STREAM_APP_API_TOKEN /v1 answers to 127.0.0.1 and localhost only"
            )

    async def _customer(self, request: web.Request) -> web.StreamResponse:
        customer_id = request.match_info["customer_id"]
        url = self._views.owner_url(customer_id)
        if url is None:
            raise ApiError(
                503, "no_owner", "no worker owns the customer's partition just now (rebalancing?); try again"
            )
        if url:
            return await self._from_owner(request, url, customer_id)
        readiness = self._views.readiness()
        if not readiness.ready:
            raise ApiError(503, "not_ready", f"this worker is not ready: {readiness.reason}; try again")
        state = self._views.lookup(customer_id)
        if state is None:
            raise ApiError(404, "unknown_customer", "no event of this customer has been processed")
        reasons = self._views.reasons(customer_id, request.query.get("language", "en"))
        return _json(customer_view(customer_id, self._views.partition_of(customer_id), state, reasons))

    async def _from_owner(self, request: web.Request, url: str, customer_id: str) -> web.StreamResponse:
        if HOP_HEADER in request.headers:
            raise ApiError(503, "owner_moved", "the customer's partition is moving to another worker; try again")
        headers = {HOP_HEADER: "1"}
        if "Authorization" in request.headers:
            headers["Authorization"] = request.headers["Authorization"]
        target = URL(url.rstrip("/")) / "v1" / "customers" / customer_id
        try:
            async with self._session.get(
                target,
                params=request.query,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=HOP_TIMEOUT_SECONDS),
            ) as answer:
                body = await answer.read()
                return web.Response(body=body, status=answer.status, content_type=answer.content_type)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(
                502,
                "owner_unreachable",
                f"the owner at {url} does not answer ({type(error).__name__}); "
                "is its STREAM_APP_API_ADVERTISED_URL right?",
            ) from error

    async def _customers(self, request: web.Request) -> web.StreamResponse:
        tier = request.query.get("tier")
        if tier is not None and tier not in TIERS:
            raise ApiError(400, "unknown_tier", f"tier is one of {', '.join(TIERS)}")
        limit = request.query.get("limit", "20")
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= MOST_CUSTOMERS:
            raise ApiError(400, "bad_limit", f"limit is a whole number from 1 to {MOST_CUSTOMERS}")
        found = await most_at_risk(self._views.customers(), tier, int(limit), _pauses())
        return _json({"scope": "the partitions of this worker", "customers": found})

    async def _experiments(self, _: web.Request) -> web.StreamResponse:
        remedy = "the trainer writes one when decisions have matured (14 days)"
        return _report(self._views.experiments(), remedy)

    async def _fairness(self, _: web.Request) -> web.StreamResponse:
        remedy = "name attributes in STREAM_APP_FAIRNESS_ATTRIBUTES; the trainer writes one when labels have matured"
        return _report(self._views.fairness(), remedy)

    async def _status(self, _: web.Request) -> web.StreamResponse:
        readiness = self._views.readiness()
        progress: list[JsonObject] = [
            {"topic": topic, "partition": partition, "committed": one.committed, "lag_records": one.lag_records}
            for (topic, partition), one in sorted(self._views.progress().items())
        ]
        ready = {"ready": readiness.ready, "reason": readiness.reason}
        return _json({**ready, **self._views.status(), "progress": progress})


async def _pauses() -> AsyncIterator[None]:
    while True:
        await asyncio.sleep(0)
        yield


def _report(report: bytes, remedy: str) -> web.Response:
    if not report:
        raise ApiError(404, "no_report", f"no report yet: {remedy}")
    return web.Response(body=report, content_type="application/json", headers={"Cache-Control": "no-store"})


def _json(body: JsonObject, status: int = 200) -> web.Response:
    text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    return web.Response(
        text=text, status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
