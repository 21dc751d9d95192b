"""BUCC's F1 of pairs, Tatoeba's accuracy, mAP@20 and MRR@20."""

import math
import pickle
import random

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from xmit.errors import MetricError
from xmit.metrics import (
    LanguagePairF1,
    LanguageRanking,
    average_precision,
    bucc_f1,
    mean_average_precision,
    mrr,
    reciprocal_rank,
    tatoeba_accuracy,
)


def test_pairs_equal_sklearn_over_all_possible_pairs():
    rng = random.Random(0)
    cells = [(f"de-{i}", f"en-{j}") for i in range(6) for j in range(6)]
    for _ in range(1000):
        pred, gold = ({cell for cell in cells if rng.random() < share} for share in (rng.random(), rng.random()))
        scores = bucc_f1(pred, gold)
        marks = [[cell in side for cell in cells] for side in (gold, pred)]
        theirs = precision_recall_fscore_support(*marks, average="binary", zero_division=0)
        assert [scores[n] for n in ("precision", "recall", "f1")] == pytest.approx(theirs[:3], abs=1e-12)


def test_tatoeba_equals_sklearn():
    rng = np.random.default_rng(0)
    for _ in range(1000):
        pred, gold = rng.integers(0, 4, (2, rng.integers(1, 30)))
        assert tatoeba_accuracy([str(i) for i in pred], gold.tolist()) == pytest.approx(accuracy_score(gold, pred))
    assert math.isnan(tatoeba_accuracy([], []))


def draw(rng):
    names = [f"c{j}" for j in range(rng.choice([5, 30, 60]))]
    gold = {f"q{j}": set(rng.sample(names, rng.randint(1, min(len(names), 40)))) for j in range(rng.randint(1, 6))}
    return {q: [rng.choice(names) for _ in range(rng.randint(0, 40))] for q in gold}, gold, rng.choice([1, 5, 20])


def slow_average_precision(ranked, gold, k):
    """Precision at every rank by counting, with numpy; repeats are no hits."""
    first = [name in gold and ranked.index(name) == i for i, name in enumerate(ranked[:k])]
    precision = np.cumsum(first) / np.arange(1, len(first) + 1)
    return float((precision * first).sum() / min(k, len(gold)))


def test_rankings_equal_brute_force():
    rng = random.Random(1)
    for _ in range(1000):
        ranked, gold, k = draw(rng)
        expected = np.mean([slow_average_precision(ranked[q], gold[q], k) for q in gold])
        assert mean_average_precision(ranked, gold, k) == pytest.approx(expected, abs=1e-12)
        ranks = [next((i for i, name in enumerate(ranked[q][:k], 1) if name in gold[q]), math.inf) for q in gold]
        assert mrr(ranked, gold, k) == pytest.approx(np.mean([1 / rank for rank in ranks]), abs=1e-12)


def test_one_right_candidate_makes_the_two_rules_one():
    rng = random.Random(2)
    for _ in range(100):
        ranked, gold, k = draw(rng)
        single = {q: {min(names)} for q, names in gold.items()}
        assert mrr(ranked, single, k) == pytest.approx(mean_average_precision(ranked, single, k))


def test_edges_of_rankings():
    # 30 right ones, the first 20 all right: the divisor is 20
    assert average_precision([f"a{i}" for i in range(25)], {f"a{i}" for i in range(30)}) == 1.0
    assert average_precision(["a", "a", "b"], {"a", "b"}) == pytest.approx((1 + 2 / 3) / 2)
    assert reciprocal_rank([*"x" * 20, "a"], {"a"}) == 0.0
    assert mrr({}, {"q": {"a"}}) == mean_average_precision({}, {"q": {"a"}}) == 0.0
    assert math.isnan(mrr({}, {}))
    assert math.isnan(mean_average_precision({"q": ["a"]}, {}))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: bucc_f1([("a", "b")], set()), "as a set, got list"),
        (lambda: tatoeba_accuracy([1], []), "1 predictions for 0"),
        (lambda: mean_average_precision({}, {"q": set()}), "'q'.*no right candidate"),
        (lambda: mrr({}, {"q": {"a"}}, k=0), "at least 1"),
        (lambda: mrr({"q": "abc"}, {"q": {"a"}}), "not as one string"),
        (lambda: LanguageRanking(["en"], "ndcg"), "not 'ndcg'"),
        (lambda: LanguageRanking(["en", "en"]), "distinct"),
        (lambda: LanguageRanking(["en"]).update([["a"]], [{"a"}], [1]), "0 … 0"),
        (lambda: LanguageRanking(["en"]).update([["a"]], [], [0]), "must match"),
        (lambda: LanguagePairF1(["de"]).update([], [], "fr"), "unknown language 'fr'"),
        (lambda: LanguagePairF1(["de"]).update(["ab"], [], "de"), "two strings"),
        (lambda: LanguagePairF1(["de"]).update([("a", 1)], [], "de"), "two strings"),
    ],
)
def test_wrong_input_is_named(function, message):
    with pytest.raises(MetricError, match=message):
        function()


@pytest.mark.parametrize(("rule", "function"), [("map", mean_average_precision), ("mrr", mrr)])
def test_ranking_class_equals_the_function_in_any_batches(rule, function):
    rng, codes = random.Random(3), ["en", "sw", "yo"]
    names = [f"c{i}" for i in range(12)]
    rows = [(rng.sample(names, 9), set(rng.sample(names, rng.randint(1, 5))), rng.randrange(2)) for _ in range(100)]
    whole, parts = LanguageRanking(codes, rule, k=5), LanguageRanking(codes, rule, k=5)
    whole.update(*zip(*rows, strict=True))
    for start in range(0, 100, 7):
        parts.update(*zip(*rows[start : start + 7], strict=True))
        parts = pickle.loads(pickle.dumps(parts))
    for i, code in enumerate(codes[:2]):
        here = {str(n): row for n, row in enumerate(rows) if row[2] == i}
        expected = function({n: row[0] for n, row in here.items()}, {n: row[1] for n, row in here.items()}, 5)
        for metric in (whole, parts):
            assert metric.compute()[code]["map@5"] == pytest.approx(expected, abs=1e-12)
    assert math.isnan(whole.compute()["yo"]["map@5"])


def test_pair_class_counts_a_pair_once_in_any_batches():
    rng, codes = random.Random(4), ["de", "zh", "ru"]
    sides = {
        c: [[(f"{c}-{rng.randrange(9)}", f"en-{rng.randrange(3)}") for _ in range(30)] for _ in "ab"] for c in codes
    }
    whole, parts = LanguagePairF1([*codes, "fr"]), LanguagePairF1([*codes, "fr"])
    for code, (pred, gold) in sides.items():
        whole.update(pred, gold, code)
        for start in range(0, 30, 7):
            parts.update(pred[start : start + 7], gold[start : start + 7], code)
            parts = pickle.loads(pickle.dumps(parts))
    for metric in (whole, parts):
        result = metric.compute()
        assert {code: bucc_f1(set(pred), set(gold)) for code, (pred, gold) in sides.items()} == {
            code: result[code] for code in codes
        }
        assert all(math.isnan(value) for value in result["fr"].values())
    whole.reset()
    whole.update([], [("a", "b")], "de")
    assert whole.compute()["de"]["f1"] == 0.0


def test_pair_ids_of_any_script():
    metric = LanguagePairF1(["zh"])
    metric.update([("zh-句", ""), ("a", "\ud800")], [("zh-句", "")], "zh")
    assert metric.compute()["zh"]["f1"] == pytest.approx(2 / 3)
    assert isinstance(metric.rows[0], torch.Tensor)
