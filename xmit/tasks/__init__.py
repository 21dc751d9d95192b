"""Tasks: what a model is trained on or scored on. Importing this registers the built-in ones."""

from xmit.registry import get_task, list_tasks, register_task
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task, TaskMetadata
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.contrastive import ContrastiveTask
from xmit.tasks.embedded import CldrGeo, CldrRetrieval, CldrTerms, DigitsImage, DigitsText
from xmit.tasks.intermediate import CCG, MNLI, QQP, SNLI, ANLIPlus, MaskedLM
from xmit.tasks.masked_lm import MaskedLMTask
from xmit.tasks.mixture import TaskMixture
from xmit.tasks.multiple_choice import MultipleChoiceTask
from xmit.tasks.question_answering import QuestionAnsweringTask
from xmit.tasks.retrieval import RetrievalTask
from xmit.tasks.target import (
    BUCC2018,
    MLQA,
    PAWSX,
    SIB200,
    UDPOS,
    XCOPA,
    XNLI,
    AfriXNLI,
    AmericasNLI,
    Belebele,
    LAReQA,
    MasakhaNER2,
    MewsliX,
    NusaX,
    PanX,
    Tatoeba,
    TyDiQA,
    XQuAD,
    XStoryCloze,
)
from xmit.tasks.token_classification import TokenClassificationTask

__all__ = [
    "BUCC2018",
    "CCG",
    "MLQA",
    "MNLI",
    "PAWSX",
    "QQP",
    "SIB200",
    "SNLI",
    "UDPOS",
    "XCOPA",
    "XNLI",
    "ANLIPlus",
    "AfriXNLI",
    "AmericasNLI",
    "Batch",
    "Belebele",
    "CldrGeo",
    "CldrRetrieval",
    "CldrTerms",
    "ContrastiveTask",
    "DigitsImage",
    "DigitsText",
    "Examples",
    "HeadSpec",
    "LAReQA",
    "MasakhaNER2",
    "MaskedLM",
    "MaskedLMTask",
    "MewsliX",
    "MultipleChoiceTask",
    "NusaX",
    "PanX",
    "QuestionAnsweringTask",
    "RetrievalTask",
    "Score",
    "SequenceClassificationTask",
    "Task",
    "TaskMetadata",
    "TaskMixture",
    "Tatoeba",
    "TokenClassificationTask",
    "TyDiQA",
    "XQuAD",
    "XStoryCloze",
    "get_task",
    "list_tasks",
    "register_task",
]
