import asyncio
import json
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from stream_app.adapters.metrics import Metrics
from stream_app.core.ledger import Contact, Ledger
from stream_app.core.outputs import Reason
from stream_app.core.state import CustomerState, Observation, OrdersState, ScoreState, new_state
from stream_app.settings import Settings
from stream_app.worker import http
from stream_app.worker.http import HttpConfigurationError, HttpServices
from stream_app.worker.http_ports import Progress, Readiness, advertised_url
from stream_app.worker.http_progress import UNREADY_PATIENCE, ProgressWatch

READY = Readiness(ready=True)


class ShownWorker:
    """A worker whose insides the test sets."""

    def __init__(self) -> None:
        self.state_of: dict[str, CustomerState] = {}
        self.owner_of: dict[str, str | None] = {}
        self.now_ready = READY
        self.report = b""
        self.positions: dict[tuple[str, int], Progress] = {}

    def readiness(self) -> Readiness:
        return self.now_ready

    def progress(self) -> Mapping[tuple[str, int], Progress]:
        return self.positions

    def lookup(self, customer_id: str) -> CustomerState | None:
        return self.state_of.get(customer_id)

    def reasons(self, customer_id: str, language: str) -> tuple[Reason, ...]:
        return (Reason(code="recency", text=f"Silent for long ({language}, {len(customer_id)}).", contribution=0.7),)

    def partition_of(self, customer_id: str) -> int:
        return len(customer_id) % 3

    def owner_url(self, customer_id: str) -> str | None:
        return self.owner_of.get(customer_id, "")

    def customers(self) -> Iterator[tuple[str, CustomerState]]:
        yield from list(self.state_of.items())

    def tiers(self) -> Mapping[str, int]:
        return {"low": 5, "high": len(self.state_of)}

    def experiments(self) -> bytes:
        return self.report

    def fairness(self) -> bytes:
        return self.report

    def status(self) -> Mapping[str, object]:
        return {"model_version": "m-1"}


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, metrics_host="127.0.0.1", metrics_port=0, api_port=0, **changes)


@asynccontextmanager
async def served(worker: ShownWorker, metrics: Metrics | None = None, **changes: Any) -> AsyncIterator[HttpServices]:
    services = HttpServices(settings(**changes), worker, metrics or Metrics("worker"), worker)
    await services.start()
    try:
        yield services
    finally:
        await services.stop()


async def get(url: str, **options: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, **options) as answer:
        return answer.status, await answer.text()


def scored(probability: float, tier: int) -> CustomerState:
    state = new_state()
    state.score = ScoreState(
        at_ms=1_700_000_000_000, probability=probability, tier=tier, week_ago=0.25, model_version="m-1"
    )
    return state


async def test_a_customer_is_shown_with_score_reasons_sub_states_pending_and_ledger() -> None:
    worker = ShownWorker()
    state = scored(0.75, 2)
    state.orders = OrdersState(first_ms=1_600_000_000_000, completed=3, recent_products=("p-1",))
    state.pending = [Observation(at_ms=1_699_000_000_000, kind=1, packed=b"xyz", probability=0.5)]
    state.ledger = Ledger(contacts=[Contact(at_ms=1_699_500_000_000, action="coupon", channel="email")])
    worker.state_of["käufer/1"] = state
    async with served(worker) as services:
        status, text = await get(services.api_url + "/v1/customers/k%C3%A4ufer%2F1?language=zh")

    view = json.loads(text)
    assert status == 200
    assert view["customer_id"] == "käufer/1"
    assert view["score"]["tier"] == "high"
    assert view["score"]["velocity_7d"] == pytest.approx(0.5)
    assert view["score"]["at"] == "2023-11-14T22:13:20.000Z"
    assert view["reasons"][0]["text"] == "Silent for long (zh, 8)."
    assert view["orders"]["first_at"] == "2020-09-13T12:26:40.000Z"
    assert view["orders"]["recent_products"] == ["p-1"]
    assert view["clicks"] is None
    assert view["pending"][0]["kind"] == 1
    assert "packed" not in view["pending"][0]
    assert view["ledger"]["contacts"][0]["action"] == "coupon"


