"""From a study's YAML file to its cells: every intermediate × target × seed, and what each depends on."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from xmit.errors import StudyError, did_you_mean
from xmit.registry import registered_tasks
from xmit.tasks.base import Task, TaskData
from xmit.tasks.mixture import TaskMixture

BASELINE = "none"
KEYS = ("name", "encoder", "seeds", "intermediates", "targets", "configs", "model", "trainer", "data")
ENTRY_KEYS = ("config", "model", "trainer", "data")
RESULT_VERSION = 2
"""Part of every identity; raised when a change of the code changes outcomes."""


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Args:
        name: Unique in the study, and the name of its folder.
        role: ``intermediate`` or ``target``.
        intermediate: The intermediate trained, or started from; ``none`` for the public encoder.
        target: The target; empty for an intermediate.
        seed: The seed.
        config: The config of the ``fit`` that carries it out, without its folder.
        depends: The name of the cell whose encoder it starts from, if any.
        identity: Hash of what determines its outcome, its parent's included.
        source_language: The language that it is trained on.
    """

    name: str
    role: str
    intermediate: str
    target: str
    seed: int
    config: Mapping[str, Any]
    depends: str | None
    identity: str
    source_language: str


@dataclass
class Plan:
    """A study's cells, parents first.

    Args:
        name: Name of the study.
        cells: The cells.
        source: The study file's text, for the report.
    """

    name: str
    cells: list[Cell] = field(default_factory=list)
    source: str = ""


