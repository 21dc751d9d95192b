"""Intervals and tests against scipy, statsmodels and textbook formulas."""

import gc
import math
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from simulated_studies import SEED_SD, SEEDS, coverage, false_alarms
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests

from xmit.errors import MetricError
from xmit.metrics import Effect, ItemScores, contribution, effect, family, holm, pair_items, pair_scores
from xmit.metrics.paired import Paired

CASES = 1000


def paired(items, target="t", first=0):
    """Differences as they come from :func:`pair_items`."""
    n = np.maximum((~np.isnan(items)).sum(axis=1), 1)
    means = np.where(np.isnan(items).all(axis=1), np.nan, np.nansum(items, axis=1) / n)
    seeds, languages = tuple(range(first, first + len(items))), tuple(f"l{k}" for k in range(items.shape[2]))
    return Paired(target, seeds, languages, means, items)


def random_items(rng, seeds=None):
    shape = (seeds or rng.integers(3, 7), rng.integers(2, 25), rng.integers(1, 5))
    items = rng.normal(0, rng.choice([0, 1]), (shape[0], 1, 1)) + rng.normal(0, 1, (1, *shape[1:]))
    items = items + rng.normal(0, rng.choice([0.1, 1]), shape)
    return items.round() / 2 if rng.random() < 0.5 else items  # half with many ties


def textbook(items):
    """Estimate, both variance components and their degrees of freedom, with loops, from a table without holes."""
    n_seeds, n_items, n_languages = items.shape
    table = [[sum(items[s, i]) / n_languages for i in range(n_items)] for s in range(n_seeds)]
    grand = sum(map(sum, table)) / n_seeds / n_items
    by_seed = [sum(row) / n_items for row in table]
    by_item = [sum(row[i] for row in table) / n_seeds for i in range(n_items)]
    ms_seed = n_items * sum((m - grand) ** 2 for m in by_seed) / (n_seeds - 1)
    ms_item = n_seeds * sum((m - grand) ** 2 for m in by_item) / (n_items - 1)
    rest = [(table[s][i] - by_seed[s] - by_item[i] + grand) ** 2 for s in range(n_seeds) for i in range(n_items)]
    ms_rest = sum(rest) / (n_seeds - 1) / (n_items - 1)
    return grand, ms_seed / n_seeds / n_items, max(ms_item - ms_rest, 0) / n_seeds / n_items


def test_components_are_those_of_a_two_way_analysis_of_variance():
    rng = np.random.default_rng(0)
    for _ in range(CASES):
        items = random_items(rng)
        found = effect([contribution(paired(items))])
        estimate, seeds, rest = textbook(items)
        assert abs(found.estimate - estimate) < 1e-9
        if found.kind == "none":
            assert seeds + rest < 1e-9
            continue
        assert abs(found.se_seeds**2 - seeds) < 1e-9
        assert abs(found.se_items**2 - rest) < 1e-9
        assert abs(found.se**2 - seeds - rest) < 1e-9


def test_mean_squares_are_those_of_statsmodels():
    rng = np.random.default_rng(1)
    for _ in range(CASES):
        items = random_items(rng)[..., :1]
        n_seeds, n_items, _ = items.shape
        s, i = np.indices((n_seeds, n_items))
        by_seed, by_item = (np.eye(n)[x.ravel()] for n, x in ((n_seeds, s), (n_items, i)))
        none, seeds, both = (
            OLS(items.ravel(), x).fit().ssr
            for x in (np.ones((s.size, 1)), by_seed, np.hstack([by_seed, by_item[:, 1:]]))
        )
        found = effect([contribution(paired(items))])
        if found.kind == "none":
            continue
        rest = both / (n_seeds - 1) / (n_items - 1)
        assert abs(found.se_seeds**2 - (none - seeds) / (n_seeds - 1) / s.size) < 1e-9
        assert abs(found.se_items**2 - max((seeds - both) / (n_items - 1) - rest, 0) / s.size) < 1e-9


