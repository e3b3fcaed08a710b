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
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    threshold = logging.getLevelNamesMapping()[level]
    for name in _NOISY:
        logging.getLogger(name).setLevel(threshold if threshold == logging.DEBUG else max(threshold, logging.WARNING))


def _short(value: Field) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
