"""Ranking: the nearest of a set of candidates that all languages share, best first."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from xmit.data.sources import found_files
from xmit.errors import ConfigError, DataError, check_choice
from xmit.tasks.base import Examples, HeadSpec, Score
from xmit.tasks.nearest import top_k
from xmit.tasks.retrieval import EmbeddingTask
from xmit.tasks.scoring import WHOLE, consistency_scores

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from numpy.typing import NDArray

TOP = 20
"""How many candidates are ranked."""


class RankingTask(EmbeddingTask):
    """The 20 nearest candidates of each query by cosine, after training on pairs.

    :meth:`load_queries` returns ``id``, ``query`` and ``targets``, the ids of the right candidates, or None where they
    are not known; :meth:`load_candidates` the candidates, ``id`` and ``text``, the same for every language;
    :meth:`load_pairs` what is trained and validated on: ``id``, ``query`` and ``candidate``, the text of the right one.

    Training is XTREME-R's, see :class:`~xmit.modules.heads.DualHead`. Validation looks for each query's candidate
    among those of all pairs of the split, by the same score; the baseline has the loss of batches there. The baseline's
    scripts ask for lower-cased text with XLM-R; here text is as it is.

    Prediction rows have the ranking and the right candidates as JSON lists of ids. Consistency over languages is that
    of finding a right candidate first, for the right ones need not be the same; RankC compares the 20 best, which all
    languages choose from one pool.

    Args:
        max_query_length: The most tokens of a query; those of a candidate by default.
        train: ``false`` scores the encoder as it is.
        layer: Which hidden state makes the vectors; the last by default, and of the encoder as it is 14 of 24 scaled
            to its depth.
        pooling: What makes one vector of the tokens: ``pooler``, the first token through a pooler that is trained
            along, ``cls`` or ``mean``; by default ``pooler``, and ``mean`` of the encoder as it is.
        scale: What cosines are multiplied with in the training's softmax.
        test_split: See :class:`~xmit.tasks.base.Task`; validation, which chooses the checkpoint, stays with the pairs.
        centre: See :class:`~xmit.tasks.retrieval.EmbeddingTask`, as for all further arguments.

    Raises:
        ConfigError: If a pooler is asked for that is not trained.
    """

    trains = True
    tokens_per_example: ClassVar[int] = 200
    rule: ClassVar[Literal["map", "mrr"]]
    """The score: mAP@20, or MRR@20 where every query has one right candidate."""

    def __init__(
        self,
        max_query_length: int | None = None,
        train: bool = True,
        pooling: Literal["pooler", "cls", "mean"] | None = None,
        scale: float = 100.0,
        test_split: Literal["test", "validation"] = "test",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if pooling is not None:
            check_choice("data.pooling", pooling, ("pooler", "cls", "mean"))
        if pooling == "pooler" and not train:
            raise ConfigError(f"task {self.name!r}: pooling 'pooler' must be trained; choose 'cls' or 'mean'")
        self.max_query_length, self.trains, self.scale = max_query_length, train, scale
        self.pooling = pooling or ("pooler" if train else "mean")
        self.queries_of = test_split
        self._candidates: datasets.Dataset | None = None

    @abstractmethod
    def load_queries(self, split: str, language: str) -> Mapping[str, Sequence[Any]]:
        """Load the queries of ``test`` or ``validation`` in columns ``id``, ``query`` and ``targets``."""

    @abstractmethod
    def load_candidates(self) -> Mapping[str, Sequence[str]]:
        """Load the candidates, in columns ``id`` and ``text``."""

    @abstractmethod
    def load_pairs(self, split: str, language: str) -> Mapping[str, Sequence[str]]:
        """Load the pairs of ``train`` or ``validation`` in columns ``id``, ``query`` and ``candidate``."""

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load the queries of the test, or the pairs of another split, whose candidates get ids of their own.

        Raises:
            ConfigError: For the training split where nothing is trained.
        """
        import datasets

        if split == "test" or not self.trains:
            if split == "train":
                raise ConfigError(f"task {self.name!r} has no split 'train' with train: false; it is scored on 'test'")
            queries = self.load_queries(self.queries_of if split == "test" else split, language)
            return datasets.Dataset.from_dict(dict(queries))
        pairs = self.load_pairs(split, language)
        names: dict[str, str] = {}  # a candidate is called after the first query it is right for
        for key, text in zip(pairs["id"], pairs["candidate"], strict=True):
            names.setdefault(text, f"{language} {key}")
        return datasets.Dataset.from_dict({**pairs, "targets": [[names[text]] for text in pairs["candidate"]]})

    def check_rows(self, table: datasets.Dataset, where: str) -> None:
        """Refuse a pair without a text."""
        for column in ("query", "candidate"):
            if "candidate" in table.column_names and not all(map(str.strip, table[column][:])):
                key = next(key for key, text in zip(table["id"][:], table[column][:], strict=True) if not text.strip())
                raise DataError(f"{where}: the {column} of {key!r} is empty; mend it, or get the data again")

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "query", "targets")

    @property
    def asked_columns(self) -> tuple[str, ...]:
        """The query."""
        return ("query",)

    @property
    def candidates(self) -> datasets.Dataset:
        """The candidates of the test, loaded once."""
        if self._candidates is None:
            import datasets

            with found_files() as files:
                table = datasets.Dataset.from_dict(dict(self.load_candidates()))
            if len(set(table["id"][:])) != len(table):
                key, _ = Counter(table["id"][:]).most_common(1)[0]
                where = "".join(f"{file}: " for file in files)
                raise DataError(f"{where}task {self.name!r}: the id {key!r} of a candidate occurs twice")
            self._candidates = table
        return self._candidates

    def setup(self, stage: str) -> None:
        """Load the splits of a stage, and the candidates where there are queries among them."""
        super().setup(stage)
        if not (self.trains and stage in ("fit", "validate")) and not len(self.candidates):
            raise DataError(f"task {self.name!r} has no candidates")

    def head_spec(self) -> HeadSpec:
        """A head that is trained, or vectors of a hidden layer."""
        if not self.trains:
            return super().head_spec()
        return HeadSpec("dual", {"layer": self.layer, "pooling": self.pooling, "scale": self.scale})

    def examples(self, split: str) -> Examples:
        """The tokenised split; made once."""
        if split == "train" and split not in self._examples:
            self._examples[split] = self.encode_pairs(self.table(split))
        return super().examples(split)

    def encode_pairs(self, table: datasets.Dataset) -> Examples:
        """Tokenise the two sides of pairs; those with the same candidate have the same label."""
        numbers: dict[str, int] = {}
        candidates = table["candidate"][:]
        return Examples(
            ids=[str(i) for i in table["id"][:]],
            languages=table["language"][:],
            text={
                "query": self.tokenize(table["query"][:], self.max_query_length),
                "candidate": self.tokenize(candidates),
            },
            labels=torch.tensor([numbers.setdefault(text, len(numbers)) for text in candidates]),
        )

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise every distinct query and candidate once; the candidates of pairs are their own."""
        if "candidate" in table.column_names:
            known = dict(zip((names[0] for names in table["targets"][:]), table["candidate"][:], strict=True))
        else:
            known = dict(zip(self.candidates["id"], self.candidates["text"], strict=True))
        items: dict[tuple[bool, str], int] = {}
        sides = {
            name: [items.setdefault((asked, text), len(items)) for text in texts]
            for name, asked, texts in (("candidate", False, known.values()), ("query", True, table["query"][:]))
        }
        ids = self.tokenize(text for asked, text in items if not asked)
        ids = ids.joined(self.tokenize((text for asked, text in items if asked), self.max_query_length))
        return Examples(
            ids=[str(i) for i in table["id"][:]],
            languages=table["language"][:],
            text={"text": ids},
            extra=sides | {"names": list(known), "targets": table["targets"][:]},
        )

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """For every query the ids of the nearest candidates."""
        import pandas as pd

        examples = self.examples(split)
        vectors = self.vectors(decoded, split)
        names = np.asarray(examples.extra["names"], dtype=object)
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

    def item_scores(self, predictions: pd.DataFrame) -> NDArray[np.float64]:
        """Average precision, or reciprocal rank, of each query whose right candidates are known."""
        from xmit.metrics.retrieval import average_precision, reciprocal_rank

        rule = {"map": average_precision, "mrr": reciprocal_rank}[self.rule]
        rows = zip(predictions["prediction"], predictions["target"], strict=True)
        return np.array(
            [rule(json.loads(p), set(json.loads(g)), TOP) if isinstance(g, str) else np.nan for p, g in rows]
        )

    def evaluate(self, predictions: pd.DataFrame) -> list[Score]:
        """The scores, and where the examples are parallel how alike the languages rank, and find a right one first."""
        scores = self.score(predictions)
        known = predictions[predictions["target"].notna()]
        if self.metadata.parallel and known["language"].nunique() > 1:
            ranked = [json.loads(value) for value in known["prediction"]]
            first = [
                "right" if names[0] in json.loads(right) else "wrong"
                for names, right in zip(ranked, known["target"], strict=True)
            ]
            numbers: dict[str, int] = {}
            ranking = torch.tensor([[numbers.setdefault(name, len(numbers)) for name in names] for names in ranked])
            found = known.assign(prediction=first, target="right")
            scores += consistency_scores(found, self.source_language, ranking)
        return scores