def test_degrees_of_freedom_interval_and_p_are_those_of_scipy():
    rng = np.random.default_rng(13)
    tested = 0
    for _ in range(2 * CASES):
        items = random_items(rng) + rng.normal()
        found = effect([contribution(paired(items))])
        if found.kind != "seeds and items":
            continue
        parts = [(found.se_seeds, len(items) - 1), (found.se_items, found.df_items)]
        shares = items.mean(axis=(0, 2)) - items.mean()
        if found.se_items > 1e-9:  # few items that differ inform little: by their kurtosis
            kurtosis = stats.kurtosis(shares, fisher=False)
            nu = 2 * len(shares) / (kurtosis - 1) if kurtosis > 1 else math.inf
            assert found.df_items == pytest.approx(max(1, min(nu, len(shares) - 1)), rel=1e-9)
        if found.se_seeds and found.se_items:
            # Welch's test has Satterthwaite's degrees of freedom: of means one standard error apart, by its p value
            a, b = ((se * math.sqrt(n + 1), n + 1) for se, n in parts)
            welch = stats.ttest_ind_from_stats(found.se, *a, 0, *b, equal_var=False).pvalue
            assert abs(2 * stats.t.sf(1, found.df) - welch) < 1e-9
        half = math.hypot(*(se * stats.t.isf(0.025, n) for se, n in parts))
        assert abs(found.high - found.estimate - half) < 1e-9 * max(1, half)
        assert abs(found.estimate - found.low - half) < 1e-9 * max(1, half)
        if found.p > 1e-60:  # at its own p value the interval ends at 0
            reach = math.hypot(*(se * stats.t.isf(found.p / 2, n) for se, n in parts))
            assert reach == pytest.approx(abs(found.estimate), rel=1e-8, abs=1e-9)
        tested += 1
    assert tested > CASES


def test_seeds_alone_are_a_t_test_over_seeds():
    rng = np.random.default_rng(2)
    for _ in range(CASES):
        seeds, languages = rng.integers(3, 11), rng.integers(1, 6)
        system = {(int(s), f"l{k}"): float(rng.normal()) for s in range(seeds) for k in range(languages)}
        base = {key: float(rng.normal()) for key in system}
        found = effect([contribution(pair_scores("t", system, base))])
        by_seed = [np.mean([system[s, f"l{k}"] - base[s, f"l{k}"] for k in range(languages)]) for s in range(seeds)]
        low, high = stats.ttest_1samp(by_seed, 0).confidence_interval()
        assert found.kind == "seeds"
        assert math.isnan(found.p)
        assert abs(found.low - low) < 1e-9
        assert abs(found.high - high) < 1e-9


def test_one_seed_has_the_items_standard_error():
    rng = np.random.default_rng(3)
    for _ in range(CASES):
        items = random_items(rng, seeds=1)
        found = effect([contribution(paired(items))])
        sem = stats.sem(items.mean(axis=2)[0])
        assert (found.kind == "items") == (sem > 0)
        assert math.isnan(found.p)
        if sem:
            assert abs(found.se - sem) < 1e-9
            assert found.high - found.estimate >= stats.t.isf(0.025, items.shape[1] - 1) * sem - 1e-9
            assert "seeds' uncertainty is not in the interval" in found.reason


def test_item_errors_are_those_of_every_resample_there_is():
    rng = np.random.default_rng(14)
    drawn = np.indices((4,) * 4).reshape(4, -1).T  # the bootstrap without chance: all 256 draws of 4 items
    for _ in range(CASES):
        items = random_items(rng, seeds=1)[:, :1].repeat(4, axis=1) + rng.integers(0, 3, (1, 4, 1))
        found = effect([contribution(paired(items))])
        error = items[0, drawn].mean(axis=(1, 2)).std()
        # the bootstrap's variance lacks Bessel's correction
        assert abs((found.se if found.kind == "items" else 0) * math.sqrt(3 / 4) - error) < 1e-9


def test_item_errors_are_those_of_scipys_bootstrap():
    rng = np.random.default_rng(15)
    items = rng.normal(size=(CASES, 1, 12, 2)) + rng.normal(size=(CASES, 1, 12, 1))
    ours = np.array([effect([contribution(paired(own))]).se for own in items])
    flat = items.mean(axis=(1, 3))
    theirs = stats.bootstrap((flat,), np.mean, n_resamples=500, axis=-1, method="percentile", rng=rng).standard_error
    # 500 resamples, which scipy draws once for all cases, are uncertain by 3 %
    assert abs(ours * math.sqrt(11 / 12) / theirs - 1).max() < 0.2


