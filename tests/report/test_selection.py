"""Best intermediate per target, chosen on the source language's validation split: by hand."""

import math

import pandas as pd
import pytest
from synthetic_study import row

from xmit.report import best_table


def made(dev, test, seeds=(0, 1, 2)):
    """Rows of one language pair: ``dev[intermediate]`` in en, ``test[intermediate]`` in en and sw (0.1 lower)."""
    rows = []
    for target in dev:
        for name, value in test[target].items():
            for seed in seeds:
                here = (name, target, seed)
                rows.append(row(*here, "en", "accuracy", value, is_main=True))
                rows.append(row(*here, "sw", "accuracy", value - 0.1 + 0.01 * seed * (name != "none"), is_main=True))
                if name in dev[target]:
                    rows.append(row(*here, "en", "accuracy", dev[target][name], is_main=True, split="validation"))
                    # a target language's validation must not choose
                    other = row(*here, "sw", "accuracy", 1 - dev[target][name], is_main=True, split="validation")
                    rows.append(other)
    return pd.DataFrame(rows)


DEV = {"xnli": {"none": 0.7, "a": 0.8, "b": 0.75}, "panx": {"none": 0.9, "a": 0.6, "b": 0.65}}
TEST = {"xnli": {"none": 0.6, "a": 0.62, "b": 0.7}, "panx": {"none": 0.5, "a": 0.6, "b": 0.52}}


def test_dev_chooses_and_test_scores():
    table = best_table(made(DEV, TEST)).set_index("target")
    # b is better on xnli's test, a on panx's: neither is looked at
    assert table["intermediate"].to_dict() == {"xnli": "a", "panx": "b", "": ""}
    assert table.loc["xnli", ["dev", "dev_baseline"]].tolist() == [pytest.approx(0.8), pytest.approx(0.7)]
    # a on xnli: en +0.02; sw +0.02 and 0.01 more on average over seeds
    assert table.loc["xnli", "delta_zero_shot"] == pytest.approx(0.03)
    assert table.loc["xnli", "delta_mean"] == pytest.approx(0.025)
    assert table.loc["xnli", "mean"] == pytest.approx((0.62 + 0.53) / 2)
    # sw is low-resource and the only zero-shot language; its seeds differ by 0, 0.01 and 0.02
    assert table.loc["xnli", "delta_low_resource"] == pytest.approx(0.03)
    half = 4.302652729911275 * 0.01 / math.sqrt(3)
    assert table.loc["xnli", "delta_zero_shot_high"] == pytest.approx(0.03 + half)
    assert table.loc["panx", "note"] == "the baseline's validation score is higher still"


def test_the_mean_over_targets_counts_each_alike():
    last = best_table(made(DEV, TEST)).iloc[-1]
    assert last["delta_zero_shot"] == pytest.approx((0.03 + 0.03) / 2)
    assert last["delta_mean"] == pytest.approx((0.025 + 0.025) / 2)
    # the seeds of the mean are 0.02, 0.03 and 0.04
    assert last["delta_zero_shot_low"] == pytest.approx(0.03 - 4.302652729911275 * 0.01 / math.sqrt(3))
    assert last["delta_zero_shot_kind"] == "seeds"
    assert last["note"] == "mean over 2 of 2 targets, low-resource over 2"


def test_what_cannot_be_chosen_says_why():
    none = best_table(made({"xnli": DEV["xnli"], "bucc": {}}, {"xnli": TEST["xnli"], "bucc": TEST["panx"]}))
    bucc = none.set_index("target").loc["bucc"]
    assert bucc["intermediate"] == ""
    assert math.isnan(bucc["delta_mean"])
    assert "no validation score in the source language" in bucc["note"]
    assert none.iloc[-1]["note"].startswith("mean over 1 of 2 targets")
    partly = best_table(made({"xnli": {"none": 0.7, "a": 0.8}}, {"xnli": TEST["xnli"]}))
    assert partly.loc[0, "note"] == "not chosen from b: no validation score"


def test_only_seeds_that_all_candidates_have_are_compared():
    rows = made({"xnli": DEV["xnli"]}, {"xnli": TEST["xnli"]})
    # b, the worse, would win if a's best seeds were lost on it alone
    dev = (rows["split"] == "validation") & (rows["language"] == "en")
    rows.loc[dev & (rows["intermediate"] == "a") & (rows["seed"] == 0), "value"] = 0.1
    lost = rows[~(dev & (rows["intermediate"] == "b") & (rows["seed"] == 0))]
    chosen = best_table(lost).iloc[0]
    assert (chosen["intermediate"], chosen["dev"]) == ("a", pytest.approx(0.8))
    assert "chosen on seed 1, 2, which all candidates have" in chosen["note"]
