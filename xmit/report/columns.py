"""The tables as people read them: headings, numbers in points, numbered notes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from xmit.report.effects import mark
from xmit.report.rows import BASELINE, UNIT

ABSENT = "–"
SHADES = (0.01, 0.03)
KINDS = {"seeds": "ˢ", "items": "ⁱ"}
"""Marks of intervals that do not cover both: seeds alone, or items alone."""


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, and how a difference is shaded, from -3 (much worse) to 3 (much better)."""

    text: str
    shade: int = 0


@dataclass(frozen=True)
class Shown:
    """A table ready to be set.

    Args:
        name: Short name, part of a file name.
        title: What the table shows.
        frame: The unformatted table.
        headings: Column headings, each with an explanation.
        numeric: Which columns hold numbers.
        rows: The cells, each row with the number of its note or 0.
        notes: The notes, numbered from 1.
        effects: For figures, the tidy effects that the table was made of.
    """

    name: str
    title: str
    frame: pd.DataFrame
    headings: list[tuple[str, str]]
    numeric: list[bool]
    rows: list[tuple[list[Cell], int]]
    notes: list[str] = field(default_factory=list)
    effects: pd.DataFrame | None = None

    @property
    def name_column(self) -> int:
        """Which column names a row: the last of the texts before the first number."""
        return max(self.numeric.index(True) - 1, 0) if True in self.numeric else 0

    @property
    def meanings(self) -> list[tuple[str, str]]:
        """The headings with their explanations, those of one explanation together."""
        found: dict[str, list[str]] = {}
        for heading, help in self.headings:
            found.setdefault(help, []).append(heading)
        return [(" … ".join(dict.fromkeys([names[0], names[-1]])), help) for help, names in found.items()]


@dataclass(frozen=True)
class Column:
    """How a column of a table is shown."""

    heading: str
    help: str
    show: Callable[[Mapping[str, Any]], Cell]
    numeric: bool = True


def points(value: Any, digits: int = 1) -> str:
    """A fraction in percentage points."""
    return ABSENT if pd.isna(value) else f"{100 * float(value):.{digits}f}"


def signed(value: Any, digits: int = 1) -> str:
    """A difference in percentage points with its sign; nothing rounds to a signed zero."""
    if pd.isna(value):
        return ABSENT
    text = f"{abs(100 * float(value)):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def ratio(value: Any) -> str:
    """A κ or α."""
    return f"{float(value):.2f}".replace("-", "−")


def signed_ratio(value: Any) -> str:
    """A difference of κ with its sign; nothing rounds to a signed zero."""
    return signed(float(value) / 100, 2)


def p_value(value: Any) -> str:
    """A p value, to three digits after the point."""
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"


def whole(value: Any) -> str:
    """A whole number."""
    return f"{float(value):.0f}"


def shade(row: Mapping[str, Any], key: str) -> int:
    """How strongly a difference is shaded: by its size, and only where its interval leaves 0 out."""
    value, low, high = (row.get(k, math.nan) for k in (key, f"{key}_low", f"{key}_high"))
    if pd.isna(value) or not (low > 0 or high < 0):
        return 0
    size = 1 + sum(abs(float(value)) >= least for least in SHADES)
    return size if value > 0 else -size


def plus_minus(row: Mapping[str, Any], key: str, text: Callable[[Any], str] = signed) -> str:
    """A difference with half its interval; what the interval does not cover is marked (see :data:`KINDS`)."""
    value = row.get(key, math.nan)
    if pd.isna(value):
        return ABSENT
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    if pd.isna(low):
        return text(value)
    half = text((high - low) / 2).lstrip("+")
    return f"{text(value)} ±{half}{KINDS.get(row[f'{key}_kind'], '')}"


def number(key: str, text: Callable[[Any], str], count: str = "") -> Callable[..., Cell]:
    """A number, with another one that counts what stands behind it in brackets."""

    def show(row: Mapping[str, Any]) -> Cell:
        value = row.get(key, math.nan)
        if pd.isna(value):
            return Cell(ABSENT)
        return Cell(text(value) + (f" ({int(row[count])})" if count else ""))

    return show


def difference(key: str, text: Callable[[Any], str] = signed, p: str = "", shaded: bool = True) -> Callable[..., Cell]:
    """A difference to the baseline (which has none itself) with its interval, and an asterisk where ``p`` is low."""

    def show(row: Mapping[str, Any]) -> Cell:
        if row.get("intermediate") == BASELINE:
            return Cell("")
        stars = mark(row.get(p, math.nan)) if p else ""
        return Cell(plus_minus(row, key, text) + stars, shade(row, key) if shaded else 0)

    return show


def plain_difference(key: str, text: Callable[[Any], str] = signed) -> Callable[..., Cell]:
    """A number that the baseline does not have."""
    return lambda row: Cell("") if row["intermediate"] == BASELINE else number(key, text)(row)


def words(key: str) -> Callable[..., Cell]:
    """A text."""
    return lambda row: Cell(str(row[key]))


def each_seed(key: str, text: Callable[[Any], str] = signed) -> Callable[..., Cell]:
    """One number a seed."""
    return lambda row: Cell("  ".join(map(text, row[key])))


def file_name(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", name) or "_"


def shown(name: str, title: str, frame: pd.DataFrame, columns: list[Column]) -> Shown:
    """Format a table.

    Args:
        name: Short name, part of a file name.
        title: What the table shows.
        frame: The table; a column ``note`` becomes numbered notes.
        columns: The columns to show.
    """
    apart = [k for k in UNIT if k in frame.columns and k not in ("target", "metric") and frame[k].nunique() > 1]
    columns = [Column(k.replace("_", " "), k, words(k), numeric=False) for k in apart] + columns
    notes: dict[str, int] = {}
    rows = []
    for row in frame.to_dict("records"):
        note = str(row.get("note", ""))
        number = notes.setdefault(note, len(notes) + 1) if note else 0
        named = {str(k): v for k, v in row.items()}
        rows.append(([c.show(named) for c in columns], number))
    headings = [(c.heading, c.help) for c in columns]
    return Shown(name, title, frame, headings, [c.numeric for c in columns], rows, list(notes))