def test_item_errors_are_those_of_resampling_items_over_all_languages_and_targets():
    rng = np.random.default_rng(4)
    shared = rng.normal(size=(2, 80, 1)) + 0.5 * rng.normal(size=(2, 80, 3))
    other = rng.normal(size=(2, 50, 2))
    parts = [contribution(paired(shared, "a")), contribution(paired(other, "b"))]
    found = effect(parts)
    errors = []
    for items in (shared, other):
        flat = items.sum(axis=2).mean(axis=0)
        errors.append(stats.bootstrap((flat,), np.mean, n_resamples=9999, rng=rng).standard_error)
    assert found.se == pytest.approx(math.hypot(*errors) / 5, rel=0.03)
    assert (found.n_pairs, found.n_items, found.n_seeds, found.kind) == (5, 130, 2, "items")


def test_languages_with_other_items_are_centred_on_their_own_mean():
    rng = np.random.default_rng(5)
    for _ in range(CASES):
        items = random_items(rng)
        items[:, rng.random(items.shape[1:]) < 0.3] = np.nan
        found = effect([contribution(paired(items))])
        kept = [k for k in range(items.shape[2]) if not np.isnan(items[:, :, k]).all()]
        if not kept:
            assert (found.kind, found.n_pairs) == ("none", 0)
            continue
        shares = np.zeros(items.shape[:2])
        estimate = 0.0
        for k in kept:
            for s in range(len(items)):
                own = [i for i in range(items.shape[1]) if not math.isnan(items[s, i, k])]
                mean = sum(items[s, i, k] for i in own) / len(own)
                estimate += mean / len(kept) / len(items)
                for i in own:
                    shares[s, i] += (items[s, i, k] - mean) / len(own) / len(kept)
        assert abs(found.estimate - estimate) < 1e-9
        n = np.count_nonzero(~np.isnan(items).all(axis=(0, 2)))
        assert found.n_items == n
        if found.kind == "seeds and items":
            crossed = shares - shares.mean(axis=0)
            square = (shares.mean(axis=0) ** 2).sum() - (crossed**2).sum() / (len(items) - 1) / len(items)
            assert abs(found.se_items**2 - max(square, 0) * n / (n - 1)) < 1e-9


def test_the_p_value_is_where_the_interval_touches_zero():
    rng = np.random.default_rng(6)
    for _ in range(300):
        part = contribution(paired(random_items(rng) + rng.normal()))
        found = effect([part])
        if found.kind != "seeds and items" or found.p < 1e-12:
            continue
        at = effect([part], confidence=1 - found.p)
        assert min(abs(at.low), abs(at.high)) < 1e-6 * max(1, abs(found.estimate))
        assert (found.p <= 0.05) == (found.low >= 0 or found.high <= 0)


def test_the_interval_adds_the_components_half_widths_in_quadrature():
    items = np.random.default_rng(7).normal(0.2, 1, (3, 400, 1))
    found = effect([contribution(paired(items))])
    seeds = stats.t.isf(0.025, 2) * found.se_seeds
    assert found.high - found.estimate == pytest.approx(math.hypot(seeds, 1.966 * found.se_items), rel=1e-3)


def test_order_does_not_matter():
    rng = np.random.default_rng(8)
    for _ in range(50):
        items = random_items(rng)
        shuffled = items
        for axis in range(3):
            shuffled = np.take(shuffled, rng.permutation(items.shape[axis]), axis=axis)
        a, b = (effect([contribution(paired(x))]) for x in (items, shuffled))
        for name in ("estimate", "low", "high", "p"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-9, nan_ok=True)


