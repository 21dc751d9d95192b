"""Multiple choice that is trained on one data set after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler

from xmit.data.batching import BatchStream, TrainingBatches
from xmit.errors import ConfigError
from xmit.tasks.choice_sources import COPA_SIZES, SIQA_SIZES, load_copa, load_social_iqa
from xmit.tasks.multiple_choice import MultipleChoiceTask

if TYPE_CHECKING:
    import datasets


class Stages(Sampler[list[int]]):
    """One stage of training after the other in a single pass, each with an order of its own in every round.

    A :class:`~xmit.data.batching.BatchStream`.

    Args:
        lengths: The length of each example in tokens, ``(n,)``.
        stage: The stage of each example, ``(n,)``; lower ones come first.
        rounds: How often each stage is gone through before the next.
        **options: For :class:`~xmit.data.batching.TrainingBatches`.
    """

    def __init__(
        self, lengths: npt.NDArray[np.int64], stage: npt.NDArray[np.int64], rounds: int, **options: Any
    ) -> None:
        items = [np.flatnonzero(stage == s) for s in np.unique(stage)]
        self.stages = [(own, TrainingBatches(lengths[own], **options)) for own in items]
        self.rounds = rounds
        self.epoch = self.start_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        start, self.start_batch = self.start_batch, 0
        epoch, self.epoch = self.epoch, self.epoch + 1
        for own, batches in self.stages:
            batches.epoch = epoch * self.rounds
            for _ in range(self.rounds):
                batches.start_batch, start = min(start, len(batches)), max(0, start - len(batches))
                for batch in batches:
                    yield own[batch].tolist()

    def __len__(self) -> int:
        return self.rounds * sum(len(batches) for _, batches in self.stages)


class StagedChoiceTask(MultipleChoiceTask):
    """Multiple choice with two choices, trained on COPA, on Social IQa, or on first the one and then the other.

    XTREME's baseline fine-tunes on Social IQa and goes on with COPA, keeping the head: so does ``siqa+copa``, though
    with one learning-rate schedule over both.

    Args:
        train_from: ``copa``, ``siqa``, or ``siqa+copa``, which takes no ``train_file``, being two.
        rounds: How often ``siqa+copa`` goes through each set; XTREME's baseline has 5.
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    def __init__(
        self, train_from: Literal["copa", "siqa", "siqa+copa"] = "copa", rounds: int = 5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if train_from == "siqa+copa" and self.train_file:
            raise ConfigError(
                f"task {self.name!r}: train_file is one file and train_from 'siqa+copa' reads two: name one"
            )
        self.train_from, self.rounds = train_from, rounds
        self.num_choices = 2 if train_from == "copa" else 3
        rows = {"copa": COPA_SIZES["train"], "siqa": SIQA_SIZES["train"]}
        self.sizes["train"] = sum(rows[part] for part in train_from.split("+"))

    def training_rows(self, language: str) -> datasets.Dataset:
        """The training rows that were asked for, in one language."""
        import datasets

        loaders = {"siqa": load_social_iqa, "copa": load_copa}
        return datasets.concatenate_datasets(
            [loaders[name](self, "train", language) for name in self.train_from.split("+")]
        )

    def train_batches(self, drop_last: bool = False) -> BatchStream:
        """Random batches, those of Social IQa before those of COPA."""
        if self.train_from != "siqa+copa":
            return super().train_batches(drop_last)
        examples = self.examples("train")
        stage = np.array([not i.startswith("siqa") for i in examples.ids], dtype=np.int64)
        seed = torch.initial_seed() % 2**63
        options = {"batch_size": self.batch_size, "batching": self.batching, "seed": seed, "drop_last": drop_last}
        return Stages(examples.lengths, stage, self.rounds, **options)
