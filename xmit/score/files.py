"""Read the files of a submission and of its labels, with the line of everything that is wrong with them.

Each reader takes a path and gives :class:`Items`. What leaves no score is a :class:`~xmit.errors.DataError` with file
and line; what the official rules score all the same, such as a pair given twice, is a remark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmit.data.text import read_lines, read_text
from xmit.errors import DataError
from xmit.score.layouts import Format

BLANKED = "XTREME's public download blanks the test labels: give the folder of the real ones"


@dataclass(frozen=True)
class Items:
    """What a file holds, in its order.

    Args:
        path: The file.
        ids: Id of each item; in files of lines its number, from 0.
        values: Label, choice, list of tags, pair, answer, list of answers or list of candidates of each item.
        lines: The line of each item, from 1.
        remarks: What is odd, but has a score by the official rules.
    """

    path: Path
    ids: list[str]
    values: list[Any]
    lines: list[int]
    remarks: list[str] = field(default_factory=list)

    def where(self, item: int) -> str:
        """File and line of an item."""
        return f"{self.path}:{self.lines[item]}"


def _lines(path: Path) -> list[str]:
    return read_lines(path, ended=False)  # many systems join lines without a break after the last


def _unfinished(path: Path) -> list[str]:
    """A remark where the last line has no end: of numbers and ids nobody sees that some digits are missing."""
    text = read_text(path)
    if text.endswith("\n"):
        return []
    line = text.count("\n") + 1
    return [f"{path}:{line}: the last line has no end; if the file is whole, end it with a line break"]


def _column(path: Path) -> Items:
    """One value a line."""
    lines = [line.strip() for line in _lines(path)]
    return Items(path, [str(i) for i in range(len(lines))], lines, list(range(1, len(lines) + 1)))


def read_column(path: Path) -> Items:
    """One label a line; labels are compared as text, without blanks around them."""
    items = _column(path)
    if any(value.isdecimal() and len(value) > 1 for value in items.values):
        items.remarks.extend(_unfinished(path))
    return items


def read_tags(path: Path) -> Items:
    """One tag a line, a blank line after each sentence; further blank lines mean nothing."""
    sentences: list[list[str]] = []
    starts: list[int] = []
    inside = False
    for number, line in enumerate(_lines(path), start=1):
        tag = line.strip()
        if tag and not inside:
            sentences.append([])
            starts.append(number)
        if tag:
            sentences[-1].append(tag)
        inside = bool(tag)
    return Items(path, [str(i) for i in range(len(sentences))], sentences, starts)


def read_pairs(path: Path) -> Items:
    """Source id, tab, target id; the order means nothing."""
    items = _column(path)
    pairs: list[tuple[str, ...]] = []
    first: dict[tuple[str, ...], int] = {}
    twice = []
    for number, line in zip(items.lines, items.values, strict=True):
        pair = tuple(line.split("\t"))
        if len(pair) != 2 or not all(part.strip() for part in pair):
            raise DataError(f"{path}:{number}: {line[:60]!r} is not two ids with a tab between them; mend the line")
        if first.setdefault(pair, number) != number:
            twice.append(number)
        pairs.append(pair)
    if twice:
        before = first[pairs[twice[0] - 1]]
        items.remarks.append(
            f"{path}:{twice[0]}: the pair of line {before} again, {len(twice)} such lines; each pair counts once"
        )
    return Items(path, items.ids, pairs, items.lines, items.remarks + _unfinished(path))


def read_choices(path: Path) -> Items:
    """A JSON object a line, whose ``label`` is a number."""
    ids, values, numbers = [], [], []
    for number, line in enumerate(_lines(path), start=1):
        row = _parse(path, line, number)
        if not isinstance(row, dict) or "label" not in row:
            raise DataError(f'{path}:{number}: expected an object such as {{"label": 0}}, found {line[:60]!r}')
        label = row["label"]
        ids.append(str(number - 1))
        # the official comparison is of numbers: "0" in quotes is not 0
        values.append(str(label) if type(label) is int else json.dumps(label))
        numbers.append(number)
    return Items(path, ids, values, numbers)


class _TwiceError(ValueError):
    """A key that an object has twice; JSON readers silently take the last."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(key)
        found[key] = value
    return found


def _parse(path: Path, text: str, first: int = 1) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        line = first + error.lineno - 1
        raise DataError(f"{path}:{line}: no valid JSON ({error.msg}, column {error.colno}); cut short?") from error
    except _TwiceError as error:
        key = str(error)
        line = first + _find(text, key, last=True) - 1
        raise DataError(f"{path}:{line}: {key!r} occurs twice; leave one") from error
    except (ValueError, RecursionError) as error:  # numbers or nesting beyond Python's limits
        raise DataError(f"{path}:{first}: no valid JSON ({error})") from error


