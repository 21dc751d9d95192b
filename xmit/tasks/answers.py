"""Questions about an image, answered by one of the most frequent answers of the training data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xmit.errors import DataError
from xmit.tasks.base import Batch, Examples, HeadSpec, Score
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.scoring import accuracy_scores, majority_scores
from xmit.tasks.with_images import WithImages

if TYPE_CHECKING:
    import datasets
    import pandas as pd


class AnswerTask(WithImages, SequenceClassificationTask):
    """One of a vocabulary of answers to a question about an image.

    ``load_split`` returns ``id``, ``question``, ``answers`` (a list of what people answered, one or many) and
    ``image``. The classes are the most frequent answers of the whole training split, by each question's own most
    frequent answer; a question whose answer is none of them can still be asked, and is always answered wrong. So the
    training data are needed for scoring too.

    Args:
        answers: How many classes; None for all.
        images: See :class:`~xmit.tasks.with_images.WithImages`, as for all further arguments.
    """

    text_columns: ClassVar[tuple[str, ...]] = ("question",)
    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "prediction")

    def __init__(self, answers: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_answers = answers
        self._counts: dict[str, Counter[str]] = {}
        self._vocabulary: list[str] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", *self.text_columns, "answers", *(self.image_columns if self.images != "none" else ()))

    def credit(self, answers: Sequence[str]) -> dict[str, float]:
        """What each answer to a question would get, 0 to 1: in doubt 1 for the only one."""
        return {answers[0]: 1.0}

    def check_rows(self, table: datasets.Dataset, where: str) -> None:
        """Refuse a question without a text or an answer."""
        for key, question, answers in zip(table["id"][:], table["question"][:], table["answers"][:], strict=True):
            if not isinstance(question, str) or not answers or not all(isinstance(answer, str) for answer in answers):
                raise DataError(f"{where}: example {key!r} lacks its question or an answer; mend it")

    def _load(self, split: str, language: str) -> datasets.Dataset:
        table = super()._load(split, language)
        if split == "train":  # counted before any rows are drawn, so that seeds share their classes
            self._counts[language] = Counter(
                max(c, key=c.__getitem__) for c in map(self.credit, table["answers"][:]) if c
            )
            self._vocabulary = None
        return table

    @property
    def vocabulary(self) -> list[str]:
        """The classes, the most frequent first."""
        if self._vocabulary is None:
            self.table("train")
            counts = sum((self._counts[code] for code in self.source_languages), Counter[str]())
            self._vocabulary = [answer for answer, _ in counts.most_common(self.n_answers)]
        return self._vocabulary

    def head_spec(self) -> HeadSpec:
        """A score for each class."""
        return HeadSpec("answers", {"num_labels": len(self.vocabulary), "pooling": self.pooling})

    def encode_text(self, table: datasets.Dataset) -> Examples:
        """Tokenise the questions, and look up the classes of their answers."""
        places = {answer: place for place, answer in enumerate(self.vocabulary)}
        examples = super().encode_text(table.add_column("label", np.zeros(len(table), dtype=np.int64)))
        credits = [self.credit(answers) for answers in table["answers"][:]]
        examples.labels = None
        examples.extra["targets"] = [{places[a]: s for a, s in own.items() if a in places} for own in credits]
        examples.extra["answers"] = table["answers"][:]
        return examples

    def collate(self, examples: Examples, items: Sequence[int]) -> Batch:
        """A batch with what each class would get, ``answers (B, classes)``."""
        batch = super().collate(examples, items)
        targets = np.zeros((len(items), len(self.vocabulary)), dtype=np.float32)
        for row, item in enumerate(items):
            own = examples.extra["targets"][item]
            targets[row, list(own)] = list(own.values())
        batch["answers"] = torch.from_numpy(targets)
        return batch

    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The best class."""
        return {"item": batch["item"], "prediction": outputs["logits"].argmax(-1)}

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """The answers given; the target is the one right answer, or what people answered as a JSON list."""
        import pandas as pd

        examples, items = self.examples(split), decoded["item"].tolist()
        answers = [examples.extra["answers"][i] for i in items]
        return pd.DataFrame(
            {
                "language": [examples.languages[i] for i in items],
                "id": [examples.ids[i] for i in items],
                "prediction": [self.vocabulary[place] for place in decoded["prediction"].tolist()],
                "scores": None,
                "target": [own[0] if len(own) == 1 else json.dumps(own, ensure_ascii=False) for own in answers],
            }
        )

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """Accuracy of each language, and that of the most frequent answer."""
        return accuracy_scores(predictions) + majority_scores(predictions)
