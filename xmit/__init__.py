"""xmit: does English intermediate-task training make zero-shot cross-lingual transfer more robust?

Cheap to import: every public name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmit.lazy import lazy_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    from xmit.modules.module import MultimodalModule
    from xmit.registry import get_task, list_tasks, register_task
    from xmit.study.results import load_results
    from xmit.tasks.base import Task, TaskMetadata
    from xmit.trainer import Trainer

_WHERE = {
    "MultimodalModule": "xmit.modules.module",
    "Task": "xmit.tasks.base",
    "TaskMetadata": "xmit.tasks.base",
    "Trainer": "xmit.trainer",
    "get_task": "xmit.registry",
    "list_tasks": "xmit.registry",
    "load_results": "xmit.study.results",
    "register_task": "xmit.registry",
}
__all__ = [
    "MultimodalModule",
    "Task",
    "TaskMetadata",
    "Trainer",
    "__version__",
    "get_task",
    "list_tasks",
    "load_results",
    "register_task",
]

__getattr__ = lazy_names(__name__, _WHERE)
