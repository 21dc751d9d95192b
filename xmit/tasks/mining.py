"""Bitext mining: find the sentences of two monolingual corpora that translate each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from xmit.errors import DataError
from xmit.tasks.base import Examples, Score
from xmit.tasks.margins import best_threshold, mine
from xmit.tasks.retrieval import EmbeddingTask

if TYPE_CHECKING:
    import datasets
    import pandas as pd

SIDES = ("source", "target")
Pair = tuple[str, str]


@dataclass
class _Side:
    """One side of a corpus: its distinct sentences, as items, and the ids of those that occur once."""

    items: list[int]
    ids: list[str | None]


class BitextMiningTask(EmbeddingTask):
    """Mine pairs by ratio margin and keep those above a threshold; nothing is trained.

    ``load_split`` returns one row a sentence: ``id``, ``text``, ``side`` (``source`` or ``target``) and ``gold``, the
    ids of its translations: a list on the source side, None where they are not known.

    The rules are LASER's and XTREME's (``utils_retrieve.py``): sentences are mined by
    :func:`~xmit.tasks.margins.mine`; a pair with a sentence that occurs more than once in its corpus is dropped
    then, for its id is not known; the threshold is the one with the best F1 on the development corpora. What is
    broken in XTREME's driver (``evaluate_retrieval.py``) is done as meant here: source and target ids come from
    their own files, and development and test corpora have candidates and thresholds of their own.

    Prediction rows are one a pair: ``id`` is the source sentence's, ``prediction`` and ``target`` are its
    translations. A source sentence without either has no row.

    Args:
        threshold_on: Where the threshold is found. ``test`` uses the test's own gold pairs, as LASER and MTEB do
            where there is no development corpus: the F1 is then that of an oracle and not XTREME's.
        neighbours: The size of the margin's neighbourhood.
        layer: See :class:`~xmit.tasks.retrieval.EmbeddingTask`, as for all further arguments.
    """

    def __init__(self, threshold_on: Literal["dev", "test"] = "dev", neighbours: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold_on, self.neighbours = threshold_on, neighbours
        self.thresholds: dict[str, float] = {}
        """The threshold of each language, after :meth:`predictions`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "text", "side", "gold")

    def check_rows(self, table: datasets.Dataset, where: str) -> None:
        """Refuse an unknown side, and gold pairs whose sentences are not there."""
        sides = Counter(table["side"][:])
        if set(sides) != set(SIDES):
            raise DataError(f"{where}: the sides are {', '.join(map(str, sides))}, not source and target")
        ids = {i for i, side in zip(table["id"][:], table["side"][:], strict=True) if side == "target"}
        for row, gold in zip(table["id"][:], table["gold"][:], strict=True):
            if not ids.issuperset(gold or ()):
                raise DataError(
                    f"{where}: the gold pair of {row!r} is with {min(set(gold) - ids)!r}, which is not there"
                )

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise every distinct sentence of the test, and of the corpora that the thresholds come from, once."""
        items: dict[str, int] = {}
        corpora: dict[tuple[str, bool], tuple[_Side, _Side]] = {}
        gold: dict[tuple[str, bool], set[Pair] | None] = {}
        for language in dict.fromkeys(table["language"][:]):
            rows = [i for i, code in enumerate(table["language"][:]) if code == language]
            parts = {False: table.select(rows)}
            if self.threshold_on == "dev" and self.test_split == "test":
                parts[True] = self._load("validation", language)
            for dev, part in parts.items():
                columns = {name: list(part[name]) for name in self.columns}
                corpora[language, dev] = (self._side(columns, "source", items), self._side(columns, "target", items))
                gold[language, dev] = _pairs(columns["id"], columns["side"], columns["gold"])
        return Examples(
            ids=[str(i) for i in table["id"][:]],
            languages=table["language"][:],
            text={"text": self.tokenize(items)},
            extra={"corpora": corpora, "gold": gold},
        )

    @staticmethod
    def _side(columns: dict[str, list[Any]], side: str, items: dict[str, int]) -> _Side:
        ids: dict[str, str | None] = {}
        for key, text, where in zip(columns["id"], columns["text"], columns["side"], strict=True):
            if where == side:
                ids[text.strip()] = None if text.strip() in ids else key
        return _Side([items.setdefault(text, len(items)) for text in ids], list(ids.values()))

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """The mined pairs of every language, beside the gold ones."""
        import pandas as pd

        extra = self.examples(split).extra
        vectors = self.vectors(decoded, split)
        rows: list[tuple[str, str, str | None, str | None]] = []
        for language, dev in extra["corpora"]:
            if dev:
                continue
            pairs, scores = self._mine(vectors, *extra["corpora"][language, False])
            gold = known = extra["gold"][language, False]
            tuning = pairs, scores
            if (language, True) in extra["corpora"]:
                tuning = self._mine(vectors, *extra["corpora"][language, True])
                known = extra["gold"][language, True]
            if known is None:
                raise DataError(
                    f"task {self.name!r}, {language}: the gold pairs that the threshold is found on are missing; give "
                    "the development corpora of the original release"
                )
            threshold = best_threshold(tuning[1], [pair in known for pair in tuning[0]], len(known))
            self.thresholds[language] = threshold
            kept = {pair for pair, score in zip(pairs, scores, strict=True) if score >= threshold}
            rows += [(language, *row) for row in _rows(kept, gold)]
        frame = pd.DataFrame(rows, columns=["language", "id", "prediction", "target"], dtype=object)
        return frame.assign(scores=None)

    def _mine(self, vectors: Tensor, source: _Side, target: _Side) -> tuple[list[Pair], list[float]]:
        first, second = (self.unit(vectors[torch.as_tensor(side.items)]) for side in (source, target))
        places, scores = mine(first, second, self.neighbours)
        pairs, values = [], []
        for (a, b), score in zip(places.tolist(), scores.tolist(), strict=True):
            pair = source.ids[a], target.ids[b]
            if pair[0] is not None and pair[1] is not None:
                pairs.append((pair[0], pair[1]))
                values.append(score)
        return pairs, values

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """F1, precision and recall of the set of pairs; NaN where no gold pair is known."""
        from xmit.metrics.retrieval import bucc_f1

        scores = []
        for language, rows in predictions.groupby("language", sort=False):
            pred, gold = (
                {(i, t) for i, t in zip(rows["id"], rows[column], strict=True) if isinstance(t, str)}
                for column in ("prediction", "target")
            )
            values = bucc_f1(pred, gold) if gold else dict.fromkeys(("f1", "precision", "recall"), float("nan"))
            reason = "" if gold else "no gold pair is known"
            scores += [Score(str(language), name, float(values[name]), len(gold), reason) for name in values]
        return scores


def _pairs(ids: list[str], sides: list[str], gold: list[list[str] | None]) -> set[Pair] | None:
    """The gold pairs, or None where no source sentence has any list."""
    known = [(i, g) for i, side, g in zip(ids, sides, gold, strict=True) if side == "source" and g is not None]
    return {(i, translation) for i, translations in known for translation in translations} if known else None


def _rows(found: set[Pair], gold: set[Pair] | None) -> Iterable[tuple[str, str | None, str | None]]:
    """Pairs by source id: what was found beside what is right, and further right ones below."""
    right: dict[str, list[str]] = {}
    for source, target in sorted(gold or ()):
        right.setdefault(source, []).append(target)
    guess = dict(found)
    for source in sorted(guess.keys() | right.keys()):
        answers = right.get(source, [])
        best = guess.get(source)
        first = best if best in answers else answers[0] if answers else None
        yield source, best, first
        yield from ((source, None, answer) for answer in answers if answer != first)
