"""Agreement statistics as pure functions of labels laid out as items x languages.

Everything here takes arrays, tensors or nested lists and gives floats or NumPy arrays in float64. A statistic
that is undefined is NaN, never an invented 0 or 1; :class:`xmit.metrics.CrossLingualConsistency` says why.
RankC, which needs scores over candidates, is written in :mod:`xmit.metrics.ranking`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from xmit.errors import MetricError
from xmit.metrics.ranking import rankc

__all__ = [
    "all_correct",
    "common_items",
    "correct_given_pivot",
    "fleiss_kappa",
    "krippendorff_alpha",
    "pairwise_agreement",
    "pivot_agreement",
    "rankc",
    "unanimity",
]

Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def pairwise_agreement(labels: ArrayLike | torch.Tensor, present: ArrayLike | None = None) -> Floats:
    """Share of common items on which two languages get the same label, for every pair of languages.

    Args:
        labels: Predicted classes, shape ``(items, languages)``: integers, or floats with NaN where a language
            lacks the item.
        present: Where a prediction exists, same shape; everywhere if left out.

    Returns:
        A symmetric array of shape ``(languages, languages)``. The diagonal is a language's agreement with
        itself: 1 where it has items. NaN where two languages have no item in common.

    Example:
        >>> pairwise_agreement([[0, 0, 1], [1, 1, 1], [2, 0, 2], [0, 0, 0]])
        array([[1.  , 0.75, 0.75],
               [0.75, 1.  , 0.5 ],
               [0.75, 0.5 , 1.  ]])
    """
    table, mask = _table(labels, present)
    equal = np.stack(
        [np.count_nonzero((table == table[:, [a]]) & mask & mask[:, [a]], axis=0) for a in range(table.shape[1])]
        or [np.zeros(0, dtype=np.int64)]
    ).reshape(table.shape[1], table.shape[1])
    return _ratio(equal, common_items(mask))


def common_items(present: ArrayLike) -> Counts:
    """Number of items that two languages share, for every pair: the n behind :func:`pairwise_agreement`.

    Args:
        present: Where a prediction exists, shape ``(items, languages)``.

    Returns:
        An array of shape ``(languages, languages)`` with each language's own item count on the diagonal.

    Example:
        >>> common_items([[True, True], [True, False]])
        array([[2, 1],
               [1, 1]])
    """
    # float64 counts exactly up to 2^53 and, unlike integers, multiplies through BLAS
    mask = np.asarray(present, dtype=np.float64)
    return (mask.T @ mask).astype(np.int64)


def pivot_agreement(labels: ArrayLike | torch.Tensor, pivot: int, present: ArrayLike | None = None) -> Floats:
    """Share of common items that get the label they get in the pivot language.

    ``A_l = (1/n) sum_i [y_i^l = y_i^pivot]`` over the items that both have.

    Args:
        labels: Predicted classes, shape ``(items, languages)``, as in :func:`pairwise_agreement`.
        pivot: Column of the pivot language.
        present: Where a prediction exists, same shape.

    Returns:
        An array of shape ``(languages,)``; the pivot's own entry is 1 where it has items. NaN without common
        items.

    Example:
        >>> pivot_agreement([[0, 0, 1], [1, 1, 1], [2, 0, 2], [0, 0, 0]], pivot=0)
        array([1.  , 0.75, 0.75])
    """
    table, mask = _table(labels, present)
    common = mask & mask[:, [pivot]]
    equal = (table == table[:, [pivot]]) & common
    return _ratio(np.count_nonzero(equal, axis=0), np.count_nonzero(common, axis=0))


def unanimity(labels: ArrayLike | torch.Tensor, present: ArrayLike | None = None) -> float:
    """Share of items that get one and the same label in all languages.

    Args:
        labels: Predicted classes, shape ``(items, languages)``, as in :func:`pairwise_agreement`.
        present: Where a prediction exists, same shape. Items that lack a language are left out.

    Returns:
        The share over complete items; NaN with fewer than two languages or no complete item.

    Example:
        >>> unanimity([[0, 0, 1], [1, 1, 1], [2, 0, 2], [0, 0, 0]])
        0.5
    """
    complete = _complete(*_table(labels, present))
    if complete.shape[1] < 2 or not len(complete):
        return float("nan")
    return float(np.mean((complete == complete[:, :1]).all(axis=1)))


def fleiss_kappa(labels: ArrayLike | torch.Tensor, present: ArrayLike | None = None) -> float:
    """Fleiss' kappa: agreement of the languages beyond what the overall class shares give by chance.

    With ``n_ij`` of L languages choosing class j for item i: ``P_i = (sum_j n_ij^2 - L) / (L (L - 1))``,
    ``p_j`` the share of class j among all predictions, ``kappa = (mean P_i - sum p_j^2) / (1 - sum p_j^2)``.
    Source: Fleiss (1971), Measuring nominal scale agreement among many raters, Psychological Bulletin 76(5).

    Args:
        labels: Predicted classes, shape ``(items, languages)``, as in :func:`pairwise_agreement`.
        present: Where a prediction exists, same shape. Items that lack a language are left out: the statistic
            has no missing values; :func:`krippendorff_alpha` has.

    Returns:
        Kappa; NaN with fewer than two languages, no complete item, or one class throughout.

    Example:
        >>> round(fleiss_kappa([[0, 0, 1], [1, 1, 1], [2, 0, 2], [0, 0, 0]]), 4)
        0.4545
    """
    complete = _complete(*_table(labels, present))
    items, languages = complete.shape
    if languages < 2 or not items:
        return float("nan")
    _, counts, classes = _class_counts(complete, np.ones_like(complete, dtype=np.bool_))
    if len(classes) < 2:
        return float("nan")
    share = classes / (items * languages)
    observed = (np.square(counts).sum() - items * languages) / (items * languages * (languages - 1))
    chance = float(np.square(share).sum())
    return float((observed - chance) / (1 - chance))


def krippendorff_alpha(labels: ArrayLike | torch.Tensor, present: ArrayLike | None = None) -> float:
    """Krippendorff's alpha for nominal labels; items may lack languages.

    With ``n_ij`` languages choosing class j for item i, ``m_i = sum_j n_ij``, over the items with ``m_i >=
    2``, ``M = sum m_i`` and ``n_j = sum_i n_ij``: ``alpha = 1 - (M - 1) [sum_i sum_{j != k} n_ij n_ik / (m_i
    - 1)] / [sum_{j != k} n_j n_k]``. Source: Krippendorff (2011), Computing Krippendorff's Alpha-Reliability;
    Hayes and Krippendorff (2007), Communication Methods and Measures 1(1).

    Args:
        labels: Predicted classes, shape ``(items, languages)``, as in :func:`pairwise_agreement`.
        present: Where a prediction exists, same shape.

    Returns:
        Alpha; NaN where no item has two languages, or those that do hold one class only.

    Example:
        >>> nan = float("nan")
        >>> round(krippendorff_alpha([[0, 0, nan], [1, nan, 1], [2, 0, 2], [nan, nan, 0]]), 4)
        0.625
    """
    table, mask = _table(labels, present)
    mask = mask & (mask.sum(axis=1, keepdims=True) >= 2)
    item, counts, classes = _class_counts(table, mask)
    if len(classes) < 2:
        return float("nan")
    per_item = mask.sum(axis=1)
    squares = np.bincount(item, weights=np.square(counts), minlength=len(mask))
    pairable = per_item >= 2
    # sum_{j != k} n_j n_k = (sum_j n_j)^2 - sum_j n_j^2, for items and for totals alike
    within = ((np.square(per_item) - squares)[pairable] / (per_item[pairable] - 1)).sum()
    total = int(per_item.sum())
    between = total**2 - int(np.square(classes).sum())
    return float(1 - (total - 1) * within / between)


def all_correct(correct: ArrayLike | torch.Tensor, present: ArrayLike | None = None) -> float:
    """Share of items that are answered correctly in all languages.

    Args:
        correct: Whether each prediction is right, booleans of shape ``(items, languages)``.
        present: Where a prediction with a target exists, same shape. Items that lack a language are left out.

    Returns:
        The share over complete items; NaN with fewer than two languages or no complete item.

    Example:
        >>> all_correct([[True, True], [True, False], [False, False], [True, True]])
        0.5
    """
    complete = _complete(*_table(correct, present))
    if complete.shape[1] < 2 or not len(complete):
        return float("nan")
    return float(np.mean(complete.astype(np.bool_).all(axis=1)))


def correct_given_pivot(correct: ArrayLike | torch.Tensor, pivot: int, present: ArrayLike | None = None) -> Floats:
    """Of the items answered correctly in the pivot language, the share answered correctly in each language.

    Args:
        correct: Whether each prediction is right, booleans of shape ``(items, languages)``.
        pivot: Column of the pivot language.
        present: Where a prediction with a target exists, same shape.

    Returns:
        An array of shape ``(languages,)``, the pivot's own entry 1. NaN where no common item is right in the
        pivot.

    Example:
        >>> correct_given_pivot([[True, True], [True, False], [False, True], [True, True]], pivot=0).round(4)
        array([1.    , 0.6667])
    """
    table, mask = _table(correct, present)
    right = table.astype(np.bool_) & mask
    asked = mask & right[:, [pivot]]
    return _ratio(np.count_nonzero(right & asked, axis=0), np.count_nonzero(asked, axis=0))


def _table(labels: ArrayLike | torch.Tensor, present: ArrayLike | None) -> tuple[Labels, Mask]:
    """Labels as int64 and the mask of those that exist, both ``(items, languages)``."""
    values: NDArray[Any] = np.asarray(_on_cpu(labels))
    if values.ndim != 2:
        raise MetricError(f"labels must be laid out as items x languages, got shape {values.shape}")
    mask: Mask = np.ones(values.shape, np.bool_) if present is None else np.array(_on_cpu(present), np.bool_)
    if mask.shape != values.shape:
        raise MetricError(f"present has shape {mask.shape}, labels have {values.shape}")
    if values.dtype.kind == "f":
        mask = mask & ~np.isnan(values)
        values = np.where(mask, values, 0)
        if not np.array_equal(values, np.trunc(values)):
            raise MetricError("labels must be whole numbers; scores over candidates are for rankc")
    return values.astype(np.int64), mask


def _on_cpu(values: Any) -> Any:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values


def _complete(table: Labels, mask: Mask) -> Labels:
    return table[mask.all(axis=1)]


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """``part / whole`` with NaN, quietly, for an empty whole."""
    out: Floats = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out


def _class_counts(table: Labels, mask: Mask) -> tuple[Counts, Counts, Counts]:
    """The n_ij that are not zero.

    Sparse, because retrieval has as many classes as candidates and a table of items x classes would not fit.

    Returns:
        The item i of each n_ij, the n_ij, and the totals n_j per class.
    """
    items, _ = np.nonzero(mask)
    _, classes = np.unique(table[mask], return_inverse=True)
    n_classes = int(classes.max()) + 1 if classes.size else 0
    cells, counts = np.unique(items * max(n_classes, 1) + classes, return_counts=True)
    totals = np.bincount(classes, minlength=n_classes)
    return cells // max(n_classes, 1), counts.astype(np.int64), totals.astype(np.int64)
