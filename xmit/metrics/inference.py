"""Intervals and tests for differences between two systems, from few seeds and many items.

A difference is taken between two systems in the same seed, language and item, and only then averaged. Two things make
it uncertain: the seeds, which would come out otherwise in another training, and the items, which would be others in
another test set. Seeds and items are crossed (every seed answers the same items), so with ``d[s, i]`` the difference of
item i in seed s and ``S`` seeds, as in a two-way random-effects analysis of variance:

- the seeds' means scatter with ``A = var_s(mean_i d) = seed + interaction``;
- the items' means over seeds scatter with ``B = item + interaction / S``, and ``C``, the scatter of items around them
  within a seed, is the interaction alone;
- the variance of the estimate is ``A / S + max(B - C / S, 0)``: the seeds' scatter holds the interaction already, so it
  is taken out of the items' part, not counted twice.

An item is one example in all its languages: its contributions to all languages are added up before anything is squared.
So are those of a cluster's items, such as the images that one statement stands beside: clusters are then the items.
The interval's half-width is ``sqrt(t(S - 1)^2 A / S + t(nu)^2 (B - C / S))``, each component with the t quantile of its
own degrees of freedom. ``docs/statistics.md`` has the derivation, the sources and the measured coverage, also of
Satterthwaite's one number of degrees of freedom for the sum, which is too short for three seeds.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from xmit.metrics.paired import Contribution, Floats

NAN = float("nan")
ENOUGH_SEEDS = 3
"""Below this many seeds their scatter is no estimate: only the items' uncertainty is given, and nothing is tested."""
FLOOR = 0.25
"""In a test a member's seed variance is at least this share of its family's median: half the standard deviation."""
K = TypeVar("K", bound=Hashable)
Kind = Literal["seeds and items", "seeds", "items", "none"]


@dataclass(frozen=True)
class Effect:
    """A mean difference and how sure it is.

    Args:
        estimate: Mean difference, in the unit of the scores.
        low: Lower end of the interval.
        high: Upper end.
        p: Two-sided p value of no difference; NaN where nothing is tested.
        se: Standard error, both components together.
        se_seeds: Its part from the seeds.
        se_items: Its part from the items.
        df: Satterthwaite's degrees of freedom of ``se``, for information.
        n_pairs: Pairs of a target and a language that are averaged.
        n_seeds: Seeds that have all of these pairs.
        n_items: Items behind it, or clusters of items, translations counted once; 0 if not known.
        kind: What the interval covers: ``"seeds and items"``; ``"items"`` alone, below three seeds; ``"seeds"`` alone,
            if no item scores are known; ``"none"``, no interval.
        reason: Why something is NaN, or what the interval lacks; empty if all is there.
        df_items: Degrees of freedom of ``se_items``.
    """

    estimate: float
    low: float
    high: float
    p: float
    se: float
    se_seeds: float
    se_items: float
    df: float
    n_pairs: int
    n_seeds: int
    n_items: int
    kind: Kind
    reason: str = ""
    df_items: float = NAN


@dataclass(frozen=True)
class Tested:
    """An effect as a member of a family of tests.

    Args:
        effect: The effect.
        p: Holm's adjusted p value; NaN where nothing is tested.
        significant: Whether it is at most alpha.
    """

    effect: Effect
    p: float
    significant: bool


