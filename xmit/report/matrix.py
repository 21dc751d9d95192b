"""The first table of the page: intermediates × targets, differences to the baseline first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from xmit.report.columns import Shown, plus_minus, points, shade, signed
from xmit.report.effects import mark
from xmit.report.rows import BASELINE, UNIT
from xmit.report.sentences import count


def matrices(summary: pd.DataFrame, tables: Mapping[str, Shown]) -> Iterator[dict[str, Any]]:
    """Intermediates by targets, one matrix for each study and encoder.

    Args:
        summary: From :func:`~xmit.report.tables.summary_table`, with its intervals.
        tables: The report's tables by name; ``primary`` gives the last column and ``best`` the last row.
    """
    several = summary[["study", "encoder"]].drop_duplicates().shape[0] > 1
    over_all = {tuple(r[k] for k in ("study", "encoder", "intermediate")): r for r in _records(tables["primary"])}
    for (study, encoder), part in summary.groupby(["study", "encoder"], sort=False):
        units = list(part[UNIT].drop_duplicates().itertuples(index=False, name=None))
        by_cell = {tuple(row[k] for k in (*UNIT, "intermediate")): row for row in part.to_dict("records")}
        lines = []
        for name in dict.fromkeys(part["intermediate"]):
            last = over_all.get((study, encoder, name), {})
            lines.append(
                {
                    "name": name,
                    "baseline": name == BASELINE,
                    "cells": [_cell(by_cell[(*unit, name)]) for unit in units],
                    "all": _over_all(last),
                }
            )
        yield {
            "title": f"{study} · {encoder}" if several else "",
            "targets": [unit[3] for unit in units],
            "lines": lines,
            "best": _best(tables, str(study), str(encoder), [unit[3] for unit in units]),
        }


def _records(table: Shown) -> list[dict[Any, Any]]:
    return table.frame.to_dict("records")


def _cell(row: Mapping[Any, Any]) -> dict[str, Any]:
    base = row["intermediate"] == BASELINE
    low = f"low {points(row['low_resource_mean'])} ({row['n_low_resource']})" if row["n_low_resource"] else ""
    if not base and row["n_low_resource"]:
        low = f"low {plus_minus(row, 'delta_low_resource')}"
    spread = row["delta_zero_shot_spread"]
    missing = f", missing {row['missing_seeds']}" if row["missing_seeds"] else ""
    return {
        "missing": not row["n_seeds"],
        "big": points(row["zero_shot_mean"]) if base else plus_minus(row, "delta_zero_shot") + mark(row["p_holm"]),
        "shade": 0 if base else shade(row, "delta_zero_shot"),
        "low": low,
        "seeds": count(int(row["n_seeds"]), "seed")
        + missing
        + ("" if base or pd.isna(spread) else f", differ by {points(spread)}"),
        "note": row["note"],
    }


def _over_all(row: Mapping[Any, Any]) -> dict[str, Any]:
    if not row:
        return {"big": "", "small": "", "shade": 0}
    return {
        "big": plus_minus(row, "low-resource") + mark(row["p_holm"]),
        "small": count(int(row["low-resource_pairs"]), "pair"),
        "shade": shade(row, "low-resource"),
    }


def _best(tables: Mapping[str, Shown], study: str, encoder: str, targets: list[str]) -> list[dict[str, Any]]:
    """The row *best intermediate per target*, the mean over targets last."""
    if "best" not in tables:
        return []
    rows = [r for r in _records(tables["best"]) if (r["study"], r["encoder"]) == (study, encoder)]
    lines = [r for r in rows if r["target"]] + [r for r in rows if not r["target"]]
    cells = [
        {
            "name": row["intermediate"] or ("mean" if not row["target"] else ""),
            "big": plus_minus(row, "delta_zero_shot"),
            "low": "" if pd.isna(row["delta_low_resource"]) else f"low {signed(row['delta_low_resource'])}",
            "shade": shade(row, "delta_zero_shot"),
            "note": row["note"],
        }
        for row in lines
    ]
    return cells if any(r["intermediate"] for r in rows) else []
