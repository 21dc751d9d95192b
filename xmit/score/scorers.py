"""The official rule of each kind of task, for one language: predictions and labels in, percentages out.

The metrics are those of :mod:`xmit.metrics`; here stands only what the benchmark's script adds: what must match, and
what becomes of items that one side lacks. What the script scores though it is odd (a label that does not exist counts
as wrong, a question without answer scores 0, unknown ids are passed over) is scored just so, with a remark; what it
refuses, or scores by accident (tags of a sentence with fewer tokens than its labels), is a
:class:`~xmit.errors.DataError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from xmit.errors import DataError
from xmit.score.files import BLANKED, Items
from xmit.score.layouts import Layout

TOP = 20
"""Candidates of a ranking that count, as in mAP@20."""


@dataclass(frozen=True)
class Scored:
    """What became of one language.

    Args:
        metrics: Percentages by official metric name.
        ids: The items whose predictions can be compared over languages.
        answers: For each of them what was predicted, or ``right`` and ``wrong``.
        targets: For each of them the right one.
        values: For each of them what the prediction is worth, 0 to 1, where predictions are not comparable themselves.
        remarks: What was odd.
    """

    metrics: dict[str, float]
    ids: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def _same_number(pred: Items, gold: Items, what: str) -> None:
    ours, theirs = len(pred.ids), len(gold.ids)
    if ours != theirs:
        last = pred.lines[min(ours, theirs + 1) - 1]  # the first line too many, or the last there is
        raise DataError(f"{pred.path}:{last}: {ours} {what}, but {gold.path} has {theirs}; write one for each")


def _unknown(layout: Layout, items: Items, values: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """Lines and values that are no label of the task."""
    if layout.labels:
        return [(line, value) for line, value in values if value not in layout.labels]
    return [(line, value) for line, value in values if not (value.isascii() and value.isdecimal())]


def _unknown_remarks(layout: Layout, items: Items, values: list[tuple[int, str]]) -> list[str]:
    unknown = _unknown(layout, items, values)
    if not unknown:
        return []
    line, value = unknown[0]
    known = " ".join(layout.labels) or "line numbers from 0"
    return [
        f"{items.path}:{line}: unknown label {value[:40]!r}, {len(unknown)} such of {len(values)}; known: {known}; "
        "it is scored as it stands"
    ]


def accuracy(layout: Layout, pred: Items, gold: Items, language: str) -> Scored:
    """Share of lines with the right label (``evaluate.py``: equality, equally many lines)."""
    _same_number(pred, gold, "labels")
    wrong_gold = _unknown(layout, gold, zip(gold.lines, gold.values, strict=True))
    if wrong_gold:
        line, value = wrong_gold[0]
        raise DataError(f"{gold.path}:{line}: {value[:40]!r} is no right label of {layout.name}; {BLANKED}")
    remarks = _unknown_remarks(layout, pred, list(zip(pred.lines, pred.values, strict=True)))
    right = sum(p == g for p, g in zip(pred.values, gold.values, strict=True))
    return Scored({"accuracy": 100 * right / len(pred.ids)}, gold.ids, pred.values, gold.values, remarks=remarks)


def spans(layout: Layout, pred: Items, gold: Items, language: str) -> Scored:
    """Span F1 as seqeval 0.0.12 has it, over raw part-of-speech tags too; see :mod:`xmit.metrics.span_f1`."""
    from xmit.metrics.span_f1 import span_f1

    _same_number(pred, gold, "sentences")
    for i, (ours, theirs) in enumerate(zip(pred.values, gold.values, strict=True)):
        if len(ours) != len(theirs):
            raise DataError(
                f"{pred.where(i)}: sentence {i + 1} has {len(ours)} tags, but {len(theirs)} in {gold.where(i)}; "
                "write one for each token"
            )
    remarks = [
        remark
        for items in (pred, gold)
        for remark in _unknown_remarks(
            layout,
            items,
            [
                (line + k, tag)
                for line, tags in zip(items.lines, items.values, strict=True)
                for k, tag in enumerate(tags)
            ],
        )
    ]
    scores = span_f1(pred.values, gold.values, mode="official")
    return Scored({name: 100 * scores[name] for name in ("f1", "precision", "recall")}, remarks=remarks)


def pairs(layout: Layout, pred: Items, gold: Items, language: str) -> Scored:
    """F1 of the set of pairs (BUCC)."""
    from xmit.metrics.retrieval import bucc_f1

    scores = bucc_f1(set(pred.values), set(gold.values))
    return Scored({name: 100 * scores[name] for name in ("f1", "precision", "recall")})


def _by_id(pred: Items, gold: Items) -> tuple[dict[str, Any], list[str]]:
    """Predictions of the questions that there are, and what is odd about the ids."""
    there, wanted = dict(zip(pred.ids, pred.values, strict=True)), set(gold.ids)
    remarks = []
    lacking = [(i, key) for i, key in enumerate(gold.ids) if key not in there]
    if lacking:
        i, key = lacking[0]
        remarks.append(
            f"{pred.path}: no prediction for {key!r} ({gold.where(i)}), {len(lacking)} such of {len(gold.ids)}; "
            "each scores 0"
        )
    strange = [i for i, key in enumerate(pred.ids) if key not in wanted]
    if strange:
        remarks.append(
            f"{pred.where(strange[0])}: the id {pred.ids[strange[0]]!r} is not in {gold.path}, {len(strange)} such of "
            f"{len(pred.ids)}; they are passed over"
        )
    return {key: there[key] for key in gold.ids if key in there}, remarks


def _answers(pred: Items, gold: Items, score: Callable[[dict[str, str], dict[str, list[str]]], Any]) -> Scored:
    answers, remarks = _by_id(pred, gold)
    scores = score(answers, dict(zip(gold.ids, gold.values, strict=True)))
    metrics = {name: 100 * scores[name] for name in ("exact_match", "f1")}
    # answers in different languages are never the same text: what is compared is how right they are
    return Scored(metrics, gold.ids, values=[scores["per_item"][key]["f1"] for key in gold.ids], remarks=remarks)


def squad(layout: Layout, pred: Items, gold: Items, language: str) -> Scored:
    """Exact match and F1 with SQuAD's normalisation (XQuAD, TyDiQA)."""
    from xmit.metrics.qa import squad_scores

    return _answers(pred, gold, squad_scores)


