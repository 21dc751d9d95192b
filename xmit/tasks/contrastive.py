"""Captions and what they say, matched in one space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xmit.data.batching import Ragged
from xmit.data.tokens import tokenised
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task
from xmit.tasks.item_scores import accuracy_items, unknown
from xmit.tasks.scoring import accuracy_scores

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from numpy.typing import NDArray


class ContrastiveTask(Task):
    """Find the text a caption belongs to; for images see :class:`~xmit.tasks.image_matching.CaptionedImages`.

    ``load_split`` returns ``id``, ``caption``, ``match`` and ``group``: items of one group belong to each other's
    captions too.
    """

    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "caption", "match")

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "caption", "match", "group")

    def head_spec(self) -> HeadSpec:
        """A contrastive head."""
        return HeadSpec("contrastive")

    def matches(self, table: datasets.Dataset) -> list[str]:
        """The text of each row's match."""
        texts: list[str] = table["match"][:]
        return texts

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise the captions and their matches."""
        groups: dict[str, int] = {}
        return Examples(
            ids=[str(i) for i in table["id"][:]],
            languages=table["language"][:],
            text={"caption": self._tokenize(table["caption"][:]), "match": self._tokenize(self.matches(table))},
            labels=torch.tensor([groups.setdefault(g, len(groups)) for g in table["group"][:]]),
            extra={"groups": list(groups)},
        )

    def _tokenize(self, texts: list[str]) -> Ragged:
        assert self.tokenizer is not None
        return tokenised(self.tokenizer, texts, truncation=True, max_length=self.max_length)

    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The vectors of both sides."""
        return {"item": batch["item"], "caption": outputs["caption"], "match": outputs["match"]}

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """For every match the group of the nearest caption, among one caption a group."""
        import pandas as pd

        examples, items = self.examples(split), decoded["item"].tolist()
        assert examples.labels is not None
        names: Any = np.asarray(examples.extra["groups"], dtype=object)
        labels = examples.labels[items].numpy()
        _, first = np.unique(labels, return_index=True)
        scores = decoded["match"] @ decoded["caption"][torch.from_numpy(first)].T
        return pd.DataFrame(
            {
                "language": [examples.languages[i] for i in items],
                "id": [examples.ids[i] for i in items],
                "prediction": names[labels[first[scores.argmax(1).numpy()]]],
                "scores": None,
                "target": names[labels],
            }
        )

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """Accuracy of the nearest caption."""
        return accuracy_scores(predictions)

    def item_scores(self, predictions: pd.DataFrame) -> NDArray[np.float64]:
        """Right or wrong."""
        return accuracy_items(predictions) if self.metadata.main_score == "accuracy" else unknown(predictions)
