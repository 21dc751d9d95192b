"""Keeps what was decoded until the end of an epoch, over batches and processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors


class PredictionStore(Metric):
    """Gathers decoded tensors, so that scoring runs once, vectorised, over a whole split.

    As input to ``update``: the dict that a task's ``decode`` returns, with ``item`` ``(B,)`` numbering the
    items of the split. As output of ``compute``: the same dict over all batches and processes, sorted by
    ``item``, each item once.

    The fields of an item are laid side by side as the bytes of one record. So a batch is one copy from the device to
    the host, which nobody waits for until the end of the epoch, and a gather over processes is one collective.

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
    records: list[Tensor]

    def __init__(self, fields: Sequence[str], **kwargs: Any) -> None:
        super().__init__(dist_sync_fn=gather_on_host, **kwargs)
        self.fields = list(fields)
        self._layout: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
        self._copies: set[torch.device] = set()
        self.add_state("records", default=[], dist_reduce_fx="cat")

    def update(self, decoded: dict[str, Tensor]) -> None:
        """Keep the decoded tensors of a batch."""
        parts = []
        for name in self.fields:
            value = decoded[name].detach()
            self._layout[name] = (value.dtype, tuple(value.shape[1:]))
            flat = value.reshape(len(value), max(1, value.shape[1:].numel())).contiguous()
            parts.append(flat.view(torch.uint8))
        records = torch.cat(parts, dim=1)
        if records.device.type != "cpu":
            self._copies.add(records.device)
        self.records.append(records.to("cpu", non_blocking=True))  # into page-locked memory, beside what comes next

    @property
    def empty(self) -> bool:
        """Whether nothing was kept yet."""
        return not self._layout

    def compute(self) -> dict[str, Tensor]:
        """Return everything, one row an item, on the CPU."""
        self._arrive()
        records = torch.cat(self.records) if isinstance(self.records, list) else self.records
        values, start = {}, 0
        for name in self.fields:
            dtype, tail = self._layout[name]
            size = dtype.itemsize * max(1, torch.Size(tail).numel())
            values[name] = records[:, start : start + size].contiguous().view(dtype).reshape(-1, *tail)
            start += size
        _, inverse = torch.unique(values["item"], return_inverse=True)
        first = torch.full((int(inverse.max()) + 1,), len(inverse), dtype=torch.int64)
        first.scatter_reduce_(0, inverse, torch.arange(len(inverse)), reduce="amin")
        return {name: value[first] for name, value in values.items()}

    def rows(self) -> dict[str, Tensor]:
        """The same with the first dimension kept for a single item, whose values torchmetrics makes scalars."""
        return {name: value.reshape(-1, *self._layout[name][1]) for name, value in self.compute().items()}

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather over processes, once what this one has on its way has arrived."""
        self._arrive()
        super().sync(*args, **kwargs)

    def _arrive(self) -> None:
        """Wait for the copies that are on their way."""
        for device in self._copies:
            torch.accelerator.synchronize(device)
        self._copies.clear()


def gather_on_host(value: Tensor, group: Any = None) -> list[Tensor]:
    """Gather a tensor of the host over processes, through the device where their backend knows no other (NCCL).

    Args:
        value: A tensor on the host; sizes of the first dimension may differ over processes.
        group: The processes; all by default.

    Returns:
        The tensor of each process, on the host.
    """
    device = collective_device(group)
    return [part.cpu() for part in gather_all_tensors(value.to(device), group)]


def collective_device(group: Any = None) -> torch.device:
    """Where tensors must be for a collective of these processes: the CPU if their backend takes them from there."""
    kinds = [backend.split(":")[0] for backend in dist.get_backend_config(group).split(",")]  # "cpu:gloo,cuda:nccl"
    if "cpu" in kinds:
        return torch.device("cpu")
    return torch.device(kinds[0], torch.get_device_module(kinds[0]).current_device())
