"""Agreement where an answer is no class: a value for each item, such as F1 of an answer, or a multiset of tags.

Beside :mod:`xmit.metrics.functional`, whose statistics these become where every value is 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xmit.errors import MetricError

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def pairwise_closeness(values: ArrayLike, present: ArrayLike | None = None) -> Floats:
    """How close two languages' values of the same item are: the mean of ``1 - |a - b|`` over common items.

    Args:
        values: Values from 0 to 1, shape ``(items, languages)``; NaN where a language lacks the item.
        present: Where there is a value, same shape; everywhere if left out.

    Returns:
        A symmetric array of shape ``(languages, languages)``; NaN where two languages have no item in common. Of values
        0 and 1 it is :func:`~xmit.metrics.functional.pairwise_agreement`.

    Example:
        >>> pairwise_closeness([[1.0, 0.5], [0.0, 0.0]])
        array([[1.  , 0.75],
               [0.75, 1.  ]])
    """
    table, mask = _values(values, present)
    return _pairs(table.shape[1], mask, lambda a, b, rows: 1 - np.abs(table[rows, a] - table[rows, b]))


def value_unanimity(values: ArrayLike, present: ArrayLike | None = None) -> float:
    """One minus the distance of the highest from the lowest value, the mean over items with all languages.

    Args:
        values: As in :func:`pairwise_closeness`.
        present: As there.

    Returns:
        NaN with fewer than two languages or no complete item. Of values 0 and 1 it is
        :func:`~xmit.metrics.functional.unanimity`.

    Example:
        >>> value_unanimity([[1.0, 0.5], [0.0, 0.0]])
        0.75
    """
    complete = _complete(values, present)
    return float(np.mean(1 - np.ptp(complete, axis=1))) if complete.size and complete.shape[1] > 1 else float("nan")


def value_alpha(values: ArrayLike, present: ArrayLike | None = None) -> float:
    """Krippendorff's alpha with squared differences (level of measurement ``interval``); items may lack languages.

    With ``m_i`` values of item i, over the n values of items with ``m_i >= 2``: ``alpha = 1 - (n - 1) sum_i [m_i sum_k
    (v_ik - mean_i)^2 / (m_i - 1)] / [n sum_ik (v_ik - mean)^2]``, which is the textbook's sum over pairs, since ``sum
    of (a - b)^2 over ordered pairs = 2 m sum of squared deviations``. Source: Krippendorff (2011), Computing
    Krippendorff's Alpha-Reliability.

    Args:
        values: As in :func:`pairwise_closeness`.
        present: As there.

    Returns:
        Alpha; NaN where no item has two languages, or all values are one.

    Example:
        >>> round(value_alpha([[1.0, 0.5, 1.0], [0.0, 0.0, float("nan")], [0.5, 0.5, 0.0]]), 4)
        0.641
    """
    table, mask = _values(values, present)
    mask = mask & (mask.sum(axis=1, keepdims=True) >= 2)
    kept = table[mask]
    if not len(kept) or np.ptp(kept) == 0:
        return float("nan")
    rows = mask.any(axis=1)
    m = mask[rows].sum(axis=1)
    filled = np.where(mask, table, 0)[rows]
    means = filled.sum(axis=1) / m
    within = (np.where(mask[rows], filled - means[:, None], 0) ** 2).sum(axis=1)
    total = ((kept - kept.mean()) ** 2).sum()
    return float(1 - (len(kept) - 1) * (m * within / (m - 1)).sum() / (len(kept) * total))


def lowest_value(values: ArrayLike, present: ArrayLike | None = None) -> float:
    """The lowest value over languages, the mean over items with all languages.

    Args:
        values: As in :func:`pairwise_closeness`.
        present: As there.

    Returns:
        NaN with fewer than two languages or no complete item. Of values 0 and 1 it is
        :func:`~xmit.metrics.functional.all_correct`.

    Example:
        >>> lowest_value([[1.0, 0.5], [0.0, 1.0]])
        0.25
    """
    complete = _complete(values, present)
    return float(np.mean(complete.min(axis=1))) if complete.size and complete.shape[1] > 1 else float("nan")


def value_given_pivot(values: ArrayLike, pivot: int, present: ArrayLike | None = None) -> Floats:
    """Each language's mean value, items weighted by their value in the pivot language.

    Args:
        values: As in :func:`pairwise_closeness`.
        pivot: Column of the pivot language.
        present: As there.

    Returns:
        An array of shape ``(languages,)``; NaN where no common item has a value above 0 in the pivot. Of values 0 and 1
        it is :func:`~xmit.metrics.functional.correct_given_pivot`.

    Example:
        >>> value_given_pivot([[1.0, 0.5], [0.5, 1.0], [0.0, 1.0]], pivot=0).round(4)
        array([0.8333, 0.6667])
    """
    table, mask = _values(values, present)
    weight = np.where(mask & mask[:, [pivot]], table[:, [pivot]], 0)
    out: Floats = np.full(table.shape[1], np.nan)
    np.divide(
        (weight * np.where(mask, table, 0)).sum(axis=0), weight.sum(axis=0), out=out, where=weight.sum(axis=0) > 0
    )
    return out


def pairwise_dice(counts: ArrayLike, present: ArrayLike | None = None) -> Floats:
    """Dice overlap of two languages' multisets, the mean over common items.

    ``2 |A and B| / (|A| + |B|)``, an element counting as often as it is there; two empty multisets are equal: 1.
    Source: Dice (1945), Measures of the Amount of Ecologic Association Between Species, Ecology 26(3).

    Args:
        counts: How often each of the tags is in each item, integers of shape ``(items, languages, tags)``.
        present: Where there is a prediction, shape ``(items, languages)``; everywhere if left out.

    Returns:
        A symmetric array of shape ``(languages, languages)``; NaN where two languages have no item in common.

    Example:
        >>> pairwise_dice([[[2, 1], [1, 1]]]).round(4)
        array([[1. , 0.8],
               [0.8, 1. ]])
    """
    table, mask = _counts(counts, present)

    def dice(a: int, b: int, rows: Mask) -> Floats:
        left, right = table[rows, a], table[rows, b]
        size = left.sum(axis=1) + right.sum(axis=1)
        common = 2 * np.minimum(left, right).sum(axis=1)
        return np.asarray(np.where(size > 0, common / np.maximum(size, 1), 1.0))

    return _pairs(table.shape[1], mask, dice)


def bag_unanimity(counts: ArrayLike, present: ArrayLike | None = None) -> float:
    """Share of items whose multiset is the same in all languages.

    Args:
        counts: As in :func:`pairwise_dice`.
        present: As there. Items that lack a language are left out.

    Returns:
        NaN with fewer than two languages or no complete item.

    Example:
        >>> bag_unanimity([[[2, 1], [1, 1]], [[1, 0], [1, 0]]])
        0.5
    """
    table, mask = _counts(counts, present)
    complete = table[mask.all(axis=1)]
    if table.shape[1] < 2 or not len(complete):
        return float("nan")
    return float(np.mean((complete == complete[:, :1]).all(axis=(1, 2))))


def _values(values: ArrayLike, present: ArrayLike | None) -> tuple[Floats, Mask]:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise MetricError(f"values must be laid out as items x languages, got shape {table.shape}")
    mask = _mask(present, table.shape) & ~np.isnan(table)
    if not ((table[mask] >= 0) & (table[mask] <= 1)).all():
        raise MetricError("values of items must lie between 0 and 1")
    return table, mask


def _counts(counts: ArrayLike, present: ArrayLike | None) -> tuple[NDArray[np.int64], Mask]:
    table = np.asarray(counts, dtype=np.int64)
    if table.ndim != 3:
        raise MetricError(f"counts must be laid out as items x languages x tags, got shape {table.shape}")
    return table, _mask(present, table.shape[:2])


def _mask(present: ArrayLike | None, shape: tuple[int, ...]) -> Mask:
    mask: Mask = np.ones(shape, np.bool_) if present is None else np.asarray(present, np.bool_)
    if mask.shape != shape:
        raise MetricError(f"present has shape {mask.shape}, items and languages are {shape}")
    return mask


def _complete(values: ArrayLike, present: ArrayLike | None) -> Floats:
    table, mask = _values(values, present)
    return table[mask.all(axis=1)]


def _pairs(languages: int, mask: Mask, similarity: Callable[[int, int, Mask], Floats]) -> Floats:
    """The mean similarity over common items of every pair of languages."""
    out = np.full((languages, languages), np.nan)
    for a in range(languages):
        for b in range(a, languages):
            rows = mask[:, a] & mask[:, b]
            if rows.any():
                out[a, b] = out[b, a] = similarity(a, b, rows).mean()
    return out
