"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

DRAFT = re.compile(r"\..+\.(ckpt|csv|html|json|parquet|pdf|png|safetensors|tex|yaml)\.([a-z0-9_]{8}|\d+)")
"""What files are called while they are written: by :func:`atomic_write`, or copied from a URL, with the process."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def atomic_write(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under another name beside it, then move it into place.

    Args:
        path: The file; its folder is made.
        write: Called with the path to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    draft = Path(name)
    try:
        write(draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())  # a power cut must not leave a complete name on incomplete bytes
        draft.chmod(0o644)
        draft.replace(path)
        _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a name last through a power cut; what cannot be opened or synced so (Windows, some shares) is left."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def no_room(error: BaseException | None) -> str | None:
    """What the disk says, if an error comes of a disk that takes no more.

    Args:
        error: Its causes are looked at too, since torch, pyarrow and safetensors have errors of their own.
    """
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number is None:
            found = re.search(r"(?:errno|os error) (\d+)", str(error), re.IGNORECASE)
            number = int(found[1]) if found else None
        if number in _NO_ROOM:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    atomic_write(path, lambda draft: draft.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
