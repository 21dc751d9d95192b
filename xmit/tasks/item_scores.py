"""What each example contributes to its language's main score, for inference over examples.

The values of a language have the score as their mean. Where the score is no mean over examples but a ratio of sums,
such as F1 of spans, they are its linearisation: how the score would move with the example's share in the sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


def unknown(predictions: pd.DataFrame) -> Floats:
    """NaN for every row: the score is no sum over examples, or its parts are not known."""
    return np.full(len(predictions), np.nan)


def accuracy_items(predictions: pd.DataFrame) -> Floats:
    """1 where the prediction is right, 0 where it is wrong, NaN without a target.

    Args:
        predictions: Rows with ``prediction`` and ``target``.
    """
    known = predictions["target"].notna().to_numpy()
    right = (predictions["prediction"] == predictions["target"]).to_numpy()
    return np.where(known, right, np.nan).astype(np.float64)


def ratio_items(part: ArrayLike, whole: ArrayLike) -> Floats:
    """Items' values of a ratio of sums ``R = sum(part) / sum(whole)``: ``R + n (part_i - R whole_i) / sum(whole)``.

    Their mean is R, and the variance of their mean is R's by the delta method. Source: Cochran (1977), Sampling
    Techniques, section 2.11.

    Args:
        part: Each item's share in the numerator, shape ``(items,)``.
        whole: Each item's share in the denominator.

    Returns:
        NaN throughout where the denominator is 0.

    Example:
        >>> ratio_items([2, 0], [2, 2])
        array([1., 0.])
    """
    numerator, denominator = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    total = denominator.sum()
    if total == 0:
        return np.full(len(denominator), np.nan)
    ratio = numerator.sum() / total
    return np.asarray(ratio + len(denominator) * (numerator - ratio * denominator) / total)


def span_f1_items(predictions: pd.DataFrame) -> Floats:
    """Sentences' values of span F1, ``2 matched / (predicted + expected)``, in their language.

    Args:
        predictions: Rows with ``language``, ``prediction`` and ``target``, lists of tags; NaN where there is no target.
    """
    from xmit.metrics.span_f1 import span_counts

    out = unknown(predictions)
    known = np.array([target is not None for target in predictions["target"]], dtype=np.bool_)
    for rows in predictions.groupby("language", sort=False).indices.values():
        kept = rows[known[rows]]
        part = predictions.iloc[kept]
        matched, found, wanted = span_counts(list(part["prediction"]), list(part["target"]))[:, :3].T
        out[kept] = ratio_items(2 * matched, found + wanted)
    return out
