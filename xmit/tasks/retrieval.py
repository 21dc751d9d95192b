"""Retrieval: find each query's translation among candidates, by vectors of the encoder as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xmit.data.batching import Ragged
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task
from xmit.tasks.scoring import accuracy_scores

if TYPE_CHECKING:
    import datasets
    import pandas as pd


class RetrievalTask(Task):
    """Nearest neighbour by cosine; nothing is trained.

    ``load_split`` returns ``id``, ``query`` and ``candidate``, its right answer; the candidates of a language
    are those of all its rows, each once.

    Args:
        layer: Which hidden state makes the vectors; by default 14 of 24 scaled to the encoder's depth.
        pooling: What makes one vector of the tokens.
        centre: Subtract the mean vector of a language's queries, and that of its candidates, which takes out
            what the language itself adds. It looks at all test items together (transductive).
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "vector")
    trains: ClassVar[bool] = False

    def __init__(
        self,
        layer: int | None = None,
        pooling: Literal["cls", "mean"] = "mean",
        centre: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.layer, self.pooling, self.centre = layer, pooling, centre

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "query", "candidate")

    def head_spec(self) -> HeadSpec:
        """Vectors of a hidden layer."""
        return HeadSpec("embedding", {"layer": self.layer, "pooling": self.pooling})

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise every distinct text once; English candidates serve all languages."""
        assert self.tokenizer is not None
        items: dict[str, int] = {}
        sides = {s: [items.setdefault(t, len(items)) for t in table[s]] for s in ("query", "candidate")}
        ids = self.tokenizer(list(items), truncation=True, max_length=self.max_length)["input_ids"]
        return Examples(
            ids=[str(i) for i in table["id"]],
            languages=list(table["language"]),
            text={"text": Ragged.from_lists(ids)},
            extra=sides,
        )

    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The vectors as they are."""
        return {"item": batch["item"], "vector": outputs["vector"]}

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """For every query the id of the nearest candidate of its language."""
        import pandas as pd

        examples = self.examples(split)
        vectors = torch.empty_like(decoded["vector"])
        vectors[decoded["item"]] = decoded["vector"]
        languages = np.asarray(examples.languages)
        frames = []
        for language in dict.fromkeys(examples.languages):
            rows = np.flatnonzero(languages == language)
            ids = np.asarray([examples.ids[i] for i in rows], dtype=object)
            queries = np.asarray(examples.extra["query"])[rows]
            candidates, first, answer = np.unique(
                np.asarray(examples.extra["candidate"])[rows], return_index=True, return_inverse=True
            )
            nearest = (self._unit(vectors[queries]) @ self._unit(vectors[candidates]).T).argmax(1).numpy()
            # two ids may share a candidate's text: both are then answered by the first of them
            frames.append(
                pd.DataFrame(
                    {
                        "language": language,
                        "id": ids,
                        "prediction": ids[first[nearest]],
                        "scores": None,
                        "target": ids[first[answer]],
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

    def _unit(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors - vectors.mean(0) if self.centre else vectors, dim=-1)

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """Accuracy of the nearest candidate."""
        return accuracy_scores(predictions)