async def test_an_unknown_customer_is_told_from_a_worker_that_is_not_ready() -> None:
    worker = ShownWorker()
    async with served(worker) as services:
        assert (await get(services.api_url + "/v1/customers/nobody"))[0] == 404
        worker.now_ready = Readiness(ready=False, reason="restoring")
        status, text = await get(services.api_url + "/v1/customers/nobody")

    assert status == 503
    assert "restoring" in text


async def test_a_customer_is_answered_by_its_owner_whichever_worker_is_asked() -> None:
    asked, owner = ShownWorker(), ShownWorker()
    owner.state_of["c 1"] = scored(0.9, 3)
    async with served(owner, api_token=SecretStr("t")) as there, served(asked, api_token=SecretStr("t")) as here:
        asked.owner_of["c 1"] = there.api_url
        status, text = await get(here.api_url + "/v1/customers/c%201", headers={"Authorization": "Bearer t"})

    assert status == 200
    assert json.loads(text)["score"]["tier"] == "critical"


async def test_a_request_takes_one_hop_only() -> None:
    first, second = ShownWorker(), ShownWorker()
    async with served(first) as one, served(second) as two:
        first.owner_of["c"] = two.api_url
        second.owner_of["c"] = one.api_url
        status, text = await asyncio.wait_for(get(one.api_url + "/v1/customers/c"), 10)

    assert status == 503
    assert json.loads(text)["error"]["code"] == "owner_moved"


async def test_an_owner_that_does_not_answer_is_named() -> None:
    worker = ShownWorker()
    async with served(ShownWorker()) as gone:
        worker.owner_of["c"] = gone.api_url
    async with served(worker) as services:
        status, text = await get(services.api_url + "/v1/customers/c")
        worker.owner_of["c"] = None
        status_without_owner, _ = await get(services.api_url + "/v1/customers/c")

    assert status == 502
    assert "STREAM_APP_API_ADVERTISED_URL" in text
    assert status_without_owner == 503


@pytest.mark.parametrize(
    "given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}, {"Authorization": "Bearer ü"}]
)
async def test_every_route_needs_the_token(given: dict[str, str]) -> None:
    async with served(ShownWorker(), api_token=SecretStr("secret")) as services:
        for route in ("/v1/customers/c", "/v1/customers", "/v1/status", "/nothing"):
            status, text = await get(services.api_url + route, headers=given)
            assert status == 401
            assert "secret" not in text
        assert (await get(services.api_url + "/v1/status", headers={"Authorization": "Bearer secret"}))[0] == 200


async def test_without_a_token_other_hosts_names_are_refused() -> None:
    async with served(ShownWorker()) as services:
        status, text = await get(services.api_url + "/v1/status", headers={"Host": "evil.example"})

    assert status == 403
    assert "STREAM_APP_API_TOKEN" in text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "10.0.0.1"])
async def test_an_open_host_without_a_token_is_refused_at_start(host: str) -> None:
    worker = ShownWorker()
    services = HttpServices(settings(api_host=host), worker, Metrics(), worker)

    with pytest.raises(HttpConfigurationError, match="STREAM_APP_API_TOKEN"):
        await services.start()


async def test_a_taken_port_is_named_with_the_remedy() -> None:
    async with served(ShownWorker()) as first:
        port = int(first.metrics_url.rsplit(":", 1)[1])
        second = HttpServices(settings().model_copy(update={"metrics_port": port}), ShownWorker(), Metrics())

        with pytest.raises(HttpConfigurationError, match="STREAM_APP_METRICS_PORT"):
            await second.start()


