"""The readers on cases of single formats: what each says is wrong, and what it leaves out."""

from __future__ import annotations

import json

import pytest

from xmit.data.readers import read_conll, read_csv, read_json, read_jsonl, read_lines, read_squad, read_tsv
from xmit.errors import DataError


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
def test_what_is_wrong_is_said(tmp_path, read, text, line, message):
    path = tmp_path / "wrong"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}{'' if line is None else f':{line}'}: ")


def test_blank_lines_at_the_end_of_a_table_say_nothing(tmp_path):
    path = tmp_path / "blank"
    path.write_text("1\t2\n\n\n")
    assert read_tsv(path, ["a", "b"]) == {"a": ["1"], "b": ["2"]}
    path.write_text("a,b\n1,2\n\n")
    assert read_csv(path, ["b"]) == {"b": ["2"]}


def test_a_nan_in_json_lines_is_a_missing_value(tmp_path):
    path = tmp_path / "nan"
    path.write_text('{"a": NaN}\n{"a": "x"}\n{"a": null}')
    assert read_jsonl(path, ["a"]) == {"a": [None, "x", None]}


def test_questions_without_an_answer(tmp_path):
    path = tmp_path / "v2.json"
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
def test_comments_and_separators_of_conll(tmp_path, text, tokens):
    path = tmp_path / "conll"
    path.write_text(text)
    assert read_conll(path) == {
        "id": [str(i) for i in range(len(tokens))],
        "tokens": tokens,
        "tags": [["O"] * len(sentence) for sentence in tokens],
    }
