"""Files that survive a crash: a checkpoint is there whole, or not at all."""

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Final

MAGIC: Final = b"stream-app checkpoint 1\n"
"""Format and version; what follows is a SHA-256 of the body and the body."""
KEPT: Final = 3

_NAME = re.compile(r"checkpoint-(\d{12})\.bin")
_DIGEST_BYTES: Final = hashlib.sha256().digest_size

logger = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """Checkpoints exist and none of them can be read; the message names the folder and the remedy."""


class CheckpointStore:
    """Numbered checkpoints in one folder, newest last; one process writes at a time.

    Parameters
    ----------
    folder
        Made on the first write, readable by the owner alone.
    kept
        How many are kept. More than one, because a disk may damage the newest.
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        if kept < 1:
            raise ValueError(f"at least one checkpoint has to be kept, not {kept}")
        self._folder = folder
        self._kept = kept

    def write(self, body: bytes) -> Path:
        """Write a checkpoint durably, remove the oldest beyond what is kept, and return its file.

        The bytes are on the disk under a temporary name before they get their own, and the folder is synchronised after
        that: at any moment a crash leaves the former checkpoints or those and the new one.

        Raises
        ------
        OSError
            If the disk is full or refuses; nothing that was there is lost then.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        existing = self._files()
        number = existing[-1][0] + 1 if existing else 1
        target = self._folder / f"checkpoint-{number:012d}.bin"
        temporary = target.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC + hashlib.sha256(body).digest() + body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        self._synchronise_folder()
        for _, path in [*existing, (number, target)][: -self._kept]:
            path.unlink(missing_ok=True)
        return target

    def newest(self) -> bytes | None:
        """Return the body of the newest sound checkpoint; None if there is no checkpoint at all.

        A damaged one is passed over with an error in the log: whoever restores goes back to an older position then.

        Raises
        ------
        CheckpointError
            If there are checkpoints and none is sound. Whether to begin anew is for a person to decide.
        """
        files = self._files()
        for _, path in reversed(files):
            body = _sound_body(path.read_bytes())
            if body is not None:
                return body
            logger.error("checkpoint %s is damaged, trying the one before", path)
        if files:
            raise CheckpointError(
                f"none of the {len(files)} checkpoints in {self._folder} is sound: restore the folder from a backup, "
                "or remove it to learn again from the beginning of the topics"
            )
        return None

    def _files(self) -> list[tuple[int, Path]]:
        if not self._folder.is_dir():
            return []
        matches = ((_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        return sorted((int(match[1]), path) for match, path in matches if match)

    def _synchronise_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sound_body(content: bytes) -> bytes | None:
    head = len(MAGIC) + _DIGEST_BYTES
    if len(content) < head or not content.startswith(MAGIC):
        return None
    body = content[head:]
    return body if hashlib.sha256(body).digest() == content[len(MAGIC) : head] else None
