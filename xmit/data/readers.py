"""The file formats of the original releases, read whole: every reader gives columns, or one clear error.

Shared by all readers: a file is plain or gzipped UTF-8; a byte order mark and CRLF line ends are read as if they
were not there; only a line feed ends a line, because real sentences contain U+2028, U+0085 and form feeds, which
``str.splitlines`` would break at. NUL bytes, another encoding, an empty file, a gzip that is cut short or corrupt,
and a text file whose last line has no line end (a file cut short looks just so) are refused.

Every error is a :class:`~xmit.errors.DataError` that begins with ``PATH:LINE:`` and ends with a remedy.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from xmit.data.conllu import read_conllu
from xmit.data.text import AGAIN, check_ended, fail, read_lines, read_text

__all__ = [
    "read_conll",
    "read_conllu",
    "read_csv",
    "read_json",
    "read_jsonl",
    "read_lines",
    "read_parallel",
    "read_squad",
    "read_tsv",
]


def read_tsv(path: Path, columns: Sequence[str], *, header: bool = False) -> dict[str, list[str]]:
    """Read tab-separated values. Quotes are text like any other, as XTREME's own reader takes them.

    Args:
        path: The file, plain or gzipped.
        columns: The names of its columns, exactly these and in this order; with ``header`` those to pick.
        header: Whether the first line names the columns.

    Returns:
        The columns by name, as text.

    Raises:
        DataError: For a line with another number of columns, or a header that lacks one of ``columns``.
    """
    lines = read_lines(path)
    rows = [(number, line.split("\t")) for number, line in enumerate(lines, 1)]
    while len(rows[0][1]) > 1 and rows[-1][1] == [""]:  # blank lines at the very end say nothing
        rows.pop()
    return _pick(path, rows, columns, header, "tab-separated")


def read_csv(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """Read comma-separated values with a header; cells may be quoted, and quoted ones may span lines.

    Args:
        path: The file, plain or gzipped.
        columns: The names of the columns to pick.

    Returns:
        The columns by name, as text.

    Raises:
        DataError: For a line with another number of columns than the header, a quote that is not closed, or a
            header that lacks one of ``columns``.
    """
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, line = [], 1
    try:
        for row in reader:
            rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        fail(path, line, f"not CSV ({error})", f"{AGAIN}; the file may be cut short, or a quote not be closed")
    check_ended(path, text)
    while rows and not rows[-1][1]:
        rows.pop()
    return _pick(path, rows, columns, True, "comma-separated")


def _pick(
    path: Path, rows: list[tuple[int, list[str]]], columns: Sequence[str], header: bool, kind: str
) -> dict[str, list[str]]:
    names = list(columns)
    if header:
        first, names = rows.pop(0)
        missing = [column for column in columns if column not in names]
        if missing:
            known = ", ".join(names[:20])
            fail(
                path, first, f"no column {missing[0]!r} in the header, which has: {known}", "check that it is this file"
            )
        if len(set(names)) != len(names):
            fail(path, first, "the header names a column twice", AGAIN)
        if not rows:
            fail(path, first + 1, "nothing but a header", AGAIN)
    for number, row in rows:
        if len(row) != len(names):
            what = f"{len(row)} {kind} columns instead of {len(names)} ({', '.join(names[:8])})"
            fail(path, number, what, f"mend the line, or {AGAIN}")
    places = {column: names.index(column) for column in columns}
    return {column: [row[place] for _, row in rows] for column, place in places.items()}


def read_jsonl(path: Path, columns: Sequence[str], *, texts: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Read JSON lines: one object a line.

    Args:
        path: The file, plain or gzipped.
        columns: The keys to pick; every object must have them.
        texts: Those of them whose values must be text, and not null.

    Returns:
        The values by key. Within a column all are of one type (or null), so that they fit into one table.

    Raises:
        DataError: For a line that is not a JSON object, lacks a key, or has a value of another type than before.
    """
    table: dict[str, list[Any]] = {column: [] for column in columns}
    kinds: dict[str, str] = {}
    lines = read_lines(path, ended=False)  # a whole object is known by its closing brace
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, 1):
        row = _parse(path, line, number)
        if not isinstance(row, dict):
            fail(path, number, f"a JSON {_kind(row)} instead of an object", f"one object a line is expected; {AGAIN}")
        for column in columns:
            if column not in row:
                fail(path, number, f"no key {column!r} among {', '.join(map(repr, row))}", "check that it is this file")
            kind = _kind(row[column])
            if kind != "null" and kinds.setdefault(column, kind) != kind:
                fail(path, number, f"{column!r} is a {kind}, but was a {kinds[column]} before", f"mend it, or {AGAIN}")
            if column in texts and kind != "string":
                fail(path, number, f"{column!r} is {kind}, not a string", f"mend it, or {AGAIN}")
            table[column].append(row[column])
    return table


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file, plain or gzipped.

    Returns:
        Its value.

    Raises:
        DataError: If it is not JSON, with the line where it stops being so, or if an object has a key twice, of which
            Python's own reader would keep the last without a word.
    """
    text = read_text(path)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            key = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
            places = [hit.start() for hit in re.finditer(re.escape(json.dumps(key, ensure_ascii=False)), text)]
            line = text.count("\n", 0, places[1]) + 1 if len(places) == 2 else None
            fail(path, line, f"the key {key!r} occurs twice in one object", f"leave one out, or {AGAIN}")
        return found

    return _parse(path, text, pairs=once)


def _parse(
    path: Path, text: str, line: int | None = None, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    try:
        value = json.loads(text, parse_constant=_constant, object_pairs_hook=pairs)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except UnicodeEncodeError:
        fail(path, line, "an escape such as \\ud800 that is half a character", f"mend it, or {AGAIN}")
    except json.JSONDecodeError as error:
        at_end = not text[error.pos :].strip()
        what = "the JSON ends too early: the file was cut short" if at_end else f"not JSON ({error.msg})"
        where = f" at column {error.colno}" if not at_end else ""
        fail(path, line or error.lineno, what + where, AGAIN)
    except (ValueError, RecursionError) as error:
        fail(path, line, f"not JSON that can be read ({error})", AGAIN)
    return value


def _constant(name: str) -> None:
    """NaN, which is no JSON, is how pandas writes a missing value."""
    if name != "NaN":
        raise ValueError(f"{name} is not a JSON number")


def _kind(value: Any) -> str:
    if isinstance(value, list):
        kinds = {_kind(item) for item in value} - {"null"}
        return f"list of {' and '.join(sorted(kinds))}" if kinds else "null"  # an empty list fits any other
    names = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", dict: "object"}
    return names[type(value)]


def read_squad(path: Path, *, unique: bool = True) -> dict[str, list[Any]]:
    """Read questions in the layout of SQuAD v1.1 or v2.0, which XQuAD, MLQA and TyDiQA-GoldP share.

    Args:
        path: The file, plain or gzipped.
        unique: Whether to refuse an id that occurs twice. XTREME's own split of TyDiQA-GoldP's training file cuts
            ids down to a number and needs False.

    Returns:
        Columns ``id``, ``title`` (empty where there is none), ``context``, ``question`` and ``answers``: a dict of
        the lists ``text`` and ``answer_start`` (in characters) a row, both empty for a question without an answer.

    Raises:
        DataError: For JSON in another layout, an id that occurs twice, or an answer beyond its context.
    """
    text = read_text(path)
    value = _parse(path, text)
    rows: dict[str, list[Any]] = {column: [] for column in ("id", "title", "context", "question", "answers")}
    seen: set[str] = set()

    def broken(where: str, what: str, near: str = "", nth: int = 1) -> None:
        offset = -1
        for _ in range(nth if near else 0):
            offset = text.find(json.dumps(near), offset + 1)
        line = text.count("\n", 0, offset) + 1 if offset >= 0 else None
        fail(path, line, f"{where}: {what}", f"the layout of SQuAD is expected; {AGAIN}")

    def part(holder: Any, key: str, type_: type, where: str, near: str = "") -> Any:
        if not isinstance(holder, dict) or not isinstance(holder.get(key), type_):
            broken(where, f"no {'list' if type_ is list else 'text'} {key!r}", near)
        return holder[key]

    for a, article in enumerate(part(value, "data", list, "the file")):
        for p, paragraph in enumerate(part(article, "paragraphs", list, f"data[{a}]")):
            where = f"data[{a}].paragraphs[{p}]"
            context = part(paragraph, "context", str, where)
            for q, qa in enumerate(part(paragraph, "qas", list, where)):
                here = f"{where}.qas[{q}]"
                if isinstance(qa, dict) and isinstance(qa.get("id"), int):
                    qa = {**qa, "id": str(qa["id"])}
                id_ = part(qa, "id", str, here)
                if unique and id_ in seen:
                    broken(here, f"the id {id_!r} occurs twice", id_, 2)
                seen.add(id_)
                answers: dict[str, list[Any]] = {"text": [], "answer_start": []}
                impossible = qa.get("is_impossible") is True or "answers" not in qa
                for answer in [] if impossible else part(qa, "answers", list, here, id_):
                    span = part(answer, "text", str, f"{here}, id {id_!r}, answer", id_)
                    start = answer.get("answer_start")
                    if type(start) is not int or not 0 <= start <= len(context) - len(span):
                        broken(f"{here}, id {id_!r}", f"answer_start {start!r} is not within the context", id_)
                    answers["text"].append(span)
                    answers["answer_start"].append(start)
                question = part(qa, "question", str, here, id_)
                title = article.get("title")
                row = (id_, title if isinstance(title, str) else "", context, question, answers)
                for column, cell in zip(rows, row, strict=True):
                    rows[column].append(cell)
    if not rows["id"]:
        fail(path, None, "no questions", AGAIN)
    return rows


def read_conll(path: Path, *, token: int = 0, tag: int = -1) -> dict[str, list[Any]]:
    """Read tagged sentences, one token a line: CoNLL's, XTREME's, WNUT17's, MasakhaNER's and UNER's files.

    A file whose first token line has a tab is separated by tabs, any other by spaces. Lines that are blank or hold
    only tabs and spaces separate sentences, as do ``-DOCSTART-`` lines. A line that begins with ``# `` is a comment,
    unless the file is separated by spaces and the line has the file's number of columns (``# O`` in MasakhaNER), or
    stands within a sentence.

    Args:
        path: The file, plain or gzipped.
        token: The column of the token; negative ones count from the end.
        tag: The column of the tag.

    Returns:
        Columns ``id`` (``sent_id`` of the comments where every sentence has one, else a running number from 0),
        ``tokens`` and ``tags`` (lists of equal length).

    Raises:
        DataError: For a line with another number of columns than the first, or a ``sent_id`` that occurs twice.
    """
    lines = read_lines(path)
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip(" \t")]
    first = next((line for _, line in rows if not line.startswith(("# ", "-DOCSTART-"))), "")
    tabs = "\t" in first
    width = len(_cells(first, tabs))
    if not first or not (-width <= token < width and -width <= tag < width) or token % width == tag % width:
        number = next((number for number, line in rows if line == first), 1)
        fail(path, number, f"{width} column(s), too few for a token and a tag", "check that it is this file")
    sentences: list[tuple[list[str], list[str]]] = []
    ids: list[str | None] = []
    seen: dict[str, int] = {}
    tokens: list[str] = []
    tags: list[str] = []
    sent_id: str | None = None
    for number, line in [*enumerate(lines, 1), (len(lines) + 1, "")]:
        if not line.strip(" \t") or line.startswith("-DOCSTART-"):
            if tokens:
                sentences.append((tokens, tags))
                ids.append(sent_id)
            tokens, tags, sent_id = [], [], None
            continue
        cells = _cells(line, tabs)
        if line.startswith("# ") and not tokens and (tabs or len(cells) != width):
            key, _, value = line[2:].partition("=")
            if key.strip() == "sent_id":
                sent_id = value.strip()
                if sent_id in seen:
                    fail(path, number, f"the sent_id {sent_id!r} occurs twice, first in line {seen[sent_id]}", AGAIN)
                seen[sent_id] = number
            continue
        if len(cells) != width:
            separator = "tab" if tabs else "space"
            fail(path, number, f"{len(cells)} {separator}-separated columns instead of {width}", f"mend it, or {AGAIN}")
        tokens.append(cells[token])
        tags.append(cells[tag])
    numbered = None in ids
    return {
        "id": [str(i) if numbered else id_ for i, id_ in enumerate(ids)],
        "tokens": [tokens for tokens, _ in sentences],
        "tags": [tags for _, tags in sentences],
    }


def _cells(line: str, tabs: bool) -> list[str]:
    return line.split("\t") if tabs else [cell for cell in line.split(" ") if cell]


def read_parallel(first: Path, second: Path) -> dict[str, list[str]]:
    """Read LASER's paired text files: line n of one translates line n of the other.

    Args:
        first: One file, plain or gzipped.
        second: The other.

    Returns:
        Columns ``id`` (a running number from 0), ``first`` and ``second``.

    Raises:
        DataError: If the files differ in length, or a line is empty.
    """
    sides = [read_lines(first), read_lines(second)]
    for path, lines in zip((first, second), sides, strict=True):
        _no_blank(path, lines)
    if len(sides[0]) != len(sides[1]):
        short, long = (first, second) if len(sides[0]) < len(sides[1]) else (second, first)
        least, most = sorted(map(len, sides))
        fail(short, least, f"the last of {least} lines, but {long} has {most}", f"{AGAIN}: the pairs would be wrong")
    return {"id": [str(i) for i in range(len(sides[0]))], "first": sides[0], "second": sides[1]}


def _no_blank(path: Path, lines: Iterable[str]) -> None:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            fail(path, number, "an empty line instead of a sentence", AGAIN)
