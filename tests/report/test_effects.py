"""Differences with intervals and tests: their make-up by hand, their statistics from xmit.metrics called directly."""

import math

import numpy as np
import pandas as pd
import pytest
from synthetic_study import row

from xmit.metrics import ItemScores, contribution, effect, holm, pair_items
from xmit.report import effect_table, family_table, primary_table
from xmit.report.effects import COLUMNS, mark

# sw and yo are low-resource (class 2), yo unseen in pre-training, de is not; sw has 1.6 GiB and de 66.6
LANGUAGES = ("de", "en", "sw", "yo")
SEEDS = (0, 1, 2)


def items_of(intermediate, target):
    """Items of a cell, drawn by its name."""
    rng = np.random.default_rng([len(intermediate), len(target), ord(intermediate[0]), ord(target[0])])
    shift = {"none": 0.5, "nli": 0.7, "qa": 0.5}[intermediate]
    return ItemScores(SEEDS, LANGUAGES, tuple("abcdefghijkl"), (rng.random((3, 12, 4)) < shift).astype(float))


@pytest.fixture(scope="module")
def rows():
    made = []
    for target in ("xnli", "panx"):
        for intermediate in ("none", "nli", "qa"):
            values = items_of(intermediate, target).values.mean(axis=1)
            for s, seed in enumerate(SEEDS):
                made += [
                    row(intermediate, target, seed, code, "accuracy", float(values[s, k]), is_main=True)
                    for k, code in enumerate(LANGUAGES)
                ]
                alpha = {"none": 0.4, "nli": 0.5 + 0.01 * seed, "qa": 0.4}[intermediate]
                if target == "xnli":
                    made.append(row(intermediate, target, seed, "all", "consistency/krippendorff_alpha", alpha))
    return pd.DataFrame(made)


@pytest.fixture(scope="module")
def found(rows):
    return effect_table(rows, items=lambda cell: items_of(cell["intermediate"], cell["target"]))


def line(found, scope, group, intermediate="nli", target=""):
    part = found[(found["scope"] == scope) & (found["group"] == group) & (found["intermediate"] == intermediate)]
    return part[part["target"] == target].iloc[0]


def by_hand(codes, targets=("xnli", "panx"), intermediate="nli"):
    pairs = [pair_items(t, items_of(intermediate, t), items_of("none", t)) for t in targets]
    return effect([contribution(p, codes) for p in pairs])


@pytest.mark.parametrize(
    ("scope", "group", "codes"),
    [
        ("low-resource", "low-resource", ["sw", "yo"]),
        ("zero-shot", "zero-shot", ["de", "sw", "yo"]),
        ("all", "all", list(LANGUAGES)),
        ("class", "2", ["sw", "yo"]),
        ("class", "5", ["de"]),
        ("pre-training", "seen", ["de", "sw"]),
        ("pre-training", "unseen", ["yo"]),
        ("language", "sw", ["sw"]),
    ],
)
def test_groups_over_all_targets(found, scope, group, codes):
    mine, expected = line(found, scope, group), by_hand(codes)
    means = [items_of(i, t).values.mean(axis=1) for t in ("xnli", "panx") for i in ("nli", "none")]
    columns = [LANGUAGES.index(c) for c in codes]
    differences = np.concatenate([(means[0] - means[1])[:, columns], (means[2] - means[3])[:, columns]], axis=1)
    assert mine["estimate"] == pytest.approx(differences.mean(), abs=1e-12)
    np.testing.assert_allclose(mine["seeds"], differences.mean(axis=1), atol=1e-12)
    assert mine["seed_numbers"] == SEEDS
    assert (mine["low"], mine["high"]) == (expected.low, expected.high)
    assert (mine["n_pairs"], mine["n_seeds"], mine["n_items"]) == (2 * len(codes), 3, 24)
    assert mine["kind"] == "seeds and items"


def test_groups_within_a_target(found):
    for scope, group, codes in (
        ("target low-resource", "low-resource", ["sw", "yo"]),
        ("target zero-shot", "zero-shot", ["de", "sw", "yo"]),
        ("target language", "yo", ["yo"]),
    ):
        mine, expected = line(found, scope, group, target="panx"), by_hand(codes, ["panx"])
        assert (mine["estimate"], mine["low"], mine["high"]) == (expected.estimate, expected.low, expected.high)


