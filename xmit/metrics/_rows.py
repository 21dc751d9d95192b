"""Predictions as rows that survive a gather over processes, and the table of items x languages made of them.

Example ids and language codes travel as their own UTF-8 bytes: exact where a hash might collide, and still
readable after the gather, so that an error can name the example.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xmit.errors import MetricError

NONE = int(np.iinfo(np.int64).min)
"""Stands for "no target" among int64 labels, which may be negative."""
ID_LENGTH, LANGUAGE_LENGTH, BAG_LENGTH, KIND, LABEL, TARGET, CANDIDATES, KEPT = range(8)
"""Columns of the row table. ``LABEL`` holds the bits of a float64 where the prediction is one."""
KINDS = ("labels", "values", "bags")
"""What is predicted for an item: a class, a value from 0 to 1, or a multiset of tags."""


def as_texts(values: Sequence[Any] | Tensor | NDArray[Any], what: str) -> list[str]:
    """Ids or codes as strings: 7 and "7" are one id, as they are in a file of predictions."""
    plain = values.tolist() if isinstance(values, Tensor | np.ndarray) else list(values)
    for value in plain:
        if isinstance(value, bool) or not isinstance(value, str | Integral):
            raise MetricError(f"{what} must be strings or integers, got {value!r}")
    return [str(value) for value in plain]


def pack_texts(*columns: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Each row's texts as bytes, one after the other, and their lengths, shape ``(rows, columns)``."""
    raw = [text.encode("utf-8", "surrogatepass") for row in zip(*columns, strict=True) for text in row]
    lengths = torch.tensor([len(text) for text in raw], dtype=torch.int64).reshape(-1, len(columns))
    return torch.frombuffer(bytearray(b"".join(raw)), dtype=torch.uint8) if any(raw) else _no_bytes(), lengths


def _no_bytes() -> Tensor:
    return torch.empty(0, dtype=torch.uint8)


