"""Sequence classification of one or two segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from xmit.data.tokens import tokenised
from xmit.errors import DataError
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task
from xmit.tasks.item_scores import accuracy_items, unknown
from xmit.tasks.scoring import accuracy_scores, majority_scores, rankings

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from numpy.typing import NDArray


class SequenceClassificationTask(Task):
    """One label for one text or a pair of texts.

    ``load_split`` returns ``id``, the columns named in ``text_columns`` and ``label``, an index into
    ``label_names``.

    Args:
        pooling: What the head reads: ``cls``, the first token, as XLM-R does, or ``mean`` of all tokens.
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    label_names: ClassVar[tuple[str, ...]]
    text_columns: ClassVar[tuple[str, ...]] = ("text",)
    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "prediction", "scores")

    def __init__(self, pooling: Literal["cls", "mean"] = "cls", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling = pooling

    @property
    def columns(self) -> tuple[str, ...]:
        """``id``, the text columns and ``label``."""
        return ("id", *self.text_columns, "label")

    @property
    def asked_columns(self) -> tuple[str, ...]:
        """The texts."""
        return self.text_columns

    def head_spec(self) -> HeadSpec:
        """A classifier over ``label_names``."""
        return HeadSpec("classification", {"num_labels": len(self.label_names), "pooling": self.pooling})

    def check_rows(self, table: datasets.Dataset, where: str) -> None:
        """Refuse labels outside ``label_names``, and text that is missing."""
        for column in self.text_columns:
            for row, text in enumerate(table[column][:]):
                if not isinstance(text, str):
                    raise DataError(
                        f"{where}: {column!r} of example {table['id'][row]!r} is {text!r}, which is no text"
                    )
        for row, label in enumerate(table["label"][:]):
            if label is not None and not isinstance(label, int):
                raise DataError(
                    f"{where}: the label of example {table['id'][row]!r} is {label!r}; labels are indices into "
                    f"label_names: xmit.data.sources.labels_to_ids turns names into them"
                )
        labels = np.asarray([-1 if label is None else label for label in table["label"][:]])
        bad = np.flatnonzero((labels < 0) | (labels >= len(self.label_names)))
        if len(bad):
            raise DataError(
                f"{where}: the label of example {table['id'][int(bad[0])]!r} is {labels[bad[0]]}, "
                f"not one of 0 to {len(self.label_names) - 1} ({', '.join(self.label_names)})"
            )

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise the one or two segments together."""
        assert self.tokenizer is not None
        segments = [table[column][:] for column in self.text_columns]
        ids = tokenised(self.tokenizer, tuple(segments), truncation=True, max_length=self.max_length)
        return Examples(
            ids=[str(i) for i in table["id"][:]],
            languages=table["language"][:],
            text={"text": ids},
            labels=torch.tensor(table["label"][:]),
        )

    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The best label, and the probabilities of all."""
        scores = outputs["logits"].float().softmax(-1)
        return {"item": batch["item"], "prediction": scores.argmax(-1), "scores": scores}

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """Label names predicted and expected, and the probability of each label."""
        import pandas as pd

        examples, items = self.examples(split), decoded["item"].tolist()
        assert examples.labels is not None
        names = np.asarray(self.label_names, dtype=object)
        return pd.DataFrame(
            {
                "language": [examples.languages[i] for i in items],
                "id": [examples.ids[i] for i in items],
                "prediction": names[decoded["prediction"].numpy()],
                "scores": list(decoded["scores"].numpy()),
                "target": names[examples.labels[items].numpy()],
            }
        )

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """Accuracy of each language, and that of the most frequent class."""
        return accuracy_scores(predictions) + majority_scores(predictions)

    def item_scores(self, predictions: pd.DataFrame) -> NDArray[np.float64]:
        """Right or wrong."""
        return accuracy_items(predictions) if self.metadata.main_score == "accuracy" else unknown(predictions)

    def ranking(self, predictions: pd.DataFrame) -> Tensor | None:
        """The labels, by probability."""
        return rankings(predictions["scores"])
