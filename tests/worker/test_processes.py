"""The settings of one process of a worker: nothing that two of them would fight for, and no more than a worker has."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.settings import Settings, SettingsError, load_settings
from stream_app.worker.processes import ProcessAddressError, folders_of_former_processes, settings_of_process
from stream_app.worker.run import LEFT_STORE_SECONDS, _remove_left, open_store


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **{"partitions": 64, **changes})


@given(st.integers(2, 64), st.integers(1, 100_000), st.integers(1, 100_000))
def test_processes_share_nothing_but_the_bounds_of_their_worker(count: int, records: int, size: int) -> None:
    whole = settings(
        processes=count,
        instance_id="worker-3",
        buffer_records=records,
        buffer_bytes=size,
        api_advertised_url="http://worker-3.worker:6066",
    )
    parts = [settings_of_process(whole, number) for number in range(count)]

    for name in ("instance_id", "data_dir", "api_port", "api_advertised_url"):
        assert len({getattr(part, name) for part in parts}) == count, name
    assert all(first.api_port + 1 == second.api_port for first, second in pairwise(parts))
    assert all(part.api_advertised_url == f"http://worker-3.worker:{part.api_port}" for part in parts)
    assert sum(part.buffer_records for part in parts) <= max(records, count)
    assert sum(part.buffer_bytes for part in parts) <= max(size, count)
    own = {"instance_id", "data_dir", "api_port", "api_advertised_url", "buffer_records", "buffer_bytes"}
    own |= {"metrics_host", "metrics_port"}
    assert all(part.model_dump(exclude=own) == whole.model_dump(exclude=own) for part in parts)
    assert parts[0].data_dir == whole.data_dir
    assert {part.metrics_host for part in parts} == {"127.0.0.1"}


def test_a_worker_of_one_process_is_as_it_was() -> None:
    whole = settings(instance_id="worker-3", api_advertised_url="https://shop.example/churn")

    assert settings_of_process(whole, 0) == whole


def test_ports_and_names_that_were_not_given_are_not_made_up() -> None:
    part = settings_of_process(settings(processes=2, api_port=0), 1)

    assert (part.api_port, part.instance_id, part.api_advertised_url) == (0, "", "")


def test_an_address_without_a_port_cannot_be_counted_on_from() -> None:
    with pytest.raises(ProcessAddressError, match="names no port"):
        settings_of_process(settings(processes=2, api_advertised_url="https://shop.example"), 1)


def test_there_must_be_a_port_for_each() -> None:
    crowded = settings(processes=3, api_port=65_534)

    assert settings_of_process(crowded, 1).api_port == 65_535
    with pytest.raises(ProcessAddressError, match="STREAM_APP_API_PORT=65534"):
        settings_of_process(crowded, 2)


def test_more_processes_than_partitions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_APP_PARTITIONS", "3")
    assert load_settings(processes=3).processes == 3
    with pytest.raises(SettingsError, match="a process without a partition has no work"):
        load_settings(processes=4)


def test_stores_of_processes_that_there_are_no_more_go_like_those_of_lost_partitions(tmp_path: Path) -> None:
    def store(number: int, processes: int, partition: int) -> Path:
        part = settings_of_process(settings(processes=processes, store="rocksdb", data_dir=tmp_path), number)
        open_store(part, partition, cached_states=10).close()
        return part.data_dir / "customers" / part.app_id / str(partition)

    kept, young = store(1, 4, 5), store(2, 4, 6)
    old = store(3, 4, 7)
    for file in old.iterdir():
        os.utime(file, (0, file.stat().st_mtime - LEFT_STORE_SECONDS - 60))
    (tmp_path / "process-x").mkdir()

    fewer = settings(processes=2, store="rocksdb", data_dir=tmp_path)
    first, second = (settings_of_process(fewer, number) for number in range(2))
    assert folders_of_former_processes(first) == [tmp_path / "process-2", tmp_path / "process-3"]
    assert folders_of_former_processes(second) == []
    for part in (first, second):
        _remove_left(part, {0})
    assert (kept.exists(), young.exists(), old.exists()) == (True, True, False)
