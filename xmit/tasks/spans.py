"""Question answering by spans: windows of tokens, the best spans of their scores, and the text they stand for."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from xmit.data.tokens import tokenised
from xmit.tasks.parallel import keep_rows

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

Int32s = npt.NDArray[np.int32]


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> tuple[list[Int32s], list[Int32s]]:
    """Tokenise texts without special tokens, uncut.

    Returns:
        Token ids of each text ``(n,)``, and the characters that each token covers ``(n, 2)``, from and up to.
    """
    options = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}

    def ids_and_offsets(texts: list[str]) -> list[Int32s]:
        found: list[Int32s] = []
        for at in range(0, len(texts), 1000):  # offsets as Python tuples are big: a part at a time
            part = tokenizer(texts[at : at + 1000], **options)
            for ids, offsets in zip(part["input_ids"], part["offset_mapping"], strict=True):
                found.append(np.concatenate([np.asarray(ids, np.int32), np.asarray(offsets, np.int32).ravel()]))
        return found

    both = tokenised(tokenizer, texts, ids_and_offsets, **options)  # of a text of n tokens n ids, then n pairs
    parts = [both.flat[start:stop] for start, stop in zip(both.offsets[:-1], both.offsets[1:], strict=True)]
    sizes = [len(part) // 3 for part in parts]
    ids = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    return ids, [part[size:].reshape(-1, 2) for part, size in zip(parts, sizes, strict=True)]


def pair_template(tokenizer: PreTrainedTokenizerBase) -> list[Int32s]:
    """The special tokens before, between and after two segments: three arrays of ids."""
    encoded = tokenizer("a", "b")
    sides = encoded.sequence_ids(0)
    ids = np.asarray(encoded["input_ids"], dtype=np.int32)
    one, two = sides.index(0), sides.index(1)
    return [ids[:one], ids[one + sides.count(0) : two], ids[two + sides.count(1) :]]


def spans_of(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Windows of at most ``room`` tokens over ``length`` tokens, two of which share ``stride``.

    >>> spans_of(10, 6, 2)
    [(0, 6), (4, 10)]
    """
    windows = [(0, min(room, length))]
    while windows[-1][1] < length:
        begin = windows[-1][0] + room - stride
        windows.append((begin, min(begin + room, length)))
    return windows


def answer_tokens(context: str, answers: Mapping[str, Any], offsets: Int32s) -> tuple[int, int] | None:
    """The first and last token of the first answer that stands in the context where it says; None without one.

    Args:
        context: The context.
        answers: ``text`` and ``answer_start``, lists.
        offsets: The characters of the context's tokens ``(n, 2)``.
    """
    for text, start in zip(answers["text"], answers["answer_start"], strict=True):
        if not is_aligned(context, text, start):
            continue
        lead = len(text) - len(text.lstrip())
        start, stop = start + lead, start + len(text.rstrip())
        # of two tokens at one character, such as the lone '▁' before Chinese text, the later has the text
        first = max(
            int(np.searchsorted(offsets[:, 1], start, side="right")),
            int(np.searchsorted(offsets[:, 0], start, side="right")) - 1,
        )
        last = int(np.searchsorted(offsets[:, 0], stop, side="left")) - 1
        if first <= last:
            return first, last
    return None


def is_aligned(context: str | None, text: str | None, start: int | None) -> bool:
    """Whether an answer is not blank and stands in the context at its start."""
    return bool(
        context and text and text.strip() and start is not None and start >= 0 and context.startswith(text, start)
    )


