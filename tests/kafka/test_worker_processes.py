"""A worker of two processes: it handles a log as any worker, and whoever of it is killed, nothing is lost."""

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stream_app.adapters.broker import free_port
from stream_app.bench.processes import family_of
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from tests.support import kafka as bench
from tests.support.kafka import NewSettings, WorkerProcess
from tests.support.shop_stream import Mix, ShopStream

PROCESSES = 2
KILLED = 128 + signal.SIGKILL
ORPHANS_SECONDS = 30.0
MOST_KILLS = 6

pytestmark = [
    pytest.mark.apache,
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes of a worker are found in /proc"),
]


def settings_of_two(new_settings: NewSettings, **changes: object) -> Settings:
    ports = {"metrics_port": free_port(), "api_port": two_free_ports()}
    return new_settings(partitions=4, processes=PROCESSES, **ports, **changes)


def two_free_ports() -> int:
    """Return a free port whose successor is free, too."""
    while True:
        port = free_port()
        try:
            with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 1)):
                return port
        except (OSError, OverflowError):
            continue


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def told(log: Path, message: str) -> list[dict[str, Any]]:
    """Return the lines with this message; every line must be whole."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["message"] == message]


def runs(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not buried yet does not."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def end(pids: Iterable[int]) -> None:
    """Leave none of them behind, whatever the test found."""
    for pid in filter(runs, pids):
        os.kill(pid, signal.SIGKILL)


async def worked_off(settings: Settings, process: WorkerProcess) -> None:
    async def done() -> bool:
        assert process.child.poll() is None, process.log.read_text()[-3_000:]
        return await bench.lag(settings) == 0

    await bench.until(lambda: get(settings.metrics_port, "/readyz") == (200, "ok"), "all processes are ready")
    await bench.until(done, "lag is zero")


async def test_two_processes_share_a_log_and_end_in_order(new_settings: NewSettings, tmp_path: Path) -> None:
    settings = settings_of_two(new_settings)
    await bench.feed(settings, bench.shop(seed=51, events=1_500))
    with WorkerProcess(settings, tmp_path / "worker.log") as process:
        await bench.until(
            lambda: len({line["process"] for line in told(process.log, "owns") if line["partitions"]}) == PROCESSES,
            "both processes own partitions",
        )
        await worked_off(settings, process)
        assert get(settings.metrics_port, "/healthz") == (200, "ok")
        page = get(settings.metrics_port, "/metrics")[1]
        for number in range(PROCESSES):
            assert f'stream_app_partitions_owned{{process="{number}"}} 2.0\n' in page
        # Each process answers for customers of both.
        for number in range(12):
            seen = {get(settings.api_port + one, f"/v1/customers/customer-{number}") for one in range(PROCESSES)}
            assert [status for status, _ in seen] == [200]
        assert await asyncio.to_thread(process.terminate) == 0, process.log.read_text()[-3_000:]
    assert await bench.lag(settings) == 0
    await bench.assert_equals_pure(settings)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("who", "store"), [("process", "memory"), ("supervisor", "rocksdb")])
async def test_whoever_is_killed_a_restart_equals_the_uninterrupted_run(
    who: str, store: str, new_settings: NewSettings, tmp_path: Path
) -> None:
    # Small buffers: who ends in order leaves most of the log to the next worker.
    settings = settings_of_two(new_settings, store=store, buffer_records=400, max_chunk_records=50)
    shop = ShopStream(Mix(customers=40, step_seconds=600, partitions=settings.partitions), seed=52)
    attempts = written = 0
    killed_in_mid_stream = False
    while not killed_in_mid_stream:
        attempts += 1
        assert attempts < MOST_KILLS, "the worker is done before it can be killed"
        await bench.feed(settings, shop.slab(3_000 * attempts))
        with WorkerProcess(settings, tmp_path / f"worker{attempts}.log") as process, ExitStack() as stack:
            await bench.until_written(settings, written + 20)
            supervisor, *processes = family_of(process.child.pid)
            stack.callback(end, processes)
            assert len(processes) == PROCESSES
            os.kill(supervisor if who == "supervisor" else processes[1], signal.SIGKILL)
            status = await asyncio.to_thread(process.wait)
            assert status == (-signal.SIGKILL if who == "supervisor" else KILLED)
            await bench.until(lambda: not any(map(runs, processes)), "no process is left", ORPHANS_SECONDS)  # noqa: B023 - waited for here
        killed_in_mid_stream = await bench.lag(settings) > 0
        written = len(await bench.read_all(settings, settings.changelog_topic))
    with WorkerProcess(settings, tmp_path / "last.log") as process:
        await worked_off(settings, process)
        assert await asyncio.to_thread(process.terminate) == 0
    await bench.assert_equals_pure(settings)
    sent = bench.interventions_by_id(await bench.read_all(settings, settings.topic(Topic.INTERVENTIONS)))
    assert sent
    assert all(len(payloads) == 1 for payloads in sent.values())
