import re
from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

from stream_app.dashboard.board import Board
from stream_app.dashboard.server import UnprotectedError, build_app
from stream_app.decisions.guardrails import GUARDS

PAGE = files("stream_app.dashboard").joinpath("page.html").read_text("utf-8")


class OneBoard:
    def __init__(self, failure: str | None = None) -> None:
        self._failure = failure

    def summary(self) -> Mapping[str, object]:
        return Board().summary()

    def story_of(self, customer_id: str) -> Mapping[str, object] | None:
        return {"customer": customer_id} if customer_id == "c1" else None

    def failure(self) -> str | None:
        return self._failure


def client_of(token: str = "", failure: str | None = None) -> TestClient:  # type: ignore[type-arg]
    return TestClient(TestServer(build_app(OneBoard(failure), host="127.0.0.1", token=token)))


def basic(credentials: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(credentials.encode()).decode()}


async def test_the_page_allows_only_its_own_script_and_style() -> None:
    async with client_of() as client:
        response = await client.get("/")
        text = await response.text()

    policy = response.headers["Content-Security-Policy"]
    nonces = set(re.findall(r'nonce="([^"]+)"', text))
    assert len(nonces) == 1
    assert f"script-src 'nonce-{nonces.pop()}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy


def test_the_page_has_words_for_every_reason_of_a_guardrail() -> None:
    (table,) = re.findall(r"const REASONS = \{(.*?)\};", PAGE, re.DOTALL)
    named = set(re.findall(r"(\w+): \"", table))
    wanted = {code for code, _ in GUARDS} | {"holdout", "shadow", "approval", "nothing", "budget", "rate_breaker"}
    assert wanted | {"kill_switch", "expired", "rejected", "drawn_not_eligible"} <= named


def test_the_page_needs_nothing_from_elsewhere() -> None:
    hosts = set(re.findall(r"https?://([^/'\"]+)", PAGE))
    loads = re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)([^"']+)""", PAGE) + re.findall(
        r"url\(|@import|import\(", PAGE
    )

    assert hosts <= {"www.w3.org"}  # the name of the SVG namespace, never fetched
    assert loads == []


def test_the_page_never_builds_markup_from_data() -> None:
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", PAGE)


async def test_the_summary_is_pushed_as_events() -> None:
    async with client_of() as client, client.get("/stream") as response:
        line = await response.content.readline()

    assert response.content_type == "text/event-stream"
    assert set(orjson.loads(line.removeprefix(b"data: "))) == set(Board().summary())


async def test_a_story_that_is_not_kept_is_not_found() -> None:
    async with client_of() as client:
        assert (await client.get("/story/c1")).status == 200
        assert (await client.get("/story/c2")).status == 404


async def test_health_says_what_is_waited_for() -> None:
    async with client_of(failure="waiting for topics: orders") as client:
        response = await client.get("/healthz")

        assert response.status == 503
        assert "orders" in await response.text()


@pytest.mark.parametrize("path", ["/", "/summary.json", "/stream", "/story/c1"])
async def test_with_a_token_nothing_is_shown_without_it(path: str) -> None:
    async with client_of(token="secret") as client:
        assert (await client.get(path)).status == 401
        assert (await client.get(path, headers=basic("anyone:wrong"))).status == 401
        assert (await client.get(path, headers={"Authorization": "Basic ***"})).status == 401
        assert (await client.get(path, headers={"Authorization": "Bearer secret"})).status == 200
        assert (await client.get(path, headers=basic("anyone:secret"))).status == 200


def test_beyond_loopback_a_token_is_needed() -> None:
    with pytest.raises(UnprotectedError, match="STREAM_APP_API_TOKEN"):
        build_app(OneBoard(), host="0.0.0.0", token="")

    build_app(OneBoard(), host="0.0.0.0", token="secret")
