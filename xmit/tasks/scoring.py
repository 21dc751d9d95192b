"""From prediction rows to scores, with the metrics of :mod:`xmit.metrics`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xmit.metrics.accuracy import LanguageAccuracy
from xmit.metrics.consistency import CrossLingualConsistency
from xmit.metrics.ranking import TOP, rank_candidates
from xmit.tasks.base import Score

if TYPE_CHECKING:
    import pandas as pd

MAJORITY = "majority"
"""The metric that says what the most frequent class alone would score."""
MISSING = -100
"""The code of a target that is not there; such examples are not scored."""
WHOLE: dict[str, Any] = {"sync_on_compute": False}
"""For metrics fed with a whole split: every process has all rows, so summing over processes would count them twice."""
RANKED = 3
"""From so many candidates on RankC says more than agreement: of two it is a line in it."""
ALL = "all"
"""Stands for all languages in the language column of a result row."""


def _codes(*columns: pd.Series) -> list[torch.Tensor]:
    """Number the values of several columns by one list; a missing value is ``MISSING``."""
    import pandas as pd

    codes, _ = pd.factorize(np.concatenate([c.to_numpy(object) for c in columns]))
    ends = np.cumsum([len(c) for c in columns])[:-1]
    return [torch.from_numpy(np.where(part < 0, MISSING, part).astype(np.int64)) for part in np.split(codes, ends)]


def accuracy_scores(predictions: pd.DataFrame) -> list[Score]:
    """Accuracy of each language.

    Args:
        predictions: Rows with ``language``, ``prediction`` and ``target``.
    """
    import pandas as pd

    codes, languages = pd.factorize(predictions["language"])
    prediction, target = _codes(predictions["prediction"], predictions["target"])
    metric = LanguageAccuracy([str(language) for language in languages], ignore_index=MISSING, **WHOLE)
    metric.update(prediction, target, torch.from_numpy(codes.astype(np.int64)))
    n = metric.counts()
    return [
        Score(language, name, value, n[language], "" if n[language] else "no example has a target")
        for language, values in metric.compute().items()
        for name, value in values.items()
    ]


def majority_scores(predictions: pd.DataFrame) -> list[Score]:
    """What always answering the most frequent class would score in each language."""
    rows = predictions.groupby("language", sort=False)["target"]
    return [
        Score(str(language), MAJORITY, float(targets.value_counts(normalize=True).max()), len(targets))
        for language, targets in rows
    ]


def f1_scores(predictions: pd.DataFrame, positive: str) -> list[Score]:
    """F1 of one label in each language, 0 where it is neither predicted nor expected.

    Args:
        predictions: Rows with ``language``, ``prediction`` and ``target``.
        positive: The label.
    """
    scores = []
    for language, rows in predictions.groupby("language", sort=False):
        predicted, expected = rows["prediction"] == positive, rows["target"] == positive
        both, either = int((predicted & expected).sum()), int(predicted.sum() + expected.sum())
        scores.append(Score(str(language), "f1", 2 * both / max(either, 1), len(rows)))
    return scores


def consistency_scores(predictions: pd.DataFrame, pivot: str, ranking: torch.Tensor | None = None) -> list[Score]:
    """Cross-lingual consistency of the predictions of parallel examples, as rows.

    Args:
        predictions: Rows with ``language``, ``id``, ``prediction`` and ``target``.
        pivot: The language that the others are compared with.
        ranking: Each row's candidates, the same in all languages, best first, for RankC; see :func:`rankings`.
    """
    prediction, target = _codes(predictions["prediction"], predictions["target"])
    known = None if (target == MISSING).any() else target
    metric = CrossLingualConsistency(pivot=pivot, **WHOLE)
    metric.update(prediction, list(predictions["id"]), list(predictions["language"]), known, ranking)
    return _consistency_rows(metric.compute(), pivot)


def rankings(scores: pd.Series) -> torch.Tensor | None:
    """The best candidates of each row by its scores, such as the probabilities of labels or of choices.

    Args:
        scores: For each row an array, a score for each candidate, or None.

    Returns:
        Numbers of candidates, best first, ``(rows, at most 64)``, filled up with -1: throughout where a row has fewer
        than :data:`RANKED` candidates or a score is NaN, which RankC then says. None where no row has so many.
    """
    listed = [np.zeros(0) if own is None else np.asarray(own) for own in scores]
    lengths = np.array([len(own) for own in listed])
    width = int(lengths.max(initial=0))
    if width < RANKED:
        return None
    table = np.full((len(listed), width), -np.inf)
    table[np.arange(width) < lengths[:, None]] = np.concatenate(listed)
    ranked = (lengths >= RANKED) & ~np.isnan(table).any(axis=1)
    out = torch.full((len(listed), min(width, TOP)), -1, dtype=torch.int32)
    rows = torch.from_numpy(np.flatnonzero(ranked))
    if len(rows):
        out[rows] = rank_candidates(torch.from_numpy(table)[rows], TOP)[0]
    return out


def value_consistency(predictions: pd.DataFrame, pivot: str) -> list[Score]:
    """Cross-lingual consistency of what the predictions of parallel examples are worth, as rows.

    Args:
        predictions: Rows with ``language``, ``id`` and ``value``, 0 to 1; those with NaN are left out.
        pivot: The language that the others are compared with.
    """
    known = predictions[predictions["value"].notna()]
    metric = CrossLingualConsistency(pivot=pivot, **WHOLE)
    metric.update(torch.tensor(known["value"].to_numpy(np.float64)), list(known["id"]), list(known["language"]))
    return _consistency_rows(metric.compute(), pivot) if len(known) else []


def tag_consistency(predictions: pd.DataFrame, pivot: str, bio: bool) -> list[Score]:
    """Overlap of the predicted tags of parallel sentences, as rows.

    Args:
        predictions: Rows with ``language``, ``id`` and ``prediction``, a list of tags.
        pivot: The language that the others are compared with.
        bio: Whether the tags mark entities: then those are compared by type, for a translation may have more words.
    """
    tags: list[list[str]] = list(predictions["prediction"])
    if bio:
        tags = [_entities(sentence) for sentence in tags]
    metric = CrossLingualConsistency(pivot=pivot, **WHOLE)
    metric.update(tags, list(predictions["id"]), list(predictions["language"]))
    return _consistency_rows(metric.compute(), pivot)


def _entities(tags: list[str]) -> list[str]:
    """The type of each entity, in whatever BIO scheme."""
    return [
        tag[2:] for before, tag in pairwise(["O", *tags]) if tag != "O" and (tag[0] == "B" or before[2:] != tag[2:])
    ]


def _consistency_rows(values: dict[str, Any], pivot: str) -> list[Score]:
    n, reasons = int(values["n_common"]), values["reasons"]
    with_pivot = values["pairwise_n"].get(pivot, {})
    rows = []
    for key, value in values.items():
        if isinstance(value, float):  # the pairwise matrix, counts and reasons are no single values
            name, _, language = key.partition("/")
            items = int(with_pivot.get(language, n))
            rows.append(Score(language or ALL, f"consistency/{name}", value, items, reasons.get(key, "")))
    rows.append(Score(ALL, "consistency/n_common", float(n), int(values["n_items"])))
    # consistency rises when predictions collapse onto one class: the languages where they did are named
    rows += [Score(code, "consistency/collapse", float(f["share"]), n) for code, f in values["collapse"].items()]
    rows.append(Score(ALL, "consistency/collapse", float(bool(values["collapse"])), n))
    return rows