def drop_misaligned(columns: dict[str, list[Any]]) -> tuple[dict[str, list[Any]], int]:
    """Leave out examples none of whose answers stands in the context where it says, for training.

    AfriQA has 491 such rows of 4,932: no context, no answer, a start of -1, or another text at the start.

    Args:
        columns: At least ``context`` and ``answers``, and perhaps ``is_impossible``, whose rows stay.

    Returns:
        The columns without these rows, and how many were left out.
    """
    impossible = columns.get("is_impossible") or [False] * len(columns["context"])
    keep = [
        i
        for i, (context, answers) in enumerate(zip(columns["context"], columns["answers"], strict=True))
        if impossible[i]
        or any(is_aligned(context, *one) for one in zip(answers["text"], answers["answer_start"], strict=False))
    ]
    return keep_rows(columns, keep), len(columns["context"]) - len(keep)


def best_spans(start: Tensor, end: Tensor, context: Tensor, n_best: int, max_length: int) -> tuple[Tensor, ...]:
    """The spans with the highest sum of start and end score, out of all that lie in the context.

    SQuAD's scripts only look at pairs of the ``n_best`` best starts and ends; this looks at every span.

    Args:
        start: Scores ``(B, L)``.
        end: Scores ``(B, L)``.
        context: First place of the context, and the place behind its last ``(B, 2)``.
        n_best: How many spans.
        max_length: The most tokens of a span.

    Returns:
        First token, last token and score, each ``(B, n_best)``, best first; the score is ``-inf`` where there
        are no more spans.
    """
    n, length = start.shape
    place = torch.arange(length, device=start.device)
    outside = (place < context[:, :1]) | (place >= context[:, 1:])
    start, end = start.masked_fill(outside, -torch.inf), end.masked_fill(outside, -torch.inf)
    width = min(max_length, length)
    sums = start[:, :, None] + F.pad(end, (0, width - 1), value=-torch.inf).unfold(1, width, 1)
    scores, flat = sums.reshape(n, -1).topk(min(n_best, length * width))
    first = flat // width
    last = first + flat % width
    missing = n_best - scores.shape[1]
    return F.pad(first, (0, missing)), F.pad(last, (0, missing)), F.pad(scores, (0, missing), value=-torch.inf)


def cut(context: str, offsets: Int32s, first: int, last: int) -> str:
    """The text that some tokens cover, verbatim, without blanks around it.

    A tokenizer that composes characters ends a token before the accents it composed: they are taken along, unless
    the next token has them.
    """
    stop = int(offsets[last, 1])
    limit = int(offsets[last + 1, 0]) if last + 1 < len(offsets) else len(context)
    while stop < limit and unicodedata.category(context[stop]).startswith("M"):
        stop += 1
    return context[int(offsets[first, 0]) : stop].strip()


def training_table(columns: dict[str, list[Any]], task: str) -> datasets.Dataset:
    """As :func:`qa_table`, without examples whose answer is not where the data say; a warning counts these.

    Machine-translated data have many.
    """
    kept, dropped = drop_misaligned(columns)
    if dropped:
        text = f"task {task!r}: {dropped} training rows dropped, whose answers are not where the data say"
        warnings.warn(text, stacklevel=2)
    return qa_table(kept)


def hub_columns(table: datasets.Dataset) -> dict[str, list[Any]]:
    """The columns that question answering needs, as lists."""
    return {name: table[name][:] for name in ("id", "question", "context", "answers")}


def qa_table(columns: Mapping[str, Any]) -> datasets.Dataset:
    """The family's canonical columns as a data set; all others are left out.

    Args:
        columns: ``id``, ``question``, ``context``, ``answers`` and perhaps ``is_impossible``, each a list.
    """
    import datasets

    features: dict[str, Any] = {name: datasets.Value("string") for name in ("id", "question", "context")}
    # said, not guessed: a column of empty lists would have another type than the next language's
    features["answers"] = {
        "text": datasets.List(datasets.Value("string")),
        "answer_start": datasets.List(datasets.Value("int64")),
    }
    if "is_impossible" in columns:
        features["is_impossible"] = datasets.Value("bool")
    return datasets.Dataset.from_dict(
        {name: list(columns[name]) for name in features}, features=datasets.Features(features)
    )
