"""Progress of work that takes longer than a moment."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_PATIENCE = 3.0  # seconds before a progress bar shows


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr for work that takes longer than a moment; yields ``advance(done)``."""
    from rich.console import Console
    from rich.errors import LiveError
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(console=console, transient=True)
    task, started = bar.add_task(description, total=total), time.monotonic()

    def advance(done: int) -> None:
        bar.update(task, completed=done)
        if console.is_terminal and not bar.live.is_started and time.monotonic() - started > _PATIENCE:
            with suppress(LiveError):  # the trainer's own bar is on
                bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


def quiet_libraries() -> None:
    """Keep off the terminal what libraries say beside a run: advertisements, deprecations, bars of a moment."""
    import datasets
    from transformers.utils.logging import disable_progress_bar

    datasets.disable_progress_bars()
    disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", "Experiment logs directory .* exists")  # a run that failed before has left it
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_tip)


def quiet() -> None:
    """Silence Lightning's remarks as well, which repeat for every cell of a study."""
    quiet_libraries()
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")


def _no_tip(record: logging.LogRecord) -> bool:
    return "Tip:" not in str(record.msg)
