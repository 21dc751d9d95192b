"""Two small tasks of different families' sizes, for mixtures and for runs that go on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from datasets import Dataset
from lightning.pytorch import Callback
from lightning.pytorch.strategies import FSDPStrategy

from xmit.tasks import SequenceClassificationTask, TaskMetadata


def facts(name, description):
    return TaskMetadata(
        name=name,
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset="made up",
        license="CC0-1.0",
        citation="none",
        description=description,
    )


class Vowels(SequenceClassificationTask):
    """Does a word begin with a vowel?"""

    metadata = facts("vowels", "words that begin with a vowel")
    label_names = ("no", "yes")

    def load_split(self, split, language):
        words = ("apple", "boat", "ear", "cat", "ink", "dog", "oak", "fish", "urn", "goat")
        n = 37 if split == "train" else 10
        return Dataset.from_dict(
            {
                "id": [str(i) for i in range(n)],
                "text": [f"{words[i % 10]} {i}" for i in range(n)],
                "label": [(i + 1) % 2 for i in range(n)],
            }
        )


class Odd(SequenceClassificationTask):
    """What is a number's rest by three?"""

    metadata = facts("odd", "rests of numbers")
    label_names = ("none", "one", "two")

    def load_split(self, split, language):
        n = 50 if split == "train" else 12
        return Dataset.from_dict(
            {
                "id": [str(i) for i in range(n)],
                "text": [f"number {i}" for i in range(n)],
                "label": [i % 3 for i in range(n)],
            }
        )


class SeenItems(Callback):
    """Writes which items of which task each process has in each update."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.folder.mkdir(exist_ok=True)
        with (self.folder / f"{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps([batch["task"], batch["item"].tolist()]) + "\n")


class Losses(Callback):
    """Writes the loss of every update, a file a process; without dropout, heads' included, which masks differently."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_start(self, trainer, module):
        for part in module.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.folder.mkdir(exist_ok=True)
        with (self.folder / str(trainer.global_rank)).open("a") as file:
            file.write(json.dumps(outputs["loss"].item()) + "\n")


class Started(Callback):
    """Writes how much processor time the process has spent when its first update begins."""

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.file.write_text(str(time.process_time()))


class CpuFSDP(FSDPStrategy):
    """Lightning refuses its own FSDP without a GPU; torch's works on the CPU if told so."""

    def _setup_model(self, model):
        from torch.distributed.fsdp import FullyShardedDataParallel

        return FullyShardedDataParallel(
            model, mixed_precision=self.mixed_precision_config, sharding_strategy=self.sharding_strategy,
            device_id=torch.device("cpu"), **self.kwargs,
        )  # fmt: skip
