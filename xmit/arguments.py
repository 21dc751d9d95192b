"""A run's command line: task names, and what its parser says is wrong, in one line."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

import xmit.tasks
from xmit.errors import ConfigError, TaskNotFoundError
from xmit.registry import registered_tasks
from xmit.tasks.base import Task, TaskData
from xmit.tasks.mixture import TaskMixture


def parse_in_one_line(parser: LightningArgumentParser, words: list[str]) -> Namespace:
    """Parse a command line; what is wrong with it takes one line, not the usage of a hundred settings and the config.

    Raises:
        SystemExit: With 2 if the call is wrong, with 0 after help.
    """
    text = io.StringIO()
    try:
        with contextlib.redirect_stderr(text):
            config: Namespace = parser.parse_args(words)
    except SystemExit as error:
        if error.code:
            more = "--help lists settings, --data.help CLASS those of a task"
            sys.stderr.write(f"xmit: {_refusal(text.getvalue())} ({more})\n")
        raise
    sys.stderr.write(text.getvalue())
    return config


def _refusal(text: str) -> str:
    """What the parser says is wrong, without usage, types and the values given."""
    lines = [line.strip() for line in text.strip().splitlines()]
    start = max((i for i, line in enumerate(lines) if "error:" in line), default=0)
    noise = ("Given value", "Subtypes:", "Errors:", "- Expected a <class 'NoneType'>", "Does not validate against")
    kept = [line.removeprefix("- ") for line in lines[start:] if line and not line.startswith(noise)]
    return " ".join(kept).removeprefix("error: ") or "the call is wrong"


def resolve_names(args: list[str]) -> list[str]:
    """Replace task names after ``--data`` by class paths.

    Raises:
        TaskNotFoundError: If a name is not known; the nearest are suggested.
        ConfigError: If a class path cannot be imported.
    """
    resolved = list(args)
    for i, arg in enumerate(args):
        if arg == "--data" and i + 1 < len(args):
            resolved[i + 1] = _resolve_name(args[i + 1])
        elif arg.startswith("--data="):
            resolved[i] = f"--data={_resolve_name(arg[7:])}"
    return resolved


def _resolve_name(name: str) -> str:
    tasks = registered_tasks()
    by_class: dict[str, type[TaskData]] = {cls.__name__: cls for cls in tasks.values()}
    by_class[TaskMixture.__name__] = TaskMixture
    if name in tasks or name in by_class:
        return class_path(tasks.get(name) or by_class[name])
    if name.isidentifier():
        raise TaskNotFoundError("task", name, [*tasks, *by_class], "A task of your own is named by module.Class.")
    module, _, attribute = name.rpartition(".")
    if module and attribute.isidentifier() and not Path(name).exists():
        try:
            found = importlib.import_module(module)
        except Exception as error:  # the user's own file: whatever is wrong with it
            raise ConfigError(f"--data {name}: importing {module} failed: {type(error).__name__}: {error}") from error
        if not hasattr(found, attribute):
            known = [key for key, value in vars(found).items() if isinstance(value, type) and issubclass(value, Task)]
            raise TaskNotFoundError(f"task in {module}:", attribute, known)
    return name


def class_path(cls: type[TaskData]) -> str:
    """The shortest public path of a task class, so that configs outlive a move of the file."""
    if getattr(xmit.tasks, cls.__name__, None) is cls:
        return f"xmit.tasks.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"
