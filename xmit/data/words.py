"""Sentences that come as lists of words: their subwords, and windows that fit the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, compress, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xmit.data.batching import Ragged
from xmit.data.readers import read_conll, read_lines
from xmit.data.text import AGAIN, fail
from xmit.data.tokens import tokenised
from xmit.errors import DataError

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

RESERVED = 3
"""Subwords of a window that XTREME keeps free under XLM-R, one more than the two special tokens take."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Strings:
    """Strings, each distinct one once.

    Args:
        codes: Index of each string in ``names``, -1 for null, ``(n,)``.
        names: The distinct strings.
    """

    codes: Ints
    names: list[str]


@dataclass(frozen=True)
class Windows:
    """Sentences cut into sequences that fit the encoder; windows and words keep the order of the sentences.

    Args:
        text: The token ids of each window, special tokens included.
        places: Where in its window each word begins, one sequence a window.
        first: The same in ``text.flat``, ``(words,)``.
        sentences: The first word of each sentence, and the number of all words, ``(sentences + 1,)``.
    """

    text: Ragged
    places: Ragged
    first: Ints
    sentences: Ints


def flatten_lists(table: datasets.Dataset, column: str) -> tuple[Strings, Ints]:
    """All strings of a column of lists, one after the other.

    Returns:
        The strings, and the length of each list ``(rows,)``, -1 where it is null.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = table.with_format("arrow")[:][column].combine_chunks()
    if pa.types.is_null(values.type):
        return Strings(np.empty(0, dtype=np.int64), []), np.full(len(values), -1, dtype=np.int64)
    lengths = pc.fill_null(pc.list_value_length(values), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    strings = pc.dictionary_encode(pc.list_flatten(values))
    codes = pc.fill_null(strings.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Strings(codes, strings.dictionary.to_pylist()), lengths


def hub_columns(table: datasets.Dataset, tags: str) -> dict[str, list[Any]]:
    """Tagged sentences of a hub data set, tags by name, whatever order its labels are in.

    Words with the tag ``_`` are left out: in some copies of Universal Dependencies they are the fused forms beside
    the words these stand for.

    Args:
        table: Rows with ``tokens`` and a column of tags, perhaps also ``sent_id`` or ``idx``.
        tags: The column of tags.

    Returns:
        The columns ``id``, a running number where the data have none, ``tokens`` and ``tags``.

    Raises:
        DataError: If a column is missing, or tags are numbers without names.
    """
    missing = [column for column in ("tokens", tags) if column not in table.column_names]
    if missing:
        raise DataError(f"column {missing[0]!r} is missing among {', '.join(table.column_names)}: another version?")
    names = getattr(getattr(table.features[tags], "feature", None), "names", None)
    words: list[list[str]] = table["tokens"][:]
    values: list[list[Any]] = table[tags][:]
    if names is not None:
        values = [[names[tag] for tag in row] for row in values]
    elif any(not isinstance(tag, str) for row in values for tag in row):
        raise DataError(f"column {tags!r} has numbers without names: load a copy of the data that names its labels")
    kept = [[tag != "_" for tag in row] for row in values]
    given = next((column for column in ("sent_id", "idx") if column in table.column_names), None)
    return {
        "id": [str(i) for i in (table[given][:] if given else range(len(table)))],
        "tokens": [list(compress(row, keep)) for row, keep in zip(words, kept, strict=True)],
        "tags": [list(compress(row, keep)) for row, keep in zip(values, kept, strict=True)],
    }


def read_xtreme(path: Path, names: Sequence[str]) -> dict[str, list[Any]]:
    """Read a tagging file as XTREME's ``utils_preprocess.py`` writes it: a word and its tag a line, or words only.

    Args:
        path: The file, plain or gzipped; its test files have no tags, so that nobody trains on them.
        names: The tags there are.

    Returns:
        The columns ``id``, a running number from 0, ``tokens`` and ``tags``, which are None without tags.

    Raises:
        DataError: As :func:`~xmit.data.readers.read_conll`, and for a tag that is none of ``names``.
    """
    lines = read_lines(path)
    if any("\t" in line for line in lines if line.strip()):
        columns = read_conll(path)
        check_tags(path, columns["tags"], names)
        return columns
    groups = (list(group) for blank, group in groupby(lines, lambda line: not line.strip()) if not blank)
    tokens = [[line.strip() for line in group] for group in groups]
    return {"id": [str(i) for i in range(len(tokens))], "tokens": tokens, "tags": [None] * len(tokens)}


def check_tags(path: Path, tags: Sequence[Sequence[str]], names: Sequence[str], column: int = -1) -> None:
    """Refuse a file with an unknown tag.

    Args:
        path: The file.
        tags: What was read from it.
        names: The tags there are.
        column: Where in a line the tag stands.

    Raises:
        DataError: With the first line that has such a tag.
    """
    unknown = set(chain.from_iterable(tags)) - set(names)
    for number, line in enumerate(read_lines(path) if unknown else (), 1):
        cells = line.split("\t") if "\t" in line else line.split()
        if len(cells) > max(column, 1) and not line.startswith("# ") and cells[column] in unknown:
            fail(path, number, f"the tag {cells[column]!r} is none of {', '.join(names)}", f"mend it, or {AGAIN}")


def _pieces(words: list[str], tokenizer: PreTrainedTokenizerBase, most: int) -> Ragged:
    """The subwords of each word; one unknown one where there are none, or more than fit."""
    settings = {"is_split_into_words": True, "add_special_tokens": False}

    def pieces(words: list[str]) -> list[list[int]]:
        ids = tokenizer([[word] for word in words], **settings)["input_ids"]
        unknown = [int(tokenizer.unk_token_id)]
        return [word if 0 < len(word) <= most else unknown for word in ids]

    return tokenised(tokenizer, words, pieces, most=most, **settings)


def _starts(sizes: Ints, lengths: Ints, most: int) -> npt.NDArray[np.bool_]:
    """Which words begin a window ``(words,)``: the first of a sentence, and each that did not fit any more."""
    starts = np.zeros(len(sizes), dtype=np.bool_)
    ends = np.cumsum(lengths)
    begins = ends - lengths
    starts[begins] = True
    for begin, end in zip(begins, ends, strict=True):
        total = sizes[begin:end].cumsum()
        used = 0
        while total[-1] - used > most:
            cut = int(np.searchsorted(total, used + most, side="right"))
            starts[begin + cut] = True
            used = int(total[cut - 1])
    return starts


def split_sentences(words: Strings, lengths: Ints, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Windows:
    """Tokenise every word on its own and fill windows with whole words, as many as fit.

    Args:
        words: The words of all sentences.
        lengths: Words of each sentence, at least one, ``(sentences,)``.
        tokenizer: The encoder's tokenizer.
        max_length: The most tokens of a window; ``RESERVED`` of them are no words'.
    """
    most = max_length - RESERVED
    pieces = _pieces(words.names, tokenizer, most)
    sizes = pieces.lengths[words.codes]
    starts = _starts(sizes, lengths, most)
    window = np.cumsum(starts) - 1
    n = int(window[-1]) + 1
    tokens = np.bincount(window, weights=sizes, minlength=n).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(tokens + 2)])
    # each window before a word's adds two special tokens, its own one
    first = np.cumsum(sizes) - sizes + 2 * window + 1
    flat = np.empty(int(offsets[-1]), dtype=np.int32)
    flat[offsets[:-1]] = tokenizer.cls_token_id
    flat[offsets[1:] - 1] = tokenizer.sep_token_id
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    flat[np.repeat(first, sizes) + within] = pieces.flat[np.repeat(pieces.offsets[words.codes], sizes) + within]
    bounds = np.concatenate([np.flatnonzero(starts), [len(sizes)]])
    return Windows(
        text=Ragged(flat, offsets),
        places=Ragged((first - offsets[window]).astype(np.int32), bounds),
        first=first,
        sentences=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)]),
    )
