"""What prediction rows show beside the scores: which languages agree, and on which questions they do not."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xmit.metrics.functional import pairwise_agreement
from xmit.metrics.graded import pairwise_closeness
from xmit.report.rows import by_resources

HALF = 0.5
"""From this score on an answer in words counts as right, and nearer than this two are alike."""
LONGEST = 160
"""Characters of an answer that are shown."""


@dataclass(frozen=True)
class Answer:
    """One answer to a question and the languages in which it was given.

    Args:
        text: The answer, cut where it is long.
        languages: Codes, the poorest in resources first.
        right: Whether it is right, None where that is not known.
    """

    text: str
    languages: tuple[str, ...]
    right: bool | None


@dataclass(frozen=True)
class Question:
    """What an item asks.

    Args:
        text: Its texts, one a line; long ones lack their middle.
        language: The language they are in; empty where that is not known.
        options: What numbers as answers stand for; empty where answers are no numbers.
    """

    text: str
    language: str
    options: tuple[str, ...] = ()

    def named(self, answer: str) -> str:
        """An answer as people read it: the name or text of a numbered option."""
        known = answer.isdecimal() and int(answer) < len(self.options)
        return self.options[int(answer)] if known else answer


@dataclass(frozen=True)
class Example:
    """A question that gets different answers in different languages.

    Args:
        id: The item's id, the same in all languages.
        expected: The right answer in the pivot, that is the source language, or where that has no predictions the
            language with the most items; empty where it is not known.
        expected_in: The language of that answer; empty where it is not known.
        answers: The answers, that of the pivot first, then by number of languages.
        same: How many languages beside the pivot agree with it.
        others: How many languages beside the pivot have the item.
        question: What is asked; None where the prediction rows do not say.
    """

    id: str
    expected: str
    expected_in: str
    answers: tuple[Answer, ...]
    same: int
    others: int
    question: Question | None = None


@dataclass(frozen=True)
class Answers:
    """The predictions of one run as a table of items × languages.

    Args:
        ids: The items, sorted.
        languages: The languages, the poorest in resources first.
        prediction: What was answered, shape ``(items, languages)``; None where an item is not there.
        right: How right each answer is, 0 to 1, NaN where that is not known; same shape.
        unit: What is compared, NaN where an item is not there: labels numbered, or how right a text is; same shape.
        expected: The right answers, same shape; empty where they are not known.
        free_text: Whether answers are texts in their own language, which are alike where they are equally right.
        questions: By id what is asked, where that is known.
        items: Whether an answer is the id of an item, as in retrieval.
    """

    ids: list[str]
    languages: list[str]
    prediction: NDArray[np.object_]
    right: NDArray[np.float64]
    unit: NDArray[np.float64]
    expected: NDArray[np.object_]
    free_text: bool
    questions: dict[str, Question]
    items: bool

    def shown(self, text: str, question: Question | None) -> str:
        """An answer as people read it, and not too long.

        That is the first of a ranking, the option that a number stands for, the text of the item that was found.
        """
        if text.startswith('["') and text.endswith("]"):
            with contextlib.suppress(ValueError):
                text = str(json.loads(text)[0])
        if self.items and text in self.questions:
            text = self.questions[text].text
        elif question:
            text = question.named(text)
        return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def lay_out(predictions: pd.DataFrame) -> Answers:
    """Lay prediction rows out as items × languages.

    Args:
        predictions: Rows of one task with ``language``, ``id``, ``prediction``, ``target`` and perhaps ``item_score``,
            ``text`` and ``options``.
            A target that is a JSON list names the right answers, each in the language of its item: such answers are
            compared by their scores, labels by themselves.
    """
    texts = np.array([_text(p) for p in predictions["prediction"]], dtype=object)
    golds = [_golds(t) for t in predictions["target"]]
    free = any(several for _, several in golds)
    right = np.array(
        [float(text in known) if known else np.nan for text, (known, _) in zip(texts, golds, strict=True)], dtype=float
    )
    if free and "item_score" in predictions:
        scores = predictions["item_score"].to_numpy(dtype=float)
        right = np.where(np.isnan(scores), right, scores)
    unit = right if free else pd.factorize(texts)[0].astype(float)
    languages = [d.code for d in by_resources(predictions["language"])]
    ids = sorted(set(predictions["id"].astype(str)))
    row = pd.Index(ids).get_indexer(pd.Index(predictions["id"].astype(str)))
    column = pd.Index(languages).get_indexer(pd.Index(predictions["language"]))
    shape = len(ids), len(languages)

    def table(values: Any, empty: Any, kind: Any) -> Any:
        out = np.full(shape, empty, dtype=kind)
        out[row, column] = values
        return out

    # a label may look like an id, but hardly like that of its own item
    items = bool((predictions["target"].astype(str) == predictions["id"].astype(str)).mean() > HALF)
    expected = np.array([(known or [""])[0] for known, _ in golds], dtype=object)
    return Answers(
        ids,
        languages,
        table(texts, None, object),
        table(right, np.nan, float),
        table(unit, np.nan, float),
        table(expected, "", object),
        free,
        _questions(predictions, items),
        items,
    )


def _questions(predictions: pd.DataFrame, items: bool) -> dict[str, Question]:
    if "text" not in predictions:  # rows of an earlier version
        return {}
    asked = predictions[predictions["text"].notna()]
    return {
        # what is found is in the language of the pool, whichever that is
        str(key): Question(text, "" if items else language, () if options is None else tuple(options))
        for key, text, language, options in zip(*(asked[n] for n in ("id", "text", "language", "options")), strict=True)
    }


def agreement_matrix(answers: Answers) -> pd.DataFrame:
    """How alike two languages answer the items that both have, for every pair.

    That is the share of equal labels, or, of texts, one minus the mean difference of their scores.

    Args:
        answers: From :func:`lay_out`.

    Returns:
        Languages × languages, the poorest in resources first; NaN where two have no item in common.
    """
    present = ~np.isnan(answers.unit)
    alike = pairwise_closeness if answers.free_text else pairwise_agreement
    matrix = alike(answers.unit, present)
    return pd.DataFrame(matrix, index=answers.languages, columns=answers.languages)


def worst_items(answers: Answers, source: str, n: int = 5) -> list[str]:
    """The items on which the languages part most.

    That is: where the source language's answer is right (if right answers are known), the fewest others agree.

    Args:
        answers: From :func:`lay_out`.
        source: The source language; where it has no predictions, the language with the most items is taken.
        n: How many.

    Returns:
        Ids, the worst first; ties in the order of ids. Items that all languages answer alike are not among them.
    """
    at = _pivot(answers, source)
    present = ~np.isnan(answers.unit)
    asked = present[:, at] & (present.sum(axis=1) > 1)
    if not np.isnan(answers.right).all():
        asked &= answers.right[:, at] >= HALF
    same = (_like(answers, at) & present).sum(axis=1) - 1
    others = present.sum(axis=1) - 1
    share = np.where(others > 0, same / np.maximum(others, 1), 1.0)
    order = np.argsort(share, kind="stable")
    return [answers.ids[i] for i in order if asked[i] and share[i] < 1][:n]


def examples(answers: Answers, source: str, ids: list[str]) -> list[Example]:
    """Items with what each language answers.

    Args:
        answers: From :func:`lay_out`.
        source: The source language.
        ids: The items; those that are not there are left out.
    """
    at = _pivot(answers, source)
    where = {key: i for i, key in enumerate(answers.ids)}
    return [_example(answers, where[key], at) for key in ids if key in where]


def _example(answers: Answers, item: int, pivot: int) -> Example:
    question = answers.questions.get(answers.ids[item])
    given: dict[tuple[str, float], list[str]] = {}
    order = sorted(range(len(answers.languages)), key=lambda j: j != pivot)
    for j in order:
        text = answers.prediction[item, j]
        if text is not None:
            said = answers.shown(text, question)
            given.setdefault((said, answers.right[item, j]), []).append(answers.languages[j])
    # NaN is unlike itself, so equal answers of unknown worth would stand apart
    merged: dict[tuple[str, bool | None], list[str]] = {}
    for (text, right), codes in given.items():
        merged.setdefault((text, None if np.isnan(right) else bool(right >= HALF)), []).extend(codes)
    listed = [Answer(text, tuple(codes), right) for (text, right), codes in merged.items()]
    first, rest = listed[:1], sorted(listed[1:], key=lambda a: -len(a.languages))
    present = ~np.isnan(answers.unit[item])
    same = int((_like(answers, pivot)[item] & present).sum()) - int(present[pivot])
    return Example(
        answers.ids[item],
        answers.shown(answers.expected[item, pivot], question),
        "" if answers.items else answers.languages[pivot],
        (*first, *rest),
        same,
        int(present.sum()) - int(present[pivot]),
        question,
    )


def _like(answers: Answers, pivot: int) -> NDArray[np.bool_]:
    """Where an answer is like the pivot's: the same label, or a text about as right."""
    return np.asarray(np.abs(answers.unit - answers.unit[:, [pivot]]) < HALF)


def _pivot(answers: Answers, source: str) -> int:
    if source in answers.languages:
        return answers.languages.index(source)
    return int(np.argmax((~np.isnan(answers.unit)).sum(axis=0)))


def _text(value: Any) -> str:
    """An answer as a text."""
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)


def _golds(target: Any) -> tuple[list[str], bool]:
    """The right answers, and whether they are texts of which several may be right."""
    if target is None or (isinstance(target, float) and np.isnan(target)):
        return [], False
    text = _text(target)
    if isinstance(target, str) and target.startswith("[") and target.endswith("]"):
        try:
            known = json.loads(target)
        except ValueError:
            return [text], False
        return [_text(k) for k in known] or [""], True
    return [text], False
