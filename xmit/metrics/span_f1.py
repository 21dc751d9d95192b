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
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from xmit.errors import MetricError
from xmit.metrics._chunks import (
    COUNTS,
    Codes,
    Ints,
    Masks,
    Mode,
    Tags,
    chunk_masks,
    per_sentence,
    read_tags,
    same_lengths,
    tag_codes,
)


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
    return per_sentence(masks, lengths)


def _read(pred: Tags, gold: Tags, mode: Mode) -> tuple[Ints, Masks]:
    """Tokens of each sentence, and :func:`chunk_masks`."""
    lengths = same_lengths(pred, gold)
    code: Codes = {}
    flat = [tag_codes(side, code) for side in (pred, gold)]
    return lengths, chunk_masks(flat[0], flat[1], lengths, list(code), mode)


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
        read_tags(labels or [], mode)
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
            lengths = same_lengths(preds, target)
            code: Codes = {}
            here, there = (tag_codes(side, code) for side in (preds, target))
            counts = per_sentence(chunk_masks(here, there, lengths, list(code), self.mode, alone=True), lengths)
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
        return per_sentence(chunk_masks(here, there, lengths, self.labels, self.mode, alone=True), lengths)

    def compute(self) -> dict[str, dict[str, float]]:
        """Scores per language, over all processes."""
        return {
            code: {name: value if n else math.nan for name, value in span_scores(row).items()}
            for code, row, n in zip(self.languages, self.counts.tolist(), self.sentences.tolist(), strict=True)
        }
