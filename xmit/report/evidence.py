"""Tables beside the scores: consistency, and the intermediate tasks' own scores."""

from __future__ import annotations

import pandas as pd

from xmit.report.rows import (
    ALL,
    NAN,
    UNIT,
    Missing,
    SourceLanguage,
    checked,
    grid,
    left_out,
    main_scores,
    over_seeds,
    source_of,
    summarise,
    trained_on,
)

WITH_SOURCE = ("agreement", "rankc", "correct_given_pivot")
"""What compares each language with the source language."""
CONSISTENCY = (
    "pairwise_mean",
    "unanimous",
    "fleiss_kappa",
    "krippendorff_alpha",
    "all_correct",
    "n_common",
    "collapse",
)


def consistency_table(
    rows: pd.DataFrame, *, source_language: SourceLanguage = "en", missing: Missing = ()
) -> pd.DataFrame:
    """Consistency of the answers over languages, beside the accuracy without which it means little.

    Args:
        rows: Tidy result rows.
        source_language: The language that was trained on, left out of the mean agreement.
        missing: Cells that the study lists as missing.

    Returns:
        One row for every target and intermediate: ``mean`` (main score), ``agreement``, ``rankc`` and
        ``correct_given_pivot`` (means over languages), the summaries of
        :class:`~xmit.metrics.CrossLingualConsistency`, ``note``. Targets without any such row are not listed;
        values are means over seeds, ``collapse`` is their maximum.
    """
    rows = checked(rows)
    scores = main_scores(rows)
    chosen = rows[(rows["role"] == "target") & (rows["split"] == "test")]
    chosen = chosen[chosen["metric"].str.startswith("consistency/")].copy()
    chosen["metric"] = chosen["metric"].str.removeprefix("consistency/")
    unit = UNIT[:-1]
    with_any = set(chosen[unit].itertuples(index=False, name=None))
    parts = dict(list(chosen.groupby([*unit, "intermediate"])))
    accuracy = dict(list(scores.groupby([*unit, "intermediate"])))
    table = []
    for cell in grid(scores, missing).to_dict("records"):
        if tuple(cell[k] for k in unit) not in with_any:
            continue
        key = tuple(cell[k] for k in (*unit, "intermediate"))
        found = parts.get(key, chosen.iloc[:0])
        source = source_of(source_language, str(cell["target"]))
        per_language = found[~found["language"].isin([ALL, *trained_on(source)])]
        overall = found[found["language"] == ALL]
        undefined = found[found["value"].isna()]
        why = [
            f"{name}: {reason or 'undefined'}"
            for name, reason in zip(undefined["metric"], undefined["reason"], strict=True)
        ]
        listed = {name: _mean_of_languages(per_language, name) for name in WITH_SOURCE}
        listed |= {name: _mean(overall, name) for name in CONSISTENCY}
        flags = overall[overall["metric"] == "collapse"]["value"]
        listed["collapse"] = float(flags.max()) if len(flags) else NAN
        collapsed = sorted(set(found[(found["metric"] == "collapse") & (found["language"] != ALL)]["language"]))
        if collapsed:
            why.append(f"one class takes over 95 % in {', '.join(collapsed)}: consistency means little there")
        mean = summarise(over_seeds(accuracy[key], "value"), source)["mean"] if key in accuracy else NAN
        table.append(
            {
                **{k: cell[k] for k in (*unit, "intermediate")},
                "mean": mean,
                **listed,
                "n_seeds": found["seed"].nunique(),
                "note": "; ".join(dict.fromkeys(why if len(found) else ["no results"])),
            }
        )
    columns = [
        *unit,
        "intermediate",
        "mean",
        *WITH_SOURCE,
        *CONSISTENCY,
        "n_seeds",
        "note",
    ]
    return pd.DataFrame(table, columns=columns)


def _mean(rows: pd.DataFrame, metric: str) -> float:
    return float(rows.loc[rows["metric"] == metric, "value"].mean())


def _mean_of_languages(rows: pd.DataFrame, metric: str) -> float:
    return float(rows[rows["metric"] == metric].groupby("language")["value"].mean().mean())


def intermediate_table(rows: pd.DataFrame) -> pd.DataFrame:
    """What each intermediate task scored on its own validation set: did it learn anything to transfer?

    Args:
        rows: Tidy result rows.

    Returns:
        Columns ``study``, ``encoder``, ``intermediate``, ``metric``, ``mean``, ``spread`` over seeds,
        ``n_seeds``, ``note``.
    """
    rows = checked(rows)
    own = rows[(rows["role"] == "intermediate") & (rows["split"] == "validation") & rows["is_main"]]
    columns = ["study", "encoder", "intermediate", "metric"]
    table = []
    for key, part in own.groupby(columns, sort=True):
        seeds = part.groupby("seed")["value"].mean()
        table.append(
            {
                **dict(zip(columns, key, strict=True)),
                "mean": float(seeds.mean()),
                "spread": float(seeds.max() - seeds.min()) if len(seeds) > 1 else NAN,
                "n_seeds": len(seeds),
                "note": "; ".join(left_out(part)),
            }
        )
    return pd.DataFrame(table, columns=[*columns, "mean", "spread", "n_seeds", "note"])
