"""Where chunks of tag sequences begin and end, for all tokens at once: what :mod:`xmit.metrics.span_f1` counts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xmit.errors import MetricError

Mode = Literal["official", "lenient", "strict"]
Tags = Sequence[Sequence[str]]
Ints = NDArray[np.int64]
Codes = dict[str, str]
"""Numbers of tags, each written as the character of that code, which joins fast."""
Masks = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]

COUNTS = ("matched", "predicted", "gold", "correct", "tokens")
"""Columns of ``span_counts``: chunks found rightly, predicted, in gold; tokens with the right tag, tokens."""

_SMALL = 254
"""So many tags, and the ``O`` between sentences and no tag, fit in a byte."""
_LETTERS = "BIOES."
_OTHER, _O = len(_LETTERS), _LETTERS.index("O")


def _pairs(*rules: str) -> NDArray[np.bool_]:
    """A table of prefix letters (previous, current) from rules like ``"B:BSO"``."""
    table = np.zeros((_OTHER + 1, _OTHER + 1), dtype=np.bool_)
    for rule in rules:
        previous, current = rule.split(":")
        for letter in current:
            table[_LETTERS.index(previous), _LETTERS.index(letter)] = True
    return table


# conlleval's transitions, which seqeval took over; a change of type ends and starts one as well
_END = _pairs("B:BSO", "I:BSO")
_END[[_LETTERS.index(letter) for letter in "ES"]] = True
_START = _pairs("E:EI", "S:EI", "O:EI")
_START[:, [_LETTERS.index(letter) for letter in "BS"]] = True
_TYPED = np.array([letter not in "O." for letter in _LETTERS] + [True])


def same_lengths(pred: Tags, gold: Tags) -> Ints:
    """Tokens of each sentence ``(sentences,)``; refuses predictions that are not one tag for each token of gold."""
    if len(pred) != len(gold):
        raise MetricError(f"{len(pred)} predicted sentences for {len(gold)} gold ones; give one for each, in order")
    here, there = list(map(len, pred)), list(map(len, gold))
    if here != there:
        i = next(i for i, (a, b) in enumerate(zip(here, there, strict=True)) if a != b)
        raise MetricError(f"sentence {i + 1} has {here[i]} predicted tags for {there[i]} tokens; give one tag a token")
    if any(isinstance(sentence, str) for side in (pred, gold) for sentence in side[:1]):
        raise MetricError("tags must come as one list of tags a sentence, not one string a sentence")
    return np.array(here, dtype=np.int64)


def tag_codes(sentences: Tags, code: Codes) -> Ints:
    """The codes of all tokens, one behind the other; tags that are new get a number."""
    flat = tuple(chain.from_iterable(sentences))
    try:
        found = _written(flat, code)
        if found is None:
            for tag in set(flat).difference(code):
                code[tag] = chr(len(code))
            found = _written(flat, code)
        assert found is not None
    except TypeError as error:
        raise MetricError(f"tags must be strings: {error}") from None
    if len(code) <= _SMALL:
        return np.frombuffer(found.encode("latin-1"), np.uint8)
    return np.frombuffer(found.encode("utf-32-le", "surrogatepass"), np.int32)


def _written(flat: tuple[str, ...], code: Codes) -> str | None:
    """The tokens' codes as text; None where a tag has none."""
    try:
        # one C call for all tokens takes half the time of a loop; for a single one it gives no tuple, but joins too
        return "".join(itemgetter(*flat)(code)) if flat else ""
    except KeyError:
        return None


def _look_up(table: NDArray[Any], index: NDArray[Any]) -> NDArray[Any]:
    """``table[index]``; with bytes, as a translation of text, which is many times faster."""
    if index.dtype != np.uint8:
        return table.take(index)
    whole = table.astype(np.uint8).tobytes().ljust(256, b"\0")
    found = np.frombuffer(index.tobytes().translate(whole), np.uint8)
    return found.view(np.bool_) if table.dtype == np.bool_ else found


def per_sentence(masks: Masks, lengths: Ints) -> Ints:
    """Counts of every sentence, columns :data:`COUNTS`, from :func:`chunk_masks`."""
    if not len(lengths):
        return np.zeros((0, len(COUNTS)), dtype=np.int64)
    # an end is at the latest the "O" after the sentence, so it lies in the stretch of its sentence
    opening = np.concatenate([np.zeros(1, dtype=np.int64), (lengths + 1).cumsum()[:-1]])
    columns = [np.add.reduceat(mask, opening, dtype=np.int64) for mask in masks]
    columns[-1] -= 1  # the "O"
    return np.stack([*columns, lengths], axis=1)


