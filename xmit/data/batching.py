"""Token sequences without padding, and batches of them cut by a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

from xmit.data.packing import Packing
from xmit.data.workers import BatchLoader

Batching = Literal["packed", "grouped", "padded"]


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths in one flat array.

    Args:
        flat: All token ids, one sequence behind the other, ``(total,)`` int32.
        offsets: Where each sequence begins, and the end of the last, ``(n + 1,)`` int64.
        used: The different token ids, rising, where they are known already.
    """

    flat: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64] | None = None

    @classmethod
    def from_lists(cls, sequences: Sequence[Sequence[int] | npt.NDArray[np.int32]]) -> Ragged:
        """Pack lists of token ids."""
        lengths = np.fromiter((len(s) for s in sequences), dtype=np.int64, count=len(sequences))
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        flat = np.fromiter(chain.from_iterable(sequences), dtype=np.int32, count=int(offsets[-1]))
        return cls(flat, offsets)

    def joined(self, other: Ragged) -> Ragged:
        """These sequences, and those of another behind them."""
        offsets = np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]])
        return Ragged(np.concatenate([self.flat, other.flat]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The length of each sequence in tokens, ``(n,)``."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The different token ids, rising."""
        return np.flatnonzero(np.bincount(self.flat)) if self.used is None else self.used

    def pad(self, indices: Sequence[int], pad_id: int) -> dict[str, Tensor]:
        """Pad some sequences to the longest of them.

        Args:
            indices: Which sequences.
            pad_id: The id that fills up.

        Returns:
            ``input_ids`` and ``attention_mask``, both ``(len(indices), longest)`` int64, padded on the right.
        """
        rows = np.asarray(indices, dtype=np.int64)
        lengths = self.offsets[rows + 1] - self.offsets[rows]  # of these alone, however many there are
        mask = np.arange(int(lengths.max(initial=0)))[None, :] < lengths[:, None]
        ids = np.full(mask.shape, pad_id, dtype=np.int64)
        take = (self.offsets[rows][:, None] + np.arange(mask.shape[1])[None, :])[mask]
        ids[mask] = self.flat[take]
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}


def processes() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class EvaluationStream(Sampler[list[int]]):
    """One stream over everything to be scored, sorted by length, cut by a budget of padded tokens.

    The longest batches come first, so that memory trouble shows at once. Processes take turns.

    Args:
        lengths: The length of each item in tokens, ``(n,)``.
        max_tokens: The most tokens, padding included, that a batch may hold; one item always fits.
    """

    def __init__(self, lengths: npt.NDArray[np.int64], max_tokens: int) -> None:
        order = np.argsort(-lengths, kind="stable")
        self.batches: list[list[int]] = []
        start = 0
        while start < len(order):
            size = max(1, max_tokens // max(1, int(lengths[order[start]])))
            self.batches.append(order[start : start + size].tolist())
            start += size

    def _mine(self) -> list[list[int]]:
        rank, world = processes()
        mine = self.batches[rank::world]
        # all processes need as many: FSDP's forward is everybody's, and so is the gather; scored twice counts once
        return mine + self.batches[-1:] * (-(-len(self.batches) // world) - len(mine))

    def __iter__(self) -> Iterator[list[int]]:
        yield from self._mine()

    def __len__(self) -> int:
        return len(self._mine())


def cuts(tokens: npt.NDArray[np.int64], most: int) -> list[int]:
    """Where a batch is to be cut so that no piece has more tokens than allowed; a single item always may.

    Args:
        tokens: Tokens of each item ``(n,)``.
        most: The most tokens of a piece.

    Returns:
        The first item of each piece, and the end of the last.
    """
    places, room = [0], most
    for item, size in enumerate(tokens.tolist()):
        if size > room and item > places[-1]:
            places.append(item)
            room = most
        room -= size
    return [*places, len(tokens)]


def lay_out(
    batch: dict[str, Any],
    n: int,
    batching: Batching,
    most: int | None,
    before: Callable[[Mapping[str, Any]], int | None] = lambda side: 0,
    pad_groups: bool = False,
) -> None:
    """Say on the host how a batch is computed on.

    Args:
        batch: The batch; a packed one's sides get ``lengths``, tokens of each sequence, and their ``part`` in
            ``packing``, where the tokens of all of them lie; one with more than ``most`` tokens in all sides gets
            ``cuts``, see :func:`cuts`, and a packing for each piece.
        n: How many items it has.
        batching: Whether padding is computed on.
        most: The most tokens to compute on at once.
        before: Places before the text of a side, or None where it is computed on padded whatever ``batching`` says.
        pad_groups: See :class:`~xmit.data.packing.Packing`.
    """
    tokens: npt.NDArray[np.int64] = np.zeros(n, dtype=np.int64)
    packed: list[tuple[npt.NDArray[np.int64], int, int]] = []
    for side in batch.values():
        if isinstance(side, dict) and "attention_mask" in side:
            if batching == "packed":
                side["lengths"] = side["attention_mask"].sum(1).tolist()
                ahead = before(side)
                if ahead is not None:
                    side["part"] = len(packed)
                    own = np.asarray(side["lengths"], dtype=np.int64) + ahead
                    packed.append((own, side["attention_mask"].shape[1] + ahead, ahead))
            tokens += side.get("lengths", side["attention_mask"].shape[1])
    pieces = [0, n]
    if most and tokens.sum() > most:
        batch["cuts"] = pieces = cuts(tokens, most)
    if packed:
        packings = [
            Packing(
                [own[a:b] for own, _, _ in packed], [w for _, w, _ in packed], [a for _, _, a in packed], pad_groups
            )
            for a, b in pairwise(pieces)
        ]
        batch["packing"] = packings if "cuts" in batch else packings[0]


class BatchStream(Protocol):
    """The training batches of one task, epoch by epoch; on several processes each sees its share of every batch."""

    epoch: int
    """Whose batches the next iteration gives; it then goes up by one."""
    start_batch: int
    """How many batches the next iteration leaves out at its beginning, for runs that go on; it then is 0 again."""

    def __iter__(self) -> Iterator[list[int]]:
        """Item numbers, a batch at a time."""
        ...

    def __len__(self) -> int:
        """Batches an epoch."""
        ...


class TrainingBatches(Sampler[list[int]]):
    """Random batches of a fixed number of examples, another order in every epoch (a :class:`BatchStream`).

    Args:
        lengths: The length of each example in tokens, ``(n,)``.
        batch_size: Examples per update and process.
        batching: ``packed`` and ``padded`` draw the same batches, at random as the literature does; ``packed`` then
            computes on no padding. ``grouped`` draws examples of like length together, which saves padding but
            changes the make-up of batches.
        seed: With the epoch it fixes the order.
        drop_last: Leave out a last batch that is not full; never the only one.
    """

    def __init__(
        self,
        lengths: npt.NDArray[np.int64],
        batch_size: int,
        batching: Batching = "packed",
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.lengths, self.batch_size, self.batching, self.seed = lengths, batch_size, batching, seed
        self.drop_last = drop_last
        self.epoch = self.start_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        self.epoch += 1  # for loops that never call set_epoch
        start, self.start_batch = self.start_batch, 0
        order = rng.permutation(len(self.lengths))
        rank, world = processes()
        size = self.batch_size * world
        if self.batching == "grouped":
            pool = size * 50
            pools = [order[i : i + pool] for i in range(0, len(order), pool)]
            order = np.concatenate([p[np.argsort(-self.lengths[p], kind="stable")] for p in pools])
        batches = [order[i : i + size] for i in range(0, len(order), size)]
        if len(batches) > 1 and len(batches[-1]) < size and (self.drop_last or world > 1):
            batches.pop()  # every process must make the same number of updates
        if self.batching == "grouped":
            batches = [batches[i] for i in rng.permutation(len(batches))]
        for batch in batches[start:]:
            yield batch[rank::world].tolist()

    def __len__(self) -> int:
        _, world = processes()
        size = self.batch_size * world
        full, rest = divmod(len(self.lengths), size)
        return full + (1 if rest and (full == 0 or not (self.drop_last or world > 1)) else 0)


class TrainingLoader(BatchLoader):
    """A loader over a :class:`BatchStream` that knows where it stands, so that a run can go on from there.

    Lightning keeps the state of a loader that has one in its checkpoints. Batches count when they are handed out, not
    when a worker prepares them.
    """

    handed_out = 0
    _start = 0

    def __iter__(self) -> Any:
        """Batches of one epoch, or of what is left of it."""
        self.sampler.start_batch = self.handed_out = self._start  # type: ignore[attr-defined]
        self._start = 0
        for batch in super().__iter__():
            self.handed_out += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch are behind us."""
        return {"handed_out": self.handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next iteration where another loader stood; one that was through begins a new epoch."""
        self._start = state["handed_out"]
        self.cut(len(self))

    def cut(self, batches: float) -> None:
        """Take it that an epoch has only so many batches: who stands at their end begins a new one."""
        if self._start >= batches:
            self._start = 0


class LanguageBatches(Sampler[list[int]]):
    """Random batches whose examples are drawn over languages, the small ones more often than their share.

    The language of each example is drawn with ``p ∝ n ** alpha``, ``n`` being how many items it has (Conneau and
    Lample 2019; XLM-R takes 0.3, Conneau et al. 2020). Within a language the items come in random order, and none
    comes again before all have come, over epochs too. An epoch has as many examples as there are items, cut to whole
    batches; batches are always full. One process or several: the batches over all processes are the same.

    Args:
        languages: The language of each item.
        batch_size: Examples per update and process.
        alpha: 1 draws items alike, 0 languages alike.
        seed: With the epoch it fixes the order.
    """

    def __init__(self, languages: Sequence[str], batch_size: int, alpha: float = 0.3, seed: int = 0) -> None:
        _, codes = np.unique(np.asarray(languages), return_inverse=True)
        self.items = [np.flatnonzero(codes == code) for code in range(int(codes.max()) + 1)]
        weights = np.array([len(items) for items in self.items]) ** float(alpha)
        self.probabilities: npt.NDArray[np.float64] = weights / weights.sum()
        self._used = [np.zeros(len(self.items), dtype=np.int64)]
        self.batch_size, self.seed = batch_size, seed
        self.epoch = 0
        self.start_batch = 0
        """Which batch the next iteration begins with; those before it are left out."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        epoch, start = self.epoch, self.start_batch
        self.epoch, self.start_batch = epoch + 1, 0  # epochs go on for loops that never call set_epoch
        rank, world = processes()
        size = self.batch_size * world
        n = len(self) * size
        while len(self._used) <= epoch:  # what earlier epochs took of each language
            drawn = self._draw(len(self._used) - 1, n)
            self._used.append(self._used[-1] + np.bincount(drawn, minlength=len(self.items)))
        drawn, order = self._draw(epoch, n), np.empty(n, dtype=np.int64)
        for language, used in enumerate(self._used[epoch].tolist()):
            places = np.flatnonzero(drawn == language)
            order[places] = self._stream(language, used, used + len(places))
        for batch in range(start, len(self)):
            yield order[batch * size : (batch + 1) * size][rank::world].tolist()

    def _draw(self, epoch: int, n: int) -> npt.NDArray[np.int64]:
        """The languages of an epoch's examples."""
        rng = np.random.default_rng((self.seed, 0, epoch))
        return rng.choice(len(self.items), size=n, p=self.probabilities)

    def _stream(self, language: int, start: int, stop: int) -> npt.NDArray[np.int64]:
        """A part of the endless stream of a language's items, one permutation after the other."""
        items = self.items[language]
        first, last = start // len(items), -(-stop // len(items))
        passes = [np.random.default_rng((self.seed, 1 + language, p)).permutation(items) for p in range(first, last)]
        stream: npt.NDArray[np.int64] = np.concatenate([items[:0], *passes])
        return stream[start - first * len(items) : stop - first * len(items)]

    def __len__(self) -> int:
        _, world = processes()
        return max(1, sum(map(len, self.items)) // (self.batch_size * world))
