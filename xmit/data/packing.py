"""Where the sequences of a packed batch lie: worked out by the loader, and sent to the device in one copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_GROUPS = 4
"""Into how many groups of like length a batch is padded for attention on a GPU; more cost calls, fewer cost padding."""
_ALIGNED = 8
"""Widths of these groups are multiples of it, or SDPA would copy every mask into one that is."""


@dataclass(frozen=True)
class Group:
    """Some sequences that attention computes on at once, padded to the longest.

    Args:
        n: How many sequences.
        width: Places of each, the longest's tokens or a few more.
        tokens: How many tokens in all.
    """

    n: int
    width: int
    tokens: int


class Packing:
    """The order in which the sequences of a batch are packed, and where each token comes from.

    The sides of a batch are packed together, so that the encoder is called once for all of them. Sequences lie by
    falling length, so that those of like length lie together. ``T`` is the tokens of all, ``S`` the sequences.

    Args:
        lengths: Tokens of each sequence, side by side, each ``(B,)``; what stands before the text is counted.
        widths: The width of each side's padded batch, the like.
        before: Places before the text of each side, such as visual tokens; none by default.
        groups: Pad groups of like length for attention, as a GPU wants it, instead of making one a length.

    Attributes:
        shapes: Sequences and width of each side.
        sizes: Tokens of each sequence in the order in which they lie.
        max_length: The longest.
        groups: What attention computes on at once.
        padded: Whether groups are padded: ``places`` and ``mask`` are for these alone.
        index: Where each token comes from among the places of all sides ``(T,)``.
        columns: Its position in the text, from 0; -1 before it ``(T,)``.
        order: Which sequence each one is ``(S,)``.
        firsts: Where the first text token of each sequence lies among the packed ``(S,)``.
        places: Where each token lies among the groups' places ``(T,)``.
        cu_seqlens: Where sequences begin, and the end of the last ``(S + 1,)`` int32.
        one_each: The like for one token of each ``(S + 1,)`` int32.
        mask: The groups' places that hold a token, group by group ``(P,)``.
        kernel: Which kernel attends, see :func:`xmit.hardware.attention`.
        bias: What is added to the scores of the groups' places: 0 at tokens, else minus infinity ``(P,)``.
        only_firsts: Whether of the last layer the first text tokens alone are wanted.
    """

    kernel: str = "groups"
    bias: Tensor | None = None
    only_firsts: bool = False

    index: Tensor
    columns: Tensor
    order: Tensor
    firsts: Tensor
    places: Tensor
    cu_seqlens: Tensor
    one_each: Tensor
    mask: Tensor

    def __init__(
        self,
        lengths: Sequence[Sequence[int] | npt.NDArray[np.int64]],
        widths: Sequence[int],
        before: Sequence[int] | None = None,
        groups: bool = False,
    ) -> None:
        counts = [len(own) for own in lengths]
        sizes = np.concatenate([np.asarray(own, dtype=np.int64) for own in lengths])
        each = np.repeat(np.arange(len(counts)), counts)  # the side of each sequence
        wide = np.asarray(widths, dtype=np.int64)
        bases = np.concatenate([[0], np.cumsum(wide * counts)])[:-1]
        rows = np.concatenate([np.arange(n) for n in counts])
        ahead = np.asarray(before if before is not None else [0] * len(counts), dtype=np.int64)[each]
        order = np.argsort(-sizes, kind="stable")
        sizes, ahead = sizes[order], ahead[order]
        ends = np.cumsum(sizes)
        starts = ends - sizes
        self.shapes = tuple(zip(counts, wide.tolist(), strict=True))
        self.sizes: list[int] = sizes.tolist()
        self.max_length, self.tokens, self.padded = int(sizes[0]), int(ends[-1]), groups
        self.groups, places, mask = _padded_groups(sizes) if groups else (_equal_groups(sizes), _NONE, _NONE)
        within = np.arange(self.tokens) - np.repeat(starts, sizes)
        parts: dict[str, npt.NDArray[Any]] = {
            "index": np.repeat((bases[each] + rows * wide[each])[order], sizes) + within,
            "columns": np.maximum(within - np.repeat(ahead, sizes), -1),
            "order": order,
            "firsts": starts + ahead,
            "places": places,
            "cu_seqlens": np.concatenate([[0], ends]).astype(np.int32),
            "one_each": np.arange(len(sizes) + 1, dtype=np.int32),
            "mask": mask.astype(bool),
        }
        self._parts = {name: (torch.from_numpy(part[:0]).dtype, part.nbytes) for name, part in parts.items()}
        self._take(torch.from_numpy(np.concatenate([part.view(np.uint8) for part in parts.values()])))

    def _take(self, buffer: Tensor) -> None:
        """All tensors are views of one piece of memory, the widest numbers first, so that each is aligned."""
        self._buffer, start = buffer, 0
        for name, (dtype, size) in self._parts.items():
            setattr(self, name, buffer[start : start + size].view(dtype))
            start += size

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self._parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._take(state["_buffer"])

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self._buffer.device

    def to(self, device: torch.device, non_blocking: bool = True) -> Packing:
        """The same on a device, in one copy."""
        return self._with(self._buffer.to(device, non_blocking=non_blocking))

    def pin_memory(self, device: Any = None) -> Packing:
        """The same in page-locked memory; loaders call this."""
        return self._with(self._buffer.pin_memory())

    def prepared(self, kernel: str, dtype: torch.dtype, only_firsts: bool) -> Packing:
        """The same for one pass through an encoder that computes attention in ``dtype``."""
        other = self._with(self._buffer)
        other.kernel, other.only_firsts = kernel, only_firsts
        if self.padded and kernel == "groups":
            bias = torch.zeros(self.mask.shape, dtype=dtype, device=self.device)
            other.bias = bias.masked_fill_(~self.mask, -torch.inf)
        return other

    def _with(self, buffer: Tensor) -> Packing:
        other = object.__new__(Packing)
        other.__dict__.update(self.__dict__)
        other._take(buffer)
        return other

    def pack(self, sides: Sequence[Tensor]) -> Tensor:
        """Tensors ``(B, L, …)`` of the sides to ``(1, T, …)``."""
        flat = [side.flatten(0, 1) for side in sides]
        return (flat[0] if len(flat) == 1 else torch.cat(flat)).index_select(0, self.index).unsqueeze(0)

    def unpack(self, packed: Tensor) -> list[Tensor]:
        """``(1, T, H)`` to ``(B, L, H)`` of each side, zero where there is no token."""
        padded = among(sum(n * width for n, width in self.shapes), self.index, packed.squeeze(0))
        parts = torch.split(padded, [n * width for n, width in self.shapes])
        return [part.view(n, width, -1) for part, (n, width) in zip(parts, self.shapes, strict=True)]

    def unpack_firsts(self, packed: Tensor) -> list[Tensor]:
        """The first text tokens ``(1, S, H)`` to ``(B, 1, H)`` of each side."""
        states = among(len(self.sizes), self.order, packed.squeeze(0)).unsqueeze(1)
        return list(torch.split(states, [n for n, _ in self.shapes]))


_NONE: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)


def among(n: int, places: Tensor, states: Tensor) -> Tensor:
    """States of some places among those of all ``n``, which are zero."""
    found: Tensor = _Among.apply(n, places, states)
    return found


class _Among(torch.autograd.Function):
    """``index_copy_`` into zeros, whose backward pass keeps the places alone; torch's own keeps the states too."""

    @staticmethod
    def forward(ctx: Any, n: int, places: Tensor, states: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return states.new_zeros(n, *states.shape[1:]).index_copy_(0, places, states)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor]:
        (places,) = ctx.saved_tensors
        return None, None, gradient.index_select(0, places)


def _equal_groups(sizes: npt.NDArray[np.int64]) -> list[Group]:
    """One group a length: nothing is padded."""
    ends: Any = np.flatnonzero(np.diff(sizes)) + 1
    return [Group(len(own), int(own[0]), len(own) * int(own[0])) for own in np.array_split(sizes, ends)]


def _padded_groups(
    sizes: npt.NDArray[np.int64],
) -> tuple[list[Group], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A few groups of like length, where each token lies among their places, and which places hold a token."""
    groups, starts, base = [], [], 0
    for own in np.array_split(sizes, min(_GROUPS, -(-len(sizes) // 4))):
        width = -(-int(own[0]) // _ALIGNED) * _ALIGNED
        groups.append(Group(len(own), width, int(own.sum())))
        starts.append(base + np.arange(len(own)) * width)
        base += len(own) * width
    before = np.cumsum(sizes) - sizes
    places = np.arange(int(sizes.sum())) + np.repeat(np.concatenate(starts) - before, sizes)
    mask = np.zeros(base, dtype=np.int64)
    mask[places] = 1
    return groups, places, mask
