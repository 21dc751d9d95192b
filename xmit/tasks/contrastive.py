"""Captions and what they say, matched in one space: with images, or with other texts as a control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from xmit.data.batching import Ragged
from xmit.data.tokens import tokenised
from xmit.errors import ConfigError
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task
from xmit.tasks.scoring import accuracy_scores

if TYPE_CHECKING:
    import datasets
    import pandas as pd


class ContrastiveTask(Task):
    """Find the image (or text) a caption belongs to.

    ``load_split`` returns ``id``, ``caption``, ``match`` (an image, or a text, as ``match_kind`` says) and
    ``group``: items of one group belong to each other's captions too.
    """

    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "caption", "match")
    match_kind: ClassVar[Literal["text", "image"]]

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "caption", "match", "group")

    def head_spec(self) -> HeadSpec:
        """A contrastive head."""
        return HeadSpec("contrastive")

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise the captions, and tokenise the matches or register their images."""
        groups: dict[str, int] = {}
        text = {"caption": self._tokenize(list(table["caption"]))}
        images = {}
        if self.match_kind == "image":
            if self.image_spec is None:
                raise ConfigError(
                    f"task {self.name!r} has images but the module has no vision tower: set model.vision.name"
                )
            images["match"] = self.image_spec.encode(list(table["match"]))
            text["match"] = self._tokenize([""] * len(table))
        else:
            text["match"] = self._tokenize(list(table["match"]))
        return Examples(
            ids=[str(i) for i in table["id"]],
            languages=list(table["language"]),
            text=text,
            images=images,
            labels=torch.tensor([groups.setdefault(g, len(groups)) for g in table["group"]]),
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
