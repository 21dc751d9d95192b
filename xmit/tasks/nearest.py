"""Exact nearest neighbours by dot product, in both directions from one product, in bounded memory.

Similarities are made a tile at a time, and each tile serves the rows and the columns. Of a row of a tile only the
blocks with the greatest maxima are looked into: the ``m`` greatest values lie in the ``m`` blocks of greatest maximum.
The product only finds candidates, more than were asked for; these are then scored anew in fp32, each by the same sum,
so that equal vectors have equal scores whatever tile they came from. Where a bound on the product's error cannot rule
out that another one belongs among them, the row is searched in full.

On hardware that computes in bf16 the product is in bf16, of vectors whose mean has been taken out: raw encoder vectors
have a mean cosine of up to .94, and plain bf16 loses two thirds of their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from xmit.errors import ConfigError
from xmit.hardware import computes_bf16

_TILE = 4096
"""Rows and columns of a tile."""
_BLOCK = 64
_MORE = {torch.float32: 4, torch.bfloat16: 8}
"""How many more candidates than asked for are scored anew."""
_FAST_FROM = 2048
"""From how many vectors on bf16 pays."""
_CHUNK = 2**18
"""Numbers held at a time when candidates are scored; more leave the processor's cache."""

Found = tuple[Tensor, Tensor]


def top_k(queries: Tensor, candidates: Tensor, k: int, fast: bool | None = None) -> Found:
    """The nearest candidates by dot product, all compared, none approximated.

    Args:
        queries: Vectors ``(N, H)``, of length 1 for cosine.
        candidates: Vectors ``(M, H)``.
        k: How many; all ``M`` where there are fewer.
        fast: Find candidates in bf16; where their device computes in it by default. The result is the same.

    Returns:
        Similarities and places ``(N, k)``, best first; of equal ones the first candidate comes first.
    """
    return _search(queries, candidates, k, fast, both=False)[0]


def top_k_both(x: Tensor, y: Tensor, k: int, fast: bool | None = None) -> tuple[Found, Found]:
    """:func:`top_k` of ``x`` in ``y``, and of ``y`` in ``x``, at the price of one."""
    forward, backward = _search(x, y, k, fast, both=True)
    return forward, backward


def _search(x: Tensor, y: Tensor, k: int, fast: bool | None, both: bool) -> list[Found]:
    x, y = x.detach().float(), y.detach().float()
    directions = [(x, y), (y, x)][: 1 + both]
    if not len(x) or not len(y):
        return [
            (a.new_empty(len(a), min(k, len(b))), torch.empty(len(a), min(k, len(b)), dtype=torch.int64))
            for a, b in directions
        ]
    if fast is None:
        fast = computes_bf16(x.device) and min(len(x), len(y)) >= _FAST_FROM
    product = _centred(x, y) if fast else _Product(x, y, float(0), _round_off(x, y))
    m = k + _MORE[product.left.dtype]
    kept = [_Kept(len(a), min(m, len(b)), a.device) for a, b in directions]
    for first, second, tile in product.tiles():
        kept[0].add(tile, first, second)
        if both:
            kept[1].add(tile, second, first, turned=True)
    return [_finish(a, b, min(k, len(b)), found, product, fast) for (a, b), found in zip(directions, kept, strict=True)]


def in_order(decoded: dict[str, Tensor], n: int, task: str) -> Tensor:
    """The vectors of a whole split, in the order of its items.

    Args:
        decoded: ``item (n,)`` and ``vector (n, H)``.
        n: How many items the split has.
        task: The task's name.

    Raises:
        ConfigError: If some are missing.
    """
    if len(decoded["item"]) != n:
        raise ConfigError(
            f"task {task!r} looks for neighbours among all {n} items of a split, of which {len(decoded['item'])} were "
            f"encoded: leave out trainer.fast_dev_run and trainer.limit_*_batches"
        )
    vectors = torch.empty_like(decoded["vector"])
    vectors[decoded["item"]] = decoded["vector"]
    return vectors


@dataclass
class _Product:
    """What is multiplied to find candidates.

    Args:
        left: ``(N, H')``.
        right: ``(M, H')``.
        shift: What the product lacks of the dot product.
        error: How far the product may lie from the dot product, at most, before it is rounded to bf16.
    """

    left: Tensor
    right: Tensor
    shift: float
    error: float

    def tiles(self) -> Iterator[tuple[int, int, Tensor]]:
        """Where a tile begins, and its values in fp32's order, padded to whole blocks with ``-inf``; until the next."""
        room = self.left.new_empty(min(len(self.left), _TILE) * min(len(self.right), _TILE))  # memory anew costs more
        for first in range(0, len(self.left), _TILE):
            rows = self.left[first : first + _TILE]
            for second in range(0, len(self.right), _TILE):
                columns = self.right[second : second + _TILE]
                tile = room[: len(rows) * len(columns)].view(len(rows), len(columns))
                torch.mm(rows, columns.T, out=tile)
                wide = [-size % _BLOCK for size in tile.shape]
                if any(wide):
                    tile = F.pad(tile, (0, wide[1], 0, wide[0]), value=-torch.inf)
                yield first, second, tile


def _round_off(x: Tensor, y: Tensor) -> float:
    """A bound on the error of a fp32 product, however it is summed, for lengths that occur."""
    longest: float = x.norm(dim=1).max().item() * y.norm(dim=1).max().item()
    root: float = float(x.shape[1]) ** 0.5
    return longest * 2.0**-23 * max(8.0, root)


