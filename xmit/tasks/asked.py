"""What the items of parallel data ask, beside their predictions: for people who read a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from xmit.tasks.base import Task

LONGEST = 300
"""Characters of an item's text that are kept, so that prediction files stay small."""
OPTION = 100
"""Characters of a choice that are kept."""


def asked(task: Task, predictions: pd.DataFrame, split: str) -> dict[str, list[Any]]:
    """What each item asks, on one of its rows: that of the source language, else the first that it has.

    Args:
        task: The task; nothing is given where it names no columns, or its languages have no items in common.
        predictions: Prediction rows with ``language`` and ``id``.
        split: The split they are of.

    Returns:
        Two columns: ``text``, with the task's ``asked_columns`` one a line, and ``options``, what numbers in
        predictions stand for; None in all other rows.
    """
    found: dict[str, list[Any]] = {"text": [None] * len(predictions), "options": [None] * len(predictions)}
    if not task.asked_columns or not task.metadata.parallel or predictions["language"].nunique() < 2:
        return found
    places = table_rows(task, predictions, split)
    ids, languages = predictions["id"].to_list(), predictions["language"].to_list()
    chosen: dict[str, int] = {}
    for row in sorted(places, key=lambda row: languages[row] != task.source_language):
        chosen.setdefault(ids[row], row)
    rows = list(chosen.values())
    part = task.table(split).select([places[row] for row in rows])
    texts = [[cut(text, LONGEST // len(task.asked_columns)) for text in part[name][:]] for name in task.asked_columns]
    options = task.asked_options
    choices = part[options][:] if isinstance(options, str) else [options] * len(rows)
    for row, lines, own in zip(rows, zip(*texts, strict=True), choices, strict=True):
        found["text"][row] = "\n".join(filter(None, lines))
        found["options"][row] = [cut(text, OPTION) for text in own] or None
    return found


def table_rows(task: Task, predictions: pd.DataFrame, split: str) -> dict[int, int]:
    """Which row of a split's table each prediction row is of, where there is one."""
    table = task.table(split)
    known = zip(table["language"][:], map(str, table["id"][:]), strict=True)
    places = {key: n for n, key in enumerate(known)}
    keys = zip(predictions["language"], predictions["id"], strict=True)
    return {row: places[key] for row, key in enumerate(keys) if key in places}


def cut(text: str, longest: int) -> str:
    """A text on one line, without its middle where it is long: a question often stands at the end of its passage."""
    text = " ".join(text.split())
    half = longest // 2
    return text if len(text) <= longest else f"{text[: half - 1].rstrip()} … {text[2 - half :].lstrip()}"