async def test_the_most_endangered_come_first() -> None:
    worker = ShownWorker()
    for number in range(2_500):
        worker.state_of[f"c{number}"] = scored(number / 2_500, number % 4)
    worker.state_of["unscored"] = new_state()
    async with served(worker) as services:
        _, everyone = await get(services.api_url + "/v1/customers?limit=3")
        _, critical = await get(services.api_url + "/v1/customers?tier=critical&limit=2")
        wrong_tier, _ = await get(services.api_url + "/v1/customers?tier=doomed")
        wrong_limit, _ = await get(services.api_url + "/v1/customers?limit=0")

    assert [one["customer_id"] for one in json.loads(everyone)["customers"]] == ["c2499", "c2498", "c2497"]
    assert [one["customer_id"] for one in json.loads(critical)["customers"]] == ["c2499", "c2495"]
    assert (wrong_tier, wrong_limit) == (400, 400)


async def test_probes_and_metrics_follow_the_process() -> None:
    worker = ShownWorker()
    worker.positions = {("orders", 0): Progress(5, 12)}
    async with served(worker, Metrics("worker")) as services:
        assert await get(services.metrics_url + "/healthz") == (200, "ok")
        assert await get(services.metrics_url + "/readyz") == (200, "ok")
        worker.now_ready = Readiness(ready=False, reason="rebalancing")
        services.sample()
        assert await get(services.metrics_url + "/readyz") == (503, "rebalancing")
        page = (await get(services.metrics_url + "/metrics"))[1]
        assert 'stream_app_lag_records{partition="0",topic="orders"} 7.0' in page
        assert 'stream_app_customers{tier="low"} 5.0' in page
        worker.positions = {}
        services.sample()
        page = (await get(services.metrics_url + "/metrics"))[1]
        assert "stream_app_lag_records{" not in page
        assert (await get(services.metrics_url + "/v1/status"))[0] == 404


async def test_metrics_tell_of_requests_without_naming_customers() -> None:
    worker = ShownWorker()
    metrics = Metrics("worker")
    async with served(worker, metrics) as services:
        await get(services.api_url + "/v1/customers/secret-person")
        page = (await get(services.metrics_url + "/metrics"))[1]

    assert 'stream_app_api_requests_total{route="customer",status="404"} 1.0' in page
    assert "secret-person" not in page


async def test_status_names_progress_and_model() -> None:
    worker = ShownWorker()
    worker.positions = {("orders", 1): Progress(5, 5)}
    async with served(worker) as services:
        _, text = await get(services.api_url + "/v1/status")

    status = json.loads(text)
    assert status["ready"] is True
    assert status["model_version"] == "m-1"
    assert status["progress"] == [{"topic": "orders", "partition": 1, "committed": 5, "lag_records": 0}]


async def test_healthz_fails_once_lag_stands_still() -> None:
    worker = ShownWorker()
    worker.positions = {("orders", 0): Progress(5, 6)}
    now = [100.0]
    services = HttpServices(settings(), worker, Metrics(), worker, monotonic_seconds=lambda: now[0])
    assert not services.sample()
    now[0] += 61

    assert services.sample() == "partitions 0 have lag and committed nothing for 60 s"


@given(
    lags=st.lists(st.integers(1, 100), min_size=2, max_size=20),
    step_seconds=st.floats(0.5, 30),
)
def test_whoever_commits_is_alive_however_the_lag_grows(lags: list[int], step_seconds: float) -> None:
    watch = ProgressWatch(stall_seconds=20)
    end = 0
    for number, lag in enumerate(lags):
        end = max(end, number + lag)
        verdict = watch.sample(READY, {("orders", 0): Progress(number, end)}, number * step_seconds)
        assert verdict == ""


@given(st.integers(1, 50), st.integers(0, 5))
def test_whoever_stands_still_with_lag_is_dead_after_the_stall(lag: int, growth: int) -> None:
    watch = ProgressWatch(stall_seconds=10)
    verdicts = [
        watch.sample(READY, {("orders", 3): Progress(7, 7 + lag + growth * second)}, second) for second in range(13)
    ]

    assert verdicts[:11] == [""] * 11
    assert "partitions 3" in verdicts[11]