def effect(contributions: Iterable[Contribution], confidence: float = 0.95, *, test: bool = True) -> Effect:
    """The mean difference over all pairs of a target and a language, with its interval and test.

    Items of different targets are taken as independent, seeds are shared by all targets.

    Args:
        contributions: One for each target, from :func:`~xmit.metrics.paired.contribution`; those without any language
            do no harm.
        confidence: Share of such intervals that hold the truth.
        test: Whether a p value is wanted, which takes longer than all else.

    Returns:
        The effect. With three seeds or more the interval covers seeds and items; with one or two it covers the items
        alone, given these trainings, and nothing is tested. Without item scores it covers the seeds alone and nothing
        is tested either, since the test set's own chance is left out.

    Example:
        >>> from xmit.metrics import ItemScores, contribution, pair_items
        >>> scores = np.array([[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
        >>> one = ItemScores((0, 1, 2), ("sw",), tuple("abcd"), scores[:, :, None])
        >>> base = ItemScores((0, 1, 2), ("sw",), tuple("abcd"), np.zeros((3, 4, 1)))
        >>> found = effect([contribution(pair_items("xnli", one, base))])
        >>> round(found.estimate, 3), found.kind
        (0.833, 'seeds and items')
    """
    parts = [part for part in contributions if part.n_pairs]
    n_pairs = sum(part.n_pairs for part in parts)
    if not parts:
        return _nothing("no language has a difference", 0)
    whole = [{seed for seed, v in zip(p.seeds, p.total, strict=True) if not math.isnan(v)} for p in parts]
    seeds = sorted(set.intersection(*whole))
    if not seeds:
        return _nothing(f"no seed has all {n_pairs} pairs of target and language", n_pairs)
    rows = [[part.seeds.index(seed) for seed in seeds] for part in parts]
    by_seed = np.sum([p.total[r] for p, r in zip(parts, rows, strict=True)], axis=0) / n_pairs
    lacking = [p.target for p in parts if p.residuals is None]
    dropped = sorted(set.union(*(set(p.seeds) for p in parts)) - set(seeds))
    notes = [f"seed {', '.join(map(str, dropped))} lacks some of the {n_pairs} pairs"] if dropped else []
    residuals: Floats | None = None
    if lacking:
        notes.append(f"no item scores of {', '.join(lacking)}: the items' uncertainty is not in the interval")
    else:
        shares = [p.residuals[r] for p, r in zip(parts, rows, strict=True) if p.residuals is not None]
        residuals = np.concatenate(shares, axis=1) / n_pairs
    return _effect(by_seed, residuals, n_pairs, notes, confidence, test)


def _effect(
    by_seed: Floats, residuals: Floats | None, n_pairs: int, notes: list[str], confidence: float, test: bool
) -> Effect:
    n_seeds = len(by_seed)
    seeds = float(by_seed.var(ddof=1)) / n_seeds if n_seeds >= ENOUGH_SEEDS else NAN
    items = nu = NAN
    if residuals is not None and residuals.shape[1] > 1:
        items, nu = _item_variance(residuals, crossed=n_seeds >= ENOUGH_SEEDS)
    elif residuals is not None:
        notes = [*notes, "a single item: the items' uncertainty is not known"]
    parts: dict[Kind, list[tuple[float, float]]] = {
        "seeds and items": [(seeds, n_seeds - 1), (items, nu)],
        "seeds": [(seeds, n_seeds - 1)],
        "items": [(items, nu)],
    }
    kind: Kind = next((k for k, found in parts.items() if not any(math.isnan(v) for v, _ in found)), "none")
    used = parts.get(kind, [])
    if kind == "items":
        notes = [*notes, f"{n_seeds} of at least {ENOUGH_SEEDS} seeds: the seeds' uncertainty is not in the interval"]
    elif kind == "none":
        notes = [*notes, f"{n_seeds} of at least {ENOUGH_SEEDS} seeds and no item scores: no uncertainty is known"]
    variance = sum(v for v, _ in used)
    if used and variance <= 0:
        kind, used = "none", []
        notes = [*notes, "the differences do not vary at all: no uncertainty can be estimated"]
    estimate = float(by_seed.mean())
    half = _half_width(used, 1 - confidence) if used else NAN
    return Effect(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        p=_p_value(abs(estimate), used) if test and kind == "seeds and items" else NAN,
        se=math.sqrt(variance) if used else NAN,
        se_seeds=math.sqrt(seeds),
        se_items=math.sqrt(items),
        df=variance**2 / sum(v**2 / n for v, n in used if v) if used else NAN,
        n_pairs=n_pairs,
        n_seeds=n_seeds,
        n_items=0 if residuals is None else residuals.shape[1],
        kind=kind,
        reason="; ".join(notes),
        df_items=nu,
    )