def mlqa(layout: Layout, pred: Items, gold: Items, language: str) -> Scored:
    """Exact match and F1 with MLQA's normalisation of the language."""
    from xmit.metrics.qa import mlqa_scores

    return _answers(pred, gold, lambda answers, right: mlqa_scores(answers, right, language))


def _rankings(pred: Items, gold: Items, score: Callable[[dict[str, list[str]], dict[str, set[str]]], float]) -> Scored:
    ranked, remarks = _by_id(pred, gold)
    right = {key: {candidate.strip() for candidate in value} for key, value in zip(gold.ids, gold.values, strict=True)}
    ranked = {key: ranked.get(key, []) for key in gold.ids}
    first = ["right" if ranked[key][:1] and ranked[key][0] in right[key] else "wrong" for key in gold.ids]
    return Scored({f"map@{TOP}": 100 * score(ranked, right)}, gold.ids, first, ["right"] * len(first), remarks=remarks)


def mean_average_precision(layout: Layout, pred: Items, gold: Items, language: str) -> Scored:
    """Mean average precision of the first 20 (LAReQA: the right sentences of all languages count)."""
    from xmit.metrics.retrieval import mean_average_precision as metric

    return _rankings(pred, gold, lambda ranked, right: metric(ranked, right, k=TOP))


def reciprocal_rank(layout: Layout, pred: Items, gold: Items, language: str) -> Scored:
    """Mean reciprocal rank within the first 20, which Mewsli-X calls mAP@20: each mention has one right entity."""
    from xmit.metrics.retrieval import mrr

    several = [i for i, value in enumerate(gold.values) if len(value) != 1]
    if several:
        raise DataError(f"{gold.where(several[0])}: {gold.ids[several[0]]!r} has several right entities; list one")
    return _rankings(pred, gold, lambda ranked, right: mrr(ranked, right, k=TOP))


Scorer = Callable[[Layout, Items, Items, str], Scored]
SCORERS: dict[str, Scorer] = {
    "accuracy": accuracy,
    "spans": spans,
    "pairs": pairs,
    "squad": squad,
    "mlqa": mlqa,
    "map": mean_average_precision,
    "mrr": reciprocal_rank,
}
"""The rules by the name that a layout gives."""
