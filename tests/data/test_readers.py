"""The readers: intact files come back as they were written, damaged ones give one clear error."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

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


def refused(path, read, line=None):
    """Check that the file is refused in one line that names it; return the line that it names."""
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    found = re.match(re.escape(str(path)) + r":(\d+): ", message)
    assert found, message
    assert "; " in message  # the remedy
    if line is not None:
        assert int(found[1]) == line, message
    return int(found[1])


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
    raw = gzip.compress(form.write(data.draw(form.content)).encode())
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
    raw = bytearray(gzip.compress(form.write(content).encode()))
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
@pytest.mark.parametrize("raw", [b"", b"\xef\xbb\xbf", b"\n", b"\r\n\r\n", b" \n", gzip.compress(b"")])
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


# -- cases of single formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "text", "line", "message"),
    [
        (read_lines, "a\rb\n", 1, "carriage return"),
        (read_lines, "a\nb", 2, "cut short"),
        (read_json, '{"a": 1', 1, "cut short"),
        (read_json, '{"a": \n[1,\n}', 3, "not JSON .* at column 1"),
        (read_json, '["\\ud800"]', None, "half a character"),
        (read_json, "[" * 100_000, None, "not JSON that can be read"),
        (read_json, "[Infinity]", None, "not a JSON number"),
        (lambda p: read_jsonl(p, ["a"]), '{"a": 1}\n[2]\n', 2, "a JSON list of number instead of an object"),
        (lambda p: read_jsonl(p, ["a"]), '{"a": 1}\n{"a": "1"}\n', 2, "'a' is a string, but was a number before"),
        (lambda p: read_jsonl(p, ["a"]), '{"a": 1}\n\n{"a": 2}\n', 2, "cut short"),
        (lambda p: read_jsonl(p, ["a"]), '{"a": 1}\n{"b": 1}\n', 2, "no key 'a' among 'b'"),
        (lambda p: read_csv(p, ["a"]), 'a,b\n1,2\n"3,4\n5,6\n', 3, "not CSV"),
        (lambda p: read_csv(p, ["c"]), "a,b\n1,2\n", 1, "no column 'c' in the header, which has: a, b"),
        (lambda p: read_csv(p, ["a"]), "a,a\n1,2\n", 1, "names a column twice"),
        (lambda p: read_csv(p, ["a"]), "a,b\n", 2, "nothing but a header"),
        (lambda p: read_tsv(p, ["a", "b"]), "1\t2\n\n3\t4\n", 2, "1 tab-separated columns instead of 2"),
        (read_conll, "a\n\n", 1, "too few for a token and a tag"),
        (lambda p: read_conll(p, tag=5), "a\tO\n", 1, "too few"),
        (read_conll, "a\tO\nb O\n", 2, "1 tab-separated columns instead of 2"),
        (read_squad, '{"data": [\n{"paragraphs": 1}]}', None, r"data\[0\]: no list 'paragraphs'"),
        (read_squad, '{"data": []}', None, "no questions"),
        (read_squad, "[1]", None, "the file: no list 'data'"),
        (
            read_squad,
            '{"data": [{"paragraphs": [{"context": "abc", "qas": [\n'
            '{"id": "q", "question": "?", "answers": [{"text": "c", "answer_start": 3}]}]}]}]}',
            2,
            "answer_start 3 is not within the context",
        ),
    ],
)
def test_what_is_wrong_is_said(folder, read, text, line, message):
    path = folder / "wrong"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}{'' if line is None else f':{line}'}: ")


def test_blank_lines_at_the_end_of_a_table_say_nothing(folder):
    path = folder / "blank"
    path.write_text("1\t2\n\n\n")
    assert read_tsv(path, ["a", "b"]) == {"a": ["1"], "b": ["2"]}
    path.write_text("a,b\n1,2\n\n")
    assert read_csv(path, ["b"]) == {"b": ["2"]}


def test_a_nan_in_json_lines_is_a_missing_value(folder):
    path = folder / "nan"
    path.write_text('{"a": NaN}\n{"a": "x"}\n{"a": null}')
    assert read_jsonl(path, ["a"]) == {"a": [None, "x", None]}


def test_questions_without_an_answer(folder):
    path = folder / "v2.json"
    qas = [
        {"id": 1, "question": "?", "is_impossible": True, "answers": [], "plausible_answers": [{"text": "x"}]},
        {"id": "b", "question": "?"},
    ]
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": "c", "qas": qas}]}]}))
    table = read_squad(path)
    assert table["id"] == ["1", "b"]
    assert table["answers"] == [{"text": [], "answer_start": []}] * 2


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a O\n# O\n\n# O\nb O\n", [["a", "#"], ["#", "b"]]),  # MasakhaNER: a token, not a comment
        ("# newdoc id = x\na O\n\n# text = b\nb O\n", [["a"], ["b"]]),
        ("# text = a b\na\tO\n\n\n\nb\tO\n", [["a"], ["b"]]),
        ("a\tO\n\t\n#\tO\n\t\n", [["a"], ["#"]]),  # WNUT17: a line of one tab between sentences
        ("-DOCSTART- O\n\na O\n\nb O\n", [["a"], ["b"]]),
        ("a  O\n b O \n", [["a", "b"]]),
    ],
)
def test_comments_and_separators_of_conll(folder, text, tokens):
    path = folder / "conll"
    path.write_text(text)
    assert read_conll(path) == {
        "id": [str(i) for i in range(len(tokens))],
        "tokens": tokens,
        "tags": [["O"] * len(sentence) for sentence in tokens],
    }


def word(number, form, tag, head, deps="_"):
    return "\t".join([number, form, "_", tag, "_", "_", head, "_", deps, "_"])


@pytest.mark.parametrize(
    ("file", "lines", "expected"),
    [
        # the highest word of the range gives the tag
        ("x", [word("1-2", "zum", "_", "_"), word("1", "zu", "ADP", "3"), word("2", "dem", "DET", "1"),
               word("3", "Haus", "NOUN", "0")], [("zum", "ADP"), ("Haus", "NOUN")]),
        # of two that are equally high, the ranking decides, then the order
        ("x", [word("1-2", "du", "_", "_"), word("1", "de", "DET", "3"), word("2", "le", "ADP", "3"),
               word("3", "x", "NOUN", "0")], [("du", "ADP"), ("x", "NOUN")]),
        # the ranking is the language's: Italian puts ADV before ADP and NOUN nowhere
        ("it_x.conllu", [word("1-2", "ab", "_", "_"), word("1", "a", "NOUN", "3"), word("2", "b", "DET", "3"),
                         word("3", "x", "VERB", "0")], [("ab", "DET"), ("x", "VERB")]),
        # enhanced dependencies count: word 1 has one more ancestor through them
        ("x", [word("1-2", "ab", "_", "_"), word("1", "a", "VERB", "3", "3:x|4:y"), word("2", "b", "DET", "3"),
               word("3", "c", "NOUN", "0"), word("4", "d", "NUM", "3")], [("ab", "DET"), ("c", "NOUN"), ("d", "NUM")]),
        # empty nodes are left out, spaces and joiners within a form removed
        ("x", [word("1", "10 000", "NUM", "0"), word("1.1", "e", "X", "_"), word("2", "a\u200cb", "X", "1")],
         [("10000", "NUM"), ("ab", "X")]),
    ],
)  # fmt: skip
def test_fused_forms_of_treebanks(tmp_path, file, lines, expected):
    path = tmp_path / file
    path.write_text("\n".join([*lines, "", ""]), encoding="utf-8")
    table = read_conllu(path)
    assert list(zip(table["tokens"][0], table["upos"][0], strict=True)) == expected
    assert table["id"] == ["0"]


def test_sentences_without_their_text_are_left_out(tmp_path):
    path = tmp_path / "x"
    lines = [word("1", "_", "X", "0"), word("2", "_", "X", "1"), word("3", ".", "PUNCT", "1"), ""]
    path.write_text(
        "\n".join([*lines, word("1", "a", "X", "0"), word("2", "_", "X", "1"), word("3", "b", "X", "1"), "\n"])
    )
    assert read_conllu(path)["tokens"] == [["a", "_", "b"]]
    path.write_text("\n".join([*lines, ""]))
    refused(path, read_conllu, 1)


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([word("1", "a", "X", "0"), word("3", "b", "X", "1"), ""], 2),
        ([word("1", "a", "X", "0"), word("1", "b", "X", "1"), ""], 2),
        ([word("2-3", "a", "_", "_"), word("1", "a", "X", "0"), ""], 1),
        ([word("1-3", "a", "_", "_"), word("1", "a", "X", "0"), ""], 3),
        ([word("1-2", "a", "_", "_"), word("1", "a", "X", "0"), word("2-3", "b", "_", "_"), ""], 3),
        ([word("1", "a", "X", "x"), ""], 1),
        ([word("1", "", "X", "0"), ""], 1),
        (["# text = a", "", word("1", "a", "X", "0"), ""], 2),
        ([word("1", "a", "X", "0"), "", word("1", "a", "X", "0")], 3),
    ],
)
def test_damaged_treebanks_are_refused_with_their_line(tmp_path, lines, line):
    path = tmp_path / "x"
    path.write_text("\n".join([*lines, ""]))
    refused(path, read_conllu, line)


# -- real data -----------------------------------------------------------------------------------------------

NLI = ("premise", "hypothesis", "label")
MLQA = {"de-de": 512, "en-de": 512, "en-en": 1148, "en-zh": 504, "es-es": 500, "zh-zh": 504}
TYDIQA = {
    "english_train": 3696,
    "english_dev": 440,
    "bengali_dev": 113,
    "finnish_dev": 782,
    "indonesian_dev": 565,
    "korean_dev": 276,
}
UD = {
    **{"af_afribooms": 425, "mr_ufal": 47, "tl_trg": 128, "te_mtg": 146, "wo_wtb": 470},
    **dict.fromkeys(("kk_ktb", "zh_gsd", "fi_tdt", "de_gsd", "id_gsd"), 500),
    **{"eu_bdt": 300, "ta_ttb": 120, "tr_imst": 300, "ur_udtb": 300},
}


def count(table):
    lengths = {len(column) for column in table.values()}
    assert len(lengths) == 1
    return lengths.pop()


def each(real_data, pattern, read, n):
    """Read every file of a pattern and check its rows; return how many files there were."""
    paths = sorted(real_data.glob(pattern))
    for path in paths:
        expected = n(path) if callable(n) else n
        assert count(read(path)) == expected, path
    return len(paths)


@pytest.mark.realdata
def test_the_tables_of_real_data(real_data):
    def nli(path):
        table = read_tsv(path, NLI)
        assert set(table["label"]) <= {"entailment", "neutral", "contradiction"}
        return table

    def paws(path):
        table = read_tsv(path, ("first", "second", "label"))
        assert set(table["label"]) == {"0", "1"}
        missing = {"de": 68, "es": 38, "zh": 16, "fr": 8, "en": 0}[path.stem[-2:]]
        assert sum("NS" in pair for pair in zip(table["first"], table["second"], strict=True)) == missing
        return table

    def header(*names, reader=read_tsv):
        return lambda path: reader(path, names, **({"header": True} if reader is read_tsv else {}))

    assert each(real_data, "nc/xnli/dev-*.tsv", nli, 2490) == 9
    assert each(real_data, "pawsx/dev-*.tsv", paws, 2000) == 5
    short = {"cni": 658, "nah": 585, "oto": 222}
    read = header("id", "language", *NLI)
    assert each(real_data, "americasnli/dev/*.tsv", read, lambda p: short.get(p.stem, 743)) == 10
    read = header("index_id", "category", "text")
    assert each(real_data, "sib200/*/*.tsv", read, lambda p: {"train": 701, "dev": 99, "test": 204}[p.stem]) > 190
    read = header("id", "text", "label", reader=read_csv)
    sizes = {"train": 500, "valid": 100, "test": 400}
    assert each(real_data, "nusax/sentiment/*/*.csv", read, lambda p: sizes[p.stem]) == 27
    assert each(real_data, "nli/mnli/dev.csv", header(*NLI, reader=read_csv), 19647) == 1
    assert each(real_data, "nli/snli/dev.csv", header(*NLI, reader=read_csv), 9831) == 1
    read = header("sentence1", "sentence2", "gold_label")
    assert each(real_data, "nli/cad/*.tsv", read, lambda p: {"train": 8330, "dev": 1000, "test": 2000}[p.stem]) == 3
    assert each(real_data, "nli/med/MED.tsv", read, 5382) == 1
    assert each(real_data, "nc/bmlama53/*.tsv", header("Prompt", "Ans", "Candidate Ans", "Subject"), 3070) == 9


@pytest.mark.realdata
def test_the_json_of_real_data(real_data):
    def keys(*names):
        return lambda path: read_jsonl(path, names)

    assert each(real_data, "xquad/*.json", read_squad, 1190) == 10
    name = re.compile(r"dev-context-(..)-question-(..)")
    assert each(real_data, "mlqa/**/*.json", read_squad, lambda p: MLQA["-".join(name.match(p.stem).groups())]) == 6
    assert each(real_data, "tydiqa_goldp/*/*.json", read_squad, lambda p: TYDIQA[p.stem.replace("_tydiqa", "")]) == 6
    for task, files in (("mlqa", 7), ("xquad", 11), ("tydiqa", 9)):
        paths = [*(real_data / "xtreme_mock_test_data" / "labels" / task).iterdir()]
        assert len([read_squad(path) for path in paths]) == files
    read = keys("premise", "choice1", "choice2", "question", "idx", "label")
    sizes = {"train": 400, "val": 100, "test": 500}
    assert each(real_data, "xcopa/data*/*/*.jsonl", read, lambda p: sizes[p.name.split(".")[0]]) == 35
    read = keys("gold_label", "sentence2", "pairID")
    assert each(real_data, "iglue/XVNLI/annotations/*/test.jsonl", read, 1164) == 3
    read = keys("caption", "left_img", "right_img", "label")
    assert each(real_data, "iglue/marvl/**/*.jsonl", read, lambda p: {"id": 1128, "zh": 1012}[p.stem[-2:]]) == 2
    assert (
        each(real_data, "nlvr/*/*.json", keys("sentence", "label", "identifier"), lambda p: 989 + (p.stem == "test"))
        == 2
    )
    assert each(real_data, "hellaswag/*.jsonl.gz", keys("ind", "ctx", "endings", "label"), 8000) == 1
    assert each(real_data, "emoji/annotations.jsonl.gz", keys("emoji", "group", "names", "keywords"), 1779) == 1
    tables = [read_jsonl(path, ["id", "context", "answer_pivot"]) for path in real_data.glob("afriqa/**/*.json")]
    assert len(tables) == 16
    assert sum(context is None for table in tables for context in table["context"]) == 124  # as SOURCES.md says
    assert all(isinstance(read_json(path), dict) for path in real_data.glob("xgqa/few_shot/*/*.json"))


@pytest.mark.realdata
def test_the_sentences_of_real_data(real_data):
    def size(path):
        if path.stem.startswith("en_ewt"):
            return {"train": 12544, "dev": 2001, "test": 2077}[path.name.split("-")[-1].split(".")[0]]
        return UD.get(path.name.split("-")[0], 1000)

    def tagged_conll(path):
        table = read_conll(path, token=1, tag=2) if path.suffix == ".iob2" else read_conll(path)
        assert all(len(t) == len(g) > 0 for t, g in zip(table["tokens"], table["tags"], strict=True))
        assert Counter(tag[0] for tags in table["tags"] for tag in tags).keys() <= set("OBI") or "pos" in str(path)
        return table

    def treebank(path):
        table = read_conllu(path)
        assert all(len(t) == len(g) > 0 for t, g in zip(table["tokens"], table["upos"], strict=True))
        return table

    assert each(real_data, "ud/*/*.conllu*", treebank, size) == 22
    assert each(real_data, "nc/ud/*/*.conllu", treebank, size) == 4
    sizes = {"wnut17train": 3394, "emerging.dev": 1009, "emerging.test": 1287}
    assert each(real_data, "wnut17/*.conll", tagged_conll, lambda p: sizes[p.stem]) == 3
    uner = {"en_ewt-ud-dev": 2001, "en_ewt-ud-test": 2077, "tl_trg-ud-test": 128}
    assert each(real_data, "uner/*/*.iob2", tagged_conll, lambda p: uner.get(p.stem, 1000)) == 7
    masakha = {"hau": 1633, "ibo": 2181, "swa": 1883, "wol": 1312, "yor": 1964, "zul": 1670}
    assert each(real_data, "nc/masakhaner2/*/test.txt", tagged_conll, lambda p: masakha[p.parent.name]) == 6
    masakha = {"hau": 601, "swa": 553, "wol": 625, "yor": 713}
    assert each(real_data, "nc/masakhapos/*/test.txt", tagged_conll, lambda p: masakha[p.parent.name]) == 4


@pytest.mark.realdata
def test_the_fused_forms_of_real_treebanks_are_those_of_the_official_converter(real_data):
    # counted once on the output of conllu_to_conll.py and utils_preprocess.py, which agreed with ours in every sentence
    table = read_conllu(real_data / "ud" / "UD_Arabic-PUD" / "ar_pud-ud-test.conllu.gz")
    counts = Counter(tag for tags in table["upos"] for tag in tags)
    assert counts.total() == 20747
    assert counts.most_common(4) == [("NOUN", 5578), ("ADP", 3576), ("PUNCT", 2226), ("ADJ", 2026)]


@pytest.mark.realdata
def test_the_pairs_of_real_data(real_data):
    folder = real_data / "tatoeba" / "v1"
    languages = sorted({path.name.split(".")[1].split("-")[0] for path in folder.glob("tatoeba.*")})
    assert len(languages) == 90
    for language in languages:
        pair = f"tatoeba.{language}-eng"
        assert 100 <= count(read_parallel(folder / f"{pair}.{language}", folder / f"{pair}.eng")) <= 1000
    assert count(read_parallel(folder / "tatoeba.deu-eng.deu", folder / "tatoeba.deu-eng.eng")) == 1000
