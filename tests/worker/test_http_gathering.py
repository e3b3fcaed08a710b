"""One port for the probes and metrics of several processes."""

import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from stream_app.adapters.metrics import CONTENT_TYPE, Metrics
from stream_app.worker.http_gathering import Gathering, one_page
from stream_app.worker.http_serving import Listener

PATHS = ("/healthz", "/readyz", "/metrics")
Samples = set[tuple[str, frozenset[tuple[str, str]], float]]


class Process:
    """What one process answers, as the test says."""

    def __init__(self, status: int = 200, text: str = "ok") -> None:
        self.status, self.text = status, text
        self.metrics = Metrics("worker")

    async def probe(self, _: web.Request) -> web.Response:
        return web.Response(text=self.text, status=self.status)

    async def page(self, _: web.Request) -> web.Response:
        return web.Response(body=self.metrics.page(), headers={"Content-Type": CONTENT_TYPE})


@contextlib.asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    listener = Listener(app, "127.0.0.1", 0, "METRICS")
    try:
        yield await listener.start()
    finally:
        await listener.stop()


@contextlib.asynccontextmanager
async def gathered(*processes: Process, silent: int = 0) -> AsyncIterator[str]:
    async with contextlib.AsyncExitStack() as stack:
        urls = []
        for process in processes:
            app = web.Application()
            for path in PATHS:
                app.router.add_get(path, process.page if path == "/metrics" else process.probe)
            urls.append(await stack.enter_async_context(served(app)))
        urls += [""] * silent
        yield await stack.enter_async_context(served(Gathering(lambda: urls).application()))


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_a_probe_succeeds_where_it_does_for_all() -> None:
    async with gathered(Process(), Process()) as url:
        assert [await get(url + path) for path in PATHS[:2]] == [(200, "ok")] * 2


async def test_a_probe_that_fails_names_the_processes() -> None:
    async with gathered(Process(), Process(503, "restoring"), silent=1) as url:
        for path in PATHS[:2]:
            assert await get(url + path) == (503, "process 1: restoring\nprocess 2: starting, or ended")


async def test_there_is_no_page_of_metrics_where_one_does_not_answer() -> None:
    async with gathered(Process(), silent=1) as url:
        assert await get(url + "/metrics") == (503, "process 1: starting, or ended")


async def test_one_that_is_gone_is_told() -> None:
    async with served(web.Application()) as gone:
        pass
    async with served(Gathering(lambda: [gone]).application()) as url:
        assert await get(url + "/readyz") == (503, "process 0: does not answer (ClientConnectorError)")


async def test_the_page_has_the_metrics_of_each_process() -> None:
    processes = [Process(), Process()]
    for number, process in enumerate(processes):
        process.metrics.gauge("ready", number)
    async with gathered(*processes) as url:
        status, page = await get(url + "/metrics")
    assert status == 200
    assert 'stream_app_ready{process="0"} 0.0\nstream_app_ready{process="1"} 1.0\n' in page
    assert page.count("# TYPE stream_app_ready gauge") == 1


def samples(page: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items()), sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


@given(st.lists(st.dictionaries(st.text('a 1"{}\\\n,=é', max_size=5), st.integers(0, 9)), min_size=1, max_size=3))
def test_the_page_is_the_sum_of_its_parts(lags: list[dict[str, int]]) -> None:
    pages = []
    for one in lags:
        metrics = Metrics("worker")
        for topic, count in one.items():
            metrics.gauge("lag_records", count, topic=topic, partition="0")
            metrics.count("events", count, topic=topic)
        pages.append(metrics.page().decode())
    together = one_page(pages)

    expected: Samples = set()
    for number, page in enumerate(pages):
        process = ("process", str(number))
        expected |= {(name, labels | {process}, value) for name, labels, value in samples(page)}
    assert {one for one in samples(together) if not one[0].startswith("process_")} == {
        one for one in expected if not one[0].startswith("process_")
    }
    heads = [line for line in together.splitlines() if line.startswith("#")]
    assert len(heads) == len(set(heads))
