"""Follows the action catalogue: a changed file is in force from the next batch on, without a restart.

Each partition notes the version in its partition record before its first use, and every decision carries it. A file
that is wrong changes nothing: the last good catalogue stays, and the log names line and field of each mistake.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Recorder
from stream_app.decisions.catalogue import Catalogue, CatalogueError, parse_catalogue
from stream_app.decisions.types import Decider

logger = logging.getLogger(__name__)


class CatalogueFollower:
    """Looks at the file now and then, and hands over a decider for each new content.

    What counts is the content: a file that was touched or replaced by its equal (as mounted configuration is) changes
    nothing, and a remark in it neither.

    Parameters
    ----------
    file
        The catalogue (YAML).
    served
        The content in force at the start.
    version
        The version that its decisions carry.
    decider_for
        Makes a decider; raises ValueError for a catalogue that this worker cannot use.
    on_decider
        Called on the event loop with each decider that is to be in force from now on.
    metrics
        Version in force; files refused.
    """

    def __init__(
        self,
        file: Path,
        served: Catalogue,
        version: str,
        decider_for: Callable[[Catalogue], Decider],
        on_decider: Callable[[Decider], None],
        metrics: Recorder,
    ) -> None:
        self._file = file
        self._written = served.version
        self._version = version
        self._decider_for = decider_for
        self._on_decider = on_decider
        self._metrics = metrics
        self._content: bytes | None = None
        metrics.gauge("catalogue_info", 1, version=self._version)

    async def run(self, poll_seconds: float) -> None:
        """Look at the file again and again, until cancelled."""
        while True:
            self.look(await asyncio.to_thread(self._read))
            await asyncio.sleep(poll_seconds)

    def look(self, content: bytes | OSError) -> bool:
        """Take in what the file holds now; return whether another catalogue is in force because of it."""
        if isinstance(content, OSError):
            # Editors and mounts replace files: gone for a moment is no news, and nothing to go on either.
            logger.debug("%s: cannot be read just now: %s", self._file, content)
            return False
        if content == self._content:
            return False
        self._content = content
        try:
            catalogue = parse_catalogue(content.decode("utf-8"), str(self._file))
            if catalogue.version == self._written:
                return False
            decider = self._decider_for(catalogue)
        except (CatalogueError, UnicodeDecodeError, ValueError) as problems:
            self._metrics.count("catalogues_refused")
            logger.error(  # noqa: TRY400 - the message says it all
                "catalogue not taken over, %s stays in force:\n%s", self._version, problems
            )
            return False
        self._metrics.forget("catalogue_info", version=self._version)
        self._written, self._version = catalogue.version, decider.catalogue_version
        self._metrics.count("catalogues_loaded")
        self._metrics.gauge("catalogue_info", 1, version=self._version)
        self._on_decider(decider)
        logger.info("catalogue %s in force", self._version, extra=fields(actions=len(catalogue.actions)))
        return True

    def _read(self) -> bytes | OSError:
        try:
            return self._file.read_bytes()
        except OSError as failure:
            return failure
