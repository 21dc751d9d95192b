"""The tables of a report: functions from result rows to a DataFrame, without any formatting.

Scores are fractions, averaged over seeds within a language first and over languages then. Differences to the
baseline are taken within a seed and a language before anything is averaged. What is undefined is NaN with a
reason in ``note``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from xmit.errors import TaskNotFoundError
from xmit.report.effects import effect_table
from xmit.report.evidence import consistency_table
from xmit.report.rows import (
    ALL,
    BASELINE,
    NAN,
    UNIT,
    Described,
    Missing,
    SourceLanguage,
    by_resources,
    checked,
    describe,
    differences,
    grid,
    left_out,
    main_scores,
    mean_spread,
    numbers,
    over_seeds,
    selected,
    source_of,
    source_score,
    summarise,
    trained_on,
)

GROUPINGS = {
    "resource_class": "resource class",
    "script": "script",
    "writing": "Latin or not",
    "pretraining": "in XLM-R's pre-training",
}
FIRST = ("Latn", "Latin", "seen")
DELTA = "Δ "


def summary_table(
    rows: pd.DataFrame,
    *,
    source_language: SourceLanguage = "en",
    missing: Missing = (),
    found: pd.DataFrame | None = None,
    consistent: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row for every target and intermediate, also for those without results.

    Args:
        rows: Tidy result rows.
        source_language: The language that was trained on.
        missing: Cells that the study lists as missing.
        found: The differences from :func:`~xmit.report.effects.effect_table`, if they are there already; without item
            scores otherwise.
        consistent: The table from :func:`~xmit.report.evidence.consistency_table`, if it is there already.

    Returns:
        The columns of the unit, ``intermediate``, ``seeds``, ``missing_seeds``, ``n_seeds``; ``mean``,
        ``zero_shot_mean`` and ``low_resource_mean`` with ``n_languages``, ``n_zero_shot`` and ``n_low_resource``;
        ``worst``, ``worst_language``, ``source_score``, ``transfer_gap``; ``agreement`` (mean over languages of the
        agreement with the source language) and ``fleiss_kappa``, ``collapse``; ``delta_mean``, ``delta_zero_shot``,
        ``delta_low_resource`` and ``delta_alpha`` (Krippendorff's α) to the baseline, each with ``…_low``, ``…_high``
        and ``…_kind`` of its interval and ``…_spread`` (highest minus lowest over seeds), ``p_holm`` of
        ``delta_zero_shot`` in its target's family, ``n_delta_seeds``; ``mean_spread``; ``note``.
    """
    rows = checked(rows)
    scores = main_scores(rows)
    cells = grid(scores, missing)
    gains = differences(scores, cells)
    if found is None:
        found = effect_table(rows, source_language=source_language, missing=missing)
    changed: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in found[found["scope"].isin([f"target {scope}" for scope in GAINS])].to_dict("records"):
        key = tuple(line[k] for k in ("study", "encoder", "benchmark_version", "target", "intermediate"))
        changed.setdefault(key, {})[line["scope"].removeprefix("target ")] = line
    if consistent is None:
        consistent = consistency_table(rows, source_language=source_language, missing=missing)
    agreements = {tuple(line[k] for k in (*UNIT[:-1], "intermediate")): line for line in consistent.to_dict("records")}
    by_cell = dict(list(scores.groupby([*UNIT, "intermediate"])))
    gain_by_cell = dict(list(gains.groupby([*UNIT, "intermediate"])))
    base = cells[cells["intermediate"] == BASELINE]
    base_seeds = dict(zip(base[UNIT].itertuples(index=False, name=None), base["seeds"], strict=True))
    table = []
    for cell in cells.to_dict("records"):
        key = tuple(cell[name] for name in (*UNIT, "intermediate"))
        source = source_of(source_language, str(cell["target"]))
        scored, gained = by_cell.get(key, scores.iloc[:0]), gain_by_cell.get(key, gains.iloc[:0])
        apart = tuple(cell[name] for name in (*UNIT[:-1], "intermediate"))
        agreed = agreements.get(apart, {})
        agreeing = {name: agreed.get(name, NAN) for name in ("agreement", "fleiss_kappa", "collapse")}
        level, reasons = _level(scored, source)
        notes = _notes(cell, scored, gained, base_seeds.get(key[:-1], ()), reasons)
        if agreeing["collapse"] == 1:
            notes.append("one class takes over 95 % of the answers in some language: consistency means little")
        table.append(
            {
                **{str(k): cell[k] for k in (*UNIT, "intermediate")},
                **level,
                **_gain(changed.get(apart, {})),
                **agreeing,
                "seeds": numbers(cell["seeds"]),
                "missing_seeds": numbers(cell["missing_seeds"]),
                "n_seeds": len(cell["seeds"]),
                "note": "; ".join(notes),
            }
        )
    return pd.DataFrame(table)