def _centred(x: Tensor, y: Tensor) -> _Product:
    """The bf16 product of vectors without their means, with the means' part of it in two more pairs of columns.

    With ``x = a + u`` and ``y = b + v``, ``x·y = u·v + a·v + u·b + a·b``: the middle terms are given as sums of two
    bf16 numbers each, the last is the same for all.
    """
    a, b = x.mean(0), y.mean(0)
    u, v = x - a, y - b
    left, right, shift = [u], [v], float(a @ b)
    for column, own, other in ((v @ a, right, left), (u @ b, left, right)):
        high = column.bfloat16().float()
        for part in (high, column - high):
            own.append(part[:, None])
            other.append(part.new_ones(len(other[0]), 1))
    p, q = torch.cat(left, 1), torch.cat(right, 1)
    p2, q2 = p.bfloat16(), q.bfloat16()
    lengths = [float(part.norm(dim=1).max()) for part in (u, v)]
    # the rounding of either factor (Cauchy-Schwarz) and of the means' sums of two terms; the result's is seen to later
    factors = float((p - p2).norm(dim=1).max()) * lengths[1] + float((q - q2).norm(dim=1).max()) * lengths[0] * 1.01
    means = 2.0**-16 * (float((v @ a).abs().max()) + float((u @ b).abs().max()))
    return _Product(p2, q2, shift, factors + means + _round_off(x, y))


class _Kept:
    """The best of each row so far.

    Args:
        n: Rows.
        m: How many are kept of each.
        device: Where.
    """

    def __init__(self, n: int, m: int, device: torch.device) -> None:
        self.values = torch.full((n, m), -torch.inf, device=device)
        self.places = torch.zeros(n, m, dtype=torch.int64, device=device)

    def add(self, tile: Tensor, first: int, second: int, turned: bool = False) -> None:
        """Look at a tile.

        Args:
            tile: ``(rows, columns)``, whole blocks.
            first: Which row of ours its first one is; its first column if ``turned``.
            second: Where the others begin, among those that are searched.
            turned: Its columns are our rows.
        """
        n, m = self.values[first : first + _TILE].shape
        if turned:
            blocks = tile[:, :n].reshape(-1, _BLOCK, n)
            chosen = blocks.amax(1).T.contiguous().topk(min(m, len(blocks)), sorted=False)[1]
            inside = blocks.gather(0, chosen.T[:, None, :].expand(-1, _BLOCK, -1)).flatten(0, 1).T.contiguous()
        else:
            blocks = tile[:n].reshape(n, -1, _BLOCK)
            chosen = blocks.amax(2).topk(min(m, blocks.shape[1]), sorted=False)[1]
            starts = torch.arange(0, n * blocks.shape[1], blocks.shape[1], device=tile.device)
            inside = blocks.flatten(0, 1).index_select(0, (chosen + starts[:, None]).flatten()).view(n, -1)
        best, at = inside.topk(min(m, inside.shape[1]), sorted=False)
        places = chosen.gather(1, at // _BLOCK) * _BLOCK + at % _BLOCK + second
        values = torch.cat([self.values[first : first + n], best.float()], 1)
        places = torch.cat([self.places[first : first + n], places], 1)
        self.values[first : first + n], order = values.topk(m)
        self.places[first : first + n] = places.gather(1, order)


def _finish(x: Tensor, y: Tensor, k: int, kept: _Kept, product: _Product, fast: bool) -> Found:
    """Score the candidates anew; search rows in full whose answer they do not settle."""
    scores, places = _rescore(x, y, kept.places)
    least = kept.values[:, -1]  # nothing that was left out has more; if in bf16, rounded by half a unit at most
    rounding = least.abs() * 2.0**-8 if fast else 0
    settled = scores[:, k - 1] > least + product.shift + product.error + rounding
    settled |= kept.places.shape[1] == len(y)
    scores, places = scores[:, :k].contiguous(), places[:, :k].contiguous()
    rows = (~settled).nonzero().flatten()
    if len(rows) and fast:
        scores[rows], places[rows] = _search(x[rows], y, k, False, both=False)[0]
    elif len(rows):
        for part in torch.split(rows, max(1, _TILE**2 // len(y))):
            for row, line in zip(part.tolist(), x[part] @ y.T, strict=True):
                near = (line >= line.topk(k)[0][-1] - 2 * product.error).nonzero().T
                found = _rescore(x[row : row + 1], y, near)
                scores[row], places[row] = (value[0, :k] for value in found)
    return scores, places


def _rescore(x: Tensor, y: Tensor, places: Tensor) -> Found:
    """The dot products of rows with candidates ``(N, m)``, best first, of equal ones the first candidate first."""
    places = places.sort(dim=1)[0]
    step = max(1, _CHUNK // (places.shape[1] * x.shape[1]))
    room, parts = y.new_empty(step * places.shape[1], y.shape[1]), []  # once: memory anew for every part costs more
    for some, at in zip(torch.split(x, step), torch.split(places, step), strict=True):
        near = torch.index_select(y, 0, at.flatten(), out=room[: at.numel()]).view(*at.shape, -1)
        parts.append(near.mul_(some[:, None, :]).sum(-1))
    scores, order = torch.cat(parts).sort(dim=1, descending=True, stable=True)
    return scores, places.gather(1, order)
