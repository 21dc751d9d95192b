"""What each prediction row adds to the main score, and consistency of answers and tags, from prediction rows."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from xmit import get_task
from xmit.metrics.span_f1 import span_f1
from xmit.tasks.item_scores import ratio_items


def rows(name, rng, languages, n=40):
    """Prediction rows of a task, some of them right."""
    task = get_task(name)()
    found = []
    for code in languages:
        for i in range(n):
            if name in ("udpos", "masakhaner2"):
                words = rng.integers(1, 9)
                target = [str(task.label_names[t]) for t in rng.integers(0, 5, words)]
                keep = rng.random(words) < 0.6
                prediction = [t if k else str(task.label_names[0]) for t, k in zip(target, keep, strict=True)]
            elif name in ("xquad", "mlqa"):
                words = rng.choice(["red", "house", "big", "12"], 3).tolist()
                prediction, target = " ".join(words[: rng.integers(1, 4)]), json.dumps([" ".join(words), words[1]])
            elif name in ("lareqa", "mewslix"):
                prediction = json.dumps(rng.permutation(30)[:20].astype(str).tolist())
                right = rng.permutation(30)[: 3 if name == "lareqa" else 1]
                target = json.dumps(right.astype(str).tolist())
            else:
                prediction, target = (str(rng.integers(0, 3)) for _ in range(2))
            if i == 0:
                target = None
            found.append((code, f"pud/{i}", prediction, None, target))
    return task, pd.DataFrame(found, columns=["language", "id", "prediction", "scores", "target"])


TARGETS = {
    "xnli": ("en", "sw"),
    "xcopa": ("et", "sw"),
    "udpos": ("en", "fi"),
    "masakhaner2": ("hau", "yo"),
    "xquad": ("en", "zh"),
    "mlqa": ("en", "zh"),
    "lareqa": ("en", "zh"),
    "mewslix": ("de", "ja"),
    "tatoeba": ("de", "sw"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_their_mean_is_the_main_score(name):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        languages = [c if c in get_task(name).metadata.languages else "ha" for c in TARGETS[name]]
        task, predictions = rows(name, rng, languages)
        items = task.item_scores(predictions)
        main = {s.language: s.value for s in task.score(predictions) if s.metric == task.metadata.main_score}
        assert list(main) == languages
        for code, value in main.items():
            own = items[(predictions["language"] == code).to_numpy()]
            assert np.isnan(own[0])  # the row without a target
            assert np.nanmean(own) == pytest.approx(value, abs=1e-12)


def test_the_spread_of_span_f1_is_that_of_resampled_sentences():
    _, predictions = rows("masakhaner2", np.random.default_rng(0), ["ha"], n=300)
    task = get_task("masakhaner2")()
    known = predictions.iloc[1:]
    items = task.item_scores(known)

    def f1(index):
        part = known.iloc[index]
        return span_f1(list(part["prediction"]), list(part["target"]))["f1"]

    drawn = bootstrap((np.arange(len(known)),), f1, vectorized=False, n_resamples=800, rng=0)
    assert items.std(ddof=1) / np.sqrt(len(items)) == pytest.approx(drawn.standard_error, rel=0.1)


def test_ratio_of_nothing_is_unknown():
    assert np.isnan(ratio_items([0, 0], [0, 0])).all()


def test_answers_are_compared_by_f1():
    task, predictions = rows("xquad", np.random.default_rng(1), ["en", "de", "zh"])
    scores = {(s.language, s.metric): s for s in task.evaluate(predictions)}
    items = task.item_scores(predictions).reshape(3, -1)[:, 1:]
    agreement = scores["zh", "consistency/agreement"]
    assert agreement.value == pytest.approx(1 - np.abs(items[0] - items[2]).mean(), abs=1e-12)
    assert agreement.n == 39
    assert scores["all", "consistency/all_correct"].value == pytest.approx(items.min(axis=0).mean(), abs=1e-12)
    kappa = scores["all", "consistency/fleiss_kappa"]
    assert np.isnan(kappa.value)
    assert "for classes" in kappa.reason
    assert not [
        s for s in get_task("tydiqa")().evaluate(predictions.replace({"de": "ar", "zh": "sw"})) if "/" in s.metric
    ]


def test_parallel_sentences_are_compared_by_their_tags():
    task, predictions = rows("udpos", np.random.default_rng(2), ["en", "de"])
    other = predictions.assign(id=predictions["id"].str.replace("pud/", "gsd/"))
    scores = {(s.language, s.metric): s for s in task.evaluate(pd.concat([predictions, other]))}
    bags = [[Counter(tags) for tags in part["prediction"]] for _, part in predictions.groupby("language", sort=False)]
    dice = [2 * (a & b).total() / (a.total() + b.total()) for a, b in zip(*bags, strict=True)]
    assert scores["de", "consistency/agreement"].value == pytest.approx(np.mean(dice), abs=1e-12)
    assert scores["all", "consistency/n_common"].value == 40
    assert not [s for s in task.evaluate(other) if "/" in s.metric]


def test_entities_are_compared_by_type():
    from xmit.tasks.scoring import tag_consistency

    predictions = pd.DataFrame(
        {
            "language": ["en", "sw"],
            "id": ["a", "a"],
            "prediction": [["B-PER", "I-PER", "O", "B-LOC"], ["I-LOC", "B-LOC", "I-PER"]],
        }
    )
    scores = {(s.language, s.metric): s.value for s in tag_consistency(predictions, "en", bio=True)}
    assert scores["sw", "consistency/agreement"] == pytest.approx(2 * 2 / 5)