def test_holm_equals_statsmodels(monkeypatch):
    monkeypatch.setattr(gc, "collect", lambda: 0)  # statsmodels sweeps after every call, a tenth of a second each
    rng = np.random.default_rng(9)
    for _ in range(CASES):
        p = rng.choice([0.001, 0.01, 0.02, 0.04, 0.5, 1.0, rng.random()], rng.integers(1, 12))
        missing = rng.random(len(p)) < rng.choice([0, 0.4])
        ours = np.array(holm(np.where(missing, np.nan, p).tolist()))
        assert np.isnan(ours[missing]).all()
        if not missing.all():
            np.testing.assert_allclose(ours[~missing], multipletests(p[~missing], method="holm")[1], atol=1e-12)


def test_a_family_marks_only_what_is_tested():
    def one(p):
        return Effect(0.1, 0, 0.2, p, 0.1, 0.1, 0.1, 3, 1, 5, 100, "seeds and items")

    tested = family({"a": one(0.02), "b": one(0.04), "c": one(math.nan), "d": one(0.001)})
    assert {k: t.significant for k, t in tested.items()} == {"a": True, "b": True, "c": False, "d": True}
    assert family({"a": one(0.02), "b": one(0.04), "c": one(0.3)})["a"].significant is False
    assert family({}) == {}


def test_a_family_does_not_believe_in_hardly_any_scatter_of_seeds():
    rng = np.random.default_rng(16)
    lucky = paired(rng.normal(0.3, 0.1, (3, 50, 2)) + 0.001 * np.arange(3)[:, None, None])
    noisy = [rng.normal(0, 0.1, (3, 50, 2)) + rng.normal(0, 0.5, (3, 1, 1)) for _ in range(4)]
    others = [paired(items - items.mean()) for items in noisy]
    effects = {i: effect([contribution(part)]) for i, part in enumerate([lucky, *others])}
    tested = family(effects)
    # by hand: the median's quarter in place of its own variance
    least = 0.25 * float(np.median([3 * e.se_seeds**2 for e in effects.values()]))
    assert 3 * effects[0].se_seeds ** 2 < least
    alone = tested[0].p / 5  # Holm's factor of the least of five
    half = math.sqrt(least / 3 * stats.t.isf(alone / 2, 2) ** 2
                     + (effects[0].se_items * stats.t.isf(alone / 2, effects[0].df_items)) ** 2)  # fmt: skip
    assert half == pytest.approx(effects[0].estimate, rel=1e-8)
    assert effects[0].p < alone
    # and it can only make p values larger
    for _ in range(100):
        members = [effect([contribution(paired(random_items(rng)))]) for _ in range(rng.integers(1, 6))]
        plain, floored = holm([m.p for m in members]), family(dict(enumerate(members)))
        for p, member in zip(plain, floored.values(), strict=True):
            assert math.isnan(p) == math.isnan(member.p)
            assert math.isnan(p) or member.p >= p - 1e-12
    assert family({0: effects[0]})[0].p == effects[0].p
    assert family({0: effects[0], 1: effects[1]})[0].p == 2 * effects[0].p


def frame(values, seeds, ids, languages):
    index = [(s, i, k) for s in seeds for i in ids for k in languages]
    return pd.DataFrame(index, columns=["seed", "id", "language"]).assign(item_score=values)


def test_rows_are_paired_by_seed_language_and_item():
    ours = frame([1.0, 0, 1, 1, 0, 0, 1, 1], (1, 2), ("x", "y"), ("de", "sw"))
    base = frame([0.0, 0, 1, 0, 0, 1, 0, 0], (2, 3), ("y", "z"), ("en", "sw"))
    shuffled = ours.sample(frac=1, random_state=0)
    found = pair_items("xnli", ItemScores.from_frame(shuffled), ItemScores.from_frame(base))
    assert (found.seeds, found.languages, found.items.shape) == ((2,), ("sw",), (1, 1, 1))
    assert found.items.ravel().tolist() == [1.0]
    holes = pd.concat([ours, ours.iloc[:1].assign(id="new", item_score=np.nan)])
    assert ItemScores.from_frame(holes).ids == ("x", "y")
    with pytest.raises(MetricError, match=r"'x' in 'de' has two scores in seed 1"):
        ItemScores.from_frame(pd.concat([ours, ours.iloc[:1]]))


