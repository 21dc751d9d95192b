"""What data sets in many languages need beside readers: rows left out of all of them, and checks of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from xmit.errors import DataError, MissingDataError

Columns = dict[str, list[Any]]


def rows_with(
    value: Any, columns: Iterable[str], languages: Iterable[str], read: Callable[[str], Columns]
) -> frozenset[int]:
    """Number the rows that hold a value in any language.

    Args:
        value: What marks a row, such as PAWS-X' ``NS`` (not translated).
        columns: Where to look for it.
        languages: The languages of the data; one that is not at hand cannot say what it lacks.
        read: Reads the columns of one language.

    Returns:
        Row numbers from 0.
    """
    found: set[int] = set()
    names = list(columns)
    for language in languages:
        try:
            rows = read(language)
        except MissingDataError:
            continue
        for name in names:
            found.update(i for i, text in enumerate(rows[name]) if text == value)
    return frozenset(found)


def keep_rows(columns: Columns, kept: Iterable[int]) -> Columns:
    """Some rows of all columns, in the order asked for."""
    rows = list(kept)
    return {name: [values[i] for i in rows] for name, values in columns.items()}


def integers(values: Iterable[Any], where: str | Path) -> list[int]:
    """Whole numbers, perhaps given as text.

    Args:
        values: One a row.
        where: Where the rows come from, for the error.

    Raises:
        DataError: For the first that is none, with its row counted from 1.
    """
    found = []
    for row, value in enumerate(values, 1):
        if not str(value).strip().isdecimal():
            raise DataError(f"{where}: row {row} has {value!r} where a whole number belongs; mend that row")
        found.append(int(value))
    return found
