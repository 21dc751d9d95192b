"""Ranking: the nearest of a set of candidates that all languages share, best first."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from xmit.data.batching import Ragged
from xmit.data.sources import found_files
from xmit.errors import DataError
from xmit.tasks.base import Examples, Score
from xmit.tasks.neighbours import top_k
from xmit.tasks.retrieval import EmbeddingTask
from xmit.tasks.scoring import WHOLE, consistency_scores

if TYPE_CHECKING:
    import datasets
    import pandas as pd

TOP = 20
"""How many candidates are ranked."""


class RankingTask(EmbeddingTask):
    """The 20 nearest candidates of each query by cosine; nothing is trained.

    ``load_split`` returns ``id``, ``query`` and ``targets``, the ids of the right candidates, or None where they are
    not known; :meth:`load_candidates` returns the candidates, ``id`` and ``text``, the same for every language.

    Prediction rows have the ranking and the right candidates as JSON lists of ids. Consistency over languages is that
    of finding a right candidate first, for the right ones need not be the same.

    Args:
        max_query_length: The most tokens of a query; those of a candidate by default.
        layer: See :class:`~xmit.tasks.retrieval.EmbeddingTask`, as for all further arguments.
    """

    rule: ClassVar[Literal["map", "mrr"]]
    """The score: mAP@20, or MRR@20 where every query has one right candidate."""

    def __init__(self, max_query_length: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_query_length = max_query_length
        self._candidates: datasets.Dataset | None = None

    @abstractmethod
    def load_candidates(self) -> datasets.Dataset:
        """Load the candidates, in columns ``id`` and ``text``."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "query", "targets")

    @property
    def candidates(self) -> datasets.Dataset:
        """The candidates, loaded once."""
        if self._candidates is None:
            with found_files() as files:
                table = self.load_candidates()
            if len(set(table["id"])) != len(table):
                key, _ = Counter(table["id"]).most_common(1)[0]
                where = "".join(f"{file}: " for file in files)
                raise DataError(f"{where}task {self.name!r}: the id {key!r} of a candidate occurs twice")
            self._candidates = table
        return self._candidates

    def setup(self, stage: str) -> None:
        """Load the splits of a stage and the candidates."""
        super().setup(stage)
        assert self.candidates

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise every distinct query and candidate once."""
        items: dict[tuple[bool, str], int] = {}
        sides = {
            name: [items.setdefault((asked, text), len(items)) for text in texts]
            for name, asked, texts in (("candidate", False, self.candidates["text"]), ("query", True, table["query"]))
        }
        ids = self.tokenize(text for asked, text in items if not asked)
        ids += self.tokenize((text for asked, text in items if asked), self.max_query_length)
        return Examples(
            ids=[str(i) for i in table["id"]],
            languages=list(table["language"]),
            text={"text": Ragged.from_lists(ids)},
            extra=sides | {"targets": list(table["targets"])},
        )

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """For every query the ids of the nearest candidates."""
        import pandas as pd

        examples = self.examples(split)
        vectors = self.vectors(decoded)
        names = np.asarray(self.candidates["id"], dtype=object)
        candidates = self.unit(vectors[torch.as_tensor(examples.extra["candidate"])])
        languages, items = np.asarray(examples.languages), torch.as_tensor(examples.extra["query"])
        places = torch.empty(len(items), min(TOP, len(candidates)), dtype=torch.int64)
        for language in dict.fromkeys(examples.languages):
            rows = torch.from_numpy(np.flatnonzero(languages == language))
            places[rows] = top_k(self.unit(vectors[items[rows]]), candidates, TOP)[1]
        return pd.DataFrame(
            {
                "language": examples.languages,
                "id": examples.ids,
                "prediction": [json.dumps(list(names[row])) for row in places.numpy()],
                "scores": None,
                "target": [None if t is None else json.dumps(list(t)) for t in examples.extra["targets"]],
            }
        )

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """``map@20`` of each language over the queries whose right candidates are known."""
        from xmit.metrics.retrieval import LanguageRanking

        languages = list(dict.fromkeys(predictions["language"]))
        known = predictions[predictions["target"].notna()]
        metric = LanguageRanking(languages, rule=self.rule, k=TOP, **WHOLE)
        metric.update(
            [json.loads(value) for value in known["prediction"]],
            [set(json.loads(value)) for value in known["target"]],
            [languages.index(code) for code in known["language"]],
        )
        n = known["language"].value_counts()
        return [
            Score(code, name, value, int(n.get(code, 0)), "" if code in n else "no right candidate is known")
            for code, values in metric.compute().items()
            for name, value in values.items()
        ]

    def evaluate(self, predictions: pd.DataFrame) -> list[Score]:
        """The scores, and where the examples are parallel how alike the languages find a right candidate first."""
        scores = self.score(predictions)
        known = predictions[predictions["target"].notna()]
        if self.metadata.parallel and known["language"].nunique() > 1:
            first = [
                "right" if json.loads(ranked)[0] in json.loads(right) else "wrong"
                for ranked, right in zip(known["prediction"], known["target"], strict=True)
            ]
            scores += consistency_scores(known.assign(prediction=first, target="right"), self.source_language)
        return scores
