"""One process of a worker of several: who it is, where it is found, its disk, and its share of the worker's bounds.

What bounds the memory of a worker is divided among its processes, so that more of them need no more: buffers and the
block cache here, decoded states by partition anyway. What belongs to a partition or a record stays as it is.

The group knows members, not workers: a standby of a partition may be another process of the same worker, which is lost
together with it. As many standbys as a worker has processes reach another worker for certain; a lone worker needs none.
"""

import re
from pathlib import Path

from yarl import URL

from stream_app.settings import Settings

_LAST_PORT = 65_535
_FOLDER = re.compile(r"process-([0-9]+)")


class ProcessAddressError(ValueError):
    """The addresses of further processes cannot be told from the worker's; the message says what to do."""


def settings_of_process(settings: Settings, number: int) -> Settings:
    """Return the settings of one process of a worker; of a worker of one, its own.

    The first keeps the worker's folder, so that going from one process to several and back finds stores again.

    Parameters
    ----------
    settings
        The worker's.
    number
        From 0 to one less than `settings.processes`.

    Raises
    ------
    ProcessAddressError
        The worker's URL has no port that could be counted on from, or there are not so many ports above its own.
    """
    count = settings.processes
    if count == 1:
        return settings
    if settings.api_port + number > _LAST_PORT:
        raise ProcessAddressError(
            f"STREAM_APP_API_PORT={settings.api_port} leaves no port for process {number}: choose a lower one"
        )
    return settings.model_copy(
        update={
            "instance_id": f"{settings.instance_id}-{number}" if settings.instance_id else "",
            "data_dir": settings.data_dir / f"process-{number}" if number else settings.data_dir,
            "metrics_host": "127.0.0.1",
            "metrics_port": 0,
            "api_port": settings.api_port + number if settings.api_port else 0,
            "api_advertised_url": _advertised(settings.api_advertised_url, number),
            "buffer_records": max(1, settings.buffer_records // count),
            "buffer_bytes": max(1, settings.buffer_bytes // count),
        }
    )


def folders_of_former_processes(settings: Settings) -> list[Path]:
    """Return the data folders below this one of processes that the worker had when it had more of them.

    Their stores are nobody's any more. Only the first process has such folders below its own.
    """
    found = settings.data_dir.iterdir() if settings.data_dir.is_dir() else ()
    numbered = [(folder, _FOLDER.fullmatch(folder.name)) for folder in found]
    return sorted(folder for folder, match in numbered if match and int(match[1]) >= settings.processes)


def _advertised(url: str, number: int) -> str:
    if not url or not number:
        return url
    known = URL(url)
    if known.explicit_port is None:
        raise ProcessAddressError(
            f"STREAM_APP_API_ADVERTISED_URL={url} names no port, and each process of a worker has its own: "
            "write the first one's, and let the following ones be reached, too"
        )
    return str(known.with_port(known.explicit_port + number))
