"""Scores of retrieval: BUCC's F1 of pairs, Tatoeba's accuracy, mAP@20 of LAReQA and of Mewsli-X.

Functions (fractions 0 to 1)::

    bucc_f1(pred: set[tuple], gold: set[tuple]) -> {"f1", "precision", "recall"}
    tatoeba_accuracy(pred: list, gold: list) -> float
    mean_average_precision(ranked: dict[id, list[str]], gold: dict[id, set[str]], k=20) -> float   # LAReQA
    mrr(ranked: dict[id, list[str]], gold: dict[id, set[str]], k=20) -> float   # what Mewsli-X calls mAP@20
    average_precision(ranked: list, gold: set, k=20), reciprocal_rank(ranked: list, gold: set, k=20) -> float

Classes with a language axis: :class:`LanguagePairF1` (BUCC) and :class:`LanguageRanking` (LAReQA, Mewsli-X); for
Tatoeba it is :class:`~xmit.metrics.accuracy.LanguageAccuracy`. What finds the neighbours, the ratio margin and
BUCC's threshold are in :mod:`xmit.tasks.margins`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from xmit.errors import MetricError
from xmit.metrics._rows import pack_texts, unpack_texts

Rule = Literal["map", "mrr"]
Pair = tuple[str, str]


def bucc_f1(pred: AbstractSet[Any], gold: AbstractSet[Any]) -> dict[str, float]:
    """F1, precision and recall of a set of sentence pairs (``bucc_f1`` of XTREME's ``evaluate.py``).

    Args:
        pred: The pairs that were found, ids of source and target.
        gold: The pairs that there are.

    Returns:
        ``f1``, ``precision`` and ``recall``, 0 to 1, all 0 where no pair is right.

    Example:
        >>> bucc_f1({("de-1", "en-1"), ("de-2", "en-9")}, {("de-1", "en-1"), ("de-3", "en-3"), ("de-4", "en-4")})
        {'f1': 0.4, 'precision': 0.5, 'recall': 0.333...}
    """
    for side in (pred, gold):
        if not isinstance(side, AbstractSet):
            raise MetricError(f"pairs must come as a set, got {type(side).__name__}")
    return _f1(len(pred & gold), len(pred), len(gold))


def _f1(right: int, found: int, wanted: int) -> dict[str, float]:
    if not right:
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    precision, recall = right / found, right / wanted
    return {"f1": 2 * precision * recall / (precision + recall), "precision": precision, "recall": recall}


def tatoeba_accuracy(pred: Sequence[Any], gold: Sequence[Any]) -> float:
    """Share of English sentences whose nearest foreign sentence is the right one (XTREME's ``evaluate.py``).

    Args:
        pred: Line of the sentence that was found for each query, as strings or integers; compared as strings.
        gold: Line of the right sentence.

    Raises:
        MetricError: The two differ in length.

    Example:
        >>> tatoeba_accuracy(["3", "1"], [3, 2])
        0.5
    """
    if len(pred) != len(gold):
        raise MetricError(f"{len(pred)} predictions for {len(gold)} queries; give one for each, in order")
    return sum(str(a) == str(b) for a, b in zip(pred, gold, strict=True)) / len(gold) if len(gold) else float("nan")


def average_precision(ranked: Sequence[Hashable], gold: Collection[Hashable], k: int = 20) -> float:
    """Precision at each right candidate among the first ``k``, summed, by the number that could be there.

    The divisor is ``min(len(gold), k)`` (``average_precision_at_k`` of ``third_party/utils_lareqa.py``), so that a
    question whose right answers all come first has 1 also where it has more than ``k``. A candidate that is listed
    again counts the first time only.

    Args:
        ranked: Candidates, best first.
        gold: The right ones.
        k: How many are looked at.

    Raises:
        MetricError: There is no right candidate, or ``k`` is below 1.

    Example:
        >>> average_precision(["a", "x", "b"], {"a", "b"})
        0.833...
    """
    return _average_precision(_hits(ranked, gold, k), len(set(gold)), k)


def _average_precision(hits: Sequence[bool], n_gold: int, k: int) -> float:
    found, total = 0, 0.0
    for rank, hit in enumerate(hits, 1):
        if hit:
            found += 1
            total += found / rank
    return total / min(n_gold, k)


def reciprocal_rank(ranked: Sequence[Hashable], gold: Collection[Hashable], k: int = 20) -> float:
    """One by the rank of the first right candidate, 0 if it is not among the first ``k``.

    Args:
        ranked: Candidates, best first.
        gold: The right ones.
        k: How many are looked at.

    Raises:
        MetricError: There is no right candidate, or ``k`` is below 1.

    Example:
        >>> reciprocal_rank(["x", "a"], {"a"})
        0.5
    """
    return _reciprocal_rank(_hits(ranked, gold, k))


def _reciprocal_rank(hits: Sequence[bool]) -> float:
    return next((1 / rank for rank, hit in enumerate(hits, 1) if hit), 0.0)


def _hits(ranked: Sequence[Hashable], gold: Collection[Hashable], k: int) -> list[bool]:
    """Which of the first ``k`` are right and not listed before."""
    if k < 1:
        raise MetricError(f"k must be at least 1, not {k}")
    if isinstance(ranked, str) or isinstance(gold, str):
        raise MetricError("candidates must come as a list and the right ones as a set, not as one string")
    if not gold:
        raise MetricError("there is no right candidate; leave out what cannot be answered")
    wanted = set(gold)
    hits = []
    for candidate in ranked[:k]:
        hits.append(candidate in wanted)
        wanted.discard(candidate)
    return hits


def mean_average_precision(
    ranked: Mapping[str, Sequence[str]], gold: Mapping[str, Collection[str]], k: int = 20
) -> float:
    """Mean of :func:`average_precision` over all questions of ``gold``: LAReQA's mAP@20.

    Args:
        ranked: Candidates of each question, best first. A question that is missing scores 0.
        gold: The right candidates of each question; for LAReQA the answer's sentence in all its languages.
        k: How many are looked at.

    Returns:
        0 to 1; NaN without questions.

    Raises:
        MetricError: A question has no right candidate, or ``k`` is below 1.

    Example:
        >>> mean_average_precision({"q": ["a", "x", "b"]}, {"q": {"a", "b"}, "r": {"c"}})
        0.416...
    """
    return _mean("map", ranked, gold, k)


def mrr(ranked: Mapping[str, Sequence[str]], gold: Mapping[str, Collection[str]], k: int = 20) -> float:
    """Mean of :func:`reciprocal_rank` over all queries of ``gold``: what Mewsli-X calls mAP@20.

    With one right entity a mention, as in Mewsli-X, it is mAP@k indeed (``evaluate`` of
    ``third_party/utils_mewslix.py``).

    Args:
        ranked: Candidates of each query, best first. A query that is missing scores 0.
        gold: The right candidates of each query.
        k: How many are looked at.

    Returns:
        0 to 1; NaN without queries.

    Raises:
        MetricError: A query has no right candidate, or ``k`` is below 1.

    Example:
        >>> mrr({"m": ["Q1", "Q2"]}, {"m": {"Q2"}, "n": {"Q3"}})
        0.25
    """
    return _mean("mrr", ranked, gold, k)


def _mean(rule: Rule, ranked: Mapping[str, Sequence[str]], gold: Mapping[str, Collection[str]], k: int) -> float:
    total = 0.0
    for key, wanted in gold.items():
        try:
            hits = _hits(ranked.get(key, ()), wanted, k)
        except MetricError as error:
            raise MetricError(f"query {key!r}: {error}") from None
        total += _average_precision(hits, len(set(wanted)), k) if rule == "map" else _reciprocal_rank(hits)
    return total / len(gold) if gold else float("nan")


def _check_languages(languages: Sequence[str]) -> tuple[str, ...]:
    if isinstance(languages, str) or len(set(languages)) != len(languages):
        raise MetricError(f"languages must be a sequence of distinct codes, got {languages!r}")
    return tuple(languages)


class LanguageRanking(Metric):
    """mAP@k or MRR@k in each language, from one object with a language axis.

    As input to ``update``: the ranked candidates of queries, the right ones, and each query's index in
    ``languages``. As output of ``compute``: ``{lang: {"map@20": value}}``, 0 to 1, NaN for a language without
    queries. Queries that come twice count twice.

    Args:
        languages: Language codes; their order gives the indices.
        rule: ``"map"``, as of :func:`mean_average_precision` (LAReQA), or ``"mrr"``, as of :func:`mrr` (Mewsli-X,
            where it is called ``map@20`` nevertheless).
        k: How many candidates are looked at.
        **kwargs: Arguments of :class:`torchmetrics.Metric`.

    Example:
        >>> metric = LanguageRanking(["en", "sw"])
        >>> metric.update([["a", "x", "b"], ["x", "c"]], [{"a", "b"}, {"c"}], [0, 1])
        >>> metric.compute()
        {'en': {'map@20': 0.833...}, 'sw': {'map@20': 0.5}}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    sums: Tensor
    total: Tensor

    def __init__(self, languages: Sequence[str], rule: Rule = "map", k: int = 20, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if rule not in ("map", "mrr"):
            raise MetricError(f"rule must be 'map' or 'mrr', not {rule!r}")
        self.languages, self.rule, self.k = _check_languages(languages), rule, k
        self.add_state("sums", torch.zeros(len(languages), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(len(languages), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        ranked: Sequence[Sequence[Hashable]],
        gold: Sequence[Collection[Hashable]],
        language: Sequence[int] | Tensor,
    ) -> None:
        """Add queries.

        Args:
            ranked: Candidates of each of N queries, best first.
            gold: The right candidates of each query.
            language: Index of each query's language, integers of shape ``(N,)``.

        Raises:
            MetricError: Lengths do not match, a query has no right candidate, or a language is unknown.
        """
        index = torch.as_tensor(language, dtype=torch.int64, device=self.total.device)
        if not len(ranked) == len(gold) == index.numel():
            raise MetricError(f"{len(ranked)} rankings, {len(gold)} answers and {index.numel()} languages must match")
        if len(gold) and not 0 <= int(index.min()) <= int(index.max()) < len(self.languages):
            raise MetricError(f"language indices must lie in 0 … {len(self.languages) - 1}")
        rule = average_precision if self.rule == "map" else reciprocal_rank
        values = [rule(row, wanted, self.k) for row, wanted in zip(ranked, gold, strict=True)]
        self.sums.index_add_(0, index, torch.tensor(values, dtype=torch.float64, device=index.device))
        self.total.index_add_(0, index, torch.ones_like(index))

    def compute(self) -> dict[str, dict[str, float]]:
        """Scores per language, over all processes."""
        means = (self.sums / self.total).tolist()  # 0 / 0 is NaN
        return {code: {f"map@{self.k}": mean} for code, mean in zip(self.languages, means, strict=True)}


class LanguagePairF1(Metric):
    """F1 of mined sentence pairs in each language, from one object: BUCC's score.

    As input to ``update``: pairs that were found and pairs that there are, each a source id and a target id. As
    output of ``compute``: ``{lang: {"f1", "precision", "recall"}}``, 0 to 1, NaN for a language without gold pairs.
    Pairs are sets over all batches and processes: one that comes twice counts once.

    Args:
        languages: Language codes.
        **kwargs: Arguments of :class:`torchmetrics.Metric`.

    Example:
        >>> metric = LanguagePairF1(["de", "zh"])
        >>> metric.update([("de-1", "en-1")], [("de-1", "en-1"), ("de-3", "en-3")], "de")
        >>> metric.update([("de-1", "en-1"), ("de-3", "en-4")], [], "de")
        >>> metric.compute()["de"]
        {'f1': 0.5, 'precision': 0.5, 'recall': 0.5}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    texts: list[Tensor]
    rows: list[Tensor]

    def __init__(self, languages: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.languages = _check_languages(languages)
        for name in ("texts", "rows"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, preds: Iterable[Pair], target: Iterable[Pair], language: str) -> None:
        """Add pairs of one language.

        Args:
            preds: The pairs that were found, ids of source and target.
            target: Pairs that there are.
            language: One of ``languages``.

        Raises:
            MetricError: The language is unknown, or a pair is not two strings.
        """
        if language not in self.languages:
            raise MetricError(f"unknown language {language!r}, known: {' '.join(self.languages)}")
        found, wanted = list(preds), list(target)
        for pair in found + wanted:
            if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
                raise MetricError(f"a pair must be two strings, the ids of source and target, got {pair!r}")
        packed, lengths = pack_texts([a for a, _ in found + wanted], [b for _, b in found + wanted])
        extra = torch.tensor([[self.languages.index(language), int(i < len(found))] for i in range(len(lengths))])
        self.texts.append(packed.to(self.device))
        self.rows.append(torch.cat([lengths, extra.long().reshape(-1, 2)], dim=1).to(self.device))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the pairs of all processes, also from processes that have none."""
        # torchmetrics would send an empty float tensor for a state without updates, whatever the others send
        for name, empty in self._empty().items():
            if not len(getattr(self, name)):
                setattr(self, name, [empty.to(self.device)])
        super().sync(*args, **kwargs)

    @staticmethod
    def _empty() -> dict[str, Tensor]:
        return {"texts": torch.empty(0, dtype=torch.uint8), "rows": torch.empty(0, 4, dtype=torch.int64)}

    def compute(self) -> dict[str, dict[str, float]]:
        """Scores per language, over all processes."""
        arrays = {}
        for name, empty in self._empty().items():
            state = getattr(self, name)
            # after a gather the state is one tensor, before it a list
            parts = [state] if isinstance(state, Tensor) else state
            arrays[name] = torch.cat([empty, *(part.cpu() for part in parts)]).numpy()
        sources, targets = unpack_texts(arrays["texts"], arrays["rows"][:, :2])
        sides: dict[tuple[int, int], set[Pair]] = {}
        for pair, (code, found) in zip(zip(sources, targets, strict=True), arrays["rows"][:, 2:].tolist(), strict=True):
            sides.setdefault((code, found), set()).add(pair)
        scores = {}
        for i, code in enumerate(self.languages):
            wanted = sides.get((i, 0), set())
            values = bucc_f1(sides.get((i, 1), set()), wanted)
            scores[code] = values if wanted else dict.fromkeys(values, float("nan"))
        return scores
