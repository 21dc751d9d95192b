"""What is expected of a run's memory, for people: in words, against a GPU's, and what to set where it is too much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from xmit.memory.formulas import Peak
from xmit.memory.runs import HEADS_THAT_COMPARE, RunMemory, planned_head, run_memory

if TYPE_CHECKING:
    from xmit.modules.module import MultimodalModule
    from xmit.tasks.base import TaskData

REMEDIES: tuple[tuple[int | None, bool], ...] = (
    *((tokens, False) for tokens in (16384, 8192, 4096, 2048, 1024)),
    (None, True),
    *((tokens, True) for tokens in (16384, 8192, 4096, 2048, 1024)),
)
"""``data.train_tokens`` and ``model.checkpointing``, the cheapest first: cuts cost next to nothing as long as pieces
fill a GPU, checkpointing a third more time."""


def remedy(
    module: MultimodalModule,
    data: TaskData,
    trainer: Mapping[str, Any],
    device: torch.device,
    room: float,
    at_hand: bool = False,
) -> str | None:
    """The settings with which a run fits, the cheapest that do; None where none does.

    Args:
        module: As for :func:`run_memory`.
        data: The like.
        trainer: The like.
        device: The like.
        room: Bytes of the device.
        at_hand: As for :func:`run_memory`.
    """
    before = module.hparams["checkpointing"], {name: task.train_tokens for name, task in data.tasks.items()}
    compares = any(HEADS_THAT_COMPARE & {planned_head(task, at_hand).kind} for task in data.tasks.values())
    try:
        for tokens, checkpointing in REMEDIES:
            if tokens is not None and compares:
                continue
            module.hparams["checkpointing"] = checkpointing or before[0]
            for name, task in data.tasks.items():
                own = before[1][name]
                task.train_tokens = own if tokens is None else min(tokens, own or tokens)
            if run_memory(module, data, trainer, device, at_hand).peak.total <= room:
                words = [f"data.train_tokens {tokens}"] if tokens is not None else []
                return " and ".join([*words, *(["model.checkpointing true"] if checkpointing else [])])
    finally:
        module.hparams["checkpointing"] = before[0]
        for name, task in data.tasks.items():
            task.train_tokens = before[1][name]
    return None


def memory_lines(run: RunMemory) -> list[str]:
    """What is expected, for people: the peak and its parts by task."""
    if run.unknown:
        return [f"peak memory a device: unknown: {run.unknown}"]
    peak = run.peak
    lines = [
        f"peak memory a device: about {gigabytes(peak.total)}: {gigabytes(peak.live)} of live tensors, "
        f"{gigabytes(peak.allocator)} for the allocator, {gigabytes(peak.total - peak.live - peak.allocator)} for the "
        f"process"
    ]
    for task in run.tasks:
        if task.training is not None:
            lines.append(f"  {task.task}, training: {_peak_words(task.training)}; {task.batch}")
        lines.append(f"  {task.task}, scoring: {_peak_words(task.scoring)}")
    if run.tower is not None:
        lines.append(f"  vision features that are not in the cache, before training: {_peak_words(run.tower)}")
    lines += [f"  {note}" for note in run.notes]
    return lines


def _peak_words(peak: Peak) -> str:
    parts = ", ".join(f"{name} {gigabytes(size)}" for name, size in peak.parts.items() if size >= 0.01 * peak.live)
    return f"{gigabytes(peak.live)} in the {peak.moment} ({parts})"


def beyond(run: RunMemory, room: float | None) -> str | None:
    """A warning where a run is expected to need more than a device has; None where it fits or nothing is known.

    Args:
        run: The run.
        room: Bytes of the device; None without one.
    """
    if room is None or run.unknown or run.peak.total <= room:
        return None
    return f"{gigabytes(run.peak.total)} are more than this GPU's {gigabytes(room)}"


def gigabytes(size: float) -> str:
    """Bytes for people, in GB of 10⁹."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
