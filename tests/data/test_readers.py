"""The readers: intact files come back as they were written, damaged ones give one clear error."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reader_tools import refused

from xmit.data.readers import (
    read_conll,
    read_conllu,
    read_csv,
    read_json,
    read_jsonl,
    read_lines,
    read_parallel,
    read_squad,
    read_tsv,
)
from xmit.errors import DataError

COLUMNS = ("first", "second", "label")
ODD = "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e"  # str.splitlines would end a line at each of these
# "\ufeff" is excluded because a file that begins with it cannot be told from one with a byte order mark
_letters = st.one_of(
    st.sampled_from(ODD + "\"',;#|é北ل"),
    st.characters(exclude_categories=("Cs",), exclude_characters="\t\n\r\0\ufeff"),
)
cells = st.text(_letters, max_size=12)
words = st.text(_letters.filter(lambda c: not c.isspace()), min_size=1, max_size=8).filter(
    lambda w: not w.startswith(("#", "-DOCSTART-")) and w.replace("\u200c", "") == w
)
rows = st.lists(st.tuples(cells, cells, st.sampled_from(["yes", "no"])), min_size=1, max_size=6)
sentences = st.lists(st.lists(st.tuples(words, st.sampled_from(["NOUN", "VERB"])), min_size=1, max_size=5), min_size=1)


@dataclass(frozen=True)
class Format:
    """One format: how to draw content, write it as text, read it, and what reading should give."""

    content: Any
    write: Callable[[Any], str]
    read: Callable[[Path], Any]
    expect: Callable[[Any], Any]
    prefixes: bool = True
    """Whether what is left of a file cut between two records is a whole file of the format."""


def columns(content, names=COLUMNS):
    return {name: [row[i] for row in content] for i, name in enumerate(names)}


def write_csv(content):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([COLUMNS, *content])
    return out.getvalue()


def write_jsonl(content):
    return "".join(json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False) + "\n" for row in content)


def squad(content):
    qas = [
        {"id": f"q{i}", "question": q, "answers": [{"text": "b", "answer_start": 1}]}
        for i, (q, _, _) in enumerate(content)
    ]
    articles = [
        {"title": "t", "paragraphs": [{"context": "abc" + c, "qas": [qa]}]}
        for (_, c, _), qa in zip(content, qas, strict=True)
    ]
    return json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False, indent=1)


def squad_columns(content):
    n = len(content)
    return {
        "id": [f"q{i}" for i in range(n)],
        "title": ["t"] * n,
        "context": ["abc" + c for _, c, _ in content],
        "question": [q for q, _, _ in content],
        "answers": [{"text": ["b"], "answer_start": [1]}] * n,
    }


def conllu(content):
    lines = []
    for i, sentence in enumerate(content):
        lines.append(f"# sent_id = s{i}")
        lines += [
            "\t".join([str(n), w, "_", t, "_", "_", str(n - 1), "dep", "_", "_"])
            for n, (w, t) in enumerate(sentence, 1)
        ]
        lines.append("")
    return "\n".join(lines) + "\n"


def conll(separator, ids=False):
    def write(content):
        heads = [f"# sent_id = s{i}\n" if ids else "" for i in range(len(content))]
        blocks = ["".join(f"{w}{separator}{t}\n" for w, t in sentence) for sentence in content]
        return "\n".join(h + b for h, b in zip(heads, blocks, strict=True)) + "\n"

    return write


def tagged(tags, ids=True):
    def expect(content):
        return {
            "id": [f"s{i}" if ids else str(i) for i in range(len(content))],
            "tokens": [[w for w, _ in sentence] for sentence in content],
            tags: [[t for _, t in sentence] for sentence in content],
        }

    return expect


def tsv(content):
    return "".join("\t".join(row) + "\n" for row in content)


nonblank = st.lists(cells.filter(str.strip), min_size=1, max_size=6)
csv_rows = st.lists(
    st.tuples(st.text(st.one_of(_letters, st.just("\n")), max_size=9), cells, cells), min_size=1, max_size=6
)
FORMATS = {
    "lines": Format(nonblank, lambda c: "".join(line + "\n" for line in c), read_lines, list),
    "tsv": Format(rows, tsv, lambda p: read_tsv(p, COLUMNS), columns),
    "tsv with header": Format(
        rows,
        lambda c: tsv([COLUMNS, *c]),
        lambda p: read_tsv(p, ("label", "first"), header=True),
        lambda c: {"label": [r[2] for r in c], "first": [r[0] for r in c]},
    ),
    "csv": Format(csv_rows, write_csv, lambda p: read_csv(p, COLUMNS), columns),
    "jsonl": Format(rows, write_jsonl, lambda p: read_jsonl(p, COLUMNS), columns),
    "json": Format(rows, squad, read_json, lambda c: json.loads(squad(c)), prefixes=False),
    "squad": Format(rows, squad, read_squad, squad_columns, prefixes=False),
    "conllu": Format(sentences, conllu, read_conllu, tagged("upos")),
    "conll with tabs": Format(sentences, conll("\t", ids=True), read_conll, tagged("tags")),
    "conll with spaces": Format(sentences, conll(" "), read_conll, tagged("tags", ids=False)),
}
every_format = pytest.mark.parametrize("name", FORMATS)
slowly = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


# -- what is read as meant -----------------------------------------------------------------------------------


@every_format
@given(data=st.data(), bom=st.booleans(), crlf=st.booleans(), zipped=st.booleans())
@slowly
def test_a_byte_order_mark_crlf_and_gzip_change_nothing(folder, name, data, bom, crlf, zipped):
    form = FORMATS[name]
    content = data.draw(form.content)
    text = form.write(content)
    raw = (b"\xef\xbb\xbf" if bom else b"") + (text.replace("\n", "\r\n") if crlf else text).encode()
    path = folder / ("file.gz" if zipped else "file")
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    assert form.read(path) == form.expect(content)


@given(first=nonblank, second=nonblank)
@slowly
def test_parallel_files_are_paired_by_line(folder, first, second):
    paths = folder / "a", folder / "b"
    for path, lines in zip(paths, (first, second), strict=True):
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="")
    if len(first) == len(second):
        ids = [str(i) for i in range(len(first))]
        assert read_parallel(*paths) == {"id": ids, "first": first, "second": second}
    else:
        short = paths[len(first) > len(second)]
        refused(short, lambda _: read_parallel(*paths), min(len(first), len(second)))


# -- what is refused -----------------------------------------------------------------------------------------


@every_format
@given(data=st.data())
@slowly
def test_a_file_cut_short_is_refused_unless_only_whole_records_are_missing(folder, name, data):
    form = FORMATS[name]
    content = data.draw(form.content)
    raw = form.write(content).encode()
    cut = data.draw(st.integers(1, len(raw) - 1))
    path = folder / "cut"
    path.write_bytes(raw[:cut])
    whole = [form.expect(content[:n]) for n in range(1, len(content) + 1)]
    try:
        read = form.read(path)
    except DataError:
        refused(path, form.read)
    else:  # the rest is a file of its own; only its count of rows, which the tasks check, can tell
        assert form.prefixes
        ends = (b"\n", b"}") if name == "jsonl" else (b"\n",)
        assert raw[:cut].endswith(ends)
        if "conll with" not in name:  # CoNLL does not say how a file must end, so a sentence may lack tokens
            assert read in whole


@every_format
@given(data=st.data())
@slowly
def test_a_gzip_cut_short_is_refused(folder, name, data):
    form = FORMATS[name]
    raw = gzip.compress(form.write(data.draw(form.content)).encode(), mtime=0)
    path = folder / "cut.gz"
    path.write_bytes(raw[: data.draw(st.integers(1, len(raw) - 1))])
    try:
        refused(path, form.read)
    except AssertionError:
        with pytest.raises(DataError, match=r"cut\.gz: is named \.gz but is not gzipped; "):
            form.read(path)


@given(data=st.data())
@slowly
def test_a_corrupt_gzip_is_refused(folder, data):
    form = FORMATS["tsv"]
    content = data.draw(form.content)
    raw = bytearray(gzip.compress(form.write(content).encode(), mtime=0))
    at = data.draw(st.integers(10, len(raw) - 1))  # the header before holds only a time and names
    raw[at] ^= data.draw(st.integers(1, 255))
    path = folder / "corrupt.gz"
    path.write_bytes(bytes(raw))
    refused(path, form.read)


@every_format
@given(data=st.data())
@slowly
def test_a_nul_byte_is_refused_with_its_line(folder, name, data):
    form = FORMATS[name]
    raw = form.write(data.draw(form.content)).encode()
    at = data.draw(st.integers(0, len(raw)))
    path = folder / "nul"
    path.write_bytes(raw[:at] + b"\0" + raw[at:])
    refused(path, form.read, raw.count(b"\n", 0, at) + 1)


@every_format
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
def test_another_encoding_is_refused(folder, name, encoding):
    form = FORMATS[name]
    content = [[("Käse", "NOUN")]] if "conll" in name else ["Käse"] if name == "lines" else [("Käse", "b", "yes")]
    path = folder / "encoded"
    text = form.write(content)
    path.write_bytes(text.encode(encoding))
    refused(path, form.read, 1 if encoding.startswith("utf") else text[: text.index("ä")].count("\n") + 1)


@every_format
@pytest.mark.parametrize("raw", [b"", b"\xef\xbb\xbf", b"\n", b"\r\n\r\n", b" \n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(folder, name, raw):
    path = folder / "empty"
    path.write_bytes(raw)
    refused(path, FORMATS[name].read, 1)


@every_format
def test_a_missing_file_and_a_folder_are_refused(folder, name):
    for path in (folder / "none", folder):
        with pytest.raises(DataError, match=r"cannot be read .*; check the path"):
            FORMATS[name].read(path)


@pytest.mark.parametrize("name", [n for n in FORMATS if n not in ("lines", "json", "squad")])
@given(data=st.data())
@slowly
def test_a_wrong_number_of_columns_is_refused_with_its_line(folder, name, data):
    form = FORMATS[name]
    lines = form.write(data.draw(form.content)).split("\n")
    separator = {"csv": ",", "jsonl": ", ", "conll with spaces": " "}.get(name, "\t")
    wrong = [n for n, line in enumerate(lines) if separator in line and not line.startswith("#")]
    if "conll with" in name:
        wrong = wrong[1:]  # the first line says how many there are
    assume(wrong and not (name == "csv" and '"' in "".join(lines)))
    at = data.draw(st.sampled_from(wrong))
    if name == "jsonl":
        row = json.loads(lines[at])
        del row[data.draw(st.sampled_from(COLUMNS))]
        lines[at] = json.dumps(row)
    elif data.draw(st.booleans()):
        lines[at] += f"{separator}x"
    else:
        lines[at] = lines[at].rsplit(separator, 1)[0]
    path = folder / "columns"
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    # a header with other columns is refused itself, or else the first row that differs from it
    refused(path, form.read, None if at == 0 and name in ("csv", "tsv with header") else at + 1)


@pytest.mark.parametrize("name", ["conllu", "conll with tabs", "squad"])
@given(data=st.data())
@slowly
def test_an_id_that_occurs_twice_is_refused_with_the_line_of_the_second(folder, name, data):
    form = FORMATS[name]
    content = data.draw(form.content.filter(lambda c: len(c) > 1))
    second = data.draw(st.integers(1, len(content) - 1))
    first = data.draw(st.integers(0, second - 1))
    mark = ('"id": "q%d"' if name == "squad" else "# sent_id = s%d\n").__mod__
    text = form.write(content).replace(mark(second), mark(first))
    path = folder / "twice"
    path.write_text(text, encoding="utf-8", newline="")
    at = text.index(mark(first), text.index(mark(first)) + 1)
    refused(path, form.read, text.count("\n", 0, at) + 1)
    if name == "squad":
        assert len(read_squad(path, unique=False)["id"]) == len(content)
