"""What a run trains on and scores: the common base of a Task and of a mixture of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from xmit.data.batching import TrainingLoader
from xmit.tasks.examples import Batch, HeadSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    num_workers: int
    """Worker processes that build batches."""

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

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move the tensors of a batch and of its sides; what lies on the host stays there."""
        if isinstance(batch, dict):
            return {name: self.transfer_batch_to_device(part, device, dataloader_idx) for name, part in batch.items()}
        return batch.to(device, non_blocking=True) if isinstance(batch, torch.Tensor) else batch

    def loader(self, batches: Dataset[Batch], sampler: Any, training: bool = False) -> DataLoader[Batch]:
        """A loader of whole batches.

        Args:
            batches: Builds a batch from what the sampler yields.
            sampler: Yields whole batches, not items.
            training: Whether a checkpoint must know where in it a run stands.
        """
        kind: type[DataLoader[Batch]] = TrainingLoader if training else DataLoader
        return kind(
            batches,
            sampler=sampler,
            batch_size=None,  # the sampler already yields whole batches
            collate_fn=_identity,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # of its own: the global one must be the same in a run that is resumed
        )


class SplitBatches(Dataset[Batch]):
    """Hands lists of item numbers to the task's collate: batches are built whole, not item by item.

    Args:
        task: Whose batches.
        split: Of which split.
    """

    def __init__(self, task: Task, split: str) -> None:
        self.task, self.split, self.examples = task, split, task.examples(split)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, items: Any) -> Batch:
        return self.task.batch(self.split, items)


def draw_rows(table: datasets.Dataset, n: int, seed: int) -> datasets.Dataset:
    """So many rows, in their order."""
    if n >= len(table):
        return table
    return table.select(np.sort(np.random.default_rng(seed).permutation(len(table))[:n]))


def _identity(batch: Any) -> Any:
    return batch
