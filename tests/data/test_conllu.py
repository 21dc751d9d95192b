"""Treebanks: fused forms by XTREME's rule, damaged files refused with their line."""

from __future__ import annotations

import pytest
from reader_tools import refused

from xmit.data.readers import (
    read_conllu,
)


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
