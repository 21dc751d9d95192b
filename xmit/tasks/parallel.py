"""What data sets in many languages need beside readers: rows left out of all of them, and checks of columns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmit.errors import ConfigError, DataError, MissingDataError

if TYPE_CHECKING:
    import datasets

    from xmit.tasks.base import Task

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


def languages_at_hand(task: Task, split: str) -> str:
    """A sentence with those languages of a split whose files are below ``data_dir``, if some are and some are not."""
    there = []
    for language in task.split_languages(split) if task.data_dir else ():
        try:
            task.load_split(task.test_split if split == "test" else split, language)
        except DataError:  # absent or damaged
            continue
        there.append(language)
    return f" Data of these languages are there: --data.languages=[{','.join(there)}]" if there else ""


def check_columns(table: datasets.Dataset, columns: Iterable[str], where: str) -> None:
    """Refuse a split that lacks a column, has no rows, or an id twice.

    Args:
        table: The split, as ``load_split`` returned it.
        columns: What it must have, ``id`` among it.
        where: Where the rows come from, for the error.

    Raises:
        DataError: For the first column or id that is amiss.
    """
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(
            f"{where}: column {missing[0]!r} is missing; load_split returned {', '.join(table.column_names)}"
        )
    if len(table) == 0:
        raise DataError(f"{where}: no rows")
    ids = table["id"][:]
    if len(set(ids)) != len(ids):
        seen: set[Any] = set()
        row, twice = next((n, i) for n, i in enumerate(ids) if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise DataError(f"{where}: the id {twice!r} occurs twice, in rows {ids.index(twice) + 1} and {row + 1}")


def compare_size(task: Task, table: datasets.Dataset, split: str, language: str) -> None:
    """Warn of files that hold another number of rows than was published; those of the hub are counted there.

    Raises:
        ConfigError: If a file of one's own is given for the split, and the task has never asked for it.
    """
    own = {"train": task.train_file, "validation": task.validation_file}.get(split)
    if own and split not in task.asked_own:
        raise ConfigError(f"task {task.name!r} takes no {split}_file: leave {own} out")
    published = task.sizes.get(split, len(table))
    if task.data_dir and not own and language == task.metadata.source_language and len(table) != published:
        warnings.warn(
            f"task {task.name!r}, split {split!r}: {len(table):,} rows instead of the published {published:,}: "
            "a part of the data, or another version",
            stacklevel=3,
        )


def published_rows(task: Task, data: str, sizes: Mapping[str, int], split: str, language: str) -> int:
    """How many rows a split of English data has; refuses a split whose labels nobody has, and what is on no hub.

    Args:
        task: Who asks.
        data: The data set's name, for errors.
        sizes: The rows of each published split with labels.
        split: The split.
        language: An xmit language code.

    Raises:
        ConfigError: For a split that is not in ``sizes``, or a language other than English without a ``data_dir``.
    """
    if split not in sizes:
        known = " and ".join(sizes)
        raise ConfigError(
            f"task {task.name!r}: {data} has no split {split!r} with public labels, only {known}; "
            f"set test_split: validation"
        )
    if language != "en" and not task.data_dir:
        raise ConfigError(
            f"task {task.name!r}: on the hub {data} is in English only, not in {language!r}; pass data_dir with "
            f"translations below translate-train/{language}"
        )
    return sizes[split]
