"""Numbers in the tables against pandas groupby written here."""

import numpy as np
import pandas as pd
import pytest
from synthetic_study import INTERMEDIATES, LANGUAGES, MISSING, TARGETS, UNDEFINED, row, study

from xmit.errors import StudyError, TaskNotFoundError
from xmit.languages import get_language
from xmit.report import (
    consistency_table,
    effect_table,
    group_table,
    intermediate_table,
    language_effects,
    language_table,
    missing_cells,
    primary_table,
    summary_table,
)

LOW = [c for c in LANGUAGES if get_language(c).resource_class in (0, 1, 2)]
ZERO_SHOT = [c for c in LANGUAGES if c != "en"]


@pytest.fixture(scope="module")
def rows():
    return study()


@pytest.fixture(scope="module")
def scores(rows):
    return rows[(rows["role"] == "target") & rows["is_main"] & (rows["split"] == "test")]


@pytest.fixture(scope="module")
def deltas(scores):
    """Each language's difference to the baseline of the same seed, or to its only seed."""
    wide = scores.pivot(index=["target", "seed", "language"], columns="intermediate", values="value")
    wide["none"] = wide["none"].fillna(wide.groupby(level=["target", "language"])["none"].transform("mean"))
    # geo's baseline has both seeds, so the filling concerns the untrained target alone
    return wide[list(INTERMEDIATES[1:])].sub(wide["none"], axis=0).stack().rename("delta").reset_index()


def test_summary_has_every_cell(rows):
    table = summary_table(rows)
    assert sorted(zip(table["target"], table["intermediate"], strict=True)) == sorted(
        (t, i) for t in TARGETS for i in INTERMEDIATES
    )
    assert (table.groupby("target")["intermediate"].first() == "none").all()


def test_summary_equals_groupby(rows, scores, deltas):
    table = summary_table(rows).set_index(["target", "intermediate"])
    per_language = scores.groupby(["target", "intermediate", "language"])["value"].mean().dropna().reset_index()

    def mean(codes):
        chosen = per_language[per_language["language"].isin(codes)]
        return chosen.groupby(["target", "intermediate"])["value"].agg(["mean", "count"])

    for value, n, codes in (
        ("mean", "n_languages", LANGUAGES),
        ("zero_shot_mean", "n_zero_shot", ZERO_SHOT),
        ("low_resource_mean", "n_low_resource", LOW),
    ):
        expected = mean(codes).reindex(table.index)
        np.testing.assert_allclose(table[value], expected["mean"], rtol=0, atol=1e-12)
        assert list(table[n]) == list(expected["count"])
    source = per_language[per_language["language"] == "en"].set_index(["target", "intermediate"])["value"]
    np.testing.assert_allclose(table["transfer_gap"], (source - mean(ZERO_SHOT)["mean"]).reindex(table.index))
    worst = per_language.loc[per_language.groupby(["target", "intermediate"])["value"].idxmin()]
    worst = worst.set_index(["target", "intermediate"]).reindex(table.index)
    assert list(table["worst_language"]) == list(worst["language"])
    np.testing.assert_allclose(table["worst"], worst["value"])
    per_seed = scores.groupby(["target", "intermediate", "seed"])["value"].mean()
    spread = per_seed.groupby(level=[0, 1]).agg(lambda s: s.max() - s.min() if len(s) > 1 else np.nan)
    np.testing.assert_allclose(table["mean_spread"], spread.reindex(table.index), atol=1e-12)
    for column, codes in (("mean", LANGUAGES), ("zero_shot", ZERO_SHOT), ("low_resource", LOW)):
        chosen = deltas[deltas["language"].isin(codes)]
        per_pair = chosen.groupby(["target", "intermediate", "language"])["delta"].mean()
        expected = per_pair.groupby(level=[0, 1]).mean().reindex(table.index)
        np.testing.assert_allclose(table[f"delta_{column}"], expected, rtol=0, atol=1e-12)


