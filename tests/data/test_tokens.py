"""The cache of tokens: the tokenizer's own ids, made once, told apart by everything that they depend on."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

from xmit.data import tokens
from xmit.data.tokens import tokenised
from xmit.modules.encoders import load_tokenizer
from xmit.tasks.spans import tokenize

TEXTS = [f"Habari {i} ya asubuhi" for i in range(40)]
OTHERS = [f"answer {i % 7}" for i in range(40)]


@pytest.fixture
def tokenizer():
    return load_tokenizer("embedded:e5-small")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XMIT_CACHE", str(tmp_path))
    monkeypatch.setattr(tokens, "_LEAST", 1)
    monkeypatch.setattr(tokens, "_CHUNK", 7)
    return tmp_path / "tokens"


def lists(ragged):
    return [ragged.flat[a:b].tolist() for a, b in zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)]


def test_ids_are_the_tokenizer_s_and_made_once(tokenizer, folder, monkeypatch):
    expected = tokenizer(TEXTS, OTHERS, truncation=True, max_length=9)["input_ids"]
    first = tokenised(tokenizer, (TEXTS, OTHERS), truncation=True, max_length=9)
    assert lists(first) == expected
    assert first.rows.tolist() == sorted({i for ids in expected for i in ids})
    (file,) = folder.iterdir()
    made = file.stat().st_mtime_ns
    monkeypatch.setattr(type(tokenizer), "__call__", None)  # whoever tokenises now fails
    again = tokenised(tokenizer, (TEXTS, OTHERS), truncation=True, max_length=9)
    assert lists(again) == expected
    assert isinstance(again.flat.base.base, np.memmap | np.ndarray)
    assert not again.flat.flags.writeable
    assert file.stat().st_mtime_ns == made


def test_everything_that_matters_makes_another_file(tokenizer, folder):
    tokenised(tokenizer, TEXTS, truncation=True, max_length=9)
    others = [
        (TEXTS, {"truncation": True, "max_length": 8}),
        (TEXTS, {"add_special_tokens": False}),
        (TEXTS[::-1], {"truncation": True, "max_length": 9}),
        ([TEXTS[0] + TEXTS[1][0], TEXTS[1][1:], *TEXTS[2:]], {"truncation": True, "max_length": 9}),
        ((TEXTS, OTHERS), {"truncation": True, "max_length": 9}),
    ]
    for n, (texts, settings) in enumerate(others, 2):
        tokenised(tokenizer, texts, **settings)
        assert len(list(folder.iterdir())) == n
    # what the tokenizer was called with before does not
    tokenizer(TEXTS, padding="max_length", max_length=50, truncation=True)
    tokens.fingerprint.cache_clear()
    tokenised(tokenizer, TEXTS, truncation=True, max_length=9)
    assert len(list(folder.iterdir())) == len(others) + 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_damaged_files_are_made_again(tokenizer, folder, damage):
    expected = lists(tokenised(tokenizer, TEXTS))
    (file,) = folder.iterdir()
    data = file.read_bytes()
    bad = {"cut": data[:-9], "flipped": data[:-300] + bytes([data[-300] ^ 1]) + data[-299:], "empty": b"",
           "other": b"xmit tokens 9\n" + data[14:]}[damage]  # fmt: skip
    file.write_bytes(bad)
    assert lists(tokenised(tokenizer, TEXTS)) == expected
    assert file.read_bytes() == data


def test_words_and_offsets_come_back_as_they_were(tokenizer):
    expected = tokenizer(TEXTS, add_special_tokens=False, return_offsets_mapping=True)
    for _ in range(2):
        ids, offsets = tokenize(tokenizer, TEXTS)
        assert [one.tolist() for one in ids] == expected["input_ids"]
        assert [[tuple(pair) for pair in one.tolist()] for one in offsets] == expected["offset_mapping"]
    assert tokenize(tokenizer, []) == ([], [])


def _read_in_another(texts):
    tokens._write = None  # whoever writes now fails
    return lists(tokenised(load_tokenizer("embedded:e5-small"), texts, truncation=True, max_length=9))


def test_another_process_finds_them(tokenizer):
    expected = lists(tokenised(tokenizer, TEXTS, truncation=True, max_length=9))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_read_in_another, (TEXTS,)) == expected
