"""How large a study is: examples, the GPU hours that they cost by a rough rule, and the memory that its cells take."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from xmit.study.entries import part_classes, task_class
from xmit.study.plan import Cell
from xmit.tasks.base import Task
from xmit.tasks.mixture import CAP, TaskMixture

if TYPE_CHECKING:
    from xmit.memory.runs import RunMemory
    from xmit.modules.module import MultimodalModule
    from xmit.tasks.base import TaskData

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


@dataclass(frozen=True)
class KindMemory:
    """The memory that cells of a kind are expected to take on each of their devices.

    Args:
        name: The target or intermediate.
        encoder: The encoder.
        cells: How many there are.
        run: Their peaks.
        room: The memory of the device in bytes; None where there is none to compare with.
        remedy: What to set where it is too small, if that helps.
    """

    name: str
    encoder: str
    cells: int
    run: RunMemory
    room: float | None = None
    remedy: str | None = None


def cell_memory(cells: Iterable[Cell]) -> list[KindMemory]:
    """The expected peak memory of each kind of cell: no data are read, so batches are the largest that settings allow.

    Args:
        cells: Of a plan.
    """
    from xmit.memory.runs import card, planned_device, run_memory
    from xmit.memory.words import beyond, remedy

    kinds: dict[str, list[Cell]] = {}
    for cell in cells:
        model = {**cell.config["model"], "init_from": None}
        same = [
            cell.target or cell.intermediate.partition("@")[0],
            model,
            cell.config["data"],
            cell.config.get("trainer"),
        ]
        kinds.setdefault(json.dumps(same, sort_keys=True, default=str), []).append(cell)
    found: dict[tuple[str, str, float], KindMemory] = {}
    chosen = [own[0] for own in kinds.values()]
    for own, (module, data, trainer) in zip(kinds.values(), built_parts(cell.config for cell in chosen), strict=True):
        device = planned_device(trainer, elsewhere=True)
        run, room = run_memory(module, data, trainer, device), card(device)
        cure = remedy(module, data, trainer, device, room) if room is not None and beyond(run, room) else None
        name = (own[0].target or own[0].intermediate).partition("@")[0]
        encoder = str(module.hparams["encoder"])
        key = (name, encoder, 0.0 if run.unknown else run.peak.live)
        before = found[key].cells if key in found else 0
        found[key] = KindMemory(name, encoder, before + len(own), run, room, cure)
    return list(found.values())


def built_parts(configs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[MultimodalModule, TaskData, dict[str, Any]]]:
    """The module and the tasks of each config, of which neither loads anything yet, and its trainer's settings.

    Args:
        configs: Of fits.

    Raises:
        ConfigError: For the first that a fit would not take.
    """
    from jsonargparse import Namespace

    from xmit.modules.module import MultimodalModule
    from xmit.study.cell_cli import ConfigCheck, one_line_errors

    class Parts(ConfigCheck):
        def instantiate_classes(self) -> None:
            model, trainer = self.options.model.as_dict(), self.options.trainer.as_dict()
            data = self._parser(self.subcommand).instantiate_classes(Namespace(data=self.options.data)).data  # type: ignore[no-untyped-call]
            self.parts = MultimodalModule(**model), data, trainer

    parts: Parts | None = None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        for config in configs:
            file.write_text(yaml.safe_dump(dict(config), allow_unicode=True), encoding="utf-8")
            with one_line_errors("study"):
                if parts is None:
                    parts = Parts(["fit", "--config", str(file)])
                else:
                    parts.check(file)
            yield parts.parts


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
