"""What a study shows while it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from xmit.study.estimate import Durations, span
from xmit.study.plan import Cell


class StudyProgress:
    """Shows cells done, the current cell and its updates, and the time left.

    Args:
        console: Where to.
        cells: What is to run.
        durations: The times of cells that are finished.
    """

    share = 1.0
    """The part of the work that stands in the way: 1 / n where n cells run at the same time."""

    def __init__(self, console: Console, cells: Sequence[Cell], durations: Durations) -> None:
        self.console, self.durations, self.finished = console, durations, 0
        self.open = {cell.name: cell for cell in cells}
        self.total = len(cells)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.cells: TaskID = self.bar.add_task("cells", total=self.total)
        self.steps: TaskID = self.bar.add_task("", total=None)

    def __enter__(self) -> StudyProgress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def start(self, cell: Cell) -> list[pl.Callback]:
        """A cell begins."""
        self.bar.reset(self.steps, description=cell.name, total=None)
        return [_Updates(self.bar, self.steps)]

    def done(self, cell: Cell, seconds: float, error: str | None) -> None:
        """A cell has ended: one line that stays."""
        self.finished += 1
        self.open.pop(cell.name, None)
        if error is None:
            self.durations.add(cell, seconds)
        left = self.durations.left(self.open.values()) if self.open else None
        more = "" if left is None else f"  about {span(left * self.share)} left"
        self.bar.update(self.cells, completed=self.finished, description=f"cells{more}")
        mark = "✗" if error else "✓"
        self.console.print(
            f"{mark} [{self.finished}/{self.total}] {cell.name}  {seconds:.0f} s{more}{'  ' + error if error else ''}",
            markup=False, highlight=False,
        )  # fmt: skip


class _Updates(pl.Callback):
    """Moves the bar of the current cell."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self.bar, self.task, self.shown = bar, task, 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.bar.update(self.task, completed=trainer.global_step, total=trainer.estimated_stepping_batches)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        now = time.monotonic()
        if now - self.shown > 0.2:
            self.shown = now
            self.bar.update(self.task, completed=batch_idx + 1, total=sum(trainer.num_test_batches))
