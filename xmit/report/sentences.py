"""The study's question, answered in two sentences that promise no more than the numbers show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from xmit.report.columns import p_value, points, signed, signed_ratio
from xmit.report.effects import LEVEL, effect_table, primary_table
from xmit.report.rows import BASELINE, Missing, SourceLanguage, describe, source_of, trained_on

ENOUGH_SEEDS = 3
NAMED = 4
COVERS = {"seeds and items": "", "seeds": ", over seeds alone", "items": ", over items alone"}


def answer(rows: pd.DataFrame, *, source_language: SourceLanguage = "en", missing: Missing = ()) -> list[str]:
    """Answer whether intermediate training helps low-resource languages and makes answers consistent: two sentences.

    An effect is only claimed where its test, corrected over all intermediates, says so.

    Args:
        rows: Tidy result rows.
        source_language: The language that was trained on.
        missing: Cells that the study lists as missing.
    """
    return sentences_of(primary_table(effect_table(rows, source_language=source_language, missing=list(missing))))


def sentences_of(primary: pd.DataFrame) -> list[str]:
    """The sentences of :func:`answer` from :func:`~xmit.report.effects.primary_table`."""
    if not len(primary):
        return ["The study has no intermediate task, so there is nothing to compare with."]
    which, among = "low-resource", "low-resource languages"
    if primary["low-resource"].isna().all():
        which, among = "zero-shot", "zero-shot languages (none is low-resource)"
    known = primary[primary[which].notna()].sort_values(which, ascending=False, kind="stable")
    if not len(known):
        return [f"No result of the baseline {BASELINE!r} can be compared, so the effect is not known."]
    named = _named(known, which)
    return [_effect(known, named, which, among), _consistency(named, _name(named, known))]


def seeds_note(rows: pd.DataFrame, primary: pd.DataFrame | None = None) -> str:
    """What the number of seeds allows to say.

    Args:
        rows: Tidy result rows.
        primary: From :func:`~xmit.report.effects.primary_table`, if anything is tested.
    """
    seeds = rows.loc[rows["role"] == "target", "seed"].nunique()
    if seeds < ENOUGH_SEEDS:
        return (
            f"{count(seeds, 'seed')}: no estimate of how seeds differ, so intervals cover the test items alone and "
            f"nothing is tested; differences of single seeds are noise."
        )
    if primary is None or primary["p_holm"].isna().all():
        return f"{count(seeds, 'seed')}; without item scores intervals cover the seeds alone, and nothing is tested."
    return (
        f"{count(seeds, 'seed')}; intervals hold the truth 95 times in 100, over seeds and items; * marks what Holm's "
        f"correction leaves below {LEVEL:.0%}."
    )


def level_of(summary: pd.DataFrame, source_language: SourceLanguage) -> str:
    """How well transfer works without intermediate training, and where least.

    Args:
        summary: From :func:`~xmit.report.tables.summary_table`.
        source_language: The language that was trained on.
    """
    base = summary[(summary["intermediate"] == BASELINE) & summary["zero_shot_mean"].notna()]
    parts = []
    for row in base.head(NAMED).to_dict("records"):
        sources = trained_on(source_of(source_language, row["target"]))
        source = " and ".join(describe(code).name for code in sources)
        inside = [] if pd.isna(row["source_score"]) else [f"{source} {points(row['source_score'])}"]
        if row["n_low_resource"]:
            inside.append(f"{row['n_low_resource']} low-resource ones {points(row['low_resource_mean'])}")
        inside.append(f"weakest {describe(row['worst_language']).name} {points(row['worst'])}")
        level = f"{row['target']} scores {points(row['zero_shot_mean'])} over {row['n_zero_shot']} zero-shot languages"
        parts.append(f"{level} ({', '.join(inside)})")
    more = f"; {count(len(base) - NAMED, 'more target')} below" if len(base) > NAMED else ""
    return f"Without intermediate training {'; '.join(parts)}{more}." if parts else ""


def count(n: int, noun: str) -> str:
    """A number with its noun."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _named(known: pd.DataFrame, which: str) -> dict[Any, Any]:
    """The intermediate that the sentences name: the best that is shown to help, else the worst, else the farthest."""
    lines = known.to_dict("records")
    clear = [line for line in lines if line["p_holm"] <= LEVEL] if which == "low-resource" else []
    if clear:
        return clear[0] if clear[0][which] > 0 else clear[-1]
    return max(lines, key=lambda line: abs(line[which]))


