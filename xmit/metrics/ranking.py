"""RankC: do two languages rank an item's candidates alike?

Source: Qi, Fernández and Bisazza (2023), Cross-Lingual Consistency of Factual Knowledge in Multilingual
Language Models, EMNLP. For a query with N candidates, ``P@j`` is the share of the top j that both rankings
have in common and ``RankC = mean over queries of sum_j w_j P@j`` with ``w_j = e^(N - j) / sum_k e^(N - k)``.
Candidates are matched by their index.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from xmit.errors import MetricError

Weights = Literal["exponential", "linear"]
TOP = 64
"""Ranks kept by default: all below weigh about e^-64 together, which float64 cannot tell from nothing."""


def rankc(
    scores_a: ArrayLike | torch.Tensor,
    scores_b: ArrayLike | torch.Tensor,
    weights: Weights = "exponential",
    top: int = TOP,
) -> float:
    """RankC of two languages from their scores over the same candidates.

    Args:
        scores_a: Scores in one language, higher is better, shape ``(queries, candidates)``. ``-inf`` marks a
            candidate that a query does not have. Ties go to the lower index.
        scores_b: Scores of the same queries and candidates in the other language.
        weights: ``"exponential"`` (the paper's) or ``"linear"``, ``w_j`` in proportion to ``N - j + 1``,
            which needs the full ranking.
        top: Ranks that count under exponential weights; the default equals all of them in float64.

    Returns:
        The mean over queries, 0 to 1; NaN where no query has two candidates or both languages' counts differ.

    Example:
        >>> round(rankc([[0.5, 0.3, 0.2]], [[0.4, 0.1, 0.2]]), 4)  # the second and third swap
        0.8776
    """
    a, b = torch.as_tensor(scores_a), torch.as_tensor(scores_b)
    if a.shape != b.shape:
        raise MetricError(f"both languages need scores of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    depth = top if weights == "exponential" else a.shape[-1]
    (rank_a, n_a), (rank_b, n_b) = rank_candidates(a, depth), rank_candidates(b, depth)
    usable = ((n_a == n_b) & (n_a > 1)).cpu().numpy()
    values = rankc_per_query(rank_a.cpu().numpy()[usable], rank_b.cpu().numpy()[usable], weights)
    return float(values.mean()) if len(values) else float("nan")


def rank_candidates(scores: torch.Tensor, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The best candidates of each query, best first.

    Args:
        scores: Scores, shape ``(queries, candidates)``; ``-inf`` marks a candidate that a query does not
            have.
        depth: How many ranks to keep.

    Returns:
        Candidate indices, int32 of shape ``(queries, min(depth, candidates))``, filled up with -1; and the
        number of candidates per query. Equal scores are ordered by index, so that every machine gives the
        same ranking.

    Example:
        >>> ranking, n = rank_candidates(torch.tensor([[0.1, 0.7, 0.1], [0.2, -torch.inf, 0.3]]), depth=3)
        >>> ranking.tolist(), n.tolist()
        ([[1, 0, 2], [2, 0, -1]], [3, 2])
    """
    if scores.ndim != 2 or not scores.is_floating_point():
        raise MetricError(f"scores must be floats of shape (items, candidates), got {tuple(scores.shape)}")
    if bool(torch.isnan(scores).any()):
        raise MetricError("scores hold NaN: nothing can be ranked")
    if depth < 1:
        raise MetricError(f"at least one rank must be kept, not {depth}")
    width = scores.shape[1]
    depth = min(depth, width)
    if width > 4 * depth:
        ranking = _top(scores, depth)
    else:
        ranking = scores.sort(dim=1, descending=True, stable=True).indices[:, :depth]
    exists = scores != -torch.inf
    n = exists.sum(dim=1)
    if len(n) and not bool((n > 0).all()):
        raise MetricError("an item has no candidate: all its scores are -inf")
    beyond = torch.arange(depth, device=scores.device) >= n[:, None]
    return ranking.to(torch.int32).masked_fill(beyond, -1), n


def checked_ranking(ranking: torch.Tensor, queries: int) -> torch.Tensor:
    """A ranking as :func:`rank_candidates` gives it, of candidates that somebody else has ranked.

    Args:
        ranking: Numbers of candidates, best first, integers of shape ``(queries, ranks)``, filled up with -1.
        queries: How many there must be.

    Raises:
        MetricError: If it has another form, a candidate stands twice in a row, or one after a -1.
    """
    if ranking.ndim != 2 or ranking.is_floating_point() or len(ranking) != queries:
        raise MetricError(
            f"a ranking must be integers of shape ({queries}, ranks), got {ranking.dtype} {tuple(ranking.shape)}"
        )
    there = ranking >= 0
    ordered = ranking.sort(dim=1).values
    if bool((there[:, 1:] > there[:, :-1]).any()) or bool(
        ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any()
    ):
        raise MetricError("a ranking has each candidate once, and -1 only after the last")
    return ranking.to(torch.int32)


def _top(scores: torch.Tensor, depth: int) -> torch.Tensor:
    """The first ``depth`` columns of a stable descending sort, without sorting thousands of candidates."""
    values, indices = scores.topk(depth + 1, dim=1)
    indices, by_index = indices[:, :depth].sort(dim=1)
    order = values[:, :depth].gather(1, by_index).sort(dim=1, descending=True, stable=True).indices
    ranking = indices.gather(1, order)
    # topk breaks a tie across the cut arbitrarily, so those few rows are sorted in full
    unsure = values[:, depth - 1] == values[:, depth]
    if bool(unsure.any()):
        full = scores[unsure].sort(dim=1, descending=True, stable=True).indices
        ranking[unsure] = full[:, :depth]
    return ranking


def rankc_per_query(
    ranking_a: NDArray[np.int32], ranking_b: NDArray[np.int32], weights: Weights = "exponential"
) -> NDArray[np.float64]:
    """RankC of each query from two rankings of its candidates.

    Each candidate that both rankings hold counts in every ``P@j`` from the worse of its two ranks on, so
    ``sum_j w_j P@j`` is the sum over these candidates of ``sum_{j >= worse rank} w_j / j``: no sets, no loop
    over j.

    Args:
        ranking_a: Candidate indices, best first, shape ``(queries, ranks)``, filled up with -1.
        ranking_b: The same queries in the other language, with as many ranks per query.
        weights: As in :func:`rankc`. Weights are normalised over the ranks that are there.

    Returns:
        One value per query, shape ``(queries,)``.

    Example:
        >>> rankc_per_query(np.array([[0, 1], [0, 1]]), np.array([[0, 1], [1, 0]])).round(3)
        array([1.   , 0.269])
    """
    queries, depth = ranking_a.shape
    out = np.empty(queries, dtype=np.float64)
    lengths = np.count_nonzero(ranking_a >= 0, axis=1)
    # equal candidates of the two rankings lie side by side once both are sorted together
    step = max(1, 4_000_000 // max(depth, 1))
    for start in range(0, queries, step):
        rows = slice(start, start + step)
        both = np.concatenate([ranking_a[rows], ranking_b[rows]], axis=1)
        order = both.argsort(axis=1, kind="stable")
        ordered = np.take_along_axis(both, order, axis=1)
        shared = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        rank = order % max(depth, 1)
        worse = np.maximum(rank[:, 1:], rank[:, :-1])
        gain = _tail_weights(lengths[rows], depth, weights)
        out[rows] = np.where(shared, np.take_along_axis(gain, worse, axis=1), 0.0).sum(axis=1)
    return out


def _tail_weights(lengths: NDArray[np.int64], depth: int, weights: Weights) -> NDArray[np.float64]:
    """``sum_{j >= m} w_j / j`` for m = 1 … depth, one row per query."""
    distinct, row = np.unique(lengths, return_inverse=True)
    j = np.arange(1, depth + 1)
    # e^(1 - j) in place of e^(N - j): the same weights after normalising, and nothing overflows
    raw = np.exp(1.0 - j) * np.ones((len(distinct), 1)) if weights == "exponential" else distinct[:, None] - j + 1.0
    raw = np.where(j <= distinct[:, None], raw, 0.0)
    share = raw / np.maximum(raw.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny) / j
    tail: NDArray[np.float64] = share[:, ::-1].cumsum(axis=1)[:, ::-1]
    return tail[row]