def chunk_masks(pred: Ints, gold: Ints, lengths: Ints, tags: Sequence[str], mode: Mode, alone: bool = False) -> Masks:
    """Where chunks end that are right, predicted, and in gold, and where a tag is right.

    Args:
        pred: Code of each predicted tag.
        gold: Code of each gold tag.
        lengths: Tokens of each sentence.
        tags: What the codes mean.
        mode: See :func:`~xmit.metrics.span_f1.span_f1`.
        alone: Let no sentence see the one before, which it does in ``official`` mode if its first tag starts no
            chunk though it is no ``O`` (``X-O`` or a full stop: no tag set has these).

    Returns:
        Four masks over all tokens with an ``O`` after each sentence, ``(tokens + sentences,)``.
    """
    size = len(pred) + len(lengths)
    if not size:
        none = np.zeros(0, dtype=np.bool_)
        return none, none, none, none
    letter, kind = read_tags(tags, mode)
    closing = lengths.cumsum() + np.arange(len(lengths))  # one "O" is put after each sentence, as seqeval does
    opening = closing - lengths
    inside = np.ones(size, dtype=np.bool_)
    inside[closing] = False
    sides, codes = [], []
    for flat in (pred, gold):
        padded = np.full(size, len(tags), dtype=np.uint8 if len(tags) <= _SMALL else np.int32)
        padded[inside] = flat
        codes.append(padded)
        kinds = _look_up(kind, padded)
        before = _shifted(kinds, kind[-1] if mode == "official" and not alone else kind[-2])
        end, begin = (_strict_chunks if mode == "strict" else _chunks)(_look_up(letter, padded), kinds != before)
        sides.append((end, begin if not alone else np.maximum(begin, np.repeat(opening, lengths + 1)), kinds))
    (end, begin, kinds), (wanted, gold_begin, gold_kinds) = sides
    matched = end & wanted
    matched[1:] &= ((begin == gold_begin) & (kinds == gold_kinds))[:-1]
    return matched, end, wanted, codes[0] == codes[1]


def read_tags(tags: Sequence[str], mode: Mode) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Prefix letter and type of each tag as numbers, then those of the ``O`` between sentences and of no tag."""
    if mode not in ("official", "lenient", "strict"):
        raise MetricError(f"mode must be 'official', 'lenient' or 'strict', not {mode!r}")
    letters, kinds = [], []
    for tag in [*tags, "O"]:
        if not isinstance(tag, str) or not tag:
            raise MetricError(f"a tag must be a string that is not empty, got {tag!r}")
        if mode == "official":
            kinds.append(tag.split("-")[-1])
        elif tag == "O" or (tag[0] in ("BI" if mode == "strict" else "BIES") and tag[1:2] == "-"):
            kinds.append(tag[2:])
        else:
            form = "B-TYPE, I-TYPE" if mode == "strict" else "B-TYPE, I-TYPE, E-TYPE, S-TYPE"
            raise MetricError(f"{tag!r} is no tag of the form {form} or O; score raw tags with mode='official'")
        letters.append(_LETTERS.find(tag[0]) % (_OTHER + 1))  # -1, not found, is the last: any other letter
    number: dict[str, int] = {}
    codes = [number.setdefault(kind, len(number)) for kind in [*kinds, ""]]
    return np.array(letters, dtype=np.uint8), np.array(codes, dtype=np.int32)


def _chunks(letter: NDArray[np.uint8], changed: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Where a chunk has just ended, and, for each place, where the last chunk up to it started.

    A chunk runs from the last start before its end, even where tags of no known scheme end more chunks than they
    start; that is what seqeval does.

    Args:
        letter: Prefix letters, shape ``(places,)``.
        changed: Where the type is not that of the place before.
    """
    before = _shifted(letter, _O)
    pair = before * np.uint8(_OTHER + 1) + letter
    end = _look_up(_END.ravel(), pair) | (_look_up(_TYPED, before) & changed)
    start = _look_up(_START.ravel(), pair) | (_look_up(_TYPED, letter) & changed)
    return end, _last(start)


def _strict_chunks(
    letter: NDArray[np.uint8], changed: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """:func:`_chunks` where only ``B`` starts a chunk and only ``I`` of its type goes on with it."""
    before = _shifted(letter, _O)
    fresh = (letter != _LETTERS.index("I")) | (before == _O) | changed
    begin = _last(fresh)
    opened = letter[np.concatenate([[0], begin[:-1]])] == _LETTERS.index("B")
    return fresh & (before != _O) & opened, begin


def _shifted(values: NDArray[Any], first: int) -> NDArray[Any]:
    """What stands before each place."""
    before = np.empty_like(values)
    before[0], before[1:] = first, values[:-1]
    return before


def _last(start: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The nearest place at or before each one where ``start`` is true, else 0."""
    return np.asarray(np.maximum.accumulate(np.arange(len(start), dtype=np.int32) * start))
