import io
import json
import logging
from collections.abc import Iterator

import pytest

from stream_app.adapters.logs import RepeatLimit, fields, set_up_logging


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for name in ("aiokafka", "kafka", "faust", "mode", "aiohttp.access", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_production_lines_are_json_with_fields_and_traceback() -> None:
    stream = io.StringIO()
    set_up_logging("INFO", "auto", stream)
    logging.getLogger("stream_app.x").info("batch", extra=fields(records=3, seconds=0.5, message="not this"))
    try:
        int("größer\nals")
    except ValueError:
        logging.getLogger("stream_app.x").exception("failed")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert [line["message"] for line in lines] == ["batch", "failed"]
    assert (lines[0]["records"], lines[0]["seconds"], lines[0]["level"]) == (3, 0.5, "info")
    assert lines[0]["time"].endswith("+00:00")
    assert "ValueError: invalid literal" in lines[1]["error"]


def test_a_terminal_gets_plain_lines() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    set_up_logging("INFO", "auto", stream)
    logging.getLogger("stream_app.x").warning("batch", extra=fields(seconds=0.123456))

    assert stream.getvalue().endswith("warning batch  seconds=0.1235\n")


def test_libraries_show_warnings_only_unless_debugging() -> None:
    stream = io.StringIO()
    set_up_logging("INFO", "json", stream)
    logging.getLogger("aiokafka.consumer").info("chatter")
    logging.getLogger("aiokafka.consumer").warning("trouble")
    set_up_logging("DEBUG", "json", stream)
    logging.getLogger("aiokafka.consumer").info("wanted chatter")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["trouble", "wanted chatter"]


def record_of(name: str, message: str, at_seconds: float, level: int = logging.ERROR) -> logging.LogRecord:
    record = logging.LogRecord(name, level, __file__, 1, message, ("node 1",), None)
    record.created = at_seconds
    return record


def test_a_library_that_retries_in_a_tight_loop_is_heard_ten_times_in_ten_seconds() -> None:
    limit = RepeatLimit(most=10, window_seconds=10.0)
    heard = [limit.filter(record_of("aiokafka.client", "cannot reach %s", 100 + step / 1_000)) for step in range(5_000)]
    assert sum(heard) == 10
    assert limit.filter(record_of("aiokafka.client", "something else about %s", 104.9))
    assert not limit.filter(record_of("aiokafka.client", "cannot reach %s", 104.9))
    later = record_of("aiokafka.client", "cannot reach %s", 111.0)
    assert limit.filter(later)
    assert later.getMessage() == "cannot reach node 1 (4991 more such lines were left out)"
    after = record_of("aiokafka.client", "cannot reach %s", 112.0)
    assert limit.filter(after)
    assert after.getMessage() == "cannot reach node 1"


def test_our_own_lines_and_critical_ones_always_pass() -> None:
    limit = RepeatLimit(most=1)
    assert all(limit.filter(record_of("stream_app.worker", "%s", 0.0)) for _ in range(100))
    assert all(limit.filter(record_of("aiokafka", "%s", 0.0, logging.CRITICAL)) for _ in range(100))


def test_texts_that_are_never_the_same_are_not_remembered_for_ever() -> None:
    limit = RepeatLimit(most=1)
    assert all(limit.filter(record_of("faust", f"{number}: %s", 0.0)) for number in range(2_500))
    assert len(limit._counted) <= 1_000


def test_what_is_set_up_leaves_repeats_out() -> None:
    stream = io.StringIO()
    set_up_logging("INFO", "json", stream)
    for _ in range(500):
        logging.getLogger("aiokafka.client").error("cannot reach %s", "node 1")
    # The clock may have turned to another window in between.
    assert 10 <= len(stream.getvalue().splitlines()) <= 20
