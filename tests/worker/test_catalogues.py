"""A changed catalogue is taken over between batches; a bad one changes nothing and is told by line and field."""

import asyncio
import logging
import re
from pathlib import Path

import pytest
import yaml

from stream_app.adapters.assembly import DeciderMaker
from stream_app.adapters.metrics import Metrics
from stream_app.core.partition import PartitionState
from stream_app.core.records import Record
from stream_app.core.times import DAY_MS
from stream_app.decisions.catalogue import Catalogue, shipped_catalogue_file
from stream_app.decisions.types import Decider
from stream_app.engine.shard import DictStore
from stream_app.settings import Settings
from stream_app.worker.catalogues import CatalogueFollower
from tests.support.engines import build_engine
from tests.support.logs import START_MS, log_of, order

TEXT = shipped_catalogue_file().read_text(encoding="utf-8")


class Served:
    """A follower over a file of its own, and what it handed over."""

    def __init__(self, folder: Path, partitions: int = 4) -> None:
        self.file = folder / "actions.yaml"
        self.file.write_text(TEXT, encoding="utf-8")
        self.metrics = Metrics("worker")
        self.maker = DeciderMaker(Settings(catalogue_file=self.file), partitions)
        self.deciders: list[Decider] = [self.maker.decider()]
        self.follower = CatalogueFollower(
            self.file,
            self.maker.catalogue,
            self.version,
            self.maker.with_catalogue,
            self.deciders.append,
            self.metrics,
        )

    @property
    def version(self) -> str:
        return self.deciders[-1].catalogue_version

    def look(self) -> bool:
        return self.follower.look(self.file.read_bytes())

    def shown(self) -> list[str]:
        lines = self.metrics.page().decode().splitlines()
        return [line for line in lines if line.startswith(("stream_app_catalogue_info{", "stream_app_catalogues"))]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def test_a_changed_file_is_in_force_and_shown(served: Served) -> None:
    before = served.version
    assert not served.look()
    served.file.write_text(TEXT + "\n# a remark\n", encoding="utf-8")
    assert not served.look()
    served.file.write_text(TEXT.replace("    cost: 6\n", "    cost: 7\n"), encoding="utf-8")
    assert served.look()
    assert not served.look()
    assert served.version != before
    assert served.maker.catalogue.version == served.version
    assert f'stream_app_catalogue_info{{version="{served.version}"}} 1.0' in served.shown()
    assert not any(before in line for line in served.shown())
    served.file.write_text(TEXT, encoding="utf-8")
    assert served.look()
    assert served.version == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    cost: 6\n", "    cost: -6\n", r"actions\.yaml:\d+: actions\[4\]\.cost: "),
        ("budget: {}", "budget: {count_per_day: 3}", "count_per_day is 3, less than one for each of 4"),
        ("format: 1", "format: [1", r"actions\.yaml:\d+: "),
    ],
)
def test_a_bad_file_leaves_the_last_good_one_in_force(
    served: Served, old: str, new: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = served.version
    served.file.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with caplog.at_level(logging.ERROR):
        assert not served.look()
        assert not served.look()
    assert (served.version, len(caplog.records)) == (before, 1)
    assert re.search(words, caplog.text)
    assert "stream_app_catalogues_refused_total 1.0" in served.shown()
    served.file.write_text(TEXT.replace("    cost: 6\n", "    cost: 7\n"), encoding="utf-8")
    assert served.look()


def test_a_file_that_is_gone_for_a_moment_changes_nothing(served: Served) -> None:
    assert not served.follower.look(FileNotFoundError("gone"))
    assert len(served.deciders) == 1


def test_overrides_hold_for_a_changed_file_as_well() -> None:
    maker = DeciderMaker(Settings(actions_mode="live"), 1)
    changed = Catalogue.model_validate({**yaml.safe_load(TEXT), "margin": 0.4})
    assert {action.mode for action in maker.with_catalogue(changed).catalogue.actions} == {"live"}


async def test_the_loop_sees_a_change(served: Served) -> None:
    handed_over = asyncio.Event()
    follower = CatalogueFollower(
        served.file,
        served.maker.catalogue,
        served.version,
        served.maker.with_catalogue,
        lambda _: handed_over.set(),
        served.metrics,
    )
    task = asyncio.create_task(follower.run(0.01))
    served.file.write_text(TEXT.replace("    cost: 6\n", "    cost: 7\n"), encoding="utf-8")
    async with asyncio.timeout(20):
        await handed_over.wait()
    task.cancel()


def test_a_partition_notes_the_version_with_the_first_batch_that_it_decides(served: Served) -> None:
    engine = build_engine()
    shard = engine.open_shard(0, DictStore(), PartitionState(population={}))
    log: list[Record] = log_of([order("c1", START_MS + day * DAY_MS) for day in range(40)])
    engine.process(shard, log[:20])
    first = shard.memory.catalogue_version
    engine.install_decider(served.deciders[0])
    assert shard.memory.catalogue_version == first
    engine.process(shard, log[20:40])
    assert shard.memory.catalogue_version == served.version != first
