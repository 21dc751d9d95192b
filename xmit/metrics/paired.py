"""Differences between two systems, paired by seed, language and item.

This is what :mod:`xmit.metrics.inference` takes: a system's item scores, their differences to a baseline's, and what
one target adds to a mean over languages.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from xmit.errors import MetricError

if TYPE_CHECKING:
    import pandas as pd

NAN = float("nan")
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
T = TypeVar("T", int, str)


@dataclass(frozen=True)
class ItemScores:
    """What every item contributes to one system's score on one target.

    Args:
        seeds: The training seeds.
        languages: The languages.
        ids: The items; a translated item has one id in all languages.
        values: Shape ``(seeds, items, languages)``, NaN where there is none. The mean over a language's items is its
            score.
        clusters: Which cluster each item is of, shape ``(items,)``: those of one are no independent evidence. None
            where each item is one.
    """

    seeds: tuple[int, ...]
    languages: tuple[str, ...]
    ids: tuple[str, ...]
    values: Floats
    clusters: Integers | None = None

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> ItemScores:
        """Lay prediction rows out.

        Args:
            frame: Rows of one system and target with ``seed``, ``language``, ``id`` and ``item_score``, each seed,
                language and id once. Rows without a score are left out. A column ``cluster``, if there is one, ties
                items together that have the same value in any language.

        Raises:
            MetricError: If an item is there twice.
        """
        import pandas as pd

        frame = frame[frame["item_score"].notna()]
        (s, seeds), (i, ids), (k, languages) = (pd.factorize(frame[n], sort=True) for n in ("seed", "id", "language"))
        values = np.full((len(seeds), len(ids), len(languages)), np.nan)
        values[s, i, k] = frame["item_score"].to_numpy(dtype=np.float64)
        if np.count_nonzero(~np.isnan(values)) != len(frame):
            twice = frame[frame.duplicated(["seed", "id", "language"])].iloc[0]
            raise MetricError(
                f"item {twice['id']!r} in {twice['language']!r} has two scores in seed {twice['seed']}: give one system"
            )
        clusters = None
        if "cluster" in frame and frame["cluster"].notna().any():
            clusters = _clusters(i, frame[["language", "cluster"]], len(ids))
        return cls(tuple(int(v) for v in seeds), tuple(map(str, languages)), tuple(map(str, ids)), values, clusters)


@dataclass(frozen=True)
class Paired:
    """Differences of two systems on one target, paired by seed, language and, where known, item.

    Args:
        target: The target's name.
        seeds: Seeds that both have.
        languages: Languages that both have.
        means: Difference of the scores, shape ``(seeds, languages)``.
        items: Difference of each item, shape ``(seeds, items, languages)``; None if only scores are known.
        clusters: Which cluster each item is of, see :class:`ItemScores`.
    """

    target: str
    seeds: tuple[int, ...]
    languages: tuple[str, ...]
    means: Floats
    items: Floats | None = None
    clusters: Integers | None = None


@dataclass(frozen=True)
class Contribution:
    """What one target adds to a mean over pairs of a target and a language.

    Args:
        target: The target's name.
        seeds: The seeds.
        total: Sum of the differences over the languages, shape ``(seeds,)``; NaN in a seed that lacks one.
        residuals: Each item's share in the deviation of ``total`` from what it would be with all items there are,
            shape ``(seeds, items)``; it sums to 0 in each seed. Of items in clusters each cluster's share.
        n_pairs: Number of languages.
    """

    target: str
    seeds: tuple[int, ...]
    total: Floats
    residuals: Floats | None
    n_pairs: int


def pair_items(target: str, system: ItemScores, baseline: ItemScores, *, untrained: bool = False) -> Paired:
    """Differences of two systems, item by item.

    Args:
        target: The target's name.
        system: One system.
        baseline: The other.
        untrained: The baseline is not trained and so has one seed, with which every seed of ``system`` is compared.

    Returns:
        The differences on the seeds, languages and items that both have.

    Example:
        >>> a = ItemScores((0,), ("en",), ("x", "y"), np.array([[[1.0], [1.0]]]))
        >>> b = ItemScores((0,), ("en",), ("y", "x"), np.array([[[0.0], [1.0]]]))
        >>> pair_items("xnli", a, b).means
        array([[0.5]])
    """
    seeds, (s, t) = _paired_seeds(system.seeds, baseline.seeds, untrained)
    languages, (k, m) = _common(system.languages, baseline.languages)
    _, (i, j) = _common(system.ids, baseline.ids)
    difference = system.values[np.ix_(s, i, k)] - baseline.values[np.ix_(t, j, m)]
    there = ~np.isnan(difference)
    n = there.sum(axis=1)
    means = np.full(n.shape, np.nan)
    np.divide(np.where(there, difference, 0).sum(axis=1), n, out=means, where=n > 0)
    clusters = system.clusters if system.clusters is None else system.clusters[i]
    return Paired(target, seeds, languages, means, difference, clusters)


def pair_scores(
    target: str,
    system: Mapping[tuple[int, str], float],
    baseline: Mapping[tuple[int, str], float],
    *,
    untrained: bool = False,
) -> Paired:
    """Differences of two systems of which only the scores are known.

    Args:
        target: The target's name.
        system: Scores by seed and language.
        baseline: The like of the other.
        untrained: See :func:`pair_items`.

    Example:
        >>> pair_scores("xnli", {(0, "en"): 0.8, (1, "en"): 0.9}, {(0, "en"): 0.75}).means.round(2)
        array([[0.05]])
    """
    sides = (system, baseline)
    ours, theirs = (sorted({seed for seed, _ in side}) for side in sides)
    seeds, (s, t) = _paired_seeds(ours, theirs, untrained)
    languages, _ = _common(*(sorted({code for _, code in side}) for side in sides))
    means = np.full((len(seeds), len(languages)), np.nan)
    for n, (a, b) in enumerate(zip(s, t, strict=True)):
        means[n] = [system.get((ours[a], k), NAN) - baseline.get((theirs[b], k), NAN) for k in languages]
    return Paired(target, seeds, languages, means)


def contribution(paired: Paired, languages: Collection[str] | None = None) -> Contribution:
    """What a target adds to a mean over languages, in little memory.

    Args:
        paired: The differences on the target.
        languages: Which languages are averaged; all by default. One that no seed has is passed over.
    """
    chosen = [
        k
        for k, code in enumerate(paired.languages)
        if (languages is None or code in languages) and not np.isnan(paired.means[:, k]).all()
    ]
    means = paired.means[:, chosen]
    residuals = None
    if paired.items is not None:
        items = paired.items[:, :, chosen]
        there = ~np.isnan(items)
        n = there.sum(axis=1, keepdims=True)
        shares = np.where(there, items - means[:, None, :], 0) / np.maximum(n, 1)
        used = there.any(axis=(0, 2))
        residuals = shares.sum(axis=2)[:, used]
        if paired.clusters is not None:
            # what is resampled is a cluster as a whole: its items' shares are added up before anything is squared
            names, of = np.unique(paired.clusters[used], return_inverse=True)
            totals = np.zeros((len(names), len(residuals)))
            np.add.at(totals, of, residuals.T)
            residuals = totals.T
    return Contribution(paired.target, paired.seeds, means.sum(axis=1), residuals, len(chosen))


def _clusters(items: Integers, values: pd.DataFrame, n: int) -> Integers:
    """Items that have a cluster's name in common in any language, also by way of others, as numbers ``(n,)``.

    Args:
        items: The item of each row.
        values: ``language`` and ``cluster`` of each row; no value ties an item to none.
        n: How many items there are.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    known = values["cluster"].notna().to_numpy()
    names = values[known].groupby(["language", "cluster"], sort=False).ngroup().to_numpy()
    size = n + int(names.max()) + 1
    links = coo_array((np.ones(len(names)), (items[known], n + names)), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1][:n], dtype=np.int64)


def _paired_seeds(
    ours: Sequence[int], theirs: Sequence[int], untrained: bool
) -> tuple[tuple[int, ...], tuple[list[int], list[int]]]:
    """Seeds that both have, and where; an untrained baseline stands beside every seed."""
    if untrained and len(theirs) == 1:
        return tuple(ours), (list(range(len(ours))), [0] * len(ours))
    return _common(ours, theirs)


def _common(ours: Sequence[T], theirs: Sequence[T]) -> tuple[tuple[T, ...], tuple[list[int], list[int]]]:
    where = {value: n for n, value in enumerate(theirs)}
    both = [(n, where[value]) for n, value in enumerate(ours) if value in where]
    return tuple(ours[n] for n, _ in both), ([n for n, _ in both], [n for _, n in both])
