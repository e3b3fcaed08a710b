"""What is counted, and how it is told."""

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.bench.contest import PEERS, Standing, peers_named
from stream_app.bench.measuring import Measured, Sample, window_of
from stream_app.bench.processes import Contender, cpu_seconds, family_of, peak_memory_mebibytes
from stream_app.bench.report import as_json, as_table, ratios

needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells on Linux only")


def measured(rate: float, *, drained: bool = False) -> Measured:
    return Measured(int(rate * 10), 10.0, rate, 12.5, 3.5, 200, 4.0, drained, 0.94)


def standing(peer: str, rate: float | None, status: str = "ok", detail: str = "") -> Standing:
    return Standing(
        peer, "meaning", "durability", status, detail, [measured(rate)] if rate else [], rate, 12.5 if rate else None
    )


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_a_window_begins_and_ends_with_a_commit(steps: list[int]) -> None:
    committed, samples = 0, []
    for second, step in enumerate(steps):
        committed += step
        samples.append(Sample(float(second), committed, committed, 0.0, 0.0))
    moves = [second for second, step in enumerate(steps) if step and second]
    window = window_of(samples)
    if len(moves) < 2:
        assert window is None
    else:
        assert window is not None
        assert [window[0].at_seconds, window[1].at_seconds] == [moves[0], moves[-1]]
        assert window[1].committed - window[0].committed == sum(steps[moves[0] + 1 : moves[-1] + 1])


def test_rare_commits_do_not_blur_the_rate() -> None:
    """500 events every 5 s, looked at every second from 3 s after a commit on: 100 a second, not less."""
    samples = [Sample(float(second), (second + 3) // 5 * 500, second, 0.0, 0.0) for second in range(18)]
    window = window_of(samples)
    assert window is not None
    first, last = window
    assert (last.committed - first.committed) / (last.at_seconds - first.at_seconds) == 100


def test_ratios_compare_ours_with_everyone_who_was_measured() -> None:
    standings = [standing("faust", 2_000), standing("ours", 50_000), standing("quix", None, "not installed")]
    assert ratios(standings) == {"ours/faust": 25.0}
    assert ratios([standing("faust", 2_000)]) == {}


def test_who_is_missing_or_failed_is_told_and_not_left_out() -> None:
    standings = [standing("quix", None, "not installed", "pip install it"), standing("ours", None, "failed", "why\nx")]
    table = as_table({"runs": 1}, standings)
    assert "not installed: pip install it" in table
    assert "failed: why" in table
    report = json.loads(json.dumps(as_json({"runs": 1}, standings)))
    assert [one["status"] for one in report["contenders"]] == ["not installed", "failed"]


def test_peers_come_in_the_order_of_the_table() -> None:
    assert [peer.name for peer in peers_named(["ours", "faust"])] == ["faust", "ours"]
    with pytest.raises(KeyError, match="nobody"):
        peers_named(["nobody"])
    assert len({peer.name for peer in PEERS}) == len(PEERS)


@needs_proc
def test_cpu_and_memory_are_the_kernels() -> None:
    used = cpu_seconds(os.getpid())
    assert used is not None
    assert 0 < used <= sum(os.times()[:2]) + 0.05
    peak = peak_memory_mebibytes(os.getpid())
    assert peak is not None
    assert peak > 10
    assert cpu_seconds(2**22 + 1) is None


@needs_proc
def test_what_a_contender_has_started_counts_as_its_own(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; "
        'inner = \'import subprocess, sys; subprocess.run([sys.executable, "-c", "print(1, flush=True); input()"])\'; '
        "subprocess.run([sys.executable, '-c', inner], stdin=subprocess.PIPE)"
    )
    with Contender(["-c", code], {}, tmp_path) as contender:
        while not contender.log_tail():
            os.sched_yield()
        family = family_of(contender.pid)
        assert len(family) == 3
        assert family[0] == contender.pid
        assert all(cpu_seconds(pid) is not None for pid in family)
    assert family_of(2**22 + 1) == [2**22 + 1]


def test_each_process_of_a_contender_must_have_said_so(tmp_path: Path) -> None:
    contender = Contender([], {}, tmp_path, processes=2)
    assert not contender.all_said("restored")
    contender.log_file.write_text('{"process": 0, "message": "restored"}\n' * 2 + '{"process": 1, "message": "up"}\n')
    assert not contender.all_said("restored")
    with contender.log_file.open("a") as log:
        log.write('{"process": 1, "message": "restored"}\n')
    assert contender.all_said("restored")
    alone = Contender([], {}, tmp_path)
    assert alone.all_said("restored")
    assert not alone.all_said("owns")


def test_the_mean_of_two_rounds_keeps_to_its_column() -> None:
    ours = standing("ours", 50_000)._replace(cpu_microseconds_per_event=36.379999999999995)
    assert " 36.38 " in as_table({"runs": 2}, [ours])


def test_several_processes_are_told() -> None:
    ours = standing("ours", 50_000)
    ours.runs[0] = ours.runs[0]._replace(processes=2)
    assert "2 processes" in as_table({"runs": 1}, [ours])
    assert "processes" not in as_table({"runs": 1}, [standing("ours", 50_000)])
    assert as_json({"runs": 1}, [ours])["contenders"][0]["runs"][0]["processes"] == 2


def test_a_contender_inherits_no_settings_and_ends_with_its_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_APP_APP_ID", "from-outside")
    code = (
        "import os, time; print(os.environ.get('STREAM_APP_APP_ID'), os.environ['STREAM_APP_CLOCK'], flush=True); "
        "time.sleep(600)"
    )
    with Contender(["-c", code], {"STREAM_APP_CLOCK": "event"}, tmp_path) as contender:
        assert contender.ended is None
        while not contender.log_tail():
            os.sched_yield()
    assert contender.log_tail().split() == ["None", "event"]
    assert contender.ended is not None
