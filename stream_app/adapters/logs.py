"""Logging of a process: one JSON object a line in production, plain lines on a terminal, standard library only.

What is logged about work is one line per unit of work (a batch, a checkpoint), with its numbers as fields:
`logger.info("batch", extra=fields(records=500, seconds=0.02))`. Customer ids and event contents never go into a log.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

LogFormat = Literal["auto", "json", "console"]
Field = str | int | float | bool | None

_FIELDS = "stream_app_fields"
_NOISY = ("aiokafka", "kafka", "faust", "mode", "aiohttp.access", "asyncio")
"""Libraries that tell of every rebalance step and commit at INFO: from them warnings and worse are shown."""


_KINDS_REMEMBERED = 1_000


class RepeatLimit(logging.Filter):
    """Lets a library say the same thing only so often: without a broker aiokafka does so 1,500 times a second.

    What was left out is told with the next line of its kind. Our own lines, and critical ones, always pass.

    Parameters
    ----------
    most
        Lines of a kind (one logger, one text before its values are put in) that pass in a window.
    window_seconds
        Its length, by the times in the records.
    """

    def __init__(self, most: int = 10, window_seconds: float = 10.0) -> None:
        super().__init__()
        self._most = most
        self._window_seconds = window_seconds
        self._counted: dict[tuple[str, str], tuple[int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line passes."""
        if record.levelno >= logging.CRITICAL or not record.name.startswith(_NOISY):
            return True
        kind, window = (record.name, str(record.msg)), int(record.created // self._window_seconds)
        known, count = self._counted.get(kind, (window, 0))
        left_out = 0
        if known != window:
            left_out, count = max(0, count - self._most), 0
        if kind not in self._counted and len(self._counted) >= _KINDS_REMEMBERED:
            # Texts with their values already in them would be remembered for ever.
            self._counted.clear()
        self._counted[kind] = (window, count + 1)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more such lines were left out)", ()
        return count < self._most


def fields(**values: Field) -> dict[str, dict[str, Field]]:
    """Return the `extra` of a log call that carries these fields."""
    return {_FIELDS: values}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, then the fields; a traceback under `error`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in getattr(record, _FIELDS, {}).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class ConsoleFormatter(logging.Formatter):
    """A line for eyes: local time, level, message, fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback below it if there is one."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        values = " ".join(f"{name}={_short(value)}" for name, value in getattr(record, _FIELDS, {}).items())
        line = f"{at} {record.levelname.lower():<7} {record.getMessage()}"
        text = f"{line}  {values}" if values else line
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def set_up_logging(level: str, log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send all logging of this process to `stream` (standard error), replacing what was set up before.

    Parameters
    ----------
    level
        Name of the lowest level shown for stream-app itself; libraries show warnings, or this if it is higher or DEBUG.
    log_format
        `auto` is `console` on a terminal and `json` elsewhere.
    """
    target = stream if stream is not None else sys.stderr
    console = log_format == "console" or (log_format == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(ConsoleFormatter() if console else JsonFormatter())
    handler.addFilter(RepeatLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    threshold = logging.getLevelNamesMapping()[level]
    for name in _NOISY:
        logging.getLogger(name).setLevel(threshold if threshold == logging.DEBUG else max(threshold, logging.WARNING))


def _short(value: Field) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