def test_summary_of_consistency(rows):
    table = summary_table(rows).set_index(["target", "intermediate"])
    chosen = rows[(rows["target"] == "geo") & (rows["metric"] == "consistency/agreement")]
    agreement = chosen.groupby(["intermediate", "language"])["value"].mean().groupby(level=0).mean()
    kappa = rows[rows["metric"] == "consistency/fleiss_kappa"].groupby("intermediate")["value"].mean()
    np.testing.assert_allclose(table.loc["geo", "agreement"].sort_index(), agreement.sort_index())
    np.testing.assert_allclose(table.loc["geo", "fleiss_kappa"].sort_index(), kappa.sort_index())
    assert table.loc["lookup", "agreement"].isna().all()
    assert "one class takes over 95 %" in table.loc[("geo", "digits_text"), "note"]
    assert "one class" not in table.loc[("geo", "none"), "note"]


def test_holes_are_shown_and_explained(rows):
    table = summary_table(rows).set_index(["target", "intermediate"])
    lacking = table.loc[(MISSING[1], MISSING[0])]
    assert lacking["n_seeds"] == 1
    assert lacking["missing_seeds"] == "1"
    assert "missing: seed 1" in lacking["note"]
    assert UNDEFINED[1] in lacking["note"]
    assert np.isnan(lacking["mean_spread"])
    assert table.loc[("lookup", "none"), "n_seeds"] == 1
    assert table.loc[("lookup", "none"), "missing_seeds"] == ""
    assert "one seed" in table.loc[("lookup", "digits_text"), "note"]
    assert missing_cells(rows).to_dict("records") == [
        {"target": "geo", "intermediate": "digits_image", "seed": 1, "reason": "no result rows"}
    ]


def test_a_cell_without_any_row_stays_in_the_tables(rows):
    without = rows[~((rows["target"] == "lookup") & (rows["intermediate"] == "digits_text"))]
    cell = summary_table(without).set_index(["target", "intermediate"]).loc[("lookup", "digits_text")]
    assert cell["n_seeds"] == 0
    assert np.isnan(cell["mean"])
    assert "missing: all seeds" in cell["note"]
    assert language_table(without, "lookup")["digits_text"].isna().all()
    groups = group_table(without)
    empty = groups[(groups["target"] == "lookup") & (groups["intermediate"] == "digits_text")]
    assert len(empty)
    assert (empty["note"] == "no results").all()


def test_listed_missing_cells_bring_in_what_has_no_rows(rows):
    listed = [{"intermediate": "squad", "target": "quiz", "seed": 0, "reason": "out of memory"}, "another"]
    table = summary_table(rows, missing=listed).set_index(["target", "intermediate"])
    assert "out of memory" in table.loc[("quiz", "squad"), "note"]
    assert table.loc[("geo", "squad"), "n_seeds"] == 0


def test_a_baseline_that_failed_is_not_one_that_needs_no_training(rows):
    lost = rows[~((rows["target"] == "geo") & (rows["intermediate"] == "none") & (rows["seed"] == 1))]
    listed = [{"intermediate": "none", "target": "geo", "seed": 1, "reason": "killed"}]
    table = summary_table(lost, missing=listed).set_index(["target", "intermediate"])
    assert table.loc[("geo", "digits_text"), "n_delta_seeds"] == 1
    assert "differences from seed 0 only" in table.loc[("geo", "digits_text"), "note"]
    assert table.loc[("geo", "none"), "missing_seeds"] == "1"


def test_empty_low_resource_group_is_nan_with_its_reason():
    table = summary_table(study(languages=("en", "de", "fr"), missing=None))
    assert table["low_resource_mean"].isna().all()
    assert (table["n_low_resource"] == 0).all()
    assert table["note"].str.contains("no zero-shot language of resource class 0, 1, 2").all()


def test_language_table(rows, scores, deltas):
    table = language_table(rows, "geo")
    assert len(table) == len(LANGUAGES)
    assert list(table["resource_class"]) == sorted(table["resource_class"])
    assert table.set_index("language").loc["sw", ["name", "script"]].tolist() == ["Swahili", "Latn"]
    assert table.loc[table["is_source"], "language"].tolist() == ["en"]
    values = scores[scores["target"] == "geo"].groupby(["language", "intermediate"])["value"].mean().unstack()
    gained = deltas[deltas["target"] == "geo"].groupby(["language", "intermediate"])["delta"].mean().unstack()
    table = table.set_index("language")
    for name in INTERMEDIATES:
        np.testing.assert_allclose(table[name], values[name].reindex(table.index), atol=1e-12)
    for name in INTERMEDIATES[1:]:
        np.testing.assert_allclose(table[f"Δ {name}"], gained[name].reindex(table.index), atol=1e-12)
    assert table.loc[UNDEFINED[0], "note"] == UNDEFINED[1]
    with pytest.raises(TaskNotFoundError, match="geo"):
        language_table(rows, "gео")


