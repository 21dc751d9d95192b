"""Scores as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from xmit.score.layouts import LAYOUTS
from xmit.score.scoring import task_score

MEANS = ("zero-shot", "low-resource", "not in XLM-R")
"""The group means of the table, all without English."""


def print_scores(scores: dict[str, Any], console: Console) -> None:
    """Print the scores of each language, then each task's score, robustness and consistency, then the overall score.

    Args:
        scores: What :func:`~xmit.score.scoring.score_submission` gives.
        console: Where to.
    """
    for name, task in scores["tasks"].items():
        metrics = list(task["mean"])
        table = _table(f"{name}, %", ["language", *metrics])
        for language, values in task["languages"].items():
            table.add_row(language, *(f"{values[metric]:.2f}" for metric in metrics))
        table.add_section()
        table.add_row("mean", *(f"{task['mean'][metric]:.2f}" for metric in metrics))
        console.print(table)
    table = _table(scores["benchmark"], ["task", "score", "languages"])
    for name, task in scores["tasks"].items():
        there, wanted = len(task["languages"]), len(LAYOUTS[name].languages[scores["benchmark"]])
        table.add_row(name, _figure(task_score(LAYOUTS[name], task["mean"])), f"{there} of {wanted}")
    console.print(table)
    table = _table("robustness over languages (number of languages)", ["task", *MEANS, "worst", "spread", "gap to en"])
    for name, task in scores["tasks"].items():
        table.add_row(name, *_robustness(task["robustness"]))
    console.print(table)
    _notes(console, {name: _low_resource_reason(task["robustness"]) for name, task in scores["tasks"].items()})
    compared = {name: task["consistency"] for name, task in scores["tasks"].items() if "unit" in task["consistency"]}
    if compared:
        columns = ["task", "compared", "items", "agreement", "pairs", "unanimous", "kappa", "alpha", "all correct"]
        table = _table("consistency over languages", columns)
        for name, values in compared.items():
            table.add_row(name, *_consistency(values))
        console.print(table)
    _notes(console, {name: _consistency_notes(task["consistency"]) for name, task in scores["tasks"].items()})
    overall = scores["overall"]
    missing = "none, for files are missing or damaged"
    console.print(f"overall: {missing if overall is None else f'{overall:.2f}'}", highlight=False)


def _robustness(values: dict[str, Any]) -> Iterable[str]:
    unseen = values["groups"]["pretraining"]["unseen"]
    means = [(values[key], values["n"][key]) for key in ("zero_shot_mean", "low_resource_mean")]
    for mean, n in (*means, (unseen["mean"], unseen["n"])):
        yield f"{_figure(mean)} ({n})"
    yield f"{_figure(values['worst'])} ({values['worst_language']})" if values["worst_language"] else "–"
    yield _figure(values["sd"])
    yield _figure(values["transfer_gap"])


def _low_resource_reason(values: dict[str, Any]) -> list[str]:
    return [values["reasons"]["low_resource_mean"]] if "low_resource_mean" in values["reasons"] else []


def _consistency(values: dict[str, Any]) -> Iterable[str]:
    known = [value for key, value in values.items() if key.startswith("agreement/") and value is not None]
    yield values["unit"]
    yield f"{values['n_common']} of {values['n_items']}"
    yield _figure(math.fsum(known) / len(known) if known else None, 3)
    for key in ("pairwise_mean", "unanimous", "fleiss_kappa", "krippendorff_alpha", "all_correct"):
        yield _figure(values.get(key), 3)


def _consistency_notes(values: dict[str, Any]) -> list[str]:
    """Why there is no consistency, or a statistic of it; and what makes it mean little."""
    if "unit" not in values:
        return [f"no consistency: {values['reason']}"]
    single = {k: why for k, why in values["reasons"].items() if "/" not in k}
    why = {reason: [k for k in single if single[k] == reason] for reason in dict.fromkeys(single.values())}
    notes = [f"{', '.join(keys)}: {reason}" for reason, keys in why.items()]
    if values["collapse"]:
        share = max(found["share"] for found in values["collapse"].values())
        notes.append(f"up to {share:.1%} alike in {', '.join(values['collapse'])}: consistency means little there")
    return notes + [warning for warning in values["warnings"] if not warning.endswith("consistency means little")]


def _notes(console: Console, notes: dict[str, list[str]]) -> None:
    for name, lines in notes.items():
        for line in lines:
            console.print(f"  {name}: {line}", highlight=False, markup=False)


def _figure(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table
