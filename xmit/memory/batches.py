"""The largest batches of a task: those of its data where they are at hand, else the largest that its settings allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from xmit.data.batching import cuts
from xmit.memory.shapes import Pass
from xmit.tasks.contrastive import ContrastiveTask
from xmit.tasks.image_matching import ImageRetrievalTask
from xmit.tasks.multiple_choice import MultipleChoiceTask
from xmit.tasks.ranking import RankingTask
from xmit.tasks.with_images import WithImages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xmit.tasks.base import Task


@dataclass(frozen=True)
class Side:
    """A side of a batch.

    Args:
        lengths: Tokens of each item, without visual ones ``(B,)``.
        images: Images of each item.
    """

    lengths: NDArray[np.int64]
    images: int = 0


@dataclass(frozen=True)
class Layout:
    """How a task's batches lie on the device.

    Args:
        packed: Whether without padding.
        places: Places of an image before the text; None where layers look at it instead.
        mask_rate: Share of tokens that are predicted.
        hard: Whether captions and images are encoded once more, together.
    """

    packed: bool
    places: int | None = 0
    mask_rate: float = 0.0
    hard: bool = False

    def passes(self, sides: Sequence[Side]) -> list[Pass]:
        """What the encoder is called with for some items: once for all packed sides, once for each padded one."""
        packs = [self.packed and (not side.images or self.places is not None) for side in sides]
        together = [side for side, pack in zip(sides, packs, strict=True) if pack]
        found = [self._pass(together, True)] if together else []
        found += [self._pass([side], False) for side, pack in zip(sides, packs, strict=True) if not pack]
        if self.hard:  # three pairs an item, padded
            caption = next(side for side in sides if not side.images)
            found.append(self._pass([Side(np.tile(caption.lengths, 3), max(s.images for s in sides))], False))
        return found

    def _pass(self, sides: Sequence[Side], packed: bool) -> Pass:
        lengths = [side.lengths + (self.places or 0) * side.images for side in sides]
        return Pass(
            tuple(tuple(own.tolist()) for own in lengths),
            tuple(int(own.max()) for own in lengths),
            sum(side.images * len(side.lengths) for side in sides),
            packed,
            math.ceil(self.mask_rate * sum(int((side.lengths - 2).sum()) for side in sides)),  # not <s> and </s>
        )


def images_of(task: Task) -> int:
    """Images of an item.

    Args:
        task: The task.
    """
    return len(task.image_columns) if isinstance(task, WithImages) and task.images != "none" else 0


def longest(task: Task, n: int) -> list[Side]:
    """The sides of a batch whose inputs are all as long as they may be.

    Args:
        task: The task.
        n: Items of the batch.
    """
    images, most = images_of(task), np.full(n, task.max_length)
    if isinstance(task, MultipleChoiceTask):
        return [Side(most)] * task.num_choices
    if isinstance(task, RankingTask):
        return [Side(np.full(n, task.max_query_length or task.max_length)), Side(most)]
    if isinstance(task, ContrastiveTask):  # beside an image stands an empty text
        return [Side(most), Side(np.full(n, 2), images) if images else Side(most)]
    return [Side(most, images)]


def largest(task: Task, layout: Layout) -> list[Side]:
    """The sides of the batch of the first epoch with most tokens to compute on.

    Args:
        task: The task, its training data loaded and tokenised.
        layout: How its batches lie.
    """
    examples, images = task.examples("train"), images_of(task)
    by_side = [own.lengths for own in examples.text.values()]
    side_of_images = task.image_side if isinstance(task, WithImages) else ""
    best: NDArray[np.int64] = np.arange(min(1, len(examples)))
    most = -1
    for items in task.train_batches():
        rows = np.asarray(items, dtype=np.int64)
        own = [lengths[rows] for lengths in by_side]
        size = sum(int(part.sum()) if layout.packed else len(part) * int(part.max()) for part in own)
        if size > most:
            best, most = rows, size
    return [
        Side(lengths[best], images if name == side_of_images else 0)
        for name, lengths in zip(examples.text, by_side, strict=True)
    ]


def pieces(sides: Sequence[Side], most: int | None, packed: bool) -> list[list[Side]]:
    """A batch as micro-batches, cut as training cuts it.

    Args:
        sides: Of the batch.
        most: The most tokens of text in all sides of a micro-batch; None for no limit.
        packed: Whether padding is not computed on, and not counted.
    """
    tokens = np.sum([s.lengths if packed else np.full(len(s.lengths), s.lengths.max()) for s in sides], axis=0)
    if not most or int(tokens.sum()) <= most:
        return [list(sides)]
    places = cuts(tokens, most)
    return [[replace(s, lengths=s.lengths[a:b]) for s in sides] for a, b in pairwise(places)]


def scored(task: Task, places: int | None) -> list[list[Side]]:
    """The largest batches that scoring may have: as many of the longest inputs as its budget of tokens holds.

    Args:
        task: The task.
        places: Places of an image before the text; None where layers look at it instead.
    """
    images = images_of(task)
    visual = images * (places or 0)
    if isinstance(task, ImageRetrievalTask) and images:  # captions and images by themselves
        return [[Side(_filled(task, task.max_length))], [Side(_filled(task, 2, visual), images)]]
    return [[replace(s, lengths=_filled(task, task.max_length, visual)) for s in _sides_scored(task)]]


def _filled(task: Task, length: int, visual: int = 0) -> NDArray[np.int64]:
    """Sequences of a length that fill a batch."""
    return np.full(max(1, task.eval_tokens // (length + visual)), length)


def _sides_scored(task: Task) -> list[Side]:
    """Retrieval scores every text by itself, other tasks what they train on."""
    if isinstance(task, RankingTask | ImageRetrievalTask):
        return [Side(np.ones(1, dtype=np.int64))]
    return longest(task, 1)


def described(sides: Sequence[Side], parts: int, at_hand: bool) -> str:
    """A batch for people.

    Args:
        sides: Of the batch.
        parts: Into how many micro-batches it is cut.
        at_hand: Whether it is one of the data's, or the largest that the settings allow.
    """
    n, tokens = len(sides[0].lengths), sum(int(side.lengths.sum()) for side in sides)
    cut = f", in {parts} micro-batches" if parts > 1 else ""
    images = f" beside {sum(side.images * n for side in sides)} images" if any(side.images for side in sides) else ""
    what = "the largest of the first epoch" if at_hand else "at most"
    return f"{what}: {n} examples, {tokens:,} tokens{images}{cut}"
