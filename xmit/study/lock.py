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
                raise _held(path, _read(handle)) from None
            holder = _read(handle)  # a share without locks
            if holder and not _dead(holder):
                raise _held(path, holder) from None
        me = {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv)}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(me).encode(), 0)
        yield
        with suppress(OSError):
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _read(handle: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(handle, 2**16, 0) or b"{}")
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _dead(holder: dict[str, Any]) -> bool:
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


def _held(path: Path, holder: dict[str, Any]) -> StudyError:
    who = f"process {holder.get('pid', '?')} on {holder.get('host', 'another machine')}"
    return StudyError(
        f"{path.parent} is in use by {who} ({holder.get('command', 'command unknown')}): wait for it, stop it, or give "
        f"another --output; if it is dead for certain, delete {path}"
    )
