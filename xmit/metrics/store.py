"""Keeps what was decoded until the end of an epoch, over batches and processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class PredictionStore(Metric):
    """Gathers decoded tensors, so that scoring runs once, vectorised, over a whole split.

    As input to ``update``: the dict that a task's ``decode`` returns, with ``item`` ``(B,)`` numbering the
    items of the split. As output of ``compute``: the same dict over all batches and processes, sorted by
    ``item``, each item once.

    Args:
        fields: The names of the tensors.

    Example:
        >>> store = PredictionStore(["item", "prediction"])
        >>> store.update({"item": torch.tensor([2, 0]), "prediction": torch.tensor([7, 5])})
        >>> store.update({"item": torch.tensor([0, 1]), "prediction": torch.tensor([5, 6])})
        >>> store.compute()["prediction"].tolist()
        [5, 6, 7]
    """

    full_state_update = False

    def __init__(self, fields: Sequence[str], **kwargs: Any) -> None:
        super().__init__(compute_on_cpu=True, **kwargs)
        self.fields = list(fields)
        self._tails: dict[str, tuple[int, ...]] = {}
        for name in self.fields:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, decoded: dict[str, Tensor]) -> None:
        """Keep the decoded tensors of a batch."""
        for name in self.fields:
            getattr(self, name).append(decoded[name].detach())
            self._tails[name] = tuple(decoded[name].shape[1:])

    @property
    def empty(self) -> bool:
        """Whether nothing was kept yet."""
        return not self._tails

    def compute(self) -> dict[str, Tensor]:
        """Return everything, one row an item, on the CPU."""
        values = {name: dim_zero_cat(getattr(self, name)).cpu() for name in self.fields}
        _, inverse = torch.unique(values["item"], return_inverse=True)
        first = torch.full((int(inverse.max()) + 1,), len(inverse), dtype=torch.int64)
        first.scatter_reduce_(0, inverse, torch.arange(len(inverse)), reduce="amin")
        return {name: value[first] for name, value in values.items()}

    def rows(self) -> dict[str, Tensor]:
        """The same with the first dimension kept for a single item, whose values torchmetrics makes scalars."""
        return {name: value.reshape(-1, *self._tails[name]) for name, value in self.compute().items()}