def _find(text: str, key: str, last: bool = False) -> int:
    """The line where a string stands in JSON text, 1 where it cannot be found."""
    spelled = "|".join(re.escape(json.dumps(key, ensure_ascii=ascii)) for ascii in (True, False))
    places = [match.start() for match in re.finditer(spelled, text)]
    return text.count("\n", 0, places[-1 if last else 0]) + 1 if places else 1


class _Json:
    """A JSON file of answers or rankings, and the line of an id in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = "\n".join(_lines(path))
        content = _parse(path, self.text)
        if isinstance(content, dict) and "data" in content:
            content = content["data"]
        self.content = content

    def error(self, key: object, what: str) -> DataError:
        """An error about an id."""
        return DataError(f"{self.path}:{_find(self.text, str(key))}: {what}")

    def items(self, rows: Iterable[tuple[str, Any]]) -> Items:
        """With the line of every id, found in one pass where ids follow the file's order."""
        ids, values, lines = [], [], []
        place, line = 0, 1
        for key, value in rows:
            found = -1
            for spelled in (json.dumps(key), json.dumps(key, ensure_ascii=False)):
                found = self.text.find(spelled, place)
                if found >= 0:
                    break
            if found >= 0:
                line += self.text.count("\n", place, found)
                place = found
            ids.append(key)
            values.append(value)
            lines.append(line)
        return Items(self.path, ids, values, lines)

    def rows(self, form: str) -> list[tuple[str, Any]]:
        """The pairs of the one object that the file must hold."""
        if not isinstance(self.content, dict):
            raise DataError(f"{self.path}:1: expected {form}, found {type(self.content).__name__}")
        if not self.content:
            raise DataError(f"{self.path}:1: no items; expected {form}")
        return list(self.content.items())


def read_answers(path: Path) -> Items:
    """``{question id: text}``."""
    file = _Json(path)
    rows = file.rows("one object {question id: text}")
    for key, value in rows:
        if not isinstance(value, str):
            raise file.error(key, f"the answer to {key!r} is {type(value).__name__}, not text")
    return file.items(rows)


def read_gold_answers(path: Path) -> Items:
    """SQuAD's layout: articles, paragraphs, questions with all their right answers."""
    file = _Json(path)
    rows: dict[str, list[str]] = {}
    last = "data"
    try:
        questions = [q for article in file.content for paragraph in article["paragraphs"] for q in paragraph["qas"]]
        for question in questions:
            last = key = question["id"]
            texts = [answer["text"] for answer in question["answers"]]
            if not isinstance(key, str) or not all(isinstance(text, str) for text in texts):
                raise file.error(key, f"the id and the answers of question {key!r} must be text")
            if not texts:
                raise file.error(key, f"question {key!r} has no right answer; {BLANKED}")
            if key in rows:
                raise file.error(key, f"question {key!r} occurs twice; leave one")
            rows[key] = texts
    except (KeyError, TypeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise file.error(last, f"not SQuAD's layout (data, paragraphs, qas, id, answers): {what}") from error
    if not rows:
        raise DataError(f"{path}:1: no questions; expected SQuAD's layout")
    return file.items(rows.items())


def read_rankings(path: Path) -> Items:
    """``{question id: [candidate id, …]}``, best first."""
    file = _Json(path)
    rows = file.rows("one object {question id: [candidate id, …]}")
    for key, value in rows:
        if not isinstance(value, list) or not all(isinstance(candidate, str) for candidate in value):
            raise file.error(key, f"the ranking of {key!r} is not a list of ids (text)")
    return file.items(rows)


def read_gold_rankings(path: Path) -> Items:
    """``{question id: [right candidate id, …]}``."""
    items = read_rankings(path)
    for i, value in enumerate(items.values):
        if not value:
            raise DataError(f"{items.where(i)}: question {items.ids[i]!r} has no right candidate; {BLANKED}")
    return items


Reader = Callable[[Path], Items]
READERS: dict[Format, tuple[Reader, Reader]] = {
    "lines": (read_column, read_column),
    "tags": (read_tags, read_tags),
    "pairs": (read_pairs, read_pairs),
    "choices": (read_choices, read_choices),
    "answers": (read_answers, read_gold_answers),
    "rankings": (read_rankings, read_gold_rankings),
}
"""By format the readers of predictions and of labels."""


def read_file(reader: Reader, path: Path) -> Items:
    """Read a file.

    Raises:
        DataError: It cannot be read or is damaged; with file and line.
    """
    try:
        return reader(path)
    except OSError as error:
        raise DataError(f"{path}:1: cannot be read ({error})") from error
