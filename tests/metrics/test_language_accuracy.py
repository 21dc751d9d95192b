"""Accuracy with a language axis."""

import math
import pickle

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy

from xmit.errors import MetricError
from xmit.metrics import LanguageAccuracy

LANGUAGES = ["en", "sw", "zh", "yo"]


def draw(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    preds, target = (torch.randint(0, 4, (n,), generator=generator) for _ in range(2))
    return preds, target, torch.randint(0, 3, (n,), generator=generator)


def test_equals_torchmetrics_per_language():
    for seed in range(200):
        preds, target, language = draw(1 + seed, seed)
        metric = LanguageAccuracy(LANGUAGES)
        metric.update(preds, target, language)
        result, counts = metric.compute(), metric.counts()
        for index, code in enumerate(LANGUAGES):
            here = language == index
            assert counts[code] == int(here.sum())
            if counts[code]:
                theirs = multiclass_accuracy(preds[here], target[here], 4, average="micro").item()
                assert result[code]["accuracy"] == pytest.approx(theirs, abs=1e-6)
            else:
                assert math.isnan(result[code]["accuracy"])


def test_batches_order_and_pickling():
    preds, target, language = draw(101)
    whole, parts = LanguageAccuracy(LANGUAGES), LanguageAccuracy(LANGUAGES)
    whole.update(preds, target, language)
    order = torch.from_numpy(np.random.default_rng(0).permutation(101))
    for index in order.split(7):
        parts.update(preds[index], target[index], language[index])
        parts = pickle.loads(pickle.dumps(parts))
    assert repr(parts.compute()) == repr(whole.compute())
    parts.reset()
    assert sum(parts.counts().values()) == 0


def test_examples_without_a_label_do_not_count():
    metric = LanguageAccuracy(["en", "sw"])
    metric.update(torch.tensor([1, 2, 3]), torch.tensor([1, -100, -100]), torch.tensor([0, 0, 1]))
    assert metric.counts() == {"en": 1, "sw": 0}
    assert metric.compute()["en"] == {"accuracy": 1.0}
    assert math.isnan(metric.compute()["sw"]["accuracy"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((torch.tensor([0]), torch.tensor([0]), torch.tensor([2])), "0 … 1"),
        ((torch.tensor([0]), torch.tensor([0]), torch.tensor([-1])), "0 … 1"),
        ((torch.tensor([0]), torch.tensor([0, 1]), torch.tensor([0])), "one shape"),
        ((torch.tensor([0.5]), torch.tensor([0]), torch.tensor([0])), "argmax"),
    ],
)
def test_wrong_input_is_named(args, message):
    with pytest.raises(MetricError, match=message):
        LanguageAccuracy(["en", "sw"]).update(*args)


@pytest.mark.parametrize("languages", ["en", ["en", "en"]])
def test_languages_must_be_distinct_codes(languages):
    with pytest.raises(MetricError, match="distinct"):
        LanguageAccuracy(languages)
