"""The tables of a report, each with its columns, in the order of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from xmit.report.axes import Axes, SizeCurve, size_curves, source_table
from xmit.report.columns import (
    ABSENT,
    Cell,
    Column,
    Shown,
    difference,
    each_seed,
    file_name,
    number,
    p_value,
    plain_difference,
    points,
    ratio,
    shown,
    signed,
    signed_ratio,
    whole,
    words,
)
from xmit.report.effects import Items, effect_table, family_table, no_items, primary_table
from xmit.report.evidence import consistency_table, intermediate_table
from xmit.report.languages import language_effects, target_language_effects
from xmit.report.rows import BASELINE, Missing, SourceLanguage, checked, describe, main_scores
from xmit.report.selection import best_table
from xmit.report.tables import DELTA, column_name, group_table, language_table, summary_table


def _worst(row: Mapping[str, Any]) -> Cell:
    if not row["worst_language"]:
        return Cell(ABSENT)
    return Cell(f"{points(row['worst'])} {describe(row['worst_language']).name}")


def _seeds(row: Mapping[str, Any]) -> Cell:
    return Cell(str(row["n_seeds"]) if row["n_seeds"] else "missing")


def _language(row: Mapping[str, Any]) -> Cell:
    return Cell(f"{row['name']}{' (source)' if row['is_source'] else ''}")


def _seen(row: Mapping[str, Any]) -> Cell:
    seen = row["in_xlmr"]
    return Cell(ABSENT) if seen is None or pd.isna(seen) else Cell("yes" if seen else "no")


TARGET = Column("target", "the task that is scored in every language", words("target"), numeric=False)
INTERMEDIATE = Column("intermediate", "the task trained on before", words("intermediate"), numeric=False)
SEEDS = Column("seeds", "training runs behind the row", _seeds)
PRIMARY = [
    INTERMEDIATE,
    Column(
        "Δ low-resource",
        "the primary endpoint: mean difference to the baseline over all pairs of a target and a low-resource language "
        "(resource class 0 to 2), with the half-width of its 95 % interval",
        difference("low-resource", p="p_holm"),
    ),
    Column("p (Holm)", "of the primary endpoint, corrected over all intermediates", number("p_holm", p_value)),
    Column("pairs", "pairs of a target and a low-resource language", number("low-resource_pairs", whole)),
    Column("each seed", "the primary endpoint seed by seed", each_seed("seeds")),
    Column("Δ zero-shot", "mean over all pairs with a language not trained on", difference("zero-shot")),
    Column("Δ unseen", "mean over pairs with a language that XLM-R's pre-training did not see", difference("unseen")),
    Column(
        "Δ α",
        "difference in Krippendorff's α of the answers over languages, mean over targets with parallel items: above 0 "
        "answers are more consistent",
        difference("alpha", signed_ratio),
    ),
    Column(
        "slope",
        "change of the difference with ten times the pre-training text, in points: below 0 the poor gain more",
        difference("slope", shaded=False),
    ),
    SEEDS,
]
TESTS = [
    Column("family", "the tests that are corrected together", words("family"), numeric=False),
    INTERMEDIATE,
    Column("Δ", "mean difference to the baseline over the pairs", difference("estimate", p="p_holm")),
    Column("p", "of no difference, alone", number("p", p_value)),
    Column("p (Holm)", "corrected within the family", number("p_holm", p_value)),
    Column("se seeds", "standard error's part from the seeds, points", number("se_seeds", lambda v: points(v, 2))),
    Column("se items", "standard error's part from the items, points", number("se_items", lambda v: points(v, 2))),
    Column("pairs", "pairs of a target and a language", number("n_pairs", whole)),
    Column("items", "items, translations counted once", number("n_items", whole)),
    Column("seeds", "seeds that have all pairs", number("n_seeds", whole)),
]
SUMMARY = [
    TARGET,
    INTERMEDIATE,
    Column("all (n)", "mean over all languages", number("mean", points, "n_languages")),
    Column("zero-shot", "mean over the languages not trained on", number("zero_shot_mean", points)),
    Column(
        "low-res. (n)",
        "mean over zero-shot languages of resource class 0 to 2",
        number("low_resource_mean", points, "n_low_resource"),
    ),
    Column("weakest", "lowest score and its language", _worst),
    Column("gap", "source language minus zero-shot mean", number("transfer_gap", points)),
    Column("agree", "answers equal to the source language's, in %", number("agreement", points)),
    Column("κ", "Fleiss' kappa: agreement beyond chance over all languages", number("fleiss_kappa", ratio)),
    Column("Δ all", "difference to the baseline, all languages", difference("delta_mean")),
    Column("Δ zero-shot", "the like, zero-shot languages", difference("delta_zero_shot", p="p_holm")),
    Column("Δ low-res.", "the like, low-resource languages", difference("delta_low_resource")),
    Column(
        "seeds differ",
        "highest minus lowest Δ low-res. over seeds: no interval",
        plain_difference("delta_low_resource_spread", points),
    ),
    SEEDS,
]
CONSISTENCY = [
    TARGET,
    INTERMEDIATE,
    Column("score", "main score, mean over all languages", number("mean", points)),
    Column("α", "Krippendorff's alpha: agreement beyond chance", number("krippendorff_alpha", ratio)),
    Column("Δ α", "difference to the baseline", difference("delta_alpha", signed_ratio)),
    Column("κ", "Fleiss' kappa: the like over items that all languages have", number("fleiss_kappa", ratio)),
    Column("agree", "answers equal to the source language's, in %", number("agreement", points)),
    Column(
        "RankC",
        "how alike a language and the source language rank three candidates or more, from 0 to 1, first ranks most",
        number("rankc", ratio),
    ),
    Column("pairs agree", "mean over pairs of languages, in %", number("pairwise_mean", points)),
    Column("unanimous", "items answered alike in all languages, in %", number("unanimous", points)),
    Column("all correct", "items answered correctly in all languages, in %", number("all_correct", points)),
    Column(
        "right as source",
        "of the items answered correctly in the source language, those answered correctly in another, in %",
        number("correct_given_pivot", points),
    ),
    Column("items", "items in all languages", number("n_common", whole)),
    Column("collapse", "one class takes over 95 %", lambda row: Cell("yes" if row["collapse"] == 1 else "")),
    SEEDS,
]
GROUPS = [
    TARGET,
    Column("by", "how the languages are grouped", words("grouping"), numeric=False),
    Column("group", "the group", words("group"), numeric=False),
    Column("n", "zero-shot languages in the group", number("n_languages", whole)),
]
BEST = [
    Column("target", "the task that is scored in every language", words("shown"), numeric=False),
    Column("chosen", "the intermediate with the best validation score", words("intermediate"), numeric=False),
    Column("dev", "its score on the source language's validation split", number("dev", points)),
    Column("dev, none", "the baseline's", number("dev_baseline", points)),
    Column("test, all", "mean over all languages", number("mean", points)),
    Column("Δ all", "difference to the baseline on test, all languages", difference("delta_mean")),
    Column("Δ zero-shot", "the like, zero-shot languages", difference("delta_zero_shot")),
    Column("Δ low-res.", "the like, low-resource languages", difference("delta_low_resource")),
    SEEDS,
]
OWN = [
    INTERMEDIATE,
    Column("score", "on its own validation set", number("mean", points)),
    Column("metric", "its main metric", words("metric"), numeric=False),
    Column("range over seeds", "highest minus lowest", number("spread", points)),
    SEEDS,
]
SOURCES = [
    Column("phase", "whose source language is varied", words("phase"), numeric=False),
    Column("task", "the task in several source languages", words("task"), numeric=False),
    Column("rank", "by mean transfer", number("rank", whole)),
    Column("source", "the language trained on", words("source"), numeric=False),
    Column("transfer", "mean score over the languages that are no source", number("transfer", points)),
    Column("each seed", "the same, seed by seed", each_seed("seeds", points)),
    Column("named", "the entry of the study", words("name"), numeric=False),
    Column("targets", "targets averaged", number("n_targets", whole)),
    Column("languages", "languages averaged", number("n_languages", whole)),
]
SIZES = [
    Column("intermediate", "the task whose training set is cut", words("task"), numeric=False),
    Column("source", "its source language", words("source"), numeric=False),
    TARGET,
    Column("sizes: scores", "training examples and mean zero-shot score", words("points"), numeric=False),
    Column("E", "the loss (1 − score) that no amount of data goes below", number("floor", ratio)),
    Column("A", "scale of what data take away", number("scale", lambda v: f"{v:.3g}")),
    Column("α", "exponent: how fast", number("exponent", ratio)),
    Column("error", "root mean square distance from the curve, points", number("rmse", lambda v: points(v, 2))),
    Column("p", "lack of fit against the seeds' scatter", number("p", p_value)),
    Column("misfit", "why the curve is not to be trusted", words("misfit"), numeric=False),
]
LANGUAGE = [
    Column("language", "name", _language, numeric=False),
    Column("class", "resource class of Joshi et al. (2020), 0 = fewest", number("resource_class", whole)),
    Column("GiB", "of its text that XLM-R was trained on", number("cc100_gib", lambda v: f"{v:.1f}")),
]
# the scores stand between, near the name
ABOUT = [
    Column("code", "ISO 639-1, else 639-3", words("language"), numeric=False),
    Column("script", "ISO 15924", words("script"), numeric=False),
    Column("family", "language family", words("family"), numeric=False),
    Column("seen", "in XLM-R's pre-training", _seen, numeric=False),
]
ITEMS = Column("items", "scored items", number("n", whole))


def all_tables(
    rows: pd.DataFrame,
    *,
    source_language: SourceLanguage = "en",
    missing: Missing = (),
    items: Items = no_items,
    axes: Axes | None = None,
) -> Iterator[Shown]:
    """Every table of a report.

    Args:
        rows: Tidy result rows.
        source_language: The language that was trained on.
        missing: Cells that the study lists as missing.
        items: Gives each cell's item scores, without which nothing is tested.
        axes: The tasks, source languages and training sizes of the study's intermediates and targets.
    """
    rows, missing = checked(rows), list(missing)
    options: dict[str, Any] = {"source_language": source_language, "missing": missing}
    found = effect_table(rows, **options, items=items)
    consistency = consistency_table(rows, **options)
    summary = summary_table(rows, **options, found=found, consistent=consistency)
    yield shown("summary", "All measures", summary, SUMMARY)
    yield shown("primary", "Difference to the baseline over all targets", primary_table(found), PRIMARY)
    if len(found):
        yield best_shown(best_table(rows, **options, found=found))
        yield shown("tests", "Families of tests", intervals(family_table(found)), TESTS)
    if len(consistency):
        keys = ["study", "encoder", "benchmark_version", "target", "intermediate"]
        more = summary[[*keys, *(c for c in summary.columns if c.startswith("delta_alpha"))]].drop_duplicates(keys)
        both = consistency.merge(more, on=keys, how="left")
        yield shown("consistency", "Consistency over languages", both, CONSISTENCY)
    yield groups_shown(group_table(rows, **options))
    over_all = effects_shown("languages", "Languages over all targets", language_effects(rows, found, **options), [])
    yield replace(over_all, effects=found)
    by_target = target_language_effects(rows, found, **options)
    yield effects_shown("target-languages", "Targets and languages", by_target, [TARGET])
    for target in dict.fromkeys(main_scores(rows)["target"]):
        yield languages_shown(rows, target, **options)
    own = intermediate_table(rows)
    if len(own):
        yield shown("intermediates", "The intermediate tasks' own scores", own, OWN)
    sources = source_table(rows, axes or {}, source_language=source_language)
    if len(sources):
        yield shown("sources", "Source languages by mean transfer", sources, SOURCES)
    curves = size_curves(rows, axes or {}, source_language=source_language)
    if curves:
        yield shown("sizes", "Target score by size of the intermediate training set", curve_frame(curves), SIZES)


def intervals(tests: pd.DataFrame) -> pd.DataFrame:
    """Name the interval's columns after the estimate's."""
    return tests.assign(estimate_low=tests["low"], estimate_high=tests["high"], estimate_kind=tests["kind"])


def best_shown(table: pd.DataFrame) -> Shown:
    """The row *best intermediate per target*."""
    named = table.assign(shown=table["target"].where(table["target"] != "", "mean over targets"))
    return replace(shown("best", "Best intermediate per target", named, BEST), frame=table)


def curve_frame(curves: list[SizeCurve]) -> pd.DataFrame:
    """The fitted curves as a table."""
    table = []
    for c in curves:
        line = {
            k: getattr(c, k) for k in ("task", "source", "target", "floor", "scale", "exponent", "rmse", "p", "misfit")
        }
        pairs = zip(c.sizes, c.scores, strict=True)
        table.append(line | {"points": "  ".join(f"{size:,}: {points(score)}" for size, score in pairs)})
    return pd.DataFrame(table)


def effects_shown(name: str, title: str, frame: pd.DataFrame, first: list[Column]) -> Shown:
    """Languages (of targets), a column for the baseline's score and one for every intermediate's difference to it."""
    names = [c.removeprefix(DELTA) for c in frame.columns if c.startswith(DELTA) and not c.endswith(ENDS)]
    bases = [c for c in frame.columns if c == BASELINE or c.startswith(f"{BASELINE} · ")]
    scored = [Column(c, "main score without intermediate training", number(c, points)) for c in bases]
    scored += [Column(DELTA + n, "difference to the baseline", difference(DELTA + n)) for n in names]
    return shown(name, title, frame, [*LANGUAGE[:1], *first, *LANGUAGE[1:], *scored, *ABOUT])


ENDS = ("_low", "_high", "_kind")


def languages_shown(rows: pd.DataFrame, target: str, **options: Any) -> Shown:
    """The languages of one target, a column for every intermediate and for its difference to the baseline."""
    table = language_table(rows, target, **options)
    scored = [c for c in table.columns if c not in language_columns()]
    columns = [
        Column(
            c,
            "difference to the baseline" if c.startswith(DELTA) else "main score",
            number(c, signed if c.startswith(DELTA) else points),
        )
        for c in scored
    ]
    return shown(f"languages-{file_name(target)}", target, table, [*LANGUAGE, *columns, *ABOUT, ITEMS])


def groups_shown(groups: pd.DataFrame) -> Shown:
    """The groups of languages, a column for every intermediate and for its difference to the baseline."""
    each = _names(groups)
    names = {str(c["name"]): c for c in groups.assign(name=each).to_dict("records")}
    wide: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row, name in zip(groups.to_dict("records"), each, strict=True):
        key = tuple(row[k] for k in ("target", "benchmark_version", "metric", "grouping", "group"))
        # an empty group says why
        kept = {k: row[k] for k in ("target", "grouping", "group")} | {"note": row["note"]}
        line = wide.setdefault(key, {**kept, "n_languages": 0})
        line |= {name: row["mean"], DELTA + name: row["delta"]}
        line["n_languages"] = max(line["n_languages"], row["n_languages"])
    columns = [Column(n, "mean over the group", number(n, points)) for n in names]
    columns += [
        Column(DELTA + n, "difference to the baseline", number(DELTA + n, signed))
        for n, cell in names.items()
        if cell["intermediate"] != BASELINE
    ]
    frame = pd.DataFrame(list(wide.values()))
    return replace(shown("groups", "Groups of zero-shot languages", frame, [*GROUPS, *columns]), frame=groups)


def _names(groups: pd.DataFrame) -> list[str]:
    keys = ["study", "encoder", "benchmark_version", "metric", "intermediate"]
    known = {
        tuple(cell[k] for k in keys): column_name(cell, groups)
        for cell in groups.drop_duplicates(keys).to_dict("records")
    }
    return [known[key] for key in groups[keys].itertuples(index=False, name=None)]


def language_columns() -> set[str]:
    """The columns of a language table that describe the language."""
    about = {"language", "name", "script", "family", "resource_class", "in_xlmr", "cc100_gib"}
    return about | {"is_source", "n", "note"}