@pytest.mark.parametrize(
    ("grouping", "of"),
    [
        ("resource class", lambda d: str(d.resource_class)),
        ("script", lambda d: d.script),
        ("Latin or not", lambda d: "Latin" if d.script == "Latn" else "non-Latin"),
        ("in XLM-R's pre-training", lambda d: "seen" if d.in_xlmr else "unseen"),
    ],
)
def test_group_table(rows, scores, deltas, grouping, of):
    table = group_table(rows)
    table = table[(table["grouping"] == grouping) & (table["target"] == "lookup")]
    keys = ["intermediate", "group"]
    table = table.set_index(keys)

    def grouped(frame, column):
        chosen = frame[(frame["target"] == "lookup") & (frame["language"] != "en")]
        means = chosen.groupby(["intermediate", "language"])[column].mean().reset_index()
        means["group"] = means["language"].map(lambda code: of(get_language(code)))
        return means.groupby(keys)[column].agg(["mean", "count"])

    expected = grouped(scores, "value")
    filled = table[table["n_languages"] > 0]
    assert set(filled.index) == set(expected.index)
    np.testing.assert_allclose(filled["mean"], expected["mean"].reindex(filled.index), atol=1e-12)
    assert list(filled["n_languages"]) == list(expected["count"].reindex(filled.index))
    np.testing.assert_allclose(filled["delta"], grouped(deltas, "delta")["mean"].reindex(filled.index), atol=1e-12)
    empty = table[table["n_languages"] == 0]
    assert empty["mean"].isna().all()
    assert (empty["note"] != "").all()


def test_the_primary_endpoint_is_the_mean_over_pairs(rows, deltas):
    table = primary_table(effect_table(rows)).set_index("intermediate")
    low = deltas[deltas["language"].isin(LOW)]
    pairs = low.groupby(["intermediate", "target", "language"])["delta"].mean()
    text = pairs["digits_text"].dropna()
    assert table.loc["digits_text", "low-resource"] == pytest.approx(text.mean(), abs=1e-12)
    assert list(table["low-resource_pairs"]) == [len(text)] * 2
    each = low[low["intermediate"] == "digits_text"].groupby("seed")["delta"].mean()
    np.testing.assert_allclose(table.loc["digits_text", "seeds"], each)
    # the seed that lacks a target is left out for all targets
    image = low[(low["intermediate"] == "digits_image") & (low["seed"] == 0)]
    assert table.loc["digits_image", "low-resource"] == pytest.approx(image["delta"].mean(), abs=1e-12)
    assert len(table.loc["digits_image", "seeds"]) == 1
    assert "seed 1 lacks some of the 23 pairs" in table.loc["digits_image", "note"]


def test_consistency_table_lists_collapse(rows):
    table = consistency_table(rows).set_index(["target", "intermediate"])
    assert set(table.index.get_level_values("target")) == {"geo"}
    assert table["collapse"].to_dict() == {
        ("geo", "none"): 0.0,
        ("geo", "digits_image"): 0.0,
        ("geo", "digits_text"): 1.0,
    }
    assert "over 95 % in my" in table.loc[("geo", "digits_text"), "note"]


def test_intermediates_own_scores(rows):
    own = rows[rows["role"] == "intermediate"].groupby("intermediate")["value"].agg(["mean", "min", "max"])
    table = intermediate_table(rows).set_index("intermediate")
    np.testing.assert_allclose(table["mean"], own["mean"].reindex(table.index))
    np.testing.assert_allclose(table["spread"], (own["max"] - own["min"]).reindex(table.index))


