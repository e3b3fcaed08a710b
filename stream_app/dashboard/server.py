"""HTTP for the live page: the page, a JSON summary, and the same pushed every second (server-sent events)."""

import asyncio
import base64
import binascii
import contextlib
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
    views = _Views(source)
    app = web.Application(middlewares=[_guard(token)])
    app.add_routes(
        [
            web.get("/", views.page),
            web.get("/summary.json", views.summary),
            web.get("/stream", views.stream),
            web.get("/story/{customer}", views.story),
            web.get("/healthz", views.health),
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


class _Views:
    """The handlers, around one source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._html = files("stream_app.dashboard").joinpath("page.html").read_text("utf-8")

    async def page(self, _: web.Request) -> web.Response:
        """Answer with the page; only the script and style in it may run, and nothing may be loaded from elsewhere."""
        nonce = secrets.token_urlsafe(12)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        return web.Response(text=self._html.replace("{{nonce}}", nonce), content_type="text/html", headers=headers)

    async def summary(self, _: web.Request) -> web.Response:
        """Answer with everything that the page shows."""
        return _json(self._source.summary())

    async def story(self, request: web.Request) -> web.Response:
        """Answer with one customer's story."""
        story = self._source.story_of(request.match_info["customer"])
        return _json({"error": "no story is kept of this customer"}, 404) if story is None else _json(story)

    async def health(self, _: web.Request) -> web.Response:
        """Tell whether the page is being kept up to date."""
        failure = self._source.failure()
        return web.Response(status=200 if failure is None else 503, text=(failure or "ok") + "\n")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Push the summary every second, until the reader leaves."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the page was closed
            while True:
                await response.write(b"data: " + orjson.dumps(self._source.summary()) + b"\n\n")
                await asyncio.sleep(PUSH_SECONDS)
        return response


def _json(body: Mapping[str, object], status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)
