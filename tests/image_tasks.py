"""A small image-text task whose images are made-up features, so that it needs neither files nor a tower."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from mix_tasks import Odd, facts

from xmit.tasks import SequenceClassificationTask
from xmit.tasks.base import HeadSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xmit.tasks.base import Batch, Examples


class _Still(SequenceClassificationTask):
    """Without dropout, which processes draw apart."""

    def head_spec(self):
        spec = super().head_spec()
        return HeadSpec(spec.kind, {**spec.options, "dropout": 0.0})


class StillOdd(_Still, Odd):
    """What is a number's rest by three?"""


class Brighter(_Still):
    """Is the first image brighter than the second? The text says nothing about it."""

    metadata = facts("brighter", "which of two images is brighter")
    label_names = ("first", "second")

    def load_split(self, split, language):
        n = 48 if split == "train" else 12
        return Dataset.from_dict(
            {
                "id": [str(i) for i in range(n)],
                "text": [f"which one {i % 5}" for i in range(n)],
                "label": [i // 2 % 2 for i in range(n)],
            }
        )

    def collate(self, examples: Examples, items: Sequence[int]) -> Batch:
        batch = super().collate(examples, items)
        assert self.image_spec is not None
        rows = []
        for item in items:
            images = torch.randn(
                2, self.image_spec.n_tokens, self.image_spec.width, generator=torch.Generator().manual_seed(int(item))
            )
            images[examples.labels[item], :, : self.image_spec.width // 2] += 1.0
            rows.append(images.flatten(0, 1))
        batch["text"]["image"] = torch.stack(rows)
        return batch
