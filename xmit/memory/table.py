"""Which of the shipped configs fits which GPU, and what to set where it does not: the table of docs/memory.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xmit.memory.runs import GPU, RunMemory, run_memory
from xmit.memory.words import remedy
from xmit.study.entries import merge, read_yaml
from xmit.study.estimate import built_parts

ROOMS = (24e9, 40e9, 80e9)
"""The GPUs that are asked about, in bytes; nominal sizes, of which a little more is there."""
TEXT, IMAGES = ("xlmr_base", "xlmr_large"), ("xlmr_base_vit_b32", "xlmr_large_vit_b32", "xlmr_large_vit_l14")


def fits(configs: Path, models: Sequence[str], images: bool) -> Iterator[tuple[str, list[tuple[RunMemory, list[str]]]]]:
    """The shipped tasks, and with each model the expected peak and what to set on each GPU.

    Args:
        configs: The folder of the shipped configs.
        models: Names of model configs.
        images: Whether those with a vision tower are wanted, or those without.

    Yields:
        The task's config, and for each model its memory and for each of :data:`ROOMS` what to set: empty where it fits
        as it is, ``no`` where nothing helps.
    """
    files = sorted([*configs.glob("intermediate/*.yaml"), *configs.glob("target/*.yaml")])
    for file in files:
        task, _ = read_yaml(file)
        if bool(task["model"].get("vision")) is not images or str(task["model"]["encoder"]).startswith("embedded:"):
            continue
        layers = [merge(task, read_yaml(configs / "model" / f"{name}.yaml")[0]) for name in models]
        found = []
        for module, data, trainer in built_parts(layers):
            run = run_memory(module, data, trainer, GPU)
            what = [
                "" if run.unknown or run.peak.total <= room else remedy(module, data, trainer, GPU, room) or "no"
                for room in ROOMS
            ]
            found.append((run, what))
        yield f"{file.parent.name}/{file.stem}", found


def print_table(configs: Path = Path("configs")) -> None:
    """Print both tables as Markdown.

    Args:
        configs: The folder of the shipped configs.
    """
    for models, images in ((TEXT, False), (IMAGES, True)):
        _row("config", *(f"`{name}`" for name in models), "what to set")
        _row("---", *("--:" for _ in models), "---")
        for name, found in fits(configs, models, images):
            peaks = [run.unknown or f"{run.peak.total / 1e9:.1f}" for run, _ in found]
            _row(f"`{name}`", *peaks, "; ".join(_advice(models, found)))
        print()  # noqa: T201


def _advice(models: Sequence[str], found: Sequence[tuple[RunMemory, list[str]]]) -> Iterator[str]:
    """What to set on GPUs that are too small, model by model."""
    for model, (_, what) in zip(models, found, strict=True):
        for room, own in zip(ROOMS, what, strict=True):
            if own:
                yield f"`{model}` on {_room(room)}: {'a larger GPU' if own == 'no' else f'`{own}`'}"


def _room(size: float) -> str:
    return f"{size / 1e9:.0f} GB"


def _row(*cells: Any) -> None:
    print("| " + " | ".join(map(str, cells)) + " |")  # noqa: T201