def test_an_untrained_baseline_stands_beside_every_seed():
    rng = np.random.default_rng(10)
    ours = frame(rng.integers(0, 2, 24), (0, 1, 2), tuple("abcd"), ("de", "sw"))
    base = frame(rng.integers(0, 2, 8), (0,), tuple("abcd"), ("de", "sw"))
    pair = [ItemScores.from_frame(f) for f in (ours, base)]
    assert pair_items("t", *pair).seeds == (0,)
    assert pair_items("t", *pair, untrained=True).seeds == (0, 1, 2)
    scores = [{(int(s), k): float(v) for (s, k), v in f.groupby(["seed", "language"])["item_score"].mean().items()}
              for f in (ours, base)]  # fmt: skip
    for untrained in (False, True):
        np.testing.assert_allclose(
            pair_scores("t", *scores, untrained=untrained).means, pair_items("t", *pair, untrained=untrained).means
        )


@pytest.mark.parametrize(
    ("parts", "kind", "reason"),
    [
        ([], "none", "no language has a difference"),
        ([paired(np.full((3, 4, 2), np.nan))], "none", "no language has a difference"),
        ([paired(np.zeros((3, 4, 2)))], "none", "do not vary at all"),
        ([paired(np.zeros((3, 1, 2)) + np.arange(3)[:, None, None])], "seeds", "a single item"),
        ([paired(np.ones((1, 1, 1)))], "none", "1 of at least 3 seeds and no item scores"),
        (
            [paired(np.ones((3, 4, 1)), "a"), paired(np.ones((3, 4, 1)), "b", first=3)],
            "none",
            "no seed has all 2 pairs",
        ),
        ([paired(np.random.default_rng(0).normal(size=(2, 9, 1)))], "items", "2 of at least 3 seeds"),
        (
            [Paired("a", (0, 1, 2), ("de",), np.array([[0.1], [0.2], [0.1]]))],
            "seeds",
            "no item scores of a: the items' uncertainty is not in the interval",
        ),
    ],
)
def test_what_is_undefined_says_why(parts, kind, reason):
    found = effect(contribution(part) for part in parts)
    assert found.kind == kind
    assert reason in found.reason
    assert math.isnan(found.p)
    assert math.isnan(found.low) == (kind == "none")


def test_a_seed_without_some_pairs_is_left_out_and_named():
    rng = np.random.default_rng(11)
    whole, short = rng.normal(size=(5, 20, 2)), rng.normal(size=(4, 20, 1))
    found = effect([contribution(paired(whole, "a")), contribution(paired(short, "b"))])
    assert found.n_seeds == 4
    assert found.reason == "seed 4 lacks some of the 3 pairs"
    assert found.estimate == pytest.approx((whole[:4].mean(axis=(0, 1)).sum() + short.mean()) / 3)


def test_forty_languages_take_seconds():
    rng = np.random.default_rng(12)
    shape = (5, 1000, 40)
    index = np.indices(shape).reshape(3, -1)
    start = time.perf_counter()
    sides = [
        ItemScores.from_frame(pd.DataFrame({
            "seed": index[0], "id": index[1].astype(str), "language": index[2].astype(str),
            "item_score": rng.integers(0, 2, shape).ravel(),
        })) for _ in range(2)
    ]  # fmt: skip
    pair = pair_items("t", *sides)
    effects = [effect([contribution(pair, [code])]) for code in pair.languages] + [effect([contribution(pair)])]
    assert time.perf_counter() - start < 10
    assert all(found.kind == "seeds and items" for found in effects)


@pytest.mark.slow
@pytest.mark.parametrize("seed_sd", SEED_SD.values(), ids=SEED_SD)
@pytest.mark.parametrize("n_seeds", SEEDS)
def test_intervals_hold_the_truth(n_seeds, seed_sd):
    held, _, _ = coverage(n_seeds, seed_sd, 1000)
    assert 0.93 <= held <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("scatter", ["none", "like the items", "dominant", "beyond"])
@pytest.mark.parametrize("n_seeds", SEEDS)
def test_families_without_effect_reject_nothing_in_95_percent(n_seeds, scatter):
    alarms = false_alarms(n_seeds, SEED_SD[scatter], 1000)
    # tests of the right size reject in 5 %: of 1,000 families a few more or less by chance
    assert max(alarms.values()) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)
