"""What a run trains on and scores: the common base of a Task and of a mixture of several."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from xmit.data.batching import TrainingLoader
from xmit.data.packing import Packing
from xmit.data.workers import BatchBuilder, BatchLoader, Build, begin, hindrance, prefetched, start_method, warm_up
from xmit.errors import ConfigError
from xmit.hardware import CPU, loader_workers, pins_memory
from xmit.tasks.examples import Batch, HeadSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import datasets
    from transformers import PreTrainedTokenizerBase

    from xmit.data.image_spec import ImageSpec
    from xmit.tasks.base import Task


class TaskData(LightningDataModule, ABC):
    """One task or several, as the module and the command line see them."""

    name: str
    """The name in result rows: a task's registry name, or the mixture's own."""
    trains: bool = True
    """Whether there is anything to train on; retrieval targets are only scored."""
    num_workers: int | None
    """Worker processes that build batches; None takes what suits the device, see :meth:`workers`."""
    multiprocessing_context: str | None = None
    """How workers are started: ``fork``, ``spawn`` or ``forkserver``; None takes the program's or Python's default."""
    check_tokens: Callable[[torch.Tensor], None] | None = None
    """What refuses token ids ``(B, L)`` that the module has no weights for; set by the module while it trains."""
    computes_on: torch.device = CPU
    """The device that batches are for; the module says so in its ``setup``, see :meth:`compute_on`."""

    @property
    @abstractmethod
    def tasks(self) -> Mapping[str, Task]:
        """The tasks by name."""

    @property
    @abstractmethod
    def roles(self) -> tuple[str, ...]:
        """What the run is for, of :data:`~xmit.tasks.metadata.ROLES`."""

    def head_specs(self) -> dict[str, HeadSpec]:
        """One head spec per task."""
        return {name: task.head_spec() for name, task in self.tasks.items()}

    @abstractmethod
    def bind(self, tokenizer: PreTrainedTokenizerBase, image_spec: ImageSpec | None = None) -> None:
        """Take the tokenizer, and how images are to be given, from the module. Called in its ``setup``."""

    def compute_on(self, device: torch.device) -> None:
        """Take note of the device that batches are for: the sizes and layout of batches depend on it."""
        self.computes_on = device
        for task in self.tasks.values():
            task.computes_on = device

    @abstractmethod
    def evaluation_loader(self, split: str) -> DataLoader[Batch]:
        """A split's batches for scoring."""

    def val_dataloader(self) -> DataLoader[Batch]:
        """The source languages' validation split."""
        return self.evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test split."""
        return self.evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same as for testing."""
        return self.evaluation_loader("test")

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Look at the tokens of a batch while they are on the host."""
        if self.check_tokens is not None:
            for side in batch.values():
                if isinstance(side, dict) and "input_ids" in side:
                    self.check_tokens(side["input_ids"])
        return batch

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move the tensors of a batch and of its sides; what lies on the host stays there."""
        if isinstance(batch, dict):
            return {name: self.transfer_batch_to_device(part, device, dataloader_idx) for name, part in batch.items()}
        if isinstance(batch, list) and batch and isinstance(batch[0], Packing):
            return [packing.to(device) for packing in batch]
        return batch.to(device, non_blocking=True) if isinstance(batch, torch.Tensor | Packing) else batch

    def workers(self) -> int:
        """How many processes build batches: ``num_workers``, or what suits the device that computes.

        Workers that were not asked for are left out, with a warning, where they could not run.

        Raises:
            ConfigError: If those that were asked for could not run.
        """
        n, start = self.num_workers, start_method(self.multiprocessing_context)
        if n is None:  # every process of this machine has as many
            n = loader_workers(self.computes_on, 1 if self.trainer is None else max(1, self.trainer.num_devices))
        reason = hindrance(start, [type(task) for task in self.tasks.values()]) if n else None
        if reason is None:
            return n
        if self.num_workers is not None:
            raise ConfigError(reason)
        warnings.warn(f"batches are built by the process that trains, which costs time: {reason}", stacklevel=2)
        return 0

    def loader(self, batches: BatchBuilder, sampler: Any, training: bool = False) -> DataLoader[Batch]:
        """A loader of whole batches. Its workers, if any, stay over the epochs of a fit.

        Args:
            batches: Builds a batch from what the sampler yields.
            sampler: Yields whole batches, not items.
            training: Whether a checkpoint must know where in it a run stands.
        """
        kind, options, workers = TrainingLoader if training else BatchLoader, dict[str, Any](), self.workers()
        if workers:
            warm_up(start_method(self.multiprocessing_context))
            fitting = self.trainer is not None and self.trainer.state.fn == "fit"  # validates again and again
            options = {
                "multiprocessing_context": self.multiprocessing_context,
                "persistent_workers": training or fitting,
                "prefetch_factor": prefetched(workers),
                "worker_init_fn": begin,
            }
        return kind(
            batches,
            sampler=sampler,
            batch_size=None,  # the sampler already yields whole batches
            collate_fn=_identity,
            num_workers=workers,
            pin_memory=pins_memory(self.computes_on),
            generator=torch.Generator(),  # of its own: the global one must be the same in a run that is resumed
            **options,
        )


class SplitBatches(BatchBuilder):
    """Hands lists of item numbers to the task's collate: batches are built whole, not item by item.

    Args:
        task: Whose batches.
        split: Of which split.
    """

    def __init__(self, task: Task, split: str) -> None:
        self.task, self.split, self.examples = task, split, task.examples(split)

    def __len__(self) -> int:
        return len(self.examples)

    def build(self, which: Any) -> Batch:
        """The batch of some items."""
        return self.task.batch(self.split, which)

    def for_workers(self) -> Build:
        """The like of a task that has this split alone."""
        return partial(self.task.for_workers(self.split).batch, self.split)


def draw_rows(table: datasets.Dataset, n: int, seed: int) -> datasets.Dataset:
    """So many rows, in their order."""
    if n >= len(table):
        return table
    return table.select(np.sort(np.random.default_rng(seed).permutation(len(table))[:n]))


def _identity(batch: Any) -> Any:
    return batch
