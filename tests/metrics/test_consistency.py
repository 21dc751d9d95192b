"""The consistency metric: values, reasons, order, pickling, errors."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xmit.errors import MetricError
from xmit.metrics import CrossLingualConsistency, rankc
from xmit.metrics import functional as F
from xmit.metrics.ranking import rank_candidates

LANGUAGES = ["en", "de", "sw", "ace-Arab"]


def feed(metric, rows, sizes=(10**9,)):
    """Update with rows (id, language, prediction, target) in batches of the given sizes."""
    rows = list(rows)
    at = 0
    while at < len(rows):
        for size in sizes:
            batch = rows[at : at + size]
            at += size
            if batch:
                ids, languages, preds, targets = zip(*batch, strict=True)
                metric.update(torch.tensor(preds), ids, languages, torch.tensor(targets))
    return metric.compute()


def grid(items=40, classes=3, scores=None, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, items)
    rows = []
    for code in LANGUAGES:
        for item in range(items):
            pred = rng.normal(size=scores).tolist() if scores else int(rng.choice([target[item], 0]))
            rows.append((f"q-{item}", code, pred, int(target[item])))
    return rows


def test_every_key_equals_its_function():
    rows = [row for i, row in enumerate(grid()) if i % 11]
    result = feed(CrossLingualConsistency(), rows)
    order = ["en", "ace-Arab", "de", "sw"]
    ids = sorted({row[0] for row in rows})
    labels, correct = (np.full((len(ids), 4), np.nan) for _ in range(2))
    for item, code, pred, target in rows:
        cell = ids.index(item), order.index(code)
        labels[cell], correct[cell] = pred, pred == target
    assert list(result["pairwise"]) == order
    pairwise = F.pairwise_agreement(labels)
    for i, a in enumerate(order):
        assert list(result["pairwise"][a].values()) == pairwise[i].tolist()
        assert list(result["pairwise_n"][a].values()) == F.common_items(~np.isnan(labels))[i].tolist()
    assert result["pairwise_mean"] == pytest.approx(pairwise[np.triu_indices(4, 1)].mean(), abs=1e-12)
    for i, code in enumerate(order[1:], 1):
        assert result[f"agreement/{code}"] == F.pivot_agreement(labels, 0)[i]
        assert result[f"correct_given_pivot/{code}"] == F.correct_given_pivot(correct, 0)[i]
    assert result["unanimous"] == F.unanimity(labels)
    assert result["fleiss_kappa"] == F.fleiss_kappa(labels)
    assert result["krippendorff_alpha"] == F.krippendorff_alpha(labels)
    assert result["all_correct"] == F.all_correct(correct)
    assert result["n_common"] == int((~np.isnan(labels)).all(axis=1).sum()) < result["n_items"] == 40
    assert result["reasons"] == {}
    assert result["warnings"] == []
    assert "agreement/en" not in result
    assert not any(key.startswith("rankc") for key in result)


@pytest.mark.parametrize("weights", ["exponential", "linear"])
@pytest.mark.parametrize("candidates", [3, 100])
def test_scores_give_rankc_and_their_best_candidate(weights, candidates):
    rows = grid(items=25, scores=candidates)
    result = feed(CrossLingualConsistency(rankc_weights=weights), rows, sizes=(7, 1))
    table = {code: torch.tensor([row[2] for row in rows if row[1] == code]) for code in LANGUAGES}
    for code in LANGUAGES[1:]:
        assert result[f"rankc/{code}"] == pytest.approx(rankc(table["en"], table[code], weights), abs=1e-12)
        agreement = (table["en"].argmax(1) == table[code].argmax(1)).double().mean().item()
        assert result[f"agreement/{code}"] == pytest.approx(agreement, abs=1e-12)


@pytest.mark.parametrize("weights", ["exponential", "linear"])
def test_labels_with_a_ranking_say_what_scores_say(weights):
    rows = grid(items=25, scores=80)
    scored = feed(CrossLingualConsistency(rankc_weights=weights), rows)
    ids, codes, preds, targets = zip(*rows, strict=True)
    scores, target = torch.tensor(preds), torch.tensor(targets)
    metric = CrossLingualConsistency(rankc_weights=weights)
    metric.update(scores.argmax(1), ids, codes, target, rank_candidates(scores, 80)[0])
    assert repr(metric.compute()) == repr(scored)
    # the best 20 of 80 are all but everything
    metric.reset()
    metric.update(scores.argmax(1), ids, codes, target, rank_candidates(scores, 20)[0])
    if weights == "exponential":
        assert metric.compute()["rankc/sw"] == pytest.approx(scored["rankc/sw"], abs=1e-8)


def test_an_item_may_have_no_ranking():
    metric = CrossLingualConsistency()
    for code, second in (("en", [0, 1, 2]), ("sw", [-1, -1, -1]), ("de", [2, 1, 0])):
        metric.update(torch.tensor([0, 1]), ["a", "b"], code, None, torch.tensor([[0, 1, 2], second]))
    result = metric.compute()
    assert result["rankc/sw"] == pytest.approx(1)  # of item a alone
    assert result["rankc/de"] < 1
    metric.update(torch.tensor([0]), ["b"], "fr", None, torch.tensor([[-1]]))
    assert metric.compute()["reasons"]["rankc/fr"] == "no item has scores in both 'en' and 'fr'"


def test_items_may_differ_in_their_number_of_candidates():
    metric = CrossLingualConsistency()
    for code in ("en", "sw"):
        metric.update(torch.tensor([[0.1, 0.2]]), ["two"], code)
        metric.update(torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.1, -torch.inf]]), ["three", "padded"], code)
    assert metric.compute()["rankc/sw"] == pytest.approx(1, abs=1e-12)
    metric.update(torch.tensor([[0.1, 0.2]]), ["unlike"], "en")
    metric.update(torch.tensor([[0.1, 0.2, 0.0]]), ["unlike"], "sw")
    result = metric.compute()
    assert result["rankc/sw"] == pytest.approx(1, abs=1e-12)
    assert any("number of candidates" in warning for warning in result["warnings"])


record = st.tuples(st.integers(0, 8), st.sampled_from(LANGUAGES))


@settings(max_examples=150, deadline=None)
@given(
    cells=st.dictionaries(record, st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    scored=st.booleans(),
    data=st.data(),
)
def test_order_batches_and_repeats_do_not_matter(cells, sizes, scored, data):
    rows = [
        (item, code, np.eye(3)[label].tolist() if scored else label, target)
        for (item, code), (label, target) in cells.items()
    ]
    repeats = data.draw(st.lists(st.sampled_from(rows), max_size=5)) if rows else []
    shuffled = data.draw(st.permutations(rows + repeats))
    if not rows:
        return
    # repr tells every bit and knows that NaN is NaN
    assert repr(feed(CrossLingualConsistency(), rows)) == repr(feed(CrossLingualConsistency(), shuffled, sizes))


def test_deep_ranks_of_a_repeat_may_differ_by_rounding():
    for order in (1, -1):
        metric = CrossLingualConsistency()
        metric.update(torch.tensor([[3.0, 1.0, 2.0]]), ["a"], "en")
        for scores in [[3.0, 1.0, 1.0 + 1e-6], [3.0, 1.0, 1.0]][::order]:
            metric.update(torch.tensor([scores]), ["a"], "sw")
        assert metric.compute()["rankc/sw"] < 1


def test_a_repeat_may_add_what_was_missing():
    metric = CrossLingualConsistency()
    metric.update(torch.tensor([1, 1]), ["a", "a"], ["en", "sw"])
    metric.update(torch.tensor([[0.1, 0.9]] * 2), ["a", "a"], ["sw", "en"], torch.tensor([1, 1]))
    result = metric.compute()
    assert result["all_correct"] == 1
    assert result["rankc/sw"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ((torch.tensor([1]), None), (torch.tensor([2]), None), "predictions: 1 and 2"),
        ((torch.tensor([1]), torch.tensor([0])), (torch.tensor([1]), torch.tensor([1])), "targets: 0 and 1"),
        ((torch.tensor([[1.0, 0.0]]), None), (torch.tensor([[1.0, 0.5, 0.2]]), None), "numbers of candidates"),
    ],
)
def test_contradictory_repeats_are_refused_by_name(first, second, what):
    metric = CrossLingualConsistency()
    metric.update(first[0], ["प्रश्न-7"], "hi", first[1])
    metric.update(second[0], ["प्रश्न-7"], "hi", second[1])
    with pytest.raises(MetricError, match=f"'प्रश्न-7' in 'hi' was given twice with contradictory {what}"):
        metric.compute()


def test_pickled_in_the_middle():
    rows = grid(scores=5)
    metric = CrossLingualConsistency(pivot="de")
    feed(metric, rows[:33])
    restored = pickle.loads(pickle.dumps(metric))
    assert (
        repr(feed(restored, rows[33:]))
        == repr(feed(metric, rows[33:]))
        == repr(feed(CrossLingualConsistency(pivot="de"), rows))
    )


def test_reset_forward_and_merge():
    rows = grid()
    whole = repr(feed(CrossLingualConsistency(), rows))
    a, b = CrossLingualConsistency(), CrossLingualConsistency()
    feed(a, [("old", "en", 1, 1)])
    a.reset()
    ids, codes, preds, targets = zip(*rows[:50], strict=True)
    assert a(torch.tensor(preds), ids, codes, torch.tensor(targets))["n_items"] == 40
    feed(b, rows[50:])
    a.merge_state(b)
    assert repr(a.compute()) == whole


def nan_keys(value, path=""):
    if isinstance(value, dict):
        return {k for key, v in value.items() for k in nan_keys(v, f"{path}/{key}" if path else key)}
    return {path} if isinstance(value, float) and math.isnan(value) else set()


def test_nothing_given():
    with pytest.warns(UserWarning, match="before the ``update``"):
        result = CrossLingualConsistency().compute()
    assert result["n_common"] == result["n_items"] == 0
    assert nan_keys(result) == set(result["reasons"]) >= {"unanimous", "fleiss_kappa", "pairwise_mean"}
    assert set(result["reasons"].values()) == {"there is no prediction"}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [("a", "en", 0, 0), ("b", "en", 1, 0)],
            dict.fromkeys(
                ("unanimous", "fleiss_kappa", "krippendorff_alpha", "all_correct"), "only one language: 'en'"
            ),
        ),
        (
            [("a", "de", 0, 0), ("a", "sw", 1, 0)],
            {
                "agreement/de": "no prediction in the pivot language 'en'",
                "correct_given_pivot/sw": "no prediction in the pivot language 'en'",
            },
        ),
        (
            [("a", "en", 0, 0), ("b", "sw", 1, 0)],
            {
                "agreement/sw": "no item in both 'en' and 'sw'",
                "pairwise/sw/en": "no item in both 'sw' and 'en'",
                "pairwise_mean": "no two languages share an item",
                "fleiss_kappa": "no item has a prediction in all 2 languages",
                "krippendorff_alpha": "no item has predictions in two languages",
                "all_correct": "no item has a prediction and a target in all 2 languages",
                "correct_given_pivot/sw": "no item in both 'en' and 'sw'",
            },
        ),
        (
            [("a", "en", 1, 0), ("a", "sw", 1, 0), ("b", "en", 1, 0), ("b", "sw", 1, 0)],
            {
                "fleiss_kappa": "all comparable predictions are of one class, so agreement beyond chance is undefined",
                "krippendorff_alpha": "all comparable predictions are of one class, so agreement beyond "
                "chance is undefined",
                "correct_given_pivot/sw": "no item in 'sw' is answered correctly in 'en'",
            },
        ),
        (
            [("a", "en", [0.3], 0), ("a", "sw", [0.2], 0)],
            {"rankc/sw": "no item in both 'en' and 'sw' has the same two or more candidates"},
        ),
    ],
)
def test_every_nan_has_its_reason(rows, expected):
    result = feed(CrossLingualConsistency(), rows, sizes=(1,))
    assert nan_keys({k: v for k, v in result.items() if k != "collapse"}) == set(result["reasons"])
    assert expected.items() <= result["reasons"].items()


def test_partly_scored_and_partly_labelled():
    metric = CrossLingualConsistency()
    metric.update(torch.tensor([0]), ["a"], "en")
    metric.update(torch.tensor([[0.9, 0.1]]), ["a"], "sw", torch.tensor([0]))
    result = metric.compute()
    assert result["reasons"]["rankc/sw"] == "no item has scores in both 'en' and 'sw'"
    assert result["reasons"]["correct_given_pivot/sw"] == "no item has targets in both 'en' and 'sw'"


def test_collapse_is_told():
    rows = [(i, "en", i % 2, 0) for i in range(100)] + [(i, "sw", int(i == 0), 0) for i in range(100)]
    result = feed(CrossLingualConsistency(), rows)
    assert result["collapse"] == {"sw": {"label": 0, "share": 0.99}}
    assert result["warnings"] == ["sw: class 0 takes 99.0% of the predictions; consistency means little"]
    assert feed(CrossLingualConsistency(collapse_at=0.99), rows)["collapse"] == {}


def test_warnings_on_unlike_targets_and_unlinked_languages():
    rows = [("a", "en", 0, 0), ("a", "sw", 0, 1), ("b", "de", 1, 1), ("c", "en", 1, 1)]
    warnings = feed(CrossLingualConsistency(collapse_at=1.0), rows)["warnings"]
    assert warnings == [
        "2 of 3 pairs of languages share no item: they are not in pairwise_mean",
        "items whose targets differ between languages, so that they may not be parallel: 1",
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((torch.tensor([0.5, 1.2]), [1, 2], "en"), "between 0 and 1"),
        ((torch.tensor([0.5, math.nan]), [1, 2], "en"), "between 0 and 1"),
        ((torch.tensor([0.5, 0.2]), [1, 2], "en", torch.tensor([0, 1])), "targets are for labels and scores"),
        ((["NOUN", "VERB"], [1, 2], "en"), "a list of tags for each item, got 'NOUN'"),
        ((torch.zeros(1, 2, 3), [1], "en"), r"preds must be integers of shape \(N,\), or floats"),
        ((torch.tensor([0, 1]), [1, 2], ["en"]), "2 predictions, 2 example ids, 1 languages"),
        ((torch.tensor([0, 1]), [1], "en"), "2 predictions, 1 example ids"),
        ((torch.tensor([0]), [1.5], "en"), "example ids must be strings or integers, got 1.5"),
        ((torch.tensor([0]), [1], [None]), "languages must be strings"),
        ((torch.tensor([[math.nan, 0]]), [1], "en"), "NaN"),
        ((torch.tensor([0]), [1], "en", torch.tensor([0.0])), "target must be integers"),
        ((torch.tensor([0]), [1], "en", torch.tensor([0, 1])), "2 targets"),
        ((torch.tensor([0]), [1], "en", None, torch.tensor([0, 1])), r"integers of shape \(1, ranks\)"),
        ((torch.tensor([0]), [1], "en", None, torch.tensor([[0.5, 1]])), r"integers of shape \(1, ranks\)"),
        ((torch.tensor([0]), [1], "en", None, torch.tensor([[1, 0, 1]])), "each candidate once"),
        ((torch.tensor([0]), [1], "en", None, torch.tensor([[0, -1, 1]])), "-1 only after the last"),
        ((torch.tensor([0.5]), [1], "en", None, torch.tensor([[0, 1]])), "a ranking stands beside labels"),
    ],
)
def test_wrong_input_is_named_and_leaves_no_trace(args, message):
    metric = CrossLingualConsistency()
    with pytest.raises(MetricError, match=message):
        metric.update(*args)
    assert not metric.texts + metric.rows + metric.ranks


def test_ids_are_text_whatever_their_type():
    metric = CrossLingualConsistency()
    metric.update(torch.tensor([1, 2]), torch.tensor([7, 8]), "en")
    metric.update(torch.tensor([1, 2]), np.array(["7", "8"]), np.array(["sw", "sw"]))
    metric.update(torch.tensor([1, 2], dtype=torch.int8), [np.int64(7), 8], "de")
    assert metric.compute()["n_common"] == 2


@pytest.mark.parametrize("arguments", [{"rankc_weights": "square"}, {"rankc_top": 0}])
def test_wrong_arguments(arguments):
    with pytest.raises(MetricError, match=next(iter(arguments))):
        CrossLingualConsistency(**arguments)
