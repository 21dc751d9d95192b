"""F1 over the chunks of tag sequences, and token accuracy beside it.

Functions (fractions 0 to 1; a score of nothing is 0, as the official script has it)::

    span_f1(pred: list[list[str]], gold: list[list[str]], mode="official")
        -> {"f1", "precision", "recall", "accuracy"}
    span_counts(pred, gold, mode="official") -> int64 array (sentences, 5), columns COUNTS
    token_accuracy(pred, gold) -> float

The class :class:`LanguageSpanF1` does the same with a language axis. The package has no function of this module's
name: ``from xmit.metrics.span_f1 import span_f1``.

**The POS trap.** XTREME's ``evaluate.py`` scores UD-POS with seqeval's ``f1_score`` over *raw* tags such as
``NOUN``, which is neither accuracy nor a tag-wise F1: the first letter is taken for a BIO prefix, so that adjacent
equal tags merge into one chunk while ``SCONJ`` and ``SYM``, which start with ``S``, stay single. Papers report that
number, some as "accuracy". ``mode="official"`` is that rule as seqeval 0.0.12 had it, the version that gives the
values in XTREME's ``evaluate_test.py`` (later versions differ or refuse); ``accuracy`` is the token accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from xmit.errors import MetricError

Mode = Literal["official", "lenient", "strict"]
Tags = Sequence[Sequence[str]]
Ints = NDArray[np.int64]
Masks = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]

COUNTS = ("matched", "predicted", "gold", "correct", "tokens")
"""Columns of :func:`span_counts`: chunks found rightly, predicted, in gold; tokens with the right tag, tokens."""

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


def span_f1(pred: Tags, gold: Tags, mode: Mode = "official") -> dict[str, float]:
    """Micro F1, precision and recall over the chunks of all sentences, and token accuracy.

    Args:
        pred: Predicted tags of each sentence.
        gold: Gold tags of each sentence, as many.
        mode: What a chunk is. ``"official"`` is XTREME's rule for UD-POS, PAN-X and MasakhaNER alike: seqeval
            0.0.12 over whatever the tags are (prefix: the first character; type: what follows the last ``-``, or
            the whole tag). ``"lenient"`` is conlleval's rule for BIO or BIOES tags only, where an ``I-`` without a
            ``B-`` starts a chunk (seqeval >= 1 by default; type: what follows the first ``-``). The two agree on
            NER tags. ``"strict"`` takes BIO at its word: an ``I-`` that continues nothing is no chunk.

    Returns:
        ``f1``, ``precision``, ``recall`` and ``accuracy``, each 0 to 1, and 0 where it would be 0 / 0.

    Raises:
        MetricError: Sentences or tokens do not match in number, or a tag has no meaning in this mode.

    Example:
        >>> pred, gold = [["SCONJ", "NOUN", "NOUN"]], [["SCONJ", "NOUN", "VERB"]]
        >>> span_f1(pred, gold)  # of the chunks SCONJ and NOUN NOUN only the first is right
        {'f1': 0.4, 'precision': 0.5, 'recall': 0.333..., 'accuracy': 0.666...}
        >>> [span_f1([["I-PER", "O"]], [["B-PER", "O"]], mode)["f1"] for mode in ("official", "lenient", "strict")]
        [1.0, 1.0, 0.0]
    """
    lengths, masks = _read(pred, gold, mode)
    tokens = int(lengths.sum())
    between = len(masks[-1]) - tokens if len(lengths) else 0  # the "O"s between sentences are right, and no tokens
    matched, predicted, wanted, correct = (int(np.count_nonzero(mask)) for mask in masks)
    return span_scores([matched, predicted, wanted, correct - between, tokens])


def token_accuracy(pred: Tags, gold: Tags) -> float:
    """Share of tokens with the right tag over all sentences, 0 to 1.

    Example:
        >>> token_accuracy([["NOUN", "VERB"], ["X"]], [["NOUN", "NOUN"], ["X"]])
        0.666...
    """
    return span_f1(pred, gold)["accuracy"]


def span_scores(counts: Sequence[int] | Ints) -> dict[str, float]:
    """Scores from summed :data:`COUNTS`, 0 where a denominator is 0.

    Example:
        >>> span_scores([1, 2, 2, 3, 4])
        {'f1': 0.5, 'precision': 0.5, 'recall': 0.5, 'accuracy': 0.75}
    """
    matched, predicted, wanted, correct, tokens = (int(count) for count in counts)
    precision = matched / predicted if predicted else 0.0
    recall = matched / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if matched else 0.0
    return {"f1": f1, "precision": precision, "recall": recall, "accuracy": correct / tokens if tokens else 0.0}


def span_counts(pred: Tags, gold: Tags, mode: Mode = "official") -> Ints:
    """Chunks and tokens of every sentence, from which scores of any set of sentences follow by summing.

    Args:
        pred: Predicted tags of each sentence.
        gold: Gold tags of each sentence.
        mode: See :func:`span_f1`.

    Returns:
        Integers of shape ``(sentences, 5)``, columns :data:`COUNTS`. A chunk belongs to the sentence it ends in.

    Raises:
        MetricError: See :func:`span_f1`.

    Example:
        >>> span_counts([["B-LOC", "O"], ["O"]], [["B-LOC", "I-LOC"], ["O"]])
        array([[0, 1, 1, 1, 2],
               [0, 0, 0, 1, 1]])
    """
    lengths, masks = _read(pred, gold, mode)
    return _per_sentence(masks, lengths)


def _read(pred: Tags, gold: Tags, mode: Mode) -> tuple[Ints, Masks]:
    """Tokens of each sentence, and :func:`_found`."""
    lengths = _same_lengths(pred, gold)
    code: Codes = {}
    flat = [_codes(side, code) for side in (pred, gold)]
    return lengths, _found(flat[0], flat[1], lengths, list(code), mode)


Codes = dict[str, str]
"""Numbers of tags, each written as the character of that code, which joins fast."""


def _same_lengths(pred: Tags, gold: Tags) -> Ints:
    if len(pred) != len(gold):
        raise MetricError(f"{len(pred)} predicted sentences for {len(gold)} gold ones; give one for each, in order")
    here, there = list(map(len, pred)), list(map(len, gold))
    if here != there:
        i = next(i for i, (a, b) in enumerate(zip(here, there, strict=True)) if a != b)
        raise MetricError(f"sentence {i + 1} has {here[i]} predicted tags for {there[i]} tokens; give one tag a token")
    if any(isinstance(sentence, str) for side in (pred, gold) for sentence in side[:1]):
        raise MetricError("tags must come as one list of tags a sentence, not one string a sentence")
    return np.array(here, dtype=np.int64)


def _codes(sentences: Tags, code: Codes) -> Ints:
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


def _per_sentence(masks: Masks, lengths: Ints) -> Ints:
    """:func:`span_counts` from :func:`_found`."""
    if not len(lengths):
        return np.zeros((0, len(COUNTS)), dtype=np.int64)
    # an end is at the latest the "O" after the sentence, so it lies in the stretch of its sentence
    opening = np.concatenate([np.zeros(1, dtype=np.int64), (lengths + 1).cumsum()[:-1]])
    columns = [np.add.reduceat(mask, opening, dtype=np.int64) for mask in masks]
    columns[-1] -= 1  # the "O"
    return np.stack([*columns, lengths], axis=1)


def _found(pred: Ints, gold: Ints, lengths: Ints, tags: Sequence[str], mode: Mode, alone: bool = False) -> Masks:
    """Where chunks end that are right, predicted, and in gold, and where a tag is right.

    Args:
        pred: Code of each predicted tag.
        gold: Code of each gold tag.
        lengths: Tokens of each sentence.
        tags: What the codes mean.
        mode: See :func:`span_f1`.
        alone: Let no sentence see the one before, which it does in ``official`` mode if its first tag starts no
            chunk though it is no ``O`` (``X-O`` or a full stop: no tag set has these).

    Returns:
        Four masks over all tokens with an ``O`` after each sentence, ``(tokens + sentences,)``.
    """
    size = len(pred) + len(lengths)
    if not size:
        none = np.zeros(0, dtype=np.bool_)
        return none, none, none, none
    letter, kind = _read_tags(tags, mode)
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


def _read_tags(tags: Sequence[str], mode: Mode) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
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


class LanguageSpanF1(Metric):
    """Chunk F1 and token accuracy in each language, from one object with a language axis.

    As input to ``update``: tags of sentences, and each sentence's index in ``languages``. As output of ``compute``:
    ``{lang: {"f1", "precision", "recall", "accuracy"}}``, 0 to 1, NaN for a language without sentences. Sentences
    that come twice count twice. Every sentence is looked at alone, so batches and processes do not matter.

    Args:
        languages: Language codes; their order gives the indices.
        mode: What a chunk is, see :func:`span_f1`.
        labels: What the numbers in tensors of tags mean; not needed for tags as strings.
        ignore_index: Gold label of places in tensors that are no tokens, such as padding and later subwords.
        **kwargs: Arguments of :class:`torchmetrics.Metric`.

    Example:
        >>> metric = LanguageSpanF1(["en", "sw"], labels=["O", "B-LOC", "I-LOC"])
        >>> metric.update([["B-LOC", "O"]], [["B-LOC", "I-LOC"]], [0])
        >>> metric.update(torch.tensor([[1, 2, 0]]), torch.tensor([[1, 2, -100]]), torch.tensor([1]))
        >>> metric.compute()["sw"]
        {'f1': 1.0, 'precision': 1.0, 'recall': 1.0, 'accuracy': 1.0}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    counts: Tensor
    sentences: Tensor

    def __init__(
        self,
        languages: Sequence[str],
        mode: Mode = "official",
        labels: Sequence[str] | None = None,
        ignore_index: int = -100,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(languages, str) or len(set(languages)) != len(languages):
            raise MetricError(f"languages must be a sequence of distinct codes, got {languages!r}")
        _read_tags(labels or [], mode)
        self.languages, self.mode, self.ignore_index = tuple(languages), mode, ignore_index
        self.labels = None if labels is None else tuple(labels)
        self.add_state("counts", torch.zeros(len(languages), len(COUNTS), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sentences", torch.zeros(len(languages), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tags | Tensor, target: Tags | Tensor, language: Sequence[int] | Tensor) -> None:
        """Add sentences.

        Args:
            preds: Predicted tags, strings of each sentence, or numbers of ``labels`` of shape ``(N, tokens)``.
            target: Gold tags, in the same form.
            language: Index of each sentence's language, integers of shape ``(N,)``.

        Raises:
            MetricError: Shapes do not match, or a tag or language is unknown.
        """
        if isinstance(preds, Tensor) and isinstance(target, Tensor):
            counts = self._count_tensors(preds, target)
        elif isinstance(preds, Tensor) or isinstance(target, Tensor):
            raise MetricError("preds and target must both be tensors or both be lists of tags")
        else:
            lengths = _same_lengths(preds, target)
            code: Codes = {}
            here, there = (_codes(side, code) for side in (preds, target))
            counts = _per_sentence(_found(here, there, lengths, list(code), self.mode, alone=True), lengths)
        index = torch.as_tensor(language, dtype=torch.int64, device=self.counts.device)
        if index.shape != (len(counts),):
            raise MetricError(f"language must have shape ({len(counts)},), got {tuple(index.shape)}")
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(self.languages):
            raise MetricError(f"language indices must lie in 0 … {len(self.languages) - 1}")
        self.counts.index_add_(0, index, torch.from_numpy(counts).to(index.device))
        self.sentences.index_add_(0, index, torch.ones_like(index))

    def _count_tensors(self, preds: Tensor, target: Tensor) -> Ints:
        if self.labels is None:
            raise MetricError("tensors of tags need LanguageSpanF1(labels=…), which says what the numbers mean")
        if preds.ndim != 2 or preds.shape != target.shape:
            raise MetricError(
                f"preds and target must have one shape (N, tokens), got {tuple(preds.shape)}, {tuple(target.shape)}"
            )
        real = (target != self.ignore_index).cpu().numpy()
        here, there = (side.cpu().numpy()[real] for side in (preds, target))
        for values in (here, there):
            if len(values) and not 0 <= values.min() <= values.max() < len(self.labels):
                raise MetricError(f"numbers of tags must lie in 0 … {len(self.labels) - 1}")
        lengths = real.sum(1)
        return _per_sentence(_found(here, there, lengths, self.labels, self.mode, alone=True), lengths)

    def compute(self) -> dict[str, dict[str, float]]:
        """Scores per language, over all processes."""
        return {
            code: {name: value if n else math.nan for name, value in span_scores(row).items()}
            for code, row, n in zip(self.languages, self.counts.tolist(), self.sentences.tolist(), strict=True)
        }
