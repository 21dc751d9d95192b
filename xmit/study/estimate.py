"""How large a study is: examples, and the GPU hours that they cost by a rough rule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xmit.study.entries import part_classes, task_class
from xmit.study.plan import Cell
from xmit.tasks.base import Task
from xmit.tasks.mixture import CAP, TaskMixture

PARAMETERS = {"large": 303e6, "base": 86e6, "embedded:e5-small": 21e6}
"""Parameters behind the embeddings, which cost next to nothing, of XLM-R large and base and of the embedded encoder."""
FLOPS = 50e12
"""A sixth of an A100's 312 TFLOP/s in bf16: padded batches, and an update of 250,002 word embeddings. Not measured."""
START = 120.0
"""Seconds a cell takes beside: start, data, checkpoints. Not measured."""


@dataclass(frozen=True)
class Estimate:
    """What cells cost, by rule of thumb.

    Args:
        hours: GPU hours of training and scoring, without early stopping.
        unknown: The cells whose training data's size is not known; they are not in ``hours``.
    """

    hours: float
    unknown: tuple[str, ...]


def estimate(cells: Sequence[Cell]) -> Estimate:
    """Estimate what cells cost in all.

    Args:
        cells: Of a plan.
    """
    hours = cell_hours(cells)
    return Estimate(sum(hours.values()), tuple(cell.name for cell in cells if cell.name not in hours))


def cell_hours(cells: Sequence[Cell]) -> dict[str, float]:
    """Estimate the GPU hours of each cell; those whose training data's size is not known are left out.

    Counts 6 (training) and 2 (scoring) floating point operations a parameter and token (Kaplan et al. 2020, arXiv
    2001.08361, §2.1), with each family's typical tokens an example.

    Args:
        cells: Of a plan.
    """
    hours: dict[str, float] = {}
    known: dict[str, float | None] = {}
    for cell in cells:
        kind = f"{cell.role} {cell.intermediate if cell.role == 'intermediate' else cell.target}"
        if kind not in known:
            known[kind] = _tokens(cell.config)
        tokens = known[kind]
        if tokens is not None:
            name = str(cell.config["model"].get("encoder"))
            parameters = next((n for part, n in PARAMETERS.items() if part in name), PARAMETERS["base"])
            hours[cell.name] = (tokens * 2 * parameters / FLOPS + START) / 3600
    return hours


def _tokens(config: Mapping[str, Any]) -> float | None:
    """Tokens a cell sends through the encoder, those of training counted three times; None where unknown."""
    cls = task_class(config, "study")
    settings, trainer = config["data"].get("init_args") or {}, config.get("trainer") or {}
    classes, inits, cap = part_classes(config, cls, "study"), [settings], None
    if issubclass(cls, TaskMixture):
        inits = [(part.get("init_args") or {}) if isinstance(part, Mapping) else {} for part in settings["tasks"]]
        cap = settings.get("cap", CAP)
    sizes = [_size(task, init, cap) for task, init in zip(classes, inits, strict=True)]
    steps, epochs = trainer.get("max_steps") or -1, trainer.get("max_epochs")
    if settings.get("updates_per_epoch") and epochs not in (None, -1):
        updates = settings["updates_per_epoch"] * epochs
        steps = min(steps, updates) if steps > 0 else updates
    trained = math.inf
    if None not in sizes and (epochs or steps < 0) and epochs != -1:
        trained = (epochs or 1) * sum(n * task.tokens_per_example for n, task in zip(sizes, classes, strict=True) if n)
    if steps > 0:
        batch = [
            int(init.get("batch_size", 32)) * task.tokens_per_example for init, task in zip(inits, classes, strict=True)
        ]
        trained = min(trained, steps * sum(batch) / len(batch))
    if trained == math.inf:
        return None
    scored = 0
    if "target" in classes[0].metadata.roles:
        languages = settings.get("languages") or classes[0].metadata.languages
        scored = len(languages) * classes[0].metadata.sizes.get("test", 0) * classes[0].tokens_per_example
    return 3 * trained + scored


def _size(task: type[Task], init: Mapping[str, Any], cap: int | None) -> int | None:
    """The training examples that count; text of unknown size counts as a mixture's cap."""
    if not init.get("train", task.trains):
        return 0
    languages = init.get("source_language")
    size = task.metadata.sizes.get("train")
    if size is not None:
        size *= len(languages) if isinstance(languages, list) else 1
    known = [n for n in (size, init.get("train_examples"), cap) if n is not None]
    return min(known, default=None)


class Durations:
    """How long cells take, by the finished ones: the mean of those of a kind, or of all.

    Args:
        cells: Of a plan.
        finished: What ``done.json`` says of those that are done, by name.
    """

    def __init__(self, cells: Iterable[Cell], finished: Mapping[str, Mapping[str, Any]]) -> None:
        self._seconds: dict[tuple[str, str, str], list[float]] = {}
        for cell in cells:
            seconds = finished.get(cell.name, {}).get("seconds")
            if isinstance(seconds, int | float):
                self.add(cell, float(seconds))

    def add(self, cell: Cell, seconds: float) -> None:
        """Count one more."""
        self._seconds.setdefault(self._kind(cell), []).append(seconds)

    def left(self, cells: Iterable[Cell]) -> float | None:
        """Seconds that cells will take one after another; None where none is finished."""
        if not self._seconds:
            return None
        means = {kind: sum(values) / len(values) for kind, values in self._seconds.items()}
        usual = sum(means.values()) / len(means)
        return sum(means.get(self._kind(cell), usual) for cell in cells)

    @staticmethod
    def _kind(cell: Cell) -> tuple[str, str, str]:
        return (
            str(cell.config["model"].get("encoder")),
            cell.role,
            cell.target if cell.role == "target" else cell.intermediate,
        )


def span(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} hours"
