"""The summary of a study on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xmit.report.columns import Cell, points, shown
from xmit.report.effects import Items, effect_table, no_items, primary_table
from xmit.report.rows import UNIT, Missing, SourceLanguage, checked
from xmit.report.sentences import level_of, seeds_note, sentences_of
from xmit.report.tables import summary_table
from xmit.report.views import SUMMARY

WIDTH = 100
NARROW = 96
LEFT_OUT_NARROW = ("zero-shot", "agree")
# what fits a terminal: no column of targets, for they head their rows, and short headings
SHORT = {
    "intermediate": "intermediate",
    "all (n)": "all",
    "zero-shot": "zero-shot",
    "low-res. (n)": "low-res. (n)",
    "weakest": "weakest",
    "gap": "gap",
    "agree": "agree",
    "κ": "κ",
    "Δ low-res.": "Δ low",
    "seeds": "seeds",
}


def _all(row: Mapping[str, Any]) -> Cell:
    return Cell(points(row["mean"]))


def _worst(row: Mapping[str, Any]) -> Cell:
    return Cell(f"{points(row['worst'])} {row['worst_language']}")


SHOW = {"all (n)": _all, "weakest": _worst}
COLUMNS = [
    replace(c, heading=SHORT[c.heading], show=SHOW.get(c.heading, c.show)) for c in SUMMARY if c.heading in SHORT
]


def print_summary(
    rows: pd.DataFrame,
    console: Console | None = None,
    *,
    source_language: SourceLanguage = "en",
    missing: Missing = (),
    items: Items = no_items,
) -> None:
    """Print the table of targets and intermediates, its notes and the answer, in at most 100 columns.

    Args:
        rows: Tidy result rows.
        console: Where to print.
        source_language: The language that was trained on.
        missing: Cells that the study lists as missing.
        items: Gives each cell's item scores.
    """
    console = console or Console()
    # a pipe has no width of its own, and rich would take 80 columns for it
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    rows, missing = checked(rows), list(missing)
    found = effect_table(rows, source_language=source_language, missing=missing, items=items)
    frame, primary = (
        summary_table(rows, source_language=source_language, missing=missing, found=found),
        primary_table(found),
    )
    apart = [k for k in reversed(UNIT) if k == "target" or (k != "metric" and frame[k].nunique() > 1)]
    columns = COLUMNS if width >= NARROW else [c for c in COLUMNS if c.heading not in LEFT_OUT_NARROW]
    content = shown("summary", "", frame.drop(columns=[k for k in apart if k != "target"]), columns)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for (heading, _), is_number in zip(content.headings, content.numeric, strict=True):
        table.add_column(
            Text(heading),
            justify="right" if is_number else "left",
            no_wrap=is_number,
            min_width=None if is_number else 16,
        )
    previous = ""
    headers = frame[apart].astype(str).agg(" · ".join, axis=1)
    for header, (cells, note) in zip(headers, content.rows, strict=True):
        if header != previous:
            table.add_section()
            # names from files are plain text: Text keeps rich from reading them as markup
            table.add_row(Text(header, style="bold"))
        previous = header
        texts = [c.text for c in cells]
        texts[0] = f" {texts[0]}{f' [{note}]' if note else ''}"
        table.add_row(*map(Text, texts))
    lines = [f"[{number}] {text}" for number, text in enumerate(content.notes, 1)]
    lines += [*sentences_of(primary), level_of(frame, source_language)]
    before, console.width = console.width, width
    try:
        console.print(table, *(Text(line) for line in [*lines, seeds_note(rows, primary)]), sep="\n", soft_wrap=False)
    finally:
        console.width = before
