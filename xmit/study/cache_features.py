"""``cache-features``: the vision features of a run, or of all runs of a study, in one pass over their images."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from xmit.data.image_spec import ImageSpec
from xmit.data.survey import Survey
from xmit.errors import ConfigError, DataError
from xmit.hardware import best_device
from xmit.progress import quiet
from xmit.study.cell_cli import ConfigCheck, one_line_errors
from xmit.study.plan import load_plan
from xmit.tasks.base import Task


class _Parts(ConfigCheck):
    """Builds the task and the module of a config, and no trainer."""

    def instantiate_classes(self) -> None:
        """Build them; neither loads anything yet."""
        built = self.parser.instantiate_classes(self.config)
        self.datamodule, self.model = self._get(built, "data"), self._get(built, "model")


def cache_features(
    configs: Sequence[Path],
    dry_run: bool = False,
    check: bool = False,
    workers: int | None = None,
    part: tuple[int, int] = (0, 1),
    more: Sequence[str] = (),
) -> int:
    """Compute the vision features that the runs of a config will ask for, and say before what they will take.

    Args:
        configs: The configs of a ``fit``, the later going before the earlier, or one study file.
        dry_run: Only say it.
        check: Read the whole cache first, and delete shards that are damaged.
        workers: Processes that decode; with a GPU the cores less one by default, else none but this one.
        part: Which part of how many, where several processes share the work.
        more: Further arguments of the ``fit``, such as ``["--data.data_dir", "data"]``.

    Returns:
        The exit code.

    Raises:
        ConfigError: If a check, which deletes what is damaged, shall be a dry run, or no run of the config has images.
        DataError: If an image is bad and its task refuses such images, or the disk is too small.
    """
    if check and dry_run:
        raise ConfigError("--check deletes what is damaged, and --dry-run changes nothing: leave one of them out")
    quiet()
    console = Console(soft_wrap=True, highlight=False)
    specs: dict[str, ImageSpec] = {}
    surveys: list[Survey] = []
    for spec, task in _image_tasks(configs, more, specs):
        if check and not any(survey.spec is spec for survey in surveys):
            console.print(f"{spec.cache.check():,} images checked in {spec.cache.folder}", markup=False)
        for split in _splits(task):
            images = task.split_images(split)
            if len(images):
                surveys.append(Survey(spec, images, task.on_bad_image))
                distinct = len({name for name in surveys[-1].ids if name})
                missing = len(surveys[-1].missing)
                console.print(
                    f"{task.name} {split}: {len(images):,} rows, {distinct:,} images, {missing:,} to compute",
                    markup=False,
                )
    if not surveys:
        raise ConfigError(
            f"{' '.join(map(str, configs))}: no run of it has both images and a vision tower (model.vision.name)"
        )
    for spec in specs.values():
        _announce(console, spec, len({name for s in surveys if s.spec is spec for name in s.missing}), dry_run)
    if dry_run:
        return 0
    if workers is None:
        workers = 0 if best_device().type == "cpu" else max(1, (os.cpu_count() or 1) - 1)
    for survey in surveys:
        survey.compute(workers, part)
        if survey.bad:
            row, error = min(survey.bad.items())
            console.print(f"{len(survey.bad):,} bad images left out; the first, number {row + 1:,}: {error}")
    for spec in specs.values():
        console.print(f"done: {len(spec.cache):,} images in {spec.cache.folder}", markup=False)
    return 0


def _announce(console: Console, spec: ImageSpec, missing: int, dry_run: bool) -> None:
    """Say how much is to come.

    Raises:
        DataError: If the disk is too small.
    """
    size, folder = missing * spec.row_bytes, spec.cache.folder
    console.print(
        f"{spec.config.name}: {missing:,} images to compute, {size / 1e9:,.3f} GB in {folder} "
        f"({spec.n_tokens} × {spec.width} values an image, half precision)",
        markup=False,
    )
    there = next(parent for parent in folder.resolve().parents if parent.exists())
    free = shutil.disk_usage(there).free
    if size > free and not dry_run:
        raise DataError(
            f"{there} has {free / 1e9:,.3f} GB left, too little: set model.vision.cache_dir to another disk"
        )


def _splits(task: Task) -> list[str]:
    """What a fit of the task reads."""
    return (["train", "validation"] if task.trains else []) + (["test"] if "target" in task.roles else [])


def _image_tasks(
    configs: Sequence[Path], more: Sequence[str], specs: dict[str, ImageSpec]
) -> Iterator[tuple[ImageSpec, Task]]:
    """The tasks with images behind a fit or a study, each once, under the seed that they are trained with."""
    done = set()
    for where, arguments in _fits(configs, more):
        with one_line_errors(where):
            parts = _Parts(["fit", *arguments])
        vision = parts.model.vision
        if vision is None:
            continue
        spec = specs.setdefault(json.dumps(asdict(vision), sort_keys=True), parts.model.image_spec)
        tasks = list(parts.datamodule.tasks.values())
        drawn = any(task.train_examples is not None for task in tasks)  # by the seed
        data = json.dumps(parts.options.data.as_dict(), sort_keys=True, default=str)
        identity = (id(spec), data, parts.options.seed_everything if drawn else None)
        if identity not in done:
            done.add(identity)
            yield from ((spec, task) for task in tasks)


def _fits(configs: Sequence[Path], more: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Where a fit is from, and its arguments: the given one, or one a cell of a study."""
    studies = []
    for config in configs:
        try:
            value: Any = yaml.safe_load(config.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{config} cannot be read: {' '.join(str(error).split())}") from error
        if not isinstance(value, dict):
            raise ConfigError(f"{config} must hold a mapping of settings: the config of a fit, or a study file")
        studies += [config] if "targets" in value else []
    if not studies:
        yield " ".join(map(str, configs)), [*(word for c in configs for word in ("--config", str(c))), *more]
        return
    config = studies[0]
    if len(configs) > 1 or more:
        raise ConfigError(
            f"{config} is a study file, which says all there is: leave out {' '.join(more) or 'the rest'}"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        for cell in load_plan(config).cells:
            if not cell.config["model"].get("vision"):
                continue
            file.write_text(yaml.safe_dump(dict(cell.config), allow_unicode=True), encoding="utf-8")
            yield f"{config}, cell {cell.name}", ["--config", str(file)]
