"""The row *best intermediate per target*: chosen on the source language's validation split, scored on test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from xmit.metrics.inference import effect
from xmit.metrics.paired import Contribution
from xmit.report.effects import effect_table
from xmit.report.rows import (
    BASELINE,
    NAN,
    UNIT,
    Missing,
    SourceLanguage,
    checked,
    grid,
    is_transfer,
    main_scores,
    over_seeds,
    selected,
    source_of,
    summarise,
)

DELTAS = {"all": "delta_mean", "zero-shot": "delta_zero_shot", "low-resource": "delta_low_resource"}
"""By scope the column of the difference to the baseline."""
COLUMNS = (
    "study", "encoder", "target", "intermediate", "dev", "dev_baseline", "candidates", "mean",
    *(f"{delta}{end}" for delta in DELTAS.values() for end in ("", "_low", "_high", "_kind")), "n_seeds", "note",
)  # fmt: skip


def dev_scores(rows: pd.DataFrame, source_language: SourceLanguage = "en") -> pd.DataFrame:
    """The main validation score of every target run in its source language.

    Args:
        rows: Rows from :func:`~xmit.report.rows.checked`.
        source_language: The language that was trained on.
    """
    chosen = rows[(rows["role"] == "target") & (rows["split"] == "validation") & rows["is_main"]]
    return chosen[~is_transfer(chosen, source_language)].reset_index(drop=True)


def best_table(
    rows: pd.DataFrame,
    *,
    source_language: SourceLanguage = "en",
    missing: Missing = (),
    found: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """For every target the intermediate with the highest source-language validation score, and its test scores.

    No target-language data and no test score take part in the choice. The baseline is no candidate: its own
    validation score stands beside, so that it can be seen where no intermediate would have been chosen at all. Of
    equal scores the first name wins. Only seeds that all candidates have are compared. The chosen runs are those
    tested, so what is luck of the seeds in both splits is chosen, too.

    Args:
        rows: Tidy result rows.
        source_language: The language that was trained on.
        missing: Cells that the study lists as missing.
        found: The differences from :func:`~xmit.report.effects.effect_table`, if they are there already.

    Returns:
        One row a study, encoder and target: ``intermediate`` (empty where none can be chosen), ``dev`` and
        ``dev_baseline`` (means over seeds), ``candidates``; on test ``mean`` over all languages, ``delta_mean``,
        ``delta_zero_shot`` and ``delta_low_resource`` to the baseline with their intervals (``…_low``, ``…_high``,
        ``…_kind``), ``n_seeds``; ``note``. Last for each study and encoder a row with an empty target: the means over
        the targets where one was chosen, each target counted alike; its interval covers the seeds alone.
    """
    rows = checked(rows)
    scores = main_scores(rows)
    cells = grid(scores, missing)
    if found is None:
        found = effect_table(rows, source_language=source_language, missing=missing)
    dev = dev_scores(rows, source_language)
    by_cell = {
        (line["study"], line["encoder"], line["benchmark_version"], line["target"], line["intermediate"], scope): line
        for scope in DELTAS
        for line in found[found["scope"] == f"target {scope}"].to_dict("records")
    }
    table: list[dict[str, Any]] = []
    for (study, encoder), part in cells.groupby(["study", "encoder"], sort=False):
        lines: list[dict[str, Any]] = []
        chosen: list[dict[str, Mapping[Any, Any]]] = []
        for unit in dict.fromkeys(part[UNIT].itertuples(index=False, name=None)):
            key = dict(zip(UNIT, unit, strict=True))
            source = source_of(source_language, key["target"])
            name, choice = _choose(selected(dev, **key), part)
            level = over_seeds(selected(scores, **key, intermediate=name), "value")
            gained: dict[str, Mapping[Any, Any]] = {
                scope: by_cell.get((*unit[:4], name, scope), {}) for scope in DELTAS
            }
            lines.append(
                {
                    **{k: key[k] for k in ("study", "encoder", "target")},
                    "intermediate": name,
                    **choice,
                    "mean": summarise(level, source)["mean"] if name else NAN,
                    **_deltas(gained),
                    "n_seeds": gained["all"].get("n_seeds", 0),
                }
            )
            if name:
                chosen.append(gained)
        table += lines
        if len(lines) > 1:
            table.append({"study": study, "encoder": encoder, **_over_targets(lines, chosen)})
    return pd.DataFrame(table, columns=list(COLUMNS))


def _deltas(lines: Mapping[str, Mapping[Any, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for scope, name in DELTAS.items():
        line = lines[scope]
        row |= {name: line.get("estimate", NAN), f"{name}_kind": line.get("kind", "none")}
        row |= {f"{name}_{end}": line.get(end, NAN) for end in ("low", "high")}
    return row


def _choose(dev: pd.DataFrame, cells: pd.DataFrame) -> tuple[str, dict[str, Any]]:
    """The intermediate with the best validation score over the seeds that all have."""
    wide = dev.pivot_table(index="seed", columns="intermediate", values="value", aggfunc="mean")
    names = sorted(set(wide.columns) - {BASELINE})
    nothing: dict[str, Any] = {"dev": NAN, "dev_baseline": NAN, "candidates": len(names)}
    every = set(cells["intermediate"]) - {BASELINE}
    if not every:
        return "", {**nothing, "note": "the study has no intermediate"}
    if not names:
        return "", {**nothing, "note": "no validation score in the source language, so nothing can be chosen"}
    common = wide[names].dropna()
    if not len(common):
        return "", {**nothing, "note": "no seed has a validation score of every candidate"}
    means = common.mean()
    name = str(means.idxmax())
    base = wide[BASELINE].reindex(common.index).mean() if BASELINE in wide else NAN
    notes = []
    if len(names) < len(every):
        notes.append(f"not chosen from {', '.join(sorted(every - set(names)))}: no validation score")
    if len(common) < len(wide):
        notes.append(f"chosen on seed {', '.join(str(s) for s in common.index)}, which all candidates have")
    if base > means[name]:
        notes.append("the baseline's validation score is higher still")
    choice = {"dev": float(means[name]), "dev_baseline": float(base), "candidates": len(names)}
    return name, {**choice, "note": "; ".join(notes)}


def _over_targets(lines: list[dict[str, Any]], chosen: list[dict[str, Mapping[Any, Any]]]) -> dict[str, Any]:
    """The mean over targets, each counted alike, with an interval over the seeds."""
    known = [line for line in lines if line["intermediate"]]
    row: dict[str, Any] = {"target": "", "intermediate": "", "candidates": 0}
    for key in ("dev", "dev_baseline", "mean"):
        row[key] = sum(line[key] for line in known) / len(known) if known else NAN
    found = {}
    for scope in DELTAS:
        parts = [g[scope] for g in chosen if g[scope].get("n_pairs")]
        seeds = [dict(zip(p["seed_numbers"], p["seeds"], strict=True)) for p in parts]
        common = sorted(set.intersection(*map(set, seeds))) if seeds else []
        means = np.array([np.mean([s[n] for s in seeds]) for n in common])
        over_all = effect([Contribution("", tuple(common), means, None, int(len(common) > 0))])
        # the estimate is that of all seeds, also of those that not all targets have
        estimate = float(np.mean([p["estimate"] for p in parts])) if parts else NAN
        shift = estimate - over_all.estimate
        found[scope] = {
            "estimate": estimate, "low": over_all.low + shift, "high": over_all.high + shift, "kind": over_all.kind,
            "n_seeds": len(common), "n_targets": len(parts),
        }  # fmt: skip
    row |= _deltas(found) | {"n_seeds": found["all"]["n_seeds"]}
    low = found["low-resource"]["n_targets"]
    row["note"] = f"mean over {len(known)} of {len(lines)} targets, low-resource over {low}"
    return row