def _level(cell: pd.DataFrame, source: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The scores of a cell, how far its seeds lie apart, and why something is NaN."""
    values = over_seeds(cell, "value")
    s = summarise(values, source)
    level = {
        "mean": s["mean"],
        "n_languages": s["n"]["mean"],
        "zero_shot_mean": s["zero_shot_mean"],
        "n_zero_shot": s["n"]["zero_shot_mean"],
        "low_resource_mean": s["low_resource_mean"],
        "n_low_resource": s["n"]["low_resource_mean"],
        "worst": s["worst"],
        "worst_language": s["worst_language"] or "",
        "source_score": source_score(values, source),
        "transfer_gap": s["transfer_gap"],
        "mean_spread": mean_spread(cell, "value"),
    }
    return level, s["reasons"]


GAINS = {ALL: "mean", "zero-shot": "zero_shot", "low-resource": "low_resource", "alpha": "alpha"}


def _gain(lines: Mapping[str, Mapping[Any, Any]]) -> dict[str, Any]:
    """The differences of a cell to the baseline, by scope."""
    row: dict[str, Any] = {}
    for scope, name in GAINS.items():
        line = lines.get(scope, {})
        row[f"delta_{name}"] = line.get("estimate", NAN)
        row |= {f"delta_{name}_{k}": line.get(k, NAN) for k in ("low", "high")}
        row[f"delta_{name}_kind"] = line.get("kind", "none")
        seeds = line.get("seeds", ())
        row[f"delta_{name}_spread"] = max(seeds) - min(seeds) if len(seeds) > 1 else NAN
    zero_shot = lines.get("zero-shot", {})
    return row | {"p_holm": zero_shot.get("p_holm", NAN), "n_delta_seeds": zero_shot.get("n_seeds", 0)}


def _notes(
    cell: Mapping[Any, Any],
    scores: pd.DataFrame,
    gained: pd.DataFrame,
    baseline: tuple[int, ...],
    reasons: Mapping[str, str],
) -> list[str]:
    notes = []
    if cell["missing_seeds"]:
        which = f"seed {numbers(cell['missing_seeds'])}" if cell["seeds"] else "all seeds"
        notes.append(f"missing: {which}{cell['why_missing'] and ' (' + cell['why_missing'] + ')'}")
    elif not cell["seeds"]:
        notes.append("no results" + (cell["why_missing"] and f" ({cell['why_missing']})"))
    notes += left_out(scores)
    if cell["seeds"]:
        notes += [reasons[key] for key in ("low_resource_mean", "transfer_gap") if key in reasons]
    if cell["intermediate"] != BASELINE and cell["seeds"]:
        paired = set(gained["seed"])
        if not baseline:
            notes.append("no baseline to compare with")
        elif not paired:
            notes.append("no seed or language in common with the baseline")
        elif len(baseline) == 1 and paired != set(baseline):
            notes.append("the baseline has one seed, with which every seed is compared")
        elif paired != set(cell["seeds"]) | set(baseline):
            notes.append(f"differences from seed {numbers(sorted(paired))} only")
    return list(dict.fromkeys(notes))


def language_table(
    rows: pd.DataFrame, target: str, *, source_language: SourceLanguage = "en", missing: Missing = ()
) -> pd.DataFrame:
    """The main score of one target in every language, one column an intermediate.

    Args:
        rows: Tidy result rows.
        target: Name of the target.
        source_language: The language that was trained on; its row is marked.
        missing: Cells that the study lists as missing; their columns are empty.

    Returns:
        The columns ``language``, ``name``, ``script``, ``family``, ``resource_class``, ``in_xlmr``, ``cc100_gib``,
        ``is_source``, ``n`` (items), ``note`` (why a score is NaN), then each intermediate's score and, as
        ``Δ name``, its difference to the baseline; languages with the fewest resources first. With several
        studies or encoders there is one such column for each of them.

    Raises:
        TaskNotFoundError: If there are no rows of that target.
    """
    rows = checked(rows)
    every = main_scores(rows)
    if target not in set(every["target"]) | {m["target"] for m in missing if not isinstance(m, str)}:
        raise TaskNotFoundError("target", target, sorted(set(every["target"])), "Only targets with results are listed.")
    scores = selected(every, target=target)
    cells = selected(grid(every, missing), target=target)
    gains = differences(scores, cells)
    languages = by_resources(scores["language"])
    table = pd.DataFrame([about_language(d) for d in languages], columns=list(about_language(describe("en"))))
    source = source_of(source_language, target)
    table["is_source"] = table["language"].isin(trained_on(source))
    table["n"] = table["language"].map(scores.groupby("language")["n"].max())
    lost = scores[scores["value"].isna()].groupby("language")["reason"]
    why = {str(code): "; ".join(sorted(set(part) - {""})) or "no score" for code, part in lost}
    table["note"] = table["language"].map(lambda code: why.get(code, ""))
    columns, deltas = {}, {}
    by_cell = dict(list(scores.groupby([*UNIT, "intermediate"])))
    gain_by_cell = dict(list(gains.groupby([*UNIT, "intermediate"])))
    for cell in cells.to_dict("records"):
        name = column_name(cell, cells)
        key = tuple(cell[k] for k in (*UNIT, "intermediate"))
        columns[name] = table["language"].map(over_seeds(by_cell.get(key, scores.iloc[:0]), "value"))
        if cell["intermediate"] != BASELINE:
            deltas[DELTA + name] = table["language"].map(over_seeds(gain_by_cell.get(key, gains.iloc[:0]), "delta"))
    return pd.concat([table, pd.DataFrame({**columns, **deltas}, dtype=float)], axis=1)


def about_language(described: Described) -> dict[str, Any]:
    """The columns that describe a language."""
    return {
        "language": described.code,
        "name": described.name,
        "script": described.script,
        "family": described.family,
        "resource_class": described.resource_class,
        "in_xlmr": described.in_xlmr if described.known else None,
        "cc100_gib": described.cc100_gib,
    }


def column_name(cell: Mapping[Any, Any], cells: pd.DataFrame) -> str:
    """The intermediate's name, with whatever else tells two columns apart."""
    # over several targets the benchmark and metric differ anyway
    own = ("benchmark_version", "metric") if cells["target"].nunique() == 1 else ()
    apart = [str(cell[k]) for k in ("study", "encoder", *own) if cells[k].nunique() > 1]
    return " · ".join([str(cell["intermediate"]), *apart])


def group_table(rows: pd.DataFrame, *, source_language: SourceLanguage = "en", missing: Missing = ()) -> pd.DataFrame:
    """Means over groups of zero-shot languages: resource class, script, Latin or not, pre-training.

    Args:
        rows: Tidy result rows.
        source_language: The language that was trained on; it is in no group.
        missing: Cells that the study lists as missing.

    Returns:
        One row for every target, intermediate, ``grouping`` and ``group`` with ``mean``, ``n_languages``,
        ``delta`` to the baseline, ``n_delta`` (languages behind it) and ``note``. Languages unknown to xmit are
        in no group.
    """
    scores = main_scores(checked(rows))
    cells = grid(scores, missing)
    gains = differences(scores, cells)
    known = {code: describe(code).known for code in scores["language"].unique()}
    scores, gains = (
        scores[scores["language"].map(known).eq(True)],
        gains[gains["language"].map(known).eq(True)],
    )
    by_cell = dict(list(scores.groupby([*UNIT, "intermediate"])))
    gain_by_cell = dict(list(gains.groupby([*UNIT, "intermediate"])))
    # a cell without results shows the scripts that the other cells of its target have
    scripts = {t: sorted({describe(c).script for c in part["language"]}) for t, part in scores.groupby("target")}
    table = []
    for cell in cells.to_dict("records"):
        key = tuple(cell[k] for k in (*UNIT, "intermediate"))
        source = source_of(source_language, str(cell["target"]))
        level = summarise(over_seeds(by_cell.get(key, scores.iloc[:0]), "value"), source)
        gain = summarise(over_seeds(gain_by_cell.get(key, gains.iloc[:0]), "delta"), source)
        for kind, heading in GROUPINGS.items():
            others = scripts.get(cell["target"], []) if kind == "script" else []
            names = sorted({*level["groups"][kind], *others}, key=lambda name: (name not in FIRST, name))
            for name in names:
                found = level["groups"][kind].get(name, {"mean": NAN, "n": 0})
                gained = gain["groups"][kind].get(name, {"mean": NAN, "n": 0})
                reason = level["reasons"].get(f"groups/{kind}/{name}", "" if found["n"] else "no results")
                table.append(
                    {
                        **{k: cell[k] for k in (*UNIT, "intermediate")},
                        "grouping": heading,
                        "group": name,
                        "mean": found["mean"],
                        "n_languages": found["n"],
                        "delta": gained["mean"],
                        "n_delta": gained["n"],
                        "note": reason if cell["seeds"] else "no results",
                    }
                )
    return pd.DataFrame(table)
