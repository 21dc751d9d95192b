"""Tasks: what a model is trained on or scored on. Importing this registers the built-in ones."""

from xmit.registry import get_task, list_tasks, register_task
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task, TaskMetadata
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.contrastive import ContrastiveTask
from xmit.tasks.embedded import CldrGeo, CldrRetrieval, CldrTerms, DigitsImage, DigitsText
from xmit.tasks.intermediate import COPA, CommonsenseQA, CosmosQA, HellaSwag, SocialIQA, SQuAD, SQuADv2
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
    "COPA",
    "MLQA",
    "PAWSX",
    "SIB200",
    "UDPOS",
    "XCOPA",
    "XNLI",
    "AfriXNLI",
    "AmericasNLI",
    "Batch",
    "Belebele",
    "CldrGeo",
    "CldrRetrieval",
    "CldrTerms",
    "CommonsenseQA",
    "ContrastiveTask",
    "CosmosQA",
    "DigitsImage",
    "DigitsText",
    "Examples",
    "HeadSpec",
    "HellaSwag",
    "LAReQA",
    "MasakhaNER2",
    "MewsliX",
    "MultipleChoiceTask",
    "NusaX",
    "PanX",
    "QuestionAnsweringTask",
    "RetrievalTask",
    "SQuAD",
    "SQuADv2",
    "Score",
    "SequenceClassificationTask",
    "SocialIQA",
    "Task",
    "TaskMetadata",
    "Tatoeba",
    "TokenClassificationTask",
    "TyDiQA",
    "XQuAD",
    "XStoryCloze",
    "get_task",
    "list_tasks",
    "register_task",
]
