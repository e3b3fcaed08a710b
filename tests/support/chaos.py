"""Any schedule of failures against real workers, and what must hold at its end.

The log is cut into slabs. A slab is fed while no worker runs, so that the order in which its topics become visible is
no part of the experiment; then a crew works on it and is disturbed. Before each disturbance everybody is frozen and
asked what is left: a disturbance that found nothing to do does not count, and the next slab is larger. So the result
depends on no machine's speed.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from stream_app.adapters.broker import ApacheKafka
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.settings import Settings
from stream_app.wire.headers import source_position
from stream_app.wire.partition import partition_of
from tests.support import kafka as bench
from tests.support.crew import Crew, Member, Seat
from tests.support.probe import GroupProbe, records_of
from tests.support.pure import PureRun, sent_by
from tests.support.shop_stream import RING_IDS, Mix, ShopStream

Store = Literal["memory", "rocksdb"]
How = Literal["kill", "leave", "join", "pause", "broker", "duplicate"]
WEIGHTS: dict[How, int] = {"kill": 8, "leave": 2, "join": 2, "pause": 1, "broker": 1, "duplicate": 3}
MOST_WORKERS = 3
FEWEST_COUNTED = 2
"""A round in which fewer disturbances found work to do makes the next slab larger."""

LARGEST_SLAB = 400_000
PATIENCE_SECONDS = 300.0
_CHUNKS = (25, 100, 500)
OUTPUTS = (
    Topic.INTERVENTIONS,
    Topic.SCORES,
    Topic.WARNINGS,
    Topic.SUPPRESSED,
    Topic.TRAINING,
    Topic.OUTCOMES,
    Topic.POPULATION,
    Topic.DEAD_LETTERS,
)


class Plan(NamedTuple):
    """What to do until when."""

    seed: int
    kills: int
    """Kill -9 of workers that had unacknowledged work: at least so many."""
    events: int
    """Feed at least so many."""
    slab: int
    """Events of the first slab."""
    customers: int
    audit_rounds: int = 10
    """After so many rounds all is worked off and compared, so that a break is found near its cause."""
    a_round: tuple[int, int] = (2, 6)
    """Fewest and most disturbances of a round."""
    crew: tuple[int, int] = (1, MOST_WORKERS)
    """Fewest and most workers that begin a round."""
    stores: tuple[Store, ...] = ("rocksdb", "memory", "rocksdb")
    """Of the seats. Standbys are kept between workers with RocksDB, while one of them assigns."""
    deliberate: tuple[How, ...] = ()
    """Disturbances to begin with, in this order; the seed chooses the rest."""
    misrouted_every: int = 0
    """Of so many customers one's records come under wrong keys or to wrong partitions; 0: none. What is re-published
    has no fixed place in time: then Law 1 alone can hold, and what went through `rerouted` is looked at, too."""


class Result(NamedTuple):
    """What happened. That there is one means that the laws held."""

    seed: int
    counted_kills: int
    disturbances: dict[str, int]
    records: int
    repeated_in_the_log: int
    refused_in_the_log: int
    rounds: int
    workers_started: int
    exit_codes: dict[int, int]
    audits: int
    interventions: int
    outputs: dict[str, int]
    """Different records, by topic: exactly those of the uninterrupted run, unless some were misrouted."""
    outputs_repeated: dict[str, int]
    """Records beyond those: sent again after a failure, with the same bytes."""
    rerouted: int
    """Different records that went through `rerouted`: exactly those that came to a wrong place."""
    restored_records: int
    restored_partitions: int
    restored_from_copies: int
    """Of the partitions restored, those that a standby had warm."""
    seconds: float


class Chaos:
    """One run of a plan.

    Parameters
    ----------
    plan
        What to do.
    settings
        The app's; topics made.
    broker
        To be restarted, if it is ours.
    folder
        For logs and stores.
    tell
        Called with progress, a line at a time.
    """

    def __init__(
        self, plan: Plan, settings: Settings, broker: bench.Broker, folder: Path, tell: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._broker = broker
        self._tell = tell
        self._chance = random.Random(plan.seed)
        step_seconds = max(1, 90 * 86_400 // max(1, plan.events))
        mix = Mix(plan.customers, step_seconds, settings.partitions, plan.misrouted_every)
        self._stream = ShopStream(mix, plan.seed)
        seats = [Seat(one, plan.stores[one], self._chance.choice(_CHUNKS)) for one in range(MOST_WORKERS)]
        self._crew = Crew(settings, folder, seats)
        self._pure = PureRun(settings)
        self._done: Counter[str] = Counter()
        self._kills = 0
        self._fed = 0
        self._rounds = 0
        self._audits = 0
        self._rerouted = 0
        self._begun = time.monotonic()

    async def run(self) -> Result:
        """Feed and disturb until the plan is met, then compare; raises AssertionError where a law is broken."""
        slab = self._plan.slab
        deliberate = list(self._plan.deliberate)
        try:
            async with GroupProbe(self._settings) as probe:
                while self._kills < self._plan.kills or self._fed < self._plan.events or deliberate:
                    await self._feed(slab)
                    counted = await self._round(probe, deliberate)
                    if counted < FEWEST_COUNTED:
                        assert slab < LARGEST_SLAB, "the workers are done before anything can be done to them"
                        slab *= 2
                    if self._rounds % self._plan.audit_rounds == 0:
                        await self._audit(probe)
                await self._audit(probe)
        finally:
            self._crew.kill_all()
        return await self._result()

    async def _feed(self, events: int) -> None:
        assert not self._crew.members
        if self._fed >= self._plan.events:
            events = min(events, self._plan.slab * 4)
        await bench.feed(self._settings, self._stream.slab(events))
        self._fed += events

    async def _round(self, probe: GroupProbe, deliberate: list[How]) -> int:
        """Let a crew work and disturb it; everybody is gone at the end. Return how many disturbances counted."""
        self._rounds += 1
        for _ in range(self._chance.randint(*self._plan.crew)):
            self._crew.hire()
        counted = 0
        for _ in range(self._chance.randint(*self._plan.a_round)):
            busy = await self._busy(probe)
            if not busy:
                break
            how = deliberate.pop(0) if deliberate else self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            await self._disturb(how, busy)
            counted += 1
            self._report(how)
        # The round ends as with a power cut: whoever had something to do counts.
        busy = await self._busy(probe)
        self._kills += len(busy)
        self._done["kill"] += len(self._crew.members)
        self._crew.kill_all()
        self._report("power cut")
        return counted + len(busy)

    async def _busy(self, probe: GroupProbe) -> list[Member]:
        """Let the crew work on for a while, freeze it, and return who owns unacknowledged work; none: all is done."""
        goal = await probe.written() + self._chance.randrange(1, max(2, self._plan.slab // self._plan.a_round[1]))

        async def moved() -> bool:
            self._crew.tidy()
            return await probe.written() >= goal or not any((await probe.lags()).values())

        while True:
            await bench.until(moved, "the crew gets on", PATIENCE_SECONDS)
            self._crew.freeze()
            lags = await probe.lags()
            busy = [one for one in self._crew.members if any(lags[number] for number in one.owns())]
            if busy or not any(lags.values()):
                return busy
            # What is left belongs to nobody at the moment: a rebalance is under way.
            self._crew.thaw()
            goal += 1

    async def _disturb(self, how: How, busy: list[Member]) -> None:
        """Do it to a frozen crew, and let those who are left go on."""
        crew, chance = self._crew, self._chance
        member = chance.choice(busy)
        self._done[how] += 1
        match how:
            case "kill":
                crew.kill(member)
                self._kills += 1
                crew.thaw()
            case "leave":
                crew.thaw()
                crew.dismiss(member)
            case "pause":
                await self._pause(member)
            case "broker":
                crew.thaw()
                if isinstance(self._broker, ApacheKafka):
                    (self._broker.kill if chance.random() < 0.5 else self._broker.stop)()
                    self._broker.start()
            case "duplicate":
                await self._send_again()
                crew.thaw()
            case "join":
                crew.thaw()
                if not crew.is_full:
                    crew.hire()
        crew.tidy()

    async def _pause(self, member: Member) -> None:
        """Keep one stopped until others own what it owned, then let it wake up."""
        owned = member.owns()
        for one in self._crew.members:
            if one is not member:
                one.thaw()
        if len(self._crew.members) == 1:
            self._crew.hire()

        def taken_over() -> bool:
            for one in [one for one in self._crew.members if one is not member and not one.is_running]:
                raise AssertionError(one.process.log.read_text()[-3_000:])
            others = [one for one in self._crew.members if one is not member]
            return owned <= frozenset().union(*(one.owns() for one in others))

        await bench.until(taken_over, "others own what the paused worker owned", PATIENCE_SECONDS)
        member.thaw()

    async def _send_again(self) -> None:
        """Produce the newest records of one topic and partition once more, all within what a customer remembers."""
        role, partition = self._chance.choice(CUSTOMER_TOPICS), self._chance.randrange(self._settings.partitions)
        newest: list[bench.Raw] = []
        async for number, records in records_of(self._settings, self._settings.topic(role)):
            if number == partition:
                made = [bench.Raw(role, one.key, one.value, one.timestamp, partition) for one in records]
                newest = [*newest, *made][-RING_IDS:]
        await bench.feed(self._settings, newest[-self._chance.randint(1, RING_IDS) :])

    async def _audit(self, probe: GroupProbe) -> None:
        """Let a crew of one work everything off, and compare with the uninterrupted run: both laws."""
        crew = self._crew
        crew.thaw()
        if not crew.members:
            crew.hire()

        async def done() -> bool:
            crew.tidy()
            return not any((await probe.lags()).values())

        await bench.until(done, "lag is zero", 4 * PATIENCE_SECONDS)
        for member in list(crew.members):
            crew.dismiss(member)
        await self._pure.follow()
        if self._plan.misrouted_every:
            await bench.assert_same_folds(self._settings, self._pure.shards)
            self._rerouted = await assert_rerouted(self._settings, self._pure.misrouted)
        else:
            await bench.assert_equals(self._settings, self._pure.shards)
        self._audits += 1
        self._report("audit: equal to the uninterrupted run")

    async def _result(self) -> Result:
        different: dict[str, int] = {}
        repeated: dict[str, int] = {}
        for topic in OUTPUTS:
            found, count = await sent_by(self._settings, topic)
            expected = self._pure.sent[topic]
            if self._plan.misrouted_every and topic is not Topic.DEAD_LETTERS:
                different[topic.value], repeated[topic.value] = len(found), count - len(found)
                continue
            assert found == expected, f"{topic}: {len(found - expected)} too many, {len(expected - found)} missing"
            different[topic.value], repeated[topic.value] = len(found), count - len(found)
        payloads = bench.interventions_by_id(
            await bench.read_all(self._settings, self._settings.topic(Topic.INTERVENTIONS))
        )
        assert payloads
        assert all(len(one) == 1 for one in payloads.values()), "an intervention id has two payloads"
        restored = [told for member in self._crew.former for told in member.said("restored")]
        return Result(
            seed=self._plan.seed,
            counted_kills=self._kills,
            disturbances=dict(self._done),
            records=self._pure.records,
            repeated_in_the_log=self._stream.repeated,
            refused_in_the_log=self._stream.refused,
            rounds=self._rounds,
            workers_started=len(self._crew.former),
            exit_codes=dict(self._crew.ends),
            audits=self._audits,
            interventions=len(payloads),
            outputs=different,
            outputs_repeated=repeated,
            rerouted=self._rerouted,
            restored_records=sum(int(str(told["records"])) for told in restored),
            restored_partitions=sum(int(str(told["partitions"])) for told in restored),
            restored_from_copies=sum(int(str(told["warm"])) for told in restored),
            seconds=round(time.monotonic() - self._begun, 1),
        )

    def _report(self, what: str) -> None:
        seconds = time.monotonic() - self._begun
        self._tell(
            f"{seconds:7.1f} s  seed {self._plan.seed}  round {self._rounds}  {self._fed:,} events fed  "
            f"{self._kills} counting kills of {self._plan.kills}  {what}"
        )


async def assert_rerouted(settings: Settings, misrouted: set[tuple[str, int, int]]) -> int:
    """Exactly the misrouted records were re-published, where they belong and in the order of their partition."""
    found: set[tuple[str, int, int]] = set()
    latest: dict[tuple[str, int, int], int] = {}
    async for number, records in records_of(settings, settings.topic(Topic.REROUTED)):
        for record in records:
            source = source_position(record.headers)
            assert source is not None
            assert partition_of(record.key, settings.partitions) == number == record.partition
            one = (source.topic.value, source.partition, source.offset)
            if one not in found:
                road = (source.topic.value, source.partition, number)
                assert source.offset > latest.get(road, -1), f"{one} came after {latest[road]}"
                latest[road] = source.offset
                found.add(one)
    assert found == misrouted, f"{len(found - misrouted)} too many, {len(misrouted - found)} missing"
    return len(found)
