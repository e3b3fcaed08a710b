"""Any schedule of kills, pauses, joins, leaves and broker restarts leaves what an uninterrupted run leaves.

STREAM_APP_TEST_SEED replays a schedule, STREAM_APP_TEST_CHAOS_EVENTS and _DISTURBANCES make it longer.
"""

import os
import random
import signal
from pathlib import Path

import pytest

from stream_app.adapters.broker import ApacheKafka
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from tests.support import kafka as bench
from tests.support.kafka import Broker, NewSettings

EVENTS = int(os.environ.get("STREAM_APP_TEST_CHAOS_EVENTS", "12000"))
DISTURBANCES = int(os.environ.get("STREAM_APP_TEST_CHAOS_DISTURBANCES", "5"))
SEED = int(os.environ.get("STREAM_APP_TEST_SEED", "1"))
MOST_WORKERS = 3


class Crew:
    """The workers that run at the moment."""

    def __init__(self, settings: Settings, folder: Path, chance: random.Random) -> None:
        self._settings = settings
        self._folder = folder
        self._chance = chance
        self._hired = 0
        self.members: list[bench.WorkerProcess] = []

    def hire(self) -> None:
        self._hired += 1
        self.members.append(bench.WorkerProcess(self._settings, self._folder / f"worker{self._hired}.log"))

    def pick(self) -> bench.WorkerProcess:
        return self._chance.choice(self.members)

    def tidy(self) -> None:
        """Replace members that ended by themselves, as a supervisor does; only being fenced or cut off is a reason."""
        for member in [one for one in self.members if one.child.poll() is not None]:
            self.members.remove(member)
            assert member.child.returncode in {0, 3}, member.log.read_text()[-3_000:]
        if not self.members:
            self.hire()

    def dismiss(self) -> None:
        for member in self.members:
            member.child.send_signal(signal.SIGCONT)
            member.child.kill()
            member.child.wait(10)


@pytest.mark.apache
@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_any_schedule_of_failures_equals_the_uninterrupted_run(
    new_settings: NewSettings, broker: Broker, tmp_path: Path
) -> None:
    worker_settings = new_settings(max_chunk_records=25)
    print(f"replay with STREAM_APP_TEST_SEED={SEED}")  # noqa: T201 - pytest shows it when the law breaks
    chance = random.Random(SEED)
    await bench.feed(worker_settings, bench.shop(seed=SEED, events=EVENTS, customers=150))
    crew = Crew(worker_settings, tmp_path, chance)
    counted = 0
    try:
        crew.hire()
        for _ in range(DISTURBANCES):
            crew.tidy()
            if await bench.lag(worker_settings) == 0:
                break
            await bench.until_progress(worker_settings)
            counted += await bench.lag(worker_settings) > 0
            await disturb(chance.choice(["kill", "kill", "leave", "join", "pause", "broker"]), crew, broker)

        async def done() -> bool:
            crew.tidy()
            return await bench.lag(worker_settings) == 0

        await bench.until(done, "lag is zero", patience_seconds=240)
    finally:
        crew.dismiss()
    assert counted >= min(3, DISTURBANCES), "too few disturbances found work under way: feed more events"
    await bench.assert_equals_pure(worker_settings)
    sent = bench.interventions_by_id(await bench.read_all(worker_settings, worker_settings.topic(Topic.INTERVENTIONS)))
    assert sent
    assert all(len(payloads) == 1 for payloads in sent.values())


async def disturb(how: str, crew: Crew, broker: Broker) -> None:
    member = crew.pick()
    match how:
        case "kill":
            member.kill()
            crew.members.remove(member)
        case "leave":
            member.terminate()
            crew.members.remove(member)
        case "pause":
            member.child.send_signal(signal.SIGSTOP)
            crew.hire()
            # The newcomer gets its partitions only once the group has missed the paused one for a session.
            newcomer = crew.members[-1]
            await bench.until(lambda: '"restored"' in newcomer.log.read_text(), "the newcomer owns partitions")
            member.child.send_signal(signal.SIGCONT)
        case "broker" if isinstance(broker, ApacheKafka):
            broker.kill()
            broker.start()
        case _:
            if len(crew.members) < MOST_WORKERS:
                crew.hire()
    crew.tidy()
