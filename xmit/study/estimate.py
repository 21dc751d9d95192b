"""How large a study is: examples, and the GPU hours that they cost by a rough rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xmit.study.plan import Cell, part_classes, task_class
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
    """Estimate what cells cost.

    Counts 6 (training) and 2 (scoring) floating point operations a parameter and token (Kaplan et al. 2020, arXiv
    2001.08361, §2.1), with each family's typical tokens an example.

    Args:
        cells: Of a plan.
    """
    hours, unknown, known = 0.0, list[str](), dict[str, float | None]()
    for cell in cells:
        kind = f"{cell.role} {cell.intermediate if cell.role == 'intermediate' else cell.target}"
        if kind not in known:
            known[kind] = _tokens(cell.config)
        tokens = known[kind]
        if tokens is None:
            unknown.append(cell.name)
        else:
            name = str(cell.config["model"].get("encoder"))
            parameters = next((n for part, n in PARAMETERS.items() if part in name), PARAMETERS["base"])
            hours += (tokens * 2 * parameters / FLOPS + START) / 3600
    return Estimate(hours, tuple(unknown))


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
