"""What a study file names: entries with their settings, axes that multiply them, and the fit config behind each."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from xmit.errors import StudyError, did_you_mean
from xmit.registry import registered_tasks
from xmit.tasks.base import Task, TaskData
from xmit.tasks.mixture import TaskMixture

SETTINGS = ("model", "trainer", "data")
ENTRY_KEYS = ("config", *SETTINGS)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def read_yaml(path: Path) -> tuple[dict[str, Any], str]:
    """A mapping from a YAML file, and the file's text."""
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


def check_keys(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuse a key that is not known.

    Raises:
        StudyError: For the first.
    """
    for key in given:
        if key not in known:
            raise StudyError(f"{where}: unknown key {key!r}.{did_you_mean(str(key), known)}")


def named_entries(value: Any, what: str, keys: Sequence[str], where: str) -> dict[str, dict[str, Any]]:
    """Names with their settings, from a list of names or a mapping.

    Args:
        value: What the study file says.
        what: Under which key.
        keys: The settings that an entry may have.
        where: The file, for errors.

    Raises:
        StudyError: If it is neither, or a setting is unknown.
    """
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        twice = next((name for name in value if value.count(name) > 1), None)
        if twice is not None:
            raise StudyError(f"{where}: {twice!r} stands twice in {what!r}")
        value = {name: {} for name in value}
    if not isinstance(value, dict) or not value:
        raise StudyError(f"{where}: {what!r} must be a list of names or a mapping from names to settings")
    for name, entry in value.items():
        if not isinstance(entry or {}, dict):
            raise StudyError(f"{where}: {what}, {name}: settings must be a mapping, not {entry!r}")
    entries = {str(name): dict(entry or {}) for name, entry in value.items()}
    for name, entry in entries.items():
        check_keys(entry, keys, f"{where}, {what}, {name}")
    return entries


def along_axes(entries: Mapping[str, dict[str, Any]], axes: Any, role: str, where: str) -> dict[str, dict[str, Any]]:
    """Multiply entries by the values of axes.

    Args:
        entries: Names with their settings.
        axes: What the study file says under ``axes`` for this role: by name of an argument of the tasks its values,
            or by any name a mapping from labels to settings.
        role: ``intermediate`` or ``target``.
        where: The file, for errors.

    Returns:
        The entries, named ``mnli@train_examples=1000``; those given where there are no axes.

    Raises:
        StudyError: If an axis is neither, or a label would not do in the name of a folder.
    """
    if not axes:
        return dict(entries)
    if not isinstance(axes, dict):
        raise StudyError(f"{where}: 'axes: {role}' must be a mapping from an argument to its values")
    values = [[(str(axis), *value) for value in _axis(str(axis), given, where)] for axis, given in axes.items()]
    product = {}
    for name, entry in entries.items():
        for combination in itertools.product(*values):
            label = ",".join(f"{axis}={value}" for axis, value, _ in combination)
            merged = entry
            for _, _, settings in combination:
                merged = merge(merged, settings)
            product[f"{name}@{label}"] = merged
    return product


def _axis(axis: str, given: Any, where: str) -> list[tuple[str, dict[str, Any]]]:
    """The values of an axis: label and settings of each."""
    if isinstance(given, list) and given:
        labels = ["+".join(map(str, v)) if isinstance(v, list) else "default" if v is None else str(v) for v in given]
        values = [(label, {"data": {axis: value}}) for label, value in zip(labels, given, strict=True)]
    elif isinstance(given, dict) and given:
        values = [(str(label), dict(settings or {})) for label, settings in given.items()]
        for label, settings in values:
            check_keys(settings, SETTINGS, f"{where}, axis {axis}, {label}")
    else:
        raise StudyError(f"{where}: the axis {axis!r} must be a list of values, or a mapping from labels to settings")
    labels = [label for label, _ in values]
    for label in (axis, *labels):
        if not _LABEL.fullmatch(label) or labels.count(label) > 1:
            raise StudyError(
                f"{where}: axis {axis!r}: {label!r} cannot stand in the name of a folder, or stands there twice: give "
                f"a mapping from labels to settings"
            )
    return values


def fit_config(
    layers: Sequence[Mapping[str, Any]], folder: Path, name: str, entry: Mapping[str, Any], path: Path
) -> tuple[dict[str, Any], type[TaskData]]:
    """The fit config of an entry of a study, and its task's class.

    Args:
        layers: Settings that go over those of the file, later ones over earlier ones; the entry's own come last.
        folder: Where configs are looked for.
        name: The entry's name, perhaps with axes behind it.
        entry: Its settings.
        path: The study file.

    Raises:
        StudyError: If there is no config, or no such task.
    """
    base = name.partition("@")[0]
    file = path.parent / entry["config"] if "config" in entry else folder / f"{base}.yaml"
    if not file.is_file():
        raise StudyError(
            f"study {path}: no config for {base!r} (looked for {file}): correct the name, add the file, or name "
            f"another one with 'config'"
        )
    config, _ = read_yaml(file)
    data = config.get("data")
    config["data"] = dict(data) if isinstance(data, Mapping) else {"class_path": data}
    for settings in (*layers, entry):
        for key in ("model", "trainer"):
            config[key] = merge(config.get(key) or {}, settings.get(key) or {})
        if settings.get("data"):
            config["data"]["init_args"] = merge(config["data"].get("init_args") or {}, settings["data"])
    return config, task_class(config, str(file))


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings over others, which stay as they are."""
    merged = dict(copy.deepcopy(dict(base)))
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
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