def unpack_texts(packed: NDArray[np.uint8], lengths: NDArray[np.int64]) -> list[list[str]]:
    """The columns back from :func:`pack_texts`."""
    raw = packed.tobytes()
    bounds = [0, *lengths.ravel().cumsum().tolist()]
    texts = [raw[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(bounds)]
    return [texts[i :: lengths.shape[1]] for i in range(lengths.shape[1])]


def pack_bag(tags: Sequence[str]) -> str:
    """A multiset of tags as a text, the same in whatever order they come."""
    return json.dumps(sorted(Counter(tags).items()), ensure_ascii=False)


def unpack_bag(text: str) -> dict[str, int]:
    """The numbers of tags back from :func:`pack_bag`."""
    return dict(json.loads(text))


@dataclass(frozen=True)
class ItemTable:
    """What is known of each item in each language.

    Items and languages are in a fixed order whatever the order of updates, so that sums do not depend on it.

    Attributes:
        languages: Column names, the pivot first, then by code.
        kind: One of :data:`KINDS`.
        labels: Predicted labels, shape ``(items, languages)``.
        present: Where there is a prediction.
        target: Gold labels, where ``has_target``.
        has_target: Where there is a prediction with a gold label.
        candidates: Number of scored candidates, 0 where only a label was given, -1 where a ranking was to be given
            but has none.
        kept: Number of ranks that were kept of them.
        row: Row of each cell in ``rank_start``, -1 where there is none.
        rank_start: Where each row's ranking begins in ``ranks``.
        ranks: All kept rankings, one after the other.
        bags: The bag of each row, "" where there is none.
    """

    languages: tuple[str, ...]
    kind: str
    labels: NDArray[np.int64]
    present: NDArray[np.bool_]
    target: NDArray[np.int64]
    has_target: NDArray[np.bool_]
    candidates: NDArray[np.int64]
    kept: NDArray[np.int64]
    row: NDArray[np.int64]
    rank_start: NDArray[np.int64]
    ranks: NDArray[np.int32]
    bags: list[str]

    @classmethod
    def from_rows(
        cls, packed: NDArray[np.uint8], rows: NDArray[np.int64], ranks: NDArray[np.int32], pivot: str
    ) -> ItemTable:
        """Lay rows out as items x languages.

        Args:
            packed: Bytes of ids and languages, from :func:`pack_texts`.
            rows: The row table, shape ``(rows, 8)``.
            ranks: All kept rankings, one after the other.
            pivot: The language that comes first.

        Raises:
            MetricError: Two rows of one example and language contradict each other, or are of two kinds.
        """
        kinds = np.unique(rows[:, KIND]).tolist()
        if len(kinds) > 1:
            named = " and ".join(KINDS[kind] for kind in kinds)
            raise MetricError(f"{named} cannot be compared with each other; use one metric for each")
        ids, codes, bags = unpack_texts(packed, rows[:, [ID_LENGTH, LANGUAGE_LENGTH, BAG_LENGTH]])
        languages = tuple(sorted(set(codes), key=lambda code: (code != pivot, code)))
        items = {name: i for i, name in enumerate(sorted(set(ids)))}
        columns = {code: i for i, code in enumerate(languages)}
        shape = (len(items), len(languages))
        starts = rows[:, KEPT].cumsum() - rows[:, KEPT]
        row = np.full(shape, -1, dtype=np.int64)
        rows = rows.copy()
        for i, (item, code) in enumerate(zip(ids, codes, strict=True)):
            cell = items[item], columns[code]
            first = int(row[cell])
            if first < 0:
                row[cell] = i
                continue
            name = f"example {item!r} in {code!r}"
            if bags[first] != bags[i]:
                raise MetricError(f"{name} was given twice with contradictory tags: {bags[first]} and {bags[i]}")
            row[cell] = _merge(rows, ranks, starts, (first, i), name)
        present = row >= 0
        cells = rows[row] if len(rows) else np.zeros((*shape, rows.shape[1]), dtype=np.int64)
        return cls(
            languages=languages,
            kind=KINDS[kinds[0]] if kinds else KINDS[0],
            labels=np.where(present, cells[..., LABEL], 0),
            present=present,
            target=cells[..., TARGET],
            has_target=present & (cells[..., TARGET] != NONE),
            candidates=np.where(present, cells[..., CANDIDATES], 0),
            kept=np.where(present, cells[..., KEPT], 0),
            row=row,
            rank_start=starts,
            ranks=ranks,
            bags=bags,
        )

    @property
    def values(self) -> NDArray[np.float64]:
        """Predicted values, shape ``(items, languages)``, where ``kind`` is ``"values"``."""
        return np.ascontiguousarray(self.labels).view(np.float64)

    def counts(self) -> tuple[NDArray[np.int64], list[str]]:
        """How often each tag is in each bag, shape ``(items, languages, tags)``, and the tags."""
        read = {text: unpack_bag(text) for text in set(self.bags)}
        tags = {tag: i for i, tag in enumerate(sorted({tag for bag in read.values() for tag in bag}))}
        counts = np.zeros((*self.row.shape, len(tags)), dtype=np.int64)
        for cell in np.argwhere(self.present):
            for tag, n in read[self.bags[self.row[tuple(cell)]]].items():
                counts[(*cell, tags[tag])] = n
        return counts, list(tags)

    def rankings(self, items: NDArray[np.intp], language: int) -> NDArray[np.int32]:
        """Kept rankings of some items in a language, shape ``(items, ranks)``, filled up with -1."""
        kept = self.kept[items, language]
        j = np.arange(int(kept.max(initial=0)))
        at = self.rank_start[self.row[items, language]][:, None] + j
        filled = j < kept[:, None]
        out = np.full(at.shape, -1, dtype=np.int32)
        out[filled] = self.ranks[at[filled]]
        return out


def _merge(
    rows: NDArray[np.int64],
    ranks: NDArray[np.int32],
    starts: NDArray[np.int64],
    pair: tuple[int, int],
    name: str,
) -> int:
    """The row that stands for two rows of one example, completed from the other."""
    # repeats may differ in the last float bits, hence in deep ranks: keep one, whatever the order
    keep, drop = sorted(pair, key=lambda i: (-rows[i, KEPT], ranks[starts[i] : starts[i] + rows[i, KEPT]].tolist()))
    unset = {LABEL: None, TARGET: NONE, CANDIDATES: 0}
    what = {LABEL: "predictions", TARGET: "targets", CANDIDATES: "numbers of candidates"}
    for column, empty in unset.items():
        a, b = int(rows[keep, column]), int(rows[drop, column])
        if a != b and empty not in (a, b):
            shown = rows[[keep, drop], column]
            if column == LABEL and KINDS[rows[keep, KIND]] == "values":
                shown = shown.view(np.float64)
            raise MetricError(f"{name} was given twice with contradictory {what[column]}: {shown[0]} and {shown[1]}")
        if a == empty:
            rows[keep, column] = b
    return keep