def test_a_topic_may_wait_for_another_of_its_partition() -> None:
    watch = ProgressWatch(stall_seconds=10)
    for second in range(60):
        progress = {("clickstream", 0): Progress(5, 90), ("orders", 0): Progress(second, 70)}
        assert watch.sample(READY, progress, second) == ""


def test_idle_is_alive_and_an_unready_process_has_patience() -> None:
    watch = ProgressWatch(stall_seconds=10)
    assert all(watch.sample(READY, {("orders", 0): Progress(5, 5)}, second) == "" for second in range(100))
    unready = Readiness(ready=False, reason="restoring 12 of 40 records")

    assert watch.sample(unready, {}, 100) == ""
    assert watch.sample(unready, {}, 100 + 10 * UNREADY_PATIENCE) == ""
    assert "restoring 12 of 40" in watch.sample(unready, {}, 101 + 10 * UNREADY_PATIENCE)
    assert watch.sample(READY, {}, 300) == ""


def test_a_host_that_means_all_addresses_is_advertised_by_name() -> None:
    assert advertised_url(settings(api_host="127.0.0.1").model_copy(update={"api_port": 1})) == "http://127.0.0.1:1"
    assert "0.0.0.0" not in advertised_url(settings(api_host="0.0.0.0"))
    assert advertised_url(settings(api_advertised_url="https://w-0.shop:6066")) == "https://w-0.shop:6066"


async def test_probes_answer_while_the_loop_computes() -> None:
    worker = ShownWorker()
    async with served(worker, Metrics("worker")) as services:
        answered: list[int] = []

        def ask() -> None:
            with urllib.request.urlopen(services.metrics_url + "/healthz", timeout=5) as answer:
                answered.append(answer.status)

        asking = threading.Thread(target=ask)
        asking.start()
        asking.join(10)  # the loop does nothing else until the answer is there

    assert answered == [200]


async def test_a_loop_that_hangs_is_not_alive() -> None:
    now = [0.0]
    worker = ShownWorker()
    services = HttpServices(settings(), worker, Metrics(), worker, monotonic_seconds=lambda: now[0])
    await services.start()
    try:
        await asyncio.sleep(0)  # lets the sampler take its first sample; the next is a second away
        now[0] = 10 * 60 + 1
        status, text = await get(services.metrics_url + "/healthz")
    finally:
        await services.stop()

    assert (status, text) == (503, "the event loop has been busy for 601 s")


async def test_a_line_now_and_then_says_what_was_done(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SAMPLE_SECONDS", 0.01)
    caplog.set_level("INFO", "stream_app.worker.http")
    now = [0.0]
    worker, metrics = ShownWorker(), Metrics("worker")
    worker.positions = {("orders", 0): Progress(5, 12)}
    services = HttpServices(settings(), worker, metrics, worker, monotonic_seconds=lambda: now[0])
    await services.start()
    try:
        metrics.count("events", 3, topic="orders")
        metrics.count("events", 4, topic="reviews")
        await asyncio.sleep(0)  # the sampler begins
        now[0] = http.LOG_SECONDS
        async with asyncio.timeout(30):
            while not any(record.message == "at work" for record in caplog.records):  # noqa: ASYNC110 - logs have no event
                await asyncio.sleep(0.01)
    finally:
        await services.stop()

    (line,) = [record for record in caplog.records if record.message == "at work"]
    assert line.__dict__["stream_app_fields"] == {"state": "ok", "lag_records": 7, "events": 7.0}


@pytest.mark.parametrize("route", ["experiments", "fairness"])
async def test_experiments_and_fairness_are_the_trainers_newest_reports(route: str) -> None:
    worker = ShownWorker()
    async with served(worker) as services, aiohttp.ClientSession() as session:
        async with session.get(f"{services.api_url}/v1/{route}") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (404, "no_report")
        worker.report = b'{"customers": 3}'
        async with session.get(f"{services.api_url}/v1/{route}") as answer:
            assert (answer.status, await answer.json()) == (200, {"customers": 3})
