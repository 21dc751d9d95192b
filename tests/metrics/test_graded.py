"""Agreement of values and of multisets against krippendorff, pandas and counters; and of both against labels."""

import math
import warnings
from collections import Counter
from fractions import Fraction

import krippendorff
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_consistency import LANGUAGES, nan_keys

from xmit.errors import MetricError
from xmit.metrics import CrossLingualConsistency, graded
from xmit.metrics import functional as F

CASES = 1000


def tables(seed, number=CASES):
    """Values with ties and holes, from one item and language upwards, and from one value to many."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        shape = rng.integers(1, 20), rng.integers(1, 7)
        grid = rng.choice([1, 2, 5, 100])
        values = rng.integers(0, grid, shape) / max(grid - 1, 1)
        yield np.where(rng.random(shape) < rng.choice([0, 0.2, 0.8]), np.nan, values)


def same(ours, theirs):
    return (math.isnan(ours) and math.isnan(theirs)) or abs(ours - theirs) < 1e-9


def test_alpha_of_values_equals_krippendorff():
    defined = 0
    for values in tables(1, 2 * CASES):
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                theirs = krippendorff.alpha(reliability_data=values.T, level_of_measurement="interval")
        except ValueError:  # one value, or no item with two languages
            theirs = math.nan
        assert same(graded.value_alpha(values), theirs)
        defined += not math.isnan(theirs)
    assert defined > CASES


def test_closeness_and_worth_by_hand():
    for values in tables(2):
        closeness, given_first = graded.pairwise_closeness(values), graded.value_given_pivot(values, 0)
        for a in range(values.shape[1]):
            for b in range(values.shape[1]):
                both = [1 - abs(r[a] - r[b]) for r in values if not math.isnan(r[a] + r[b])]
                assert same(closeness[a, b], math.fsum(both) / len(both) if both else math.nan)
            known = [(r[0], r[a]) for r in values if not math.isnan(r[0] + r[a])]
            weight = math.fsum(p for p, _ in known)
            assert same(given_first[a], math.fsum(p * v for p, v in known) / weight if weight else math.nan)
        whole = [r for r in values if not np.isnan(r).any() and len(r) > 1]
        assert same(graded.lowest_value(values), math.fsum(map(min, whole)) / len(whole) if whole else math.nan)
        spread = math.fsum(1 - max(r) + min(r) for r in whole)
        assert same(graded.value_unanimity(values), spread / len(whole) if whole else math.nan)


def test_values_zero_and_one_are_right_and_wrong():
    for values in tables(3):
        right = np.where(np.isnan(values), np.nan, np.round(values))
        known = ~np.isnan(right)
        correct = np.where(known, right, 0).astype(bool)
        np.testing.assert_allclose(graded.pairwise_closeness(right), F.pairwise_agreement(right), atol=1e-9)
        assert same(graded.value_unanimity(right), F.unanimity(right))
        assert same(graded.value_alpha(right), F.krippendorff_alpha(right))
        assert same(graded.lowest_value(right), F.all_correct(correct, known))
        np.testing.assert_allclose(
            graded.value_given_pivot(right, 0), F.correct_given_pivot(correct, 0, known), atol=1e-9
        )


def test_dice_overlap_is_that_of_counters():
    rng = np.random.default_rng(4)
    for _ in range(CASES):
        counts = rng.integers(0, rng.choice([1, 2, 4]), (rng.integers(1, 8), rng.integers(1, 5), 3))
        present = rng.random(counts.shape[:2]) < rng.choice([1, 0.6])
        ours = graded.pairwise_dice(counts, present)
        bags = [[Counter(dict(enumerate(map(int, bag)))) for bag in row] for row in counts]
        for a in range(counts.shape[1]):
            for b in range(counts.shape[1]):
                overlaps = []
                for row, there in zip(bags, present, strict=True):
                    if there[a] and there[b]:
                        size = (row[a] + row[b]).total()
                        overlaps.append(Fraction(2 * (row[a] & row[b]).total(), size) if size else Fraction(1))
                assert same(ours[a, b], float(sum(overlaps) / len(overlaps)) if overlaps else math.nan)
        whole = [row for row, there in zip(bags, present, strict=True) if there.all() and len(row) > 1]
        alike = [all(bag == row[0] for bag in row) for row in whole]
        assert same(graded.bag_unanimity(counts, present), sum(alike) / len(alike) if alike else math.nan)


def feed(kind, rows, sizes=(99,)):
    metric, at, turn = CrossLingualConsistency(collapse_at=1.0), 0, 0
    while at < len(rows):
        batch = rows[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(batch), turn + 1
        ids, codes, preds = zip(*batch, strict=True)
        metric.update(torch.tensor(preds, dtype=torch.float64) if kind == "values" else list(preds), ids, codes)
    return metric.compute()


cell = st.tuples(st.integers(0, 6), st.sampled_from(LANGUAGES))


@settings(max_examples=60, deadline=None)
@given(
    cells=st.dictionaries(cell, st.tuples(st.integers(0, 4), st.lists(st.sampled_from("ANV"), max_size=3)), min_size=1),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    kind=st.sampled_from(["values", "bags"]),
    data=st.data(),
)
def test_order_batches_and_repeats_do_not_matter(cells, sizes, kind, data):
    rows = [(i, code, value / 4 if kind == "values" else tags) for (i, code), (value, tags) in cells.items()]
    repeats = data.draw(st.lists(st.sampled_from(rows), max_size=4))
    shuffled = data.draw(st.permutations(rows + repeats))
    if kind == "bags":  # the order of tags within a sentence is none either
        shuffled = [(i, code, data.draw(st.permutations(tags))) for i, code, tags in shuffled]
    whole = feed(kind, rows)
    assert repr(whole) == repr(feed(kind, shuffled, sizes))
    assert nan_keys({k: v for k, v in whole.items() if k != "collapse"}) == set(whole["reasons"])


def test_every_key_equals_its_function():
    rng = np.random.default_rng(5)
    values = rng.integers(0, 5, (12, 4)) / 4
    order = ["en", "ace-Arab", "de", "sw"]
    rows = [(f"q{i:02}", code, values[i, k]) for i in range(12) for k, code in enumerate(order) if i or k != 1]
    values[0, 1] = np.nan
    result = feed("values", rows)
    closeness = graded.pairwise_closeness(values)
    assert [list(row.values()) for row in result["pairwise"].values()] == closeness.tolist()
    assert result["agreement/sw"] == closeness[0, 3]
    assert result["unanimous"] == graded.value_unanimity(values)
    assert result["krippendorff_alpha"] == graded.value_alpha(values)
    assert result["all_correct"] == graded.lowest_value(values)
    assert result["correct_given_pivot/de"] == graded.value_given_pivot(values, 0)[2]
    assert "for classes" in result["reasons"]["fleiss_kappa"]
    tags = feed("bags", [("s", "en", ["N", "V", "N"]), ("s", "sw", ["N", "V"]), ("t", "en", []), ("t", "sw", [])])
    assert (tags["agreement/sw"], tags["unanimous"]) == (0.9, 0.5)
    assert "multisets" in tags["reasons"]["krippendorff_alpha"]
    assert "all_correct" not in tags


def test_collapse_of_values_and_tags_is_told():
    metric = CrossLingualConsistency()
    metric.update(torch.tensor([0.0, 0.0, 1.0, 1.0]), ["a", "b", "a", "b"], ["en", "en", "sw", "sw"])
    assert metric.compute()["collapse"] == {"en": {"label": 0.0, "share": 1.0}}  # all right is no collapse
    metric = CrossLingualConsistency()
    metric.update([["N", "V"], ["N"], []], ["a", "a", "a"], ["en", "sw", "de"])
    assert metric.compute()["collapse"] == {
        "de": {"label": "no tag", "share": 1.0},
        "sw": {"label": "N", "share": 1.0},
    }


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (torch.tensor([0.5]), torch.tensor([0.25]), "contradictory predictions: 0.5 and 0.25"),
        ([["N", "V"]], [["N"]], "contradictory tags"),
        (torch.tensor([1]), torch.tensor([1.0]), "labels and values cannot be compared"),
        ([["N"]], torch.tensor([1.0]), "values and bags cannot be compared"),
    ],
)
def test_contradictions_and_mixtures_are_refused(first, second, message):
    metric = CrossLingualConsistency()
    metric.update(first, ["x"], "en")
    metric.update(second, ["x"], "en")
    with pytest.raises(MetricError, match=message):
        metric.compute()


@pytest.mark.parametrize("values", [[[0.5, 1.5]], [0.5]])
def test_wrong_values_are_refused(values):
    with pytest.raises(MetricError, match="values"):
        graded.pairwise_closeness(values)
