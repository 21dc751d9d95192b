"""Agreement statistics against statsmodels, krippendorff, scipy and pandas."""

import math
import warnings

import krippendorff
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_kappa

from xmit.errors import MetricError
from xmit.metrics import functional as F

CASES = 1000
TOLERANCE = 1e-9


def cases(seed, missing, number=CASES):
    """Random tables from one item and language upwards, from one class to more classes than items."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        items, languages = rng.integers(1, 30), rng.integers(1, 8)
        classes = rng.choice([1, 2, 3, 5, 40])
        truth = rng.integers(0, classes, (items, 1))
        noise = rng.integers(0, classes, (items, languages))
        labels = np.where(rng.random((items, languages)) < rng.random(), truth, noise) * rng.choice([1, -7])
        present = rng.random((items, languages)) >= (rng.choice([0.0, 0.1, 0.5, 0.9]) if missing else 0.0)
        yield labels, present


def same(ours, theirs):
    return (math.isnan(ours) and math.isnan(theirs)) or abs(ours - theirs) < TOLERANCE


def test_fleiss_kappa_equals_statsmodels():
    defined = 0
    for labels, present in cases(1, missing=True, number=2 * CASES):
        complete = labels[present.all(axis=1)]
        ours = F.fleiss_kappa(labels, present)
        if complete.shape[0] == 0 or complete.shape[1] < 2 or len(np.unique(complete)) == 1:
            assert math.isnan(ours)
            continue
        assert same(ours, statsmodels_kappa(aggregate_raters(complete)[0]))
        defined += 1
    for labels, _ in cases(2, missing=False, number=2 * CASES):
        with np.errstate(all="ignore"):
            theirs = statsmodels_kappa(aggregate_raters(labels)[0]) if labels.shape[1] > 1 else math.nan
        assert same(F.fleiss_kappa(labels), theirs)
        defined += not math.isnan(theirs)
    assert defined > CASES


def test_krippendorff_alpha_equals_krippendorff():
    defined = 0
    for labels, present in cases(3, missing=True, number=2 * CASES):
        data = np.where(present, labels, np.nan)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                theirs = krippendorff.alpha(reliability_data=data.T, level_of_measurement="nominal")
        except ValueError:  # one class, or no item with two languages
            theirs = math.nan
        assert same(F.krippendorff_alpha(labels, present), theirs)
        assert same(F.krippendorff_alpha(data), theirs)
        defined += not math.isnan(theirs)
    assert defined > CASES


def test_pairwise_agreement_equals_scipy():
    for labels, _ in cases(4, missing=False):
        theirs = 1 - squareform(pdist(labels.T, metric="hamming")) if labels.shape[1] > 1 else np.ones((1, 1))
        np.testing.assert_allclose(F.pairwise_agreement(labels), theirs, atol=TOLERANCE, rtol=0)


def test_agreement_with_missing_items_equals_pandas():
    for labels, present in cases(5, missing=True):
        pairwise, common = F.pairwise_agreement(labels, present), F.common_items(present)
        frame = pd.DataFrame(np.where(present, labels, np.nan))
        pivot = int(labels.sum() % labels.shape[1])
        np.testing.assert_array_equal(F.pivot_agreement(labels, pivot, present), pairwise[pivot])
        for other in range(labels.shape[1]):
            both = frame[[pivot]].assign(other=frame[other]).dropna()
            assert common[pivot, other] == len(both)
            assert same(pairwise[pivot, other], (both[pivot] == both["other"]).mean())
        complete = frame.dropna()
        theirs = complete.nunique(axis=1).eq(1).mean() if labels.shape[1] > 1 else math.nan
        assert same(F.unanimity(labels, present), theirs)


def test_correctness_equals_pandas():
    for labels, present in cases(6, missing=True):
        correct = labels == labels.max()
        frame = pd.DataFrame(np.where(present, correct, np.nan))
        complete = frame.dropna()
        theirs = complete.all(axis=1).mean() if labels.shape[1] > 1 else math.nan
        assert same(F.all_correct(correct, present), theirs)
        given = F.correct_given_pivot(correct, 0, present)
        for other in range(labels.shape[1]):
            assert same(given[other], frame.loc[frame[0] == 1, other].dropna().mean())


@pytest.mark.parametrize(
    ("labels", "unanimous"),
    [(np.zeros((4, 1), int), math.nan), (np.zeros((0, 3), int), math.nan), (np.zeros((4, 3), int), 1.0)],
)
def test_one_language_no_item_and_one_class_are_undefined(labels, unanimous):
    assert math.isnan(F.fleiss_kappa(labels))
    assert math.isnan(F.krippendorff_alpha(labels))
    assert same(F.unanimity(labels), unanimous)


def test_many_classes_need_no_dense_table():
    # 2,000 items x 13,000 candidates would be 208 MB as a table of counts
    labels = np.random.default_rng(0).integers(0, 13_000, (2000, 11))
    labels[:, 1:6] = labels[:, :1]
    assert 0 < F.fleiss_kappa(labels) < 1
    assert same(F.krippendorff_alpha(labels[:30]), krippendorff.alpha(labels[:30].T, level_of_measurement="nominal"))


def test_arrays_tensors_lists_and_nan_say_the_same():
    labels = [[0, 1, 1], [2, 2, 2], [1, 1, 0]]
    tables = [labels, np.array(labels), torch.tensor(labels), torch.tensor(labels, dtype=torch.float32)]
    assert len({F.fleiss_kappa(table) for table in tables}) == 1
    holes = [[0, 1, math.nan], [2, 2, 2], [1, 1, 0]]
    present = torch.tensor([[True, True, False], [True] * 3, [True] * 3])
    assert F.krippendorff_alpha(holes) == F.krippendorff_alpha(labels, present)


@pytest.mark.parametrize(
    ("labels", "present", "message"),
    [([0, 1], None, "items x languages"), ([[0.5, 1.0]], None, "whole numbers"), ([[0, 1]], [[True]], "shape")],
)
def test_wrong_input_is_named(labels, present, message):
    with pytest.raises(MetricError, match=message):
        F.fleiss_kappa(labels, present)
