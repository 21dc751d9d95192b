"""Scores as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from xmit.score.layouts import LAYOUTS, Layout
from xmit.score.scoring import task_score


def print_scores(scores: dict[str, Any], console: Console) -> None:
    """Print the scores of each language, then one line a task, then the overall score.

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
    columns = ["task", "score", "languages", "low-resource", "worst", "gap to en", "agreement", "kappa"]
    table = _table(scores["benchmark"], columns)
    for name, task in scores["tasks"].items():
        table.add_row(*_summary(LAYOUTS[name], task, scores["benchmark"]))
    console.print(table)
    overall = scores["overall"]
    missing = "none, for files are missing or damaged"
    console.print(f"overall: {missing if overall is None else f'{overall:.2f}'}", highlight=False)


def _summary(layout: Layout, task: dict[str, Any], benchmark: Any) -> Iterable[str]:
    robustness, consistency = task["robustness"], task["consistency"]
    low = _figure(robustness["low_resource_mean"])
    count = robustness["n"]["low_resource_mean"]
    worst = robustness["worst_language"]
    return (
        layout.name,
        _figure(task_score(layout, task["mean"])),
        f"{len(task['languages'])} of {len(layout.languages[benchmark])}",
        f"{low} ({count})" if count else low,
        f"{_figure(robustness['worst'])} ({worst})" if worst else "–",
        _figure(robustness["transfer_gap"]),
        _figure(consistency.get("pairwise_mean"), 3),
        _figure(consistency.get("fleiss_kappa"), 3),
    )


def _figure(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table
