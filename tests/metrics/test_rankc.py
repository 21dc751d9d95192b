"""RankC against a word-for-word reading of its definition."""

import math

import numpy as np
import pytest
import torch

from xmit.errors import MetricError
from xmit.metrics import rankc
from xmit.metrics.ranking import rank_candidates


def naive(scores_a, scores_b, weights="exponential", overlap=None):
    """Mean over queries of sum_j w_j |top_j(a) & top_j(b)| / j, with sets."""
    overlap = overlap or (lambda a, b: [len(set(a[:j]) & set(b[:j])) for j in range(1, len(a) + 1)])
    values = []
    for row_a, row_b in zip(scores_a, scores_b, strict=True):
        a, b = (
            sorted((c for c in range(len(row)) if row[c] > -math.inf), key=lambda c: (-row[c], c))
            for row in (row_a, row_b)
        )
        if len(a) != len(b) or len(a) < 2:
            continue
        order = [len(a) - i for i in range(len(a))]
        raw = [math.exp(o - len(a)) if weights == "exponential" else o for o in order]
        whole = math.fsum(raw)
        values.append(math.fsum(raw[j] / whole * common / (j + 1) for j, common in enumerate(overlap(a, b))))
    return math.fsum(values) / len(values) if values else math.nan


def growing(a, b):
    """The sizes of the sets' intersections, one candidate of each added at a time: fast enough for thousands."""
    top_a, top_b, common, out = set(), set(), 0, []
    for first, second in zip(a, b, strict=True):
        top_a.add(first)
        top_b.add(second)
        common += (first in top_b) + (second in top_a and second != first)
        out.append(common)
    return out


def scores(rng, queries, candidates):
    """Pairs from equal to unrelated, half of them full of ties, some candidates absent."""
    a = rng.normal(size=(queries, candidates))
    b = a + rng.choice([0.0, 0.3, 3.0]) * rng.normal(size=a.shape)
    if rng.random() < 0.5:
        a, b = a.round(), b.round()
    if rng.random() < 0.3:
        absent = rng.random(a.shape) < 0.2
        absent[:, 0] = False
        a, b = np.where(absent, -np.inf, a), np.where(absent, -np.inf, b)
    return a, b


@pytest.mark.parametrize("weights", ["exponential", "linear"])
def test_rankc_is_its_definition(weights):
    rng = np.random.default_rng(7)
    for _ in range(1000):
        a, b = scores(rng, rng.integers(1, 4), rng.choice([1, 2, 3, 10, 20]))
        ours, theirs = rankc(a, b, weights), naive(a, b, weights)
        assert (math.isnan(ours) and math.isnan(theirs)) or abs(ours - theirs) < 1e-9
        assert theirs == naive(a, b, weights, growing) or math.isnan(theirs)


@pytest.mark.parametrize("weights", ["exponential", "linear"])
def test_rankc_is_its_definition_for_many_candidates(weights):
    rng = np.random.default_rng(8)
    sizes = [63, 64, 65, 1000, *np.geomspace(10, 1000, 996).astype(int).tolist()]
    for candidates in sizes:
        a, b = scores(rng, 1, candidates)
        assert abs(rankc(a, b, weights) - naive(a, b, weights, growing)) < 1e-9


def test_thousands_of_candidates_do_not_overflow():
    a = torch.randn(3, 13_014, generator=torch.Generator().manual_seed(0))
    assert rankc(a, a) == pytest.approx(1, abs=1e-12)
    assert 0 <= rankc(a, -a) < 1e-9
    assert rankc(a, a, "linear") == pytest.approx(1, abs=1e-12)


def test_two_classes_make_rankc_a_line_in_agreement():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(500, 2, generator=generator), torch.randn(500, 2, generator=generator)
    agreement = (a.argmax(1) == b.argmax(1)).double().mean().item()
    first = 1 / (1 + math.exp(-1))
    assert rankc(a, b) == pytest.approx((1 - first) + first * agreement, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_top_ranks_are_the_stable_sort(dtype):
    generator = torch.Generator().manual_seed(2)
    many = torch.randn(300, 700, generator=generator).to(dtype)
    ties = torch.randint(0, 40, (300, 700), generator=generator).to(dtype)
    for table in (many, ties, torch.zeros(5, 700, dtype=dtype)):
        expected = table.sort(dim=1, descending=True, stable=True).indices[:, :64]
        assert torch.equal(rank_candidates(table, 64)[0].long(), expected)


def test_one_candidate_or_unlike_sets_are_undefined():
    assert math.isnan(rankc([[0.3]], [[0.2]]))
    assert math.isnan(rankc([[0.3, 0.1]], [[0.2, -math.inf]]))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([[0.1, math.nan]], [[0.1, 0.2]], "NaN"),
        ([[0.1, 0.2]], [[0.1, 0.2, 0.3]], "one shape"),
        ([[1, 2]], [[1, 2]], "floats"),
        ([[-math.inf, -math.inf]], [[0.1, 0.2]], "no candidate"),
    ],
)
def test_wrong_scores_are_named(a, b, message):
    with pytest.raises(MetricError, match=message):
        rankc(a, b)
