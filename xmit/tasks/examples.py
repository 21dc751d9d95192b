"""What flows between a task and a module: examples, batches, head specs and scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from xmit.data.batching import Ragged

IGNORED = -100
"""The label that no loss counts."""

Batch = dict[str, Any]
"""``task``: name; ``item``: stream positions ``(B,)``; encoder inputs by side, each with ``input_ids`` and
``attention_mask`` ``(B, L)`` and perhaps ``image``; ``labels`` where there are any."""


@dataclass(frozen=True)
class HeadSpec:
    """What a module must put on the encoder for a task; plain values, so it can lie in a checkpoint.

    Args:
        kind: A head of :data:`xmit.modules.heads.HEADS`.
        options: Its arguments.
    """

    kind: str
    options: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts."""
        return asdict(self)


@dataclass(frozen=True)
class Score:
    """One value of one metric in one language.

    Args:
        language: Language code, or a summary such as ``all``.
        metric: Name of the metric.
        value: The value; NaN where undefined.
        n: How many examples stand behind it.
        reason: Why the value is NaN.
    """

    language: str
    metric: str
    value: float
    n: int
    reason: str = ""


@dataclass
class Examples:
    """One split with all its languages, tokenised.

    Args:
        ids: The id of each example, equal over languages where the data are parallel.
        languages: The language of each example.
        text: Encoder inputs by side, one sequence an item; most tasks have the one side ``text``.
        labels: Label of each item ``(n,)``, or None.
        images: Content keys of each item's images by side, the same number for all items.
        extra: Whatever the family needs again when it decodes.
    """

    ids: list[str]
    languages: list[str]
    text: dict[str, Ragged]
    labels: Tensor | None = None
    images: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens an item, its longest side counted, ``(n,)``."""
        lengths: npt.NDArray[np.int64] = np.max([side.lengths for side in self.text.values()], axis=0)
        return lengths

    def __len__(self) -> int:
        return len(next(iter(self.text.values())))