def test_families_are_one_primary_and_one_a_target(found):
    families = found[found["family"] != ""]
    assert families.groupby("family")["intermediate"].agg(list).to_dict() == {
        "primary": ["nli", "qa"],
        "secondary: xnli": ["nli", "qa"],
        "secondary: panx": ["nli", "qa"],
    }
    for name, scope, targets, codes in (
        ("primary", "low-resource", ["xnli", "panx"], ["sw", "yo"]),
        ("secondary: panx", "target zero-shot", ["panx"], ["de", "sw", "yo"]),
    ):
        members = families[families["family"] == name].set_index("intermediate")
        p = [by_hand(codes, targets, i).p for i in ("nli", "qa")]
        assert set(members["scope"]) == {scope}
        np.testing.assert_allclose(members.loc[["nli", "qa"], "p"], p)
        np.testing.assert_allclose(members.loc[["nli", "qa"], "p_holm"], holm(p))
    # groups and single languages get intervals and no tests
    assert found.loc[found["family"] == "", "p"].isna().all()
    table = family_table(found)
    assert len(table) == 6
    assert list(table["family"][:2]) == ["primary"] * 2
    assert (mark(0.05), mark(0.051), mark(math.nan)) == ("*", "", "")


def test_agreement_is_compared_seed_by_seed(found):
    mine = line(found, "alpha", "α")
    # 0.10, 0.11 and 0.12 over three seeds: t(2) = 4.302652729911275 times 0.01 / sqrt(3)
    assert mine["estimate"] == pytest.approx(0.11)
    assert mine["high"] - mine["low"] == pytest.approx(2 * 4.302652729911275 * 0.01 / math.sqrt(3))
    assert mine["kind"] == "seeds"
    assert line(found, "target alpha", "α", target="xnli")["estimate"] == pytest.approx(0.11)


def test_slope_on_pretraining_text():
    # a gain of 0.05 less 0.02 for every tenfold text, in sw 1.6, de 66.6, fi 54.3 GiB; yo and en do not count
    sizes = {"sw": 1.6, "de": 66.6, "fi": 54.3}
    made = []
    for seed in SEEDS:
        for code in (*sizes, "yo", "en"):
            gain = 0.05 - 0.02 * math.log10(sizes[code]) + 0.001 * seed if code in sizes else 0.9
            base = row("none", "xnli", seed, code, "accuracy", 0.3, is_main=True)
            made += [base, base | {"intermediate": "nli", "value": 0.3 + gain, "cell": "nli"}]
    found = effect_table(pd.DataFrame(made))
    mine = found[found["scope"] == "slope"].iloc[0]
    assert mine["estimate"] == pytest.approx(-0.02, abs=1e-12)
    np.testing.assert_allclose(mine["seeds"], [-0.02] * 3, atol=1e-12)


def test_without_item_scores_nothing_is_tested(rows):
    found = effect_table(rows)
    assert set(found.loc[found["estimate"].notna(), "kind"]) <= {"seeds", "none"}
    assert found["p_holm"].isna().all()
    primary = primary_table(found).set_index("intermediate")
    assert "no item scores of xnli, panx" in primary.loc["nli", "note"]
    # t(2) by hand over the three seeds
    seeds = np.array(primary.loc["nli", "seeds"])
    half = 4.302652729911275 * seeds.std(ddof=1) / math.sqrt(3)
    assert primary.loc["nli", "low-resource_high"] == pytest.approx(seeds.mean() + half)


def test_two_seeds_have_intervals_over_items_and_no_test(rows):
    two = rows[rows["seed"] < 2]

    def items(cell):
        whole = items_of(cell["intermediate"], cell["target"])
        return ItemScores((0, 1), whole.languages, whole.ids, whole.values[:2])

    primary = primary_table(effect_table(two, items=items))
    assert set(primary["low-resource_kind"]) == {"items"}
    assert primary["p_holm"].isna().all()


def test_a_target_without_results_is_named(rows):
    lost = rows[~((rows["target"] == "panx") & (rows["intermediate"] == "qa"))]
    primary = primary_table(effect_table(lost)).set_index("intermediate")
    assert "nothing to compare on panx" in primary.loc["qa", "note"]
    assert primary.loc["qa", "low-resource_pairs"] == 2
    assert primary.loc["qa", "n_targets"] == 1
    assert list(effect_table(lost.iloc[:0]).columns) == list(COLUMNS)


def test_an_untrained_baseline_stands_beside_every_seed(rows):
    lost = rows[~((rows["intermediate"] == "none") & (rows["seed"] > 0))]
    found = effect_table(lost, items=lambda cell: None)
    mine = line(found, "target language", "sw", target="xnli")
    after, base = items_of("nli", "xnli").values.mean(axis=1), items_of("none", "xnli").values.mean(axis=1)
    np.testing.assert_allclose(mine["seeds"], after[:, 2] - base[0, 2])