def load_plan(path: str | Path) -> Plan:
    """Read a study file and lay out its cells.

    Keys: ``name``; ``encoder``; ``seeds``, a list; ``intermediates`` and ``targets``, lists of task names, or
    mappings from a name of one's choice to ``config``, ``model``, ``trainer`` and ``data`` settings;
    ``configs``, the folder that holds ``intermediate/<name>.yaml`` and ``target/<name>.yaml`` (by default the
    parent of the study file's folder); ``model``, ``trainer`` and ``data``, settings for every cell.

    Args:
        path: The study file.

    Raises:
        StudyError: If a key or a task is unknown, or a file is missing.
    """
    path = Path(path)
    study, text = _read(path)
    _check_keys(study, KEYS, f"study {path}")
    missing = [key for key in ("encoder", "targets") if not study.get(key)]
    if missing:
        raise StudyError(f"study {path}: the key {missing[0]!r} is missing")
    seeds = study.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(type(s) is int for s in seeds):
        raise StudyError(f"study {path}: 'seeds' must be a list of whole numbers, such as [0, 1, 2], not {seeds!r}")
    if len(set(seeds)) != len(seeds):
        raise StudyError(f"study {path}: a seed occurs twice in {seeds}")
    intermediates = _entries(study.get("intermediates") or [BASELINE], "intermediates", path)
    targets = _entries(study["targets"], "targets", path)
    if BASELINE not in intermediates:
        intermediates = {BASELINE: {}, **intermediates}  # every gain is a gain over it
    plan = Plan(str(study.get("name", path.stem)), source=text)
    folder = path.parent / study.get("configs", "..")
    parents: dict[tuple[str, int], Cell] = {}
    for name, entry in intermediates.items():
        for seed in seeds if name != BASELINE else []:
            config, cls = _config(study, folder / "intermediate", name, entry, path)
            parents[name, seed] = _cell(plan.name, "intermediate", name, "", seed, config, cls, None)
    plan.cells += parents.values()
    for seed in seeds:
        for name in intermediates:
            for target, entry in targets.items():
                config, cls = _config(study, folder / "target", target, entry, path)
                parent = parents.get((name, seed))
                trains = (config["data"].get("init_args") or {}).get("train", cls.trains)
                if parent is None and not trains and seed != seeds[0]:
                    continue  # nothing is trained at all, so the seed changes nothing
                plan.cells.append(_cell(plan.name, "target", name, target, seed, config, cls, parent))
    return plan


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8")
        value = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise StudyError(f"there is no file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise StudyError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise StudyError(f"{path} must hold a mapping of settings")
    return value, text


def _check_keys(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in given:
        if key not in known:
            raise StudyError(f"{where}: unknown key {key!r}.{did_you_mean(str(key), known)}")


def _entries(value: Any, what: str, path: Path) -> dict[str, dict[str, Any]]:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        value = {name: {} for name in value}
    if not isinstance(value, dict) or not value:
        raise StudyError(f"study {path}: {what!r} must be a list of names or a mapping from names to settings")
    entries = {str(name): dict(entry or {}) for name, entry in value.items()}
    for name, entry in entries.items():
        _check_keys(entry, ENTRY_KEYS, f"study {path}, {what}, {name}")
    return entries


def _config(
    study: Mapping[str, Any], folder: Path, name: str, entry: Mapping[str, Any], path: Path
) -> tuple[dict[str, Any], type[TaskData]]:
    """The fit config of a task in a study, and the task's class."""
    file = path.parent / entry["config"] if "config" in entry else folder / f"{name}.yaml"
    if not file.is_file():
        raise StudyError(
            f"study {path}: no config for {name!r} (looked for {file}): correct the name, add the file, or name "
            f"another one with 'config'"
        )
    config, _ = _read(file)
    data = config.get("data")
    config["data"] = dict(data) if isinstance(data, Mapping) else {"class_path": data}
    for settings in (study, entry):
        for key in ("model", "trainer"):
            config[key] = _merge(config.get(key) or {}, settings.get(key) or {})
        if settings.get("data"):
            config["data"]["init_args"] = _merge(config["data"].get("init_args") or {}, settings["data"])
    config["model"]["encoder"] = study["encoder"]
    return config, task_class(config, str(file))


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(copy.deepcopy(dict(base)))
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def task_class(config: Mapping[str, Any], where: str) -> type[TaskData]:
    """The class of the task, or of the mixture, that a fit config names: registry name, class name or class path.

    Raises:
        StudyError: If there is none.
    """
    asked = config["data"].get("class_path")
    if not isinstance(asked, str):
        raise StudyError(f"{where}: no task is named; say 'data: {{class_path: …}}'")
    tasks = registered_tasks()
    by_class = {cls.__name__: cls for cls in tasks.values()}
    if asked in tasks:
        return tasks[asked]
    if asked == TaskMixture.__name__:
        return TaskMixture
    module, _, name = asked.rpartition(".")
    if module:
        import importlib

        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise StudyError(f"{where}: the task {asked!r} cannot be imported: {error}") from error
        if not (isinstance(found, type) and issubclass(found, TaskData)):
            raise StudyError(f"{where}: {asked!r} is no Task")
        return found
    if name in by_class:
        return by_class[name]
    raise StudyError(f"{where}: unknown task {asked!r}.{did_you_mean(asked, [*tasks, *by_class])}")


def part_classes(config: Mapping[str, Any], cls: type[TaskData], where: str) -> list[type[Task]]:
    """The classes of the tasks behind a fit config: one, or those of its mixture.

    Raises:
        StudyError: If a mixture names a task that there is not, or none.
    """
    if issubclass(cls, Task):
        return [cls]
    named = (config["data"].get("init_args") or {}).get("tasks") or []
    parts = [{"data": part if isinstance(part, Mapping) else {"class_path": part}} for part in named]
    found = [part for inner in parts for part in part_classes(inner, task_class(inner, where), where)]
    if not found:
        raise StudyError(f"{where}: the mixture names no tasks; say 'tasks: [{{class_path: …}}, …]'")
    return found


def _cell(
    study: str,
    role: str,
    intermediate: str,
    target: str,
    seed: int,
    config: dict[str, Any],
    task: type[TaskData],
    parent: Cell | None,
) -> Cell:
    name = f"{intermediate}--{target}-s{seed}" if target else f"{intermediate}-s{seed}"
    parts = part_classes(config, task, name)
    what = {
        "version": RESULT_VERSION,
        "seed": seed,
        "config": config,
        "data": [cls.data_version() for cls in parts],
        "parent": parent.identity if parent else None,
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]
    config = copy.deepcopy(config)
    config["seed_everything"] = seed
    config["run"] = {
        "study": study, "cell": name, "role": role, "intermediate": intermediate, "encoder": config["model"]["encoder"],
    }  # fmt: skip
    source = (config["data"].get("init_args") or {}).get("source_language") or parts[0].metadata.source_language
    source = source if isinstance(source, str) else source[0]
    return Cell(name, role, intermediate, target, seed, config, parent.name if parent else None, digest, source)
