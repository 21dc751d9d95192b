"""Retrieval: find each query's translation among candidates, by vectors of the encoder as it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from xmit.data.batching import Ragged
from xmit.data.tokens import tokenised
from xmit.errors import DataError
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task
from xmit.tasks.item_scores import accuracy_items, unknown
from xmit.tasks.margins import margins
from xmit.tasks.nearest import in_order, top_k
from xmit.tasks.scoring import accuracy_scores

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from numpy.typing import NDArray


class EmbeddingTask(Task):
    """Base of all tasks that compare sentence vectors, of the encoder as it is: nothing is trained.

    Args:
        layer: Which hidden state makes the vectors; by default 14 of 24 scaled to the encoder's depth.
        pooling: What makes one vector of the tokens; special tokens count in the mean, as in XTREME.
        centre: Subtract the mean vector of a language's queries, and that of its candidates, which takes out
            what the language itself adds. It looks at all test items together (transductive).
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    tokens_per_example: ClassVar[int] = 32
    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "vector")
    trains = False

    def __init__(
        self,
        layer: int | None = None,
        pooling: Literal["cls", "mean"] = "mean",
        centre: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.layer, self.centre = layer, centre
        self.pooling: str = pooling

    def head_spec(self) -> HeadSpec:
        """Vectors of a hidden layer."""
        return HeadSpec("embedding", {"layer": self.layer, "pooling": self.pooling})

    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The vectors as they are."""
        return {"item": batch["item"], "vector": outputs["vector"]}

    def tokenize(self, texts: Iterable[str], max_length: int | None = None) -> Ragged:
        """Token ids of texts, cut at ``max_length``, the task's own by default."""
        assert self.tokenizer is not None
        length = max_length or self.max_length
        return tokenised(self.tokenizer, texts, truncation=True, max_length=length)

    def vectors(self, decoded: dict[str, Tensor], split: str) -> Tensor:
        """The vectors ``(N, H)`` of a split, in the order of its items."""
        return in_order(decoded, len(self.examples(split)), self.name)

    def unit(self, vectors: Tensor) -> Tensor:
        """Vectors of length 1, centred if that was asked for."""
        return F.normalize(vectors - vectors.mean(0) if self.centre else vectors, dim=-1)


class RetrievalTask(EmbeddingTask):
    """The nearest candidate of each query of a language.

    ``load_split`` returns ``id``, ``query`` and ``candidate``, by default its right answer; the candidates of a
    language are those of all its rows, each text once. Where a row's candidate is not the answer to its query, the
    column ``answer`` has the id of the row whose candidate it is, or None where it is not known; then every row's
    candidate counts for itself, also where its text is another's too.

    Args:
        scoring: ``cosine``, or the ratio ``margin``, see :func:`~xmit.tasks.margins.margins`.
        neighbours: The size of the margin's neighbourhood.
        direction: ``backward`` swaps queries and candidates.
        layer: See :class:`EmbeddingTask`, as for all further arguments.
    """

    def __init__(
        self,
        scoring: Literal["cosine", "margin"] = "cosine",
        neighbours: int = 4,
        direction: Literal["forward", "backward"] = "forward",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scoring, self.neighbours, self.direction = scoring, neighbours, direction

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "query", "candidate")

    @property
    def asked_columns(self) -> tuple[str, ...]:
        """The candidate: in what language a query is, it asks for that text, and any answer is such a text."""
        return ("candidate",)

    def check_rows(self, table: datasets.Dataset, where: str) -> None:
        """Refuse an answer that is no row's id, or that two rows have."""
        answers = [a for a in table["answer"][:] if a is not None] if "answer" in table.column_names else []
        strange = set(answers) - set(table["id"][:])
        if strange:
            raise DataError(f"{where}: the answer {min(strange)!r} is no row's id")
        if len(set(answers)) != len(answers):
            raise DataError(f"{where}: two rows have the same answer")

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise every distinct text once; English candidates serve all languages."""
        items: dict[str, int] = {}
        sides = {s: [items.setdefault(t, len(items)) for t in table[s][:]] for s in ("query", "candidate")}
        answers = {"answer": table["answer"][:]} if "answer" in table.column_names else {}
        if self.direction == "backward":
            sides = {"query": sides["candidate"], "candidate": sides["query"]}
            keys = list(zip(table["language"][:], table["id"][:], strict=True))
            asked = {(language, a): i for (language, i), a in zip(keys, answers.get("answer", ()), strict=False)}
            answers = {column: [asked.get(key) for key in keys] for column in answers}
        return Examples(
            ids=[str(i) for i in table["id"][:]],
            languages=table["language"][:],
            text={"text": self.tokenize(items)},
            extra=sides | answers,
        )

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """For every query the id of the nearest candidate of its language."""
        import pandas as pd

        examples = self.examples(split)
        vectors = self.vectors(decoded, split)
        languages = np.asarray(examples.languages)
        frames = []
        for language in dict.fromkeys(examples.languages):
            rows = np.flatnonzero(languages == language)
            ids = np.asarray([examples.ids[i] for i in rows], dtype=object)
            queries = np.asarray(examples.extra["query"])[rows]
            candidates, first, answer = np.unique(
                np.asarray(examples.extra["candidate"])[rows], return_index=True, return_inverse=True
            )
            # in the order of the rows, so that of equally near candidates the first is taken
            order = np.argsort(first)
            nearest = first[order][self._nearest(vectors[queries], vectors[candidates[order]])]
            if "answer" in examples.extra:
                target = [examples.extra["answer"][i] for i in rows]
            else:  # two ids may share a candidate's text: both are then answered by the first of them
                target = list(ids[first[answer]])
            frames.append(
                pd.DataFrame(
                    {"language": language, "id": ids, "prediction": ids[nearest], "scores": None, "target": target}
                )
            )
        return pd.concat(frames, ignore_index=True)

    def _nearest(self, queries: Tensor, candidates: Tensor) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The place of each query's best candidate ``(N,)``."""
        queries, candidates = self.unit(queries), self.unit(candidates)
        if self.scoring == "cosine":
            return top_k(queries, candidates, 1)[1].flatten().numpy()
        scores, places = margins(queries, candidates, self.neighbours)
        return places.gather(1, scores.argmax(1, keepdim=True)).flatten().numpy()

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """Accuracy of the nearest candidate."""
        return accuracy_scores(predictions)

    def item_scores(self, predictions: pd.DataFrame) -> NDArray[np.float64]:
        """Right or wrong."""
        return accuracy_items(predictions) if self.metadata.main_score == "accuracy" else unknown(predictions)