def _effect(known: pd.DataFrame, named: Mapping[Any, Any], which: str, among: str) -> str:
    """Which intermediate helps, by how much and how surely."""
    lines = known.to_dict("records")
    tested = [line for line in lines if which == "low-resource" and not pd.isna(line["p_holm"])]
    better = [line for line in tested if line["p_holm"] <= LEVEL and line[which] > 0]
    worse = [line for line in tested if line["p_holm"] <= LEVEL and line[which] < 0]
    numbers = f"{_name(named, known)} {_numbers(named, which)}"
    of = count(len(lines), "intermediate")
    if better:
        also = f"{len(better)} of {of} help" + (f", {len(worse)} harm" if worse else "")
        return f"Intermediate training helps {among}, most of all {numbers}; {also}."
    if worse:
        return f"No intermediate helps {among}; {len(worse)} of {of} harm, most of all {numbers}."
    if tested:
        return f"No effect of intermediate training on {among} is shown: of {of} the largest difference is {numbers}."
    seeds = int(known["n_seeds"].max())
    why = count(seeds, "seed") if seeds < ENOUGH_SEEDS else "results without item scores"
    return f"No effect on {among} can be claimed from {why}: of {of} the largest difference is {numbers}."


def _numbers(line: Mapping[Any, Any], which: str) -> str:
    text = f"{signed(line[which])} points"
    inside = []
    if not pd.isna(line[f"{which}_low"]):
        covers = COVERS[line[f"{which}_kind"]]
        inside.append(f"95 % interval {signed(line[f'{which}_low'])} to {signed(line[f'{which}_high'])}{covers}")
    if which == "low-resource" and not pd.isna(line["p_holm"]):
        inside.append(f"p {_equals(line['p_holm'])}")
    within = f" ({', '.join(inside)})" if inside else ""
    return f"{text}{within} over {count(int(line[f'{which}_pairs']), 'pair')} of a target and a language"


def _equals(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _name(line: Mapping[Any, Any], known: pd.DataFrame) -> str:
    twice = (known["intermediate"] == line["intermediate"]).sum() > 1
    return f"{line['intermediate']} ({line['encoder']} {line['study']})" if twice else str(line["intermediate"])


def _consistency(best: Mapping[Any, Any], name: str) -> str:
    """Whether the same question gets the same answer, and what happens to languages that pre-training did not see."""
    if pd.isna(best["alpha"]):
        said = (
            "Whether answers agree more over languages cannot be told: Krippendorff's α takes a target with the same "
            "items in all of them, and answers that are not all alike"
        )
    else:
        low, high = best["alpha_low"], best["alpha_high"]
        way = "more" if low > 0 else "less" if high < 0 else "not shown to be more or less"
        within = "" if pd.isna(low) else f", interval {signed_ratio(low)} to {signed_ratio(high)} over seeds alone"
        over = count(int(best["alpha_pairs"]), "target")
        inside = f"Krippendorff's α {signed_ratio(best['alpha'])}{within}, {over}"
        said = f"After {name} answers are {way} consistent over languages ({inside})"
    if pd.isna(best["unseen"]):
        return f"{said}."
    within = "" if pd.isna(best["unseen_low"]) else f" ({signed(best['unseen_low'])} to {signed(best['unseen_high'])})"
    return (
        f"{said}; languages that pre-training did not see change by {signed(best['unseen'])} points{within} after it."
    )
