"""SIGTERM, SLURM's preemption and Ctrl-C: what is under way is saved, then everything ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""SLURM sends SIGTERM when it preempts, and with ``--signal=USR1@120`` SIGUSR1 two minutes before the time is up."""


class Interrupted(BaseException):
    """The process was told to end. No ``Exception``, so that nobody mistakes it for a failure.

    Args:
        signum: The signal.
        hint: What is kept and how to go on.
    """

    def __init__(self, signum: int, hint: str = "") -> None:
        self.signum, self.hint = signum, hint
        super().__init__(f"stopped by {signal.Signals(signum).name}")


class _Stop:
    """Whether the process was told to end, and whether what is running will look for itself."""

    def __init__(self) -> None:
        self.requested: int | None = None
        self.deferred = False
        self.previous: dict[int, object] = {}

    def __call__(self, signum: int, frame: FrameType | None = None) -> None:
        again, self.requested = self.requested is not None, signum
        if not self.deferred or again:  # who asks twice does not want to wait
            raise Interrupted(signum)


_STOP = _Stop()


def requested() -> int | None:
    """The signal that told the process to end, if any."""
    return _STOP.requested


def defer(deferred: bool) -> None:
    """Say whether a signal waits until :func:`requested` is asked, or ends what runs at once."""
    _STOP.deferred = deferred
    arm()


def arm() -> None:
    """Take the signals back from Lightning, which would raise in the middle of a validation."""
    if _STOP.previous and threading.current_thread() is threading.main_thread():
        for number in _STOP.previous:
            signal.signal(number, _STOP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the signals into :class:`Interrupted`; within another such block, or beside the main thread, do nothing.

    Raises:
        Interrupted: At once, or where training has saved what it did.
    """
    if _STOP.previous or threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [int(getattr(signal, name)) for name in SIGNALS if hasattr(signal, name)]
    # nohup ignores SIGHUP, and that is to stay
    kept = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) not in (signal.SIG_IGN, None)}
    _STOP.requested, _STOP.deferred, _STOP.previous = None, False, dict(kept)
    arm()
    try:
        yield
    finally:
        _STOP.previous = {}
        for number, handler in kept.items():
            signal.signal(number, handler)