def test_encoders_are_never_mixed(rows):
    other = rows.assign(encoder="xlmr", value=rows["value"] / 2)
    table = summary_table(pd.concat([rows, other]))
    assert len(table) == 2 * len(TARGETS) * len(INTERMEDIATES)
    halves = table.set_index(["encoder", "target", "intermediate"])["mean"]
    np.testing.assert_allclose(halves["xlmr"], halves["embedded:e5-small"] / 2)
    both = pd.concat([rows, other], ignore_index=True)
    assert "none · xlmr" in language_table(both, "geo").columns
    over_all = language_effects(both, effect_table(both)).set_index("language")
    np.testing.assert_allclose(over_all["none · xlmr"], over_all["none · embedded:e5-small"] / 2)


def test_what_one_encoder_lacks_is_not_lacking_of_another(rows):
    other = rows.assign(encoder="xlmr", value=rows["value"] / 2)
    both = pd.concat([rows, other[other["target"] != "geo"]], ignore_index=True)
    lost = {"intermediate": "none", "seed": 7, "reason": "killed", "encoder": "xlmr"}
    listed = [{**lost, "target": target} for target in TARGETS]
    keys = ["encoder", "target", "intermediate"]
    table = summary_table(both, missing=listed).set_index(keys).sort_index()
    alone = summary_table(both).set_index(keys).sort_index().loc["embedded:e5-small"]
    pd.testing.assert_frame_equal(table.loc["embedded:e5-small"], alone)
    assert table.loc[("xlmr", "lookup", "none"), "missing_seeds"] == "1, 7"
    # a target that this encoder has no row of is there, with the metric that it has elsewhere
    assert "killed" in table.loc[("xlmr", "geo", "none"), "note"]
    assert table.loc[("xlmr", "geo", "none"), "metric"] == "accuracy"


def test_no_language_that_was_trained_on_is_transfer(rows):
    several = {"source_language": {"geo": "en+sw"}}
    table = summary_table(rows, **several).set_index(["target", "intermediate"])
    languages = language_table(rows, "geo", **several).set_index("language")
    assert languages.index[languages["is_source"]].tolist() == ["sw", "en"]
    level = languages["none"]
    assert table.loc[("geo", "none"), "zero_shot_mean"] == pytest.approx(level.drop(["en", "sw"]).mean())
    assert table.loc[("geo", "none"), "source_score"] == pytest.approx(level[["en", "sw"]].mean())
    key = ["scope", "target", "group", "intermediate"]
    found, one = (effect_table(rows, **o).set_index(key)["n_pairs"] for o in (several, {}))
    low = ("target low-resource", "geo")
    assert (found.loc[low] == one.loc[low] - 1).all()


def test_a_language_that_xmit_does_not_know_is_shown_and_in_no_group(rows):
    more = [row(i, "lookup", 0, "qaa-Zzzz", "accuracy", 0.5, is_main=True) for i in INTERMEDIATES]
    both = pd.concat([rows, pd.DataFrame(more)])
    assert language_table(both, "lookup")["language"].tolist()[-1] == "qaa-Zzzz"
    before, after = summary_table(rows), summary_table(both)
    assert list(after["n_low_resource"]) == list(before["n_low_resource"])
    assert after["n_languages"].sum() == before["n_languages"].sum() + len(more)
    pd.testing.assert_frame_equal(group_table(both), group_table(rows))


def test_bad_rows_are_refused(rows):
    with pytest.raises(StudyError, match="no column seed, value"):
        summary_table(rows.drop(columns=["seed", "value"]))
    with pytest.raises(StudyError, match="two different results"):
        summary_table(pd.concat([rows, rows.assign(value=rows["value"] + 0.1)]))
    pd.testing.assert_frame_equal(summary_table(pd.concat([rows, rows])), summary_table(rows))


def test_source_language_can_differ_by_target(rows):
    table = summary_table(rows, source_language={"geo": "de"}).set_index(["target", "intermediate"])
    languages = language_table(rows, "geo").set_index("language")["none"]
    others = languages.drop("de").mean()
    assert table.loc[("geo", "none"), "transfer_gap"] == pytest.approx(languages["de"] - others)
    assert table.loc[("lookup", "none"), "n_zero_shot"] == len(LANGUAGES) - 1
