"""Tasks: what a model is trained on or scored on. Importing this registers the built-in ones."""

from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task, TaskMetadata
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.contrastive import ContrastiveTask
from xmit.tasks.retrieval import RetrievalTask

from xmit.registry import get_task, list_tasks, register_task  # isort: skip
from xmit.tasks.embedded import CldrGeo, CldrRetrieval, CldrTerms, DigitsImage, DigitsText  # isort: skip

__all__ = [
    "Batch",
    "CldrGeo",
    "CldrRetrieval",
    "CldrTerms",
    "ContrastiveTask",
    "DigitsImage",
    "DigitsText",
    "Examples",
    "HeadSpec",
    "RetrievalTask",
    "Score",
    "SequenceClassificationTask",
    "Task",
    "TaskMetadata",
    "get_task",
    "list_tasks",
    "register_task",
]
