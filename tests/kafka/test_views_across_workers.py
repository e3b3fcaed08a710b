"""`GET /v1/customers/{id}` answers from whichever worker owns the customer, whichever is asked."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from stream_app.adapters.broker import free_port
from stream_app.settings import Settings
from tests.support import kafka as bench
from tests.support import logs

TOKEN = "views-test-token"
CUSTOMERS = [f"customer-{number}" for number in range(24)]


class Asked:
    """A worker process and where its /v1 is."""

    def __init__(self, settings: Settings, folder: Path, name: str) -> None:
        port = free_port()
        own = {**dict(settings), "api_port": port, "api_token": SecretStr(TOKEN), "data_dir": folder / name}
        changed = {field: own[field] for field in settings.model_fields_set | {"api_port", "api_token", "data_dir"}}
        self.url = f"http://127.0.0.1:{port}"
        self.process = bench.WorkerProcess(Settings.model_validate(changed), folder / f"{name}.log")

    async def get(self, session: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
        assert self.process.child.poll() is None, self.process.log.read_text()[-3_000:]
        try:
            async with session.get(self.url + path, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
                return answer.status, await answer.json()
        except aiohttp.ClientConnectionError:
            return 0, None

    async def knows_all(self, session: aiohttp.ClientSession) -> bool:
        return all([(await self.get(session, f"/v1/customers/{one}"))[0] == 200 for one in CUSTOMERS])


@pytest.mark.apache
@pytest.mark.slow
async def test_any_worker_answers_for_every_customer_before_and_after_one_is_killed(
    worker_settings: Settings, tmp_path: Path
) -> None:
    await bench.feed(worker_settings, [bench.raw(logs.order(one, logs.START_MS)) for one in CUSTOMERS])
    first, second = (Asked(worker_settings, tmp_path, name) for name in ("first", "second"))
    with first.process, second.process:
        async with aiohttp.ClientSession() as session:

            async def shared() -> bool:
                told = [(await one.get(session, "/v1/status"))[1] for one in (first, second)]
                held = [set(status["partitions"]) for status in told if status and status["ready"]]
                return len(held) == 2 and all(held) and len(held[0] | held[1]) == worker_settings.partitions

            async def known() -> bool:
                return await first.knows_all(session) and await second.knows_all(session)

            async def taken_over() -> bool:
                return await second.knows_all(session)

            await bench.until(shared, "both workers own partitions")
            await bench.until(known, "both answer for all customers")
            for one in CUSTOMERS:
                told = await first.get(session, f"/v1/customers/{one}")
                assert told == await second.get(session, f"/v1/customers/{one}")
                assert told[1]["orders"]["completed"] == 1
            for asked in (first, second):
                assert (await asked.get(session, "/v1/customers/nobody-of-that-name"))[0] == 404

            first.process.kill()
            await bench.until(taken_over, "the survivor answers for all customers")
