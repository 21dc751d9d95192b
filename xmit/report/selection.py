"""The row *best intermediate per target*: chosen on the source language's validation split, scored on test."""

from __future__ import annotations

from typing import Any

import pandas as pd

from xmit.report.rows import (
    BASELINE,
    NAN,
    UNIT,
    Missing,
    SourceLanguage,
    checked,
    differences,
    grid,
    main_scores,
    over_seeds,
    selected,
    source_of,
    summarise,
)

COLUMNS = (
    "study", "encoder", "target", "intermediate", "dev", "dev_baseline", "candidates", "mean", "delta_mean",
    "delta_zero_shot", "delta_low_resource", "n_seeds", "note",
)  # fmt: skip


def dev_scores(rows: pd.DataFrame, source_language: SourceLanguage = "en") -> pd.DataFrame:
    """The main validation score of every target run in its source language.

    Args:
        rows: Rows from :func:`~xmit.report.rows.checked`.
        source_language: The language that was trained on.
    """
    chosen = rows[(rows["role"] == "target") & (rows["split"] == "validation") & rows["is_main"]]
    sources = chosen["target"].map(lambda target: source_of(source_language, target))
    return chosen[chosen["language"] == sources].reset_index(drop=True)


def best_table(rows: pd.DataFrame, *, source_language: SourceLanguage = "en", missing: Missing = ()) -> pd.DataFrame:
    """For every target the intermediate with the highest source-language validation score, and its test scores.

    No target-language data and no test score take part in the choice. The baseline is no candidate: its own
    validation score stands beside, so that it can be seen where no intermediate would have been chosen at all. Of
    equal scores the first name wins. Only seeds that all candidates have are compared.

    Args:
        rows: Tidy result rows.
        source_language: The language that was trained on.
        missing: Cells that the study lists as missing.

    Returns:
        One row a study, encoder and target: ``intermediate`` (empty where none can be chosen), ``dev`` and
        ``dev_baseline`` (means over seeds), ``candidates``; on test ``mean`` over all languages, ``delta_mean``,
        ``delta_zero_shot`` and ``delta_low_resource`` to the baseline, ``n_seeds``; ``note``. Last for each study and
        encoder a row with an empty target: the means over the targets where one was chosen.
    """
    rows = checked(rows)
    scores = main_scores(rows)
    cells = grid(scores, missing)
    gains = differences(scores, cells)
    dev = dev_scores(rows, source_language)
    table: list[dict[str, Any]] = []
    for (study, encoder), part in cells.groupby(["study", "encoder"], sort=False):
        lines = []
        for unit in dict.fromkeys(part[UNIT].itertuples(index=False, name=None)):
            key = dict(zip(UNIT, unit, strict=True))
            source = source_of(source_language, key["target"])
            known = selected(dev, study=study, encoder=encoder, target=key["target"], metric=key["metric"])
            name, choice = _choose(known, part)
            here = {"study": study, "encoder": encoder, "target": key["target"], "intermediate": name, **choice}
            level = summarise(over_seeds(selected(scores, **key, intermediate=name), "value"), source)
            gained = selected(gains, **key, intermediate=name)
            gain = summarise(over_seeds(gained, "delta"), source)
            here |= {
                "mean": level["mean"] if name else NAN,
                "delta_mean": gain["mean"],
                "delta_zero_shot": gain["zero_shot_mean"],
                "delta_low_resource": gain["low_resource_mean"],
                "n_seeds": gained["seed"].nunique(),
            }
            lines.append(here)
        table += lines
        if len(lines) > 1:
            table.append(_over_targets(str(study), str(encoder), lines))
    return pd.DataFrame(table, columns=list(COLUMNS))


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


def _over_targets(study: str, encoder: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    chosen = pd.DataFrame([line for line in lines if line["intermediate"]], columns=list(COLUMNS))
    row: dict[str, Any] = {"study": study, "encoder": encoder, "target": "", "intermediate": ""}
    for key in ("dev", "dev_baseline", "mean", "delta_mean", "delta_zero_shot", "delta_low_resource"):
        row[key] = float(chosen[key].astype(float).mean()) if len(chosen) else NAN
    row |= {"candidates": 0, "n_seeds": int(chosen["n_seeds"].min()) if len(chosen) else 0}
    low = int(chosen["delta_low_resource"].notna().sum())
    row["note"] = f"mean over {len(chosen)} of {len(lines)} targets; low-resource over {low}"
    return row