def _item_variance(residuals: Floats, crossed: bool) -> tuple[float, float]:
    """Variance of the estimate over items, less what the seeds' scatter holds, and its degrees of freedom."""
    n_seeds, n = residuals.shape
    mean = residuals.mean(axis=0)
    square = mean**2
    found = float(square.sum()) * n / (n - 1)
    # few items that differ tell less than many, however many are alike: degrees of freedom by the kurtosis
    excess = float((square**2).sum()) - float(square.sum()) ** 2 / n
    nu = min(n - 1.0, 2 * float(square.sum()) ** 2 / excess) if excess > 0 else n - 1.0
    if crossed:
        inner = float(((residuals - mean) ** 2).sum()) * n / (n - 1) / (n_seeds - 1)
        found = max(found - inner / n_seeds, 0.0)
    return found, max(nu, 1.0)


def _half_width(parts: Sequence[tuple[float, float]], alpha: float) -> float:
    from scipy.special import stdtrit  # scipy.stats.t.isf to 1e-9, twenty times as fast

    return math.sqrt(sum(v * float(stdtrit(n, alpha / 2)) ** 2 for v, n in parts if v))


def _p_value(distance: float, parts: Sequence[tuple[float, float]]) -> float:
    """The largest alpha whose interval does not hold 0."""
    from scipy.optimize import brentq

    if distance == 0:
        return 1.0
    low = -200.0  # in logarithms: squares of the quantiles beyond do not fit into double precision
    if _half_width(parts, math.exp(low)) < distance:
        return math.exp(low)
    return math.exp(brentq(lambda x: _half_width(parts, math.exp(x)) - distance, low, 0.0, xtol=1e-10))


def _nothing(reason: str, n_pairs: int) -> Effect:
    return Effect(NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, n_pairs, 0, 0, "none", reason)


def family(effects: Mapping[K, Effect], alpha: float = 0.05) -> dict[K, Tested]:
    """Test the effects of one family together, by :func:`holm`.

    Of three or five seeds the scatter comes out tiny now and then, and far out in the tail, where the correction looks,
    nearly every false alarm is such a one. The family knows better: where a member's seed variance is below
    :data:`FLOOR` times the family's median, that is put in its place, which can only make its p value larger.

    Families, as the design has them: **primary**, one test for each intermediate, of its mean difference over all pairs
    of a target and a low-resource language; **secondary**, one family for each target, of the differences that its
    table shows. Single languages get intervals and no marks.

    Args:
        effects: The family, by whatever names its members.
        alpha: The most that families without any effect may reject anything in.

    Example:
        >>> one = Effect(0.02, 0.01, 0.03, 0.001, 0.004, 0.003, 0.002, 3.0, 1, 5, 100, "seeds and items")
        >>> family({"nli": one})["nli"].significant
        True
    """
    adjusted = holm(_floored(list(effects.values())))
    return {key: Tested(found, p, p <= alpha) for (key, found), p in zip(effects.items(), adjusted, strict=True)}


def _floored(effects: Sequence[Effect]) -> list[float]:
    """Each member's p value, its seed variance being at least a share of the median's."""
    known = sorted(found.n_seeds * found.se_seeds**2 for found in effects if not math.isnan(found.p))
    # of two in the middle the lower one: a single noisy neighbour is no evidence
    least = FLOOR * known[(len(known) - 1) // 2] if known else 0.0
    return [
        _p_value(abs(e.estimate), [(least / e.n_seeds, e.n_seeds - 1), (e.se_items**2, e.df_items)])
        if e.n_seeds * e.se_seeds**2 < least and not math.isnan(e.p)
        else e.p
        for e in effects
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values of a family of tests.

    Rejecting where they are at most 5 % rejects anything that is true in at most 5 % of families, however the tests
    depend on each other. Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6(2).

    Args:
        p_values: One for each test; NaN where nothing is tested, which is no member of the family.

    Example:
        >>> holm([0.01, 0.04, float("nan"), 0.03])
        [0.03, 0.06, nan, 0.06]
    """
    tested = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    out, so_far = [NAN] * len(p_values), 0.0
    for rank, (p, i) in enumerate(tested):
        so_far = max(so_far, min(1.0, (len(tested) - rank) * p))
        out[i] = so_far
    return out
