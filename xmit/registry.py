"""The registry of tasks: built-in ones, a user's own, and those of installed plug-ins."""

from __future__ import annotations

import warnings
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeVar

from xmit.errors import ConfigError, TaskNotFoundError

if TYPE_CHECKING:
    import pandas as pd

    from xmit.tasks.base import Task

T = TypeVar("T", bound="type[Task]")

_TASKS: dict[str, type[Task]] = {}
_PLUGINS_LOADED = False
ENTRY_POINT_GROUP = "xmit.tasks"


def register_task(cls: T) -> T:
    """Class decorator that puts a task into the registry under its metadata's name.

    Running a notebook cell again may replace the class of the same module and name; any other class of a
    taken name is refused.

    Args:
        cls: A :class:`~xmit.tasks.base.Task` with complete ``metadata``.

    Returns:
        The class, unchanged.

    Raises:
        ConfigError: If the metadata is missing or the name is taken.
    """
    from xmit.tasks.base import TaskMetadata

    metadata = cls.__dict__.get("metadata")
    if not isinstance(metadata, TaskMetadata):
        raise ConfigError(f"{cls.__qualname__} needs a class attribute 'metadata = TaskMetadata(…)'")
    taken = _TASKS.get(metadata.name)
    if taken is not None and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ConfigError(
            f"the task name {metadata.name!r} is taken by {taken.__module__}.{taken.__qualname__}: "
            f"give {cls.__module__}.{cls.__qualname__} another name in its metadata"
        )
    _TASKS[metadata.name] = cls
    return cls


def load_plugins() -> None:
    """Import the tasks of installed plug-ins (entry-point group ``xmit.tasks``); a broken one only warns."""
    global _PLUGINS_LOADED
    if _PLUGINS_LOADED:
        return
    _PLUGINS_LOADED = True
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            point.load()
        except Exception as error:  # somebody else's code: it must not take the library down
            owner = point.dist.name if point.dist else "an unknown distribution"
            warnings.warn(
                f"the plug-in {point.name!r} of {owner} could not be loaded and is left out: "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )


def registered_tasks() -> dict[str, type[Task]]:
    """All registered tasks by name, plug-ins included."""
    import xmit.tasks

    assert xmit.tasks  # its import registers the built-in tasks
    load_plugins()
    return dict(sorted(_TASKS.items()))


def get_task(name: str) -> type[Task]:
    """Return the class of a registered task.

    Args:
        name: The name in the task's metadata, such as ``"xnli"``.

    Raises:
        TaskNotFoundError: If there is no such task; the message suggests the nearest names.
    """
    tasks = registered_tasks()
    if name not in tasks:
        raise TaskNotFoundError("task", name, tasks)
    return tasks[name]


def list_tasks(role: str | None = None) -> pd.DataFrame:
    """List what is registered, one task a row.

    Args:
        role: Only tasks of this role (``intermediate``, ``target``, ``image-text``, ``low-resource``,
            ``embedded``); all by default.

    Returns:
        A frame with the columns ``name``, ``class``, ``roles``, ``languages``, ``source_language``,
        ``main_score``, ``parallel``, ``dataset``, ``revision``, ``license`` and ``description``.

    Raises:
        ConfigError: If the role is unknown.
    """
    import pandas as pd

    from xmit.tasks.base import ROLES

    if role is not None and role not in ROLES:
        raise ConfigError(f"unknown role {role!r}: choose one of {', '.join(ROLES)}")
    rows = [
        {
            "name": name,
            "class": cls.__name__,
            "roles": list(cls.metadata.roles),
            "languages": list(cls.metadata.languages),
            "source_language": cls.metadata.source_language,
            "main_score": cls.metadata.main_score,
            "parallel": cls.metadata.parallel,
            "dataset": cls.metadata.dataset,
            "revision": cls.metadata.revision,
            "license": cls.metadata.license,
            "description": cls.metadata.description,
        }
        for name, cls in registered_tasks().items()
        if role is None or role in cls.metadata.roles
    ]
    return pd.DataFrame(rows)
