"""One study at a time in one folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xmit.errors import StudyError

LOCK = "study.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a study's folder.

    The lock is the operating system's, over the network too where the share has locks, so that a process that dies,
    however it dies, leaves none behind. Where a share has none, the file itself counts: that of a dead process of
    this machine is taken over, that of another machine must be deleted by hand.

    Args:
        folder: The study's folder; it exists.

    Raises:
        StudyError: If another process holds it.
    """
    path = folder / LOCK
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this process alone: no worker inherits it
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise held(folder, path, _read(handle)) from None
            holder = _read(handle)  # a share without locks
            if holder and not dead(holder):
                raise held(folder, path, holder) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, this_process(), 0)
        try:
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _read(handle: int) -> dict[str, Any]:
    return parse(os.pread(handle, 2**16, 0))


def this_process() -> bytes:
    """What a lock's file says of us."""
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv)}).encode()


def parse(text: bytes) -> dict[str, Any]:
    """What a lock's file says of its holder; empty if it says nothing."""
    try:
        holder = json.loads(text or b"{}")
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def dead(holder: dict[str, Any]) -> bool:
    """Whether a process of this machine is no more."""
    if holder.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError):
        return False
    return False


def held(folder: object, path: object, holder: dict[str, Any]) -> StudyError:
    """That a folder is in use, by whom, and what to do."""
    who = f"process {holder.get('pid', '?')} on {holder.get('host', 'another machine')}"
    return StudyError(
        f"{folder} is in use by {who} ({holder.get('command', 'command unknown')}): wait for it, stop it, or give "
        f"another --output; if it is dead for certain, delete {path}"
    )
