"""HTTP for the live page: the page, a JSON summary, and the same pushed every second (server-sent events)."""

import asyncio
import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping
from importlib.resources import files
from typing import Protocol

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

PUSH_SECONDS = 1.0
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class Source(Protocol):
    """What the page is made from."""

    def summary(self) -> Mapping[str, object]:
        """Return everything that the page shows, ready for JSON."""
        ...

    def story_of(self, customer_id: str) -> Mapping[str, object] | None:
        """Return one customer's story, or None where none is kept."""
        ...

    def failure(self) -> str | None:
        """Return why the page cannot be kept up to date, or None."""
        ...


class UnprotectedError(ValueError):
    """The page would be reachable from other machines without a token; it shows customers' identifiers."""


def build_app(source: Source, *, host: str, token: str) -> web.Application:
    """Return the application.

    Parameters
    ----------
    source
        Where the figures come from.
    host
        The address that it will be served on.
    token
        Password that a browser asks for (any user name), also accepted as a bearer token; empty: none.

    Raises
    ------
    UnprotectedError
        When `host` is not loopback and there is no token.
    """
    if host not in LOOPBACK_HOSTS and not token:
        raise UnprotectedError(
            f"the live page on {host} would show customers to everyone who reaches it: set STREAM_APP_API_TOKEN "
            "(the browser asks for it as password), or serve it on 127.0.0.1"
        )
    app = web.Application(middlewares=[_guard(token)])
    app.add_routes(
        [
            web.get("/", _page),
            web.get("/summary.json", lambda _: _answer(source.summary())),
            web.get("/stream", lambda request: _stream(request, source)),
            web.get("/story/{customer}", lambda request: _answer(source.story_of(request.match_info["customer"]))),
            web.get("/healthz", lambda _: _health(source)),
        ]
    )
    return app


def _guard(token: str) -> Middleware:
    """Return a middleware that asks for the token and sets the headers that keep a page to itself."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token and request.path != "/healthz" and not hmac.compare_digest(_given(request), token.encode()):
            return web.Response(
                status=401, text="token needed\n", headers={"WWW-Authenticate": 'Basic realm="stream-app"'}
            )
        return await handler(request)

    return guard


def _given(request: web.Request) -> bytes:
    kind, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return credentials.encode()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


async def _page(_: web.Request) -> web.Response:
    nonce = secrets.token_urlsafe(12)
    html = files("stream_app.dashboard").joinpath("page.html").read_text("utf-8").replace("{{nonce}}", nonce)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return web.Response(text=html, content_type="text/html", headers=headers)


async def _answer(body: Mapping[str, object] | None) -> web.Response:
    if body is None:
        return web.Response(
            status=404, body=b'{"error":"no story is kept of this customer"}', content_type="application/json"
        )
    return web.Response(body=orjson.dumps(body), content_type="application/json", headers={"Cache-Control": "no-store"})


async def _health(source: Source) -> web.Response:
    failure = source.failure()
    return web.Response(status=200 if failure is None else 503, text=(failure or "ok") + "\n")


async def _stream(request: web.Request, source: Source) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    while not request.transport or not request.transport.is_closing():
        try:
            await response.write(b"data: " + orjson.dumps(source.summary()) + b"\n\n")
        except ConnectionError:  # the reader closed the page
            break
        await asyncio.sleep(PUSH_SECONDS)
    return response
