"""A small task of every family, made-up data: enough rows for four updates an epoch and some batches to score."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image

from xmit.tasks import (
    AnswerTask,
    ContrastiveTask,
    ImageRetrievalTask,
    MaskedLMTask,
    MultipleChoiceTask,
    QuestionAnsweringTask,
    RetrievalTask,
    SequenceClassificationTask,
    Task,
    TaskMetadata,
    TaskMixture,
    TokenClassificationTask,
)
from xmit.tasks.image_text.image_mlm import ImageMLM
from xmit.tasks.ranking import RankingTask
from xmit.tasks.spans import qa_table
from xmit.tasks.token_classification import sentences
from xmit.tasks.with_images import WithImages

WORDS = ("apple", "boat", "ear", "cat", "ink", "dog", "oak", "fish", "urn", "goat", "red", "house", "big", "river")
ROWS, BATCH = 36, 8
IDS = [str(i) for i in range(ROWS)]


def facts(name: str, main: str = "accuracy", **more: Any) -> TaskMetadata:
    return TaskMetadata(
        name=name, roles=("target", "intermediate"), languages=("en", "de"), main_score=main, dataset="made up",
        license="CC0-1.0", citation="none", description=name, **more,
    )  # fmt: skip


def text(number: int, words: int | None = None) -> str:
    """Some words, always the same for a number."""
    rng = np.random.default_rng(number)
    return " ".join(rng.choice(WORDS, words or int(rng.integers(2, 14))))


def texts(first: int = 0, words: int | None = None) -> list[str]:
    return [text(first + i, words) for i in range(ROWS)]


class Classes(SequenceClassificationTask):
    metadata, label_names = facts("classes", parallel=True), ("a", "b", "c")

    def load_split(self, split: str, language: str) -> Dataset:
        return Dataset.from_dict({"id": IDS, "text": texts(), "label": [i % 3 for i in range(ROWS)]})


class Choices(MultipleChoiceTask):
    metadata, num_choices = facts("choices", parallel=True), 3

    def load_split(self, split: str, language: str) -> Dataset:
        choices = [[text(7 * i + k, 3) for k in range(2 + i % 2)] for i in range(ROWS)]
        labels = [i % 2 for i in range(ROWS)]
        return Dataset.from_dict({"id": IDS, "context": texts(), "choices": choices, "label": labels})


class Tags(TokenClassificationTask):
    metadata, label_names = facts("tags", "f1"), ("O", "B-X", "I-X")

    def load_split(self, split: str, language: str) -> Dataset:
        words = [own.split() for own in texts()]
        tags = [[self.label_names[len(word) % 3] for word in own] for own in words]
        return sentences({"id": list(range(ROWS)), "tokens": words, "tags": tags})


class Spans(QuestionAnsweringTask):
    metadata = facts("spans", "f1", parallel=True)

    def score_answers(self, language: str, answers: Any, gold: Any) -> dict[str, Any]:
        each = {key: {"f1": float(answers[key] in gold[key]), "exact_match": 0.0} for key in gold}
        return {"f1": np.mean([own["f1"] for own in each.values()]), "exact_match": 0.0, "per_item": each}

    def load_split(self, split: str, language: str) -> Dataset:
        contexts = texts(words=30)
        answers = [context.split()[i % 20] for i, context in enumerate(contexts)]
        return qa_table(
            {
                "id": IDS,
                "question": texts(99, 4),
                "context": contexts,
                "answers": [
                    {"text": [word], "answer_start": [context.index(word)]}
                    for context, word in zip(contexts, answers, strict=True)
                ],
            }
        )


class Pool(RetrievalTask):
    metadata = facts("pool", parallel=True)

    def load_split(self, split: str, language: str) -> Dataset:
        return Dataset.from_dict({"id": IDS, "query": texts(), "candidate": texts(500)})


class Ranked(RankingTask):
    metadata, rule = facts("ranked", "map@20", parallel=True), "map"

    def load_queries(self, split: str, language: str) -> dict[str, Any]:
        return {"id": IDS, "query": texts(), "targets": [[name] for name in IDS]}

    def load_candidates(self) -> dict[str, Any]:
        return {"id": IDS, "text": texts(500)}

    def load_pairs(self, split: str, language: str) -> dict[str, Any]:
        return {"id": IDS, "query": texts(), "candidate": texts(500)}


class Matched(ContrastiveTask):
    metadata = facts("matched")

    def load_split(self, split: str, language: str) -> Dataset:
        groups = [str(i % 30) for i in range(ROWS)]
        return Dataset.from_dict({"id": IDS, "caption": texts(), "match": texts(500), "group": groups})


class Masked(MaskedLMTask):
    metadata = facts("masked")

    def load_documents(self, language: str) -> Dataset:
        return Dataset.from_dict({"text": texts(words=60)})


def pictures() -> list[dict[str, Any]]:
    """Squares of different noise, as the bytes of files."""
    found = []
    for i in range(ROWS):
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, "png")
        found.append({"bytes": file.getvalue(), "path": None})
    return found


class Pictures(ImageRetrievalTask):
    metadata = facts("pictures", "recall@1", parallel=True)

    def load_split(self, split: str, language: str) -> Dataset:
        return Dataset.from_dict({"id": IDS, "image": pictures(), "caption": texts(), "group": IDS})


class Shown(WithImages, SequenceClassificationTask):
    metadata, label_names = facts("shown"), ("a", "b", "c")

    def load_split(self, split: str, language: str) -> Dataset:
        labels = [i % 3 for i in range(ROWS)]
        return Dataset.from_dict({"id": IDS, "image": pictures(), "text": texts(), "label": labels})


class Captions(ImageMLM):
    metadata = facts("captions")

    def load_split(self, split: str, language: str) -> Dataset:
        return Dataset.from_dict({"id": IDS, "image": pictures(), "text": texts(words=12)})


class Asked(AnswerTask):
    metadata = facts("asked")

    def load_split(self, split: str, language: str) -> Dataset:
        answers = [[WORDS[i % 4]] for i in range(ROWS)]
        return Dataset.from_dict({"id": IDS, "image": pictures(), "question": texts(), "answers": answers})


def mixture(**more: Any) -> TaskMixture:
    """Classes and tags in turn."""
    parts = [Classes(batch_size=BATCH, **more), Tags(batch_size=BATCH, **more)]
    return TaskMixture(parts, "mixed", updates_per_epoch=5, sampling="uniform")


TEXT: dict[str, Callable[..., Task]] = {
    "classification": Classes,
    "classification-mean": partial(Classes, pooling="mean"),
    "choice": Choices,
    "tagging": Tags,
    "qa": partial(Spans, max_length=40, stride=8),
    "retrieval": Pool,
    "retrieval-margin": partial(Pool, scoring="margin", centre=True),
    "ranking-pooler": Ranked,
    "ranking-mean": partial(Ranked, pooling="mean"),
    "contrastive": Matched,
    "masked": partial(Masked, languages=["en", "de"], max_length=32),
}
"""The families of text, by what a case is called."""
IMAGES: dict[str, Callable[..., Task]] = {
    "shown": Shown,
    "answers": Asked,
    "images": Pictures,
    "images-hard": partial(Pictures, negatives="hard"),
    "captions-masked": Captions,
}
"""Those of image and text."""
FUSIONS: dict[str, dict[str, Any]] = {
    "prefix": {"kind": "prefix"},
    "resampled": {"kind": "prefix", "tokens": 2},
    "cross_attention": {"kind": "cross_attention"},
    "late": {"kind": "late"},
}
