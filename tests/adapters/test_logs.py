import io
import json
import logging
from collections.abc import Iterator

import pytest

from stream_app.adapters.logs import fields, set_up_logging


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
