import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.checkpoints import MAGIC, CheckpointError, CheckpointStore

WRITER = """
import sys
from pathlib import Path
from stream_app.adapters.checkpoints import CheckpointStore
store = CheckpointStore(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    store.write(number.to_bytes(8, "big") * 50_000)
    print(number, flush=True)
"""


@given(bodies=st.lists(st.binary(max_size=200), min_size=1, max_size=8))
def test_the_newest_body_comes_back_and_only_the_last_are_kept(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("checkpoints") / "deep" / "folder"
    store = CheckpointStore(folder)
    for body in bodies:
        store.write(body)

        assert CheckpointStore(folder).newest() == body

    assert len(list(folder.iterdir())) == min(3, len(bodies))


@given(data=st.data())
def test_any_damage_is_noticed_and_the_one_before_is_taken(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = CheckpointStore(tmp_path_factory.mktemp("checkpoints"))
    store.write(b"old")
    newest = store.write(b"new body")
    content = newest.read_bytes()
    if data.draw(st.booleans()):
        newest.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        flipped = content[place] ^ data.draw(st.integers(1, 255))
        newest.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])

    assert store.newest() == b"old"


def test_no_checkpoint_is_none_and_only_damaged_ones_are_an_error(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "none")
    assert store.newest() is None
    store.write(b"x").write_bytes(MAGIC)

    with pytest.raises(CheckpointError, match="remove it to learn again"):
        store.newest()


def test_what_a_crash_left_half_written_is_ignored(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.write(b"whole")
    (tmp_path / "checkpoint-000000000002.tmp").write_bytes(b"half")

    assert store.newest() == b"whole"
    store.write(b"next")
    assert store.newest() == b"next"
    assert not list(tmp_path.glob("*.tmp"))


def test_checkpoints_are_for_the_owner_only(tmp_path: Path) -> None:
    path = CheckpointStore(tmp_path / "made").write(b"x")

    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_kill_9_leaves_at_least_what_was_last_acknowledged(tmp_path: Path) -> None:
    for pause_seconds in (0.0, 0.004, 0.011):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(5)][-1]
        time.sleep(pause_seconds)  # moves the kill to another place of the write; nothing waits for it
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        process.stdout.close()
        process.wait()
        if rest:
            acknowledged = int(rest[-1])

        body = CheckpointStore(tmp_path).newest()

        assert body is not None
        assert body == body[:8] * 50_000
        assert int.from_bytes(body[:8], "big") >= acknowledged
