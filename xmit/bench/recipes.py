"""Whole trainings on the same random examples by four recipes; each is timed in a process of its own.

``ours`` is this library; ``hf`` is Hugging Face's Trainer with its defaults and dynamic padding, ``hf_grouped`` the
same with grouping by length; ``xtreme`` is the loop of the XTREME scripts: padded to 128, micro-batches of 8, AdamW
parameter by parameter. Peers are rebuilt here from their public defaults. All have the model, the examples, their order
(but for grouping) and 32 examples an update in common.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from xmit.bench.models import VOCABULARY, config, lengths
from xmit.errors import XmitError

if TYPE_CHECKING:
    from transformers import XLMRobertaForSequenceClassification

LEARNING_RATE = 2e-5
BATCH = 32


@dataclass
class Settings:
    """A training.

    Args:
        recipe: Who trains.
        layers: Depth of the encoder, of XLM-R base's width.
        examples: How many, in updates of 32; the first update is not timed.
        bf16: In bf16 instead of fp32.
        dropout: Dropout everywhere.
        vocabulary: Rows of the embedding.
        rows: So many of them are in use in the data as a whole.
        log: Keep every update's loss.
        width: Hidden size, for tests.
    """

    recipe: str
    layers: int = 12
    examples: int = 256
    bf16: bool = False
    dropout: float = 0.1
    vocabulary: int = VOCABULARY
    rows: int = 40_000
    log: bool = False
    width: int = 768


def examples(settings: Settings) -> list[dict[str, Any]]:
    """Random examples of MNLI's lengths; their labels can be learned from their second token."""
    rng = np.random.default_rng(5)
    used = np.sort(rng.choice(np.arange(3, settings.vocabulary), settings.rows, replace=False))
    found = []
    for size in lengths("mnli", settings.examples, 7).tolist():
        ids = used[rng.integers(0, len(used), size)]
        ids[0], ids[-1] = 0, 2
        found.append({"input_ids": ids.tolist(), "labels": int(ids[1] % 3)})
    return found


def model(settings: Settings) -> XLMRobertaForSequenceClassification:
    """The same random model for every recipe."""
    from transformers import XLMRobertaForSequenceClassification

    torch.manual_seed(0)
    shape = config(settings.layers, settings.vocabulary)
    shape.hidden_size, shape.intermediate_size = settings.width, 4 * settings.width
    shape.num_attention_heads = max(1, settings.width // 64)
    shape.hidden_dropout_prob = shape.attention_probs_dropout_prob = settings.dropout
    shape.num_labels = 3
    found = XLMRobertaForSequenceClassification(shape)
    found.train()
    return found


def collate(rows: list[dict[str, Any]], width: int | None = None) -> dict[str, Tensor]:
    """Pad to the longest, or to a width."""
    width = width or max(len(row["input_ids"]) for row in rows)
    ids = torch.ones(len(rows), width, dtype=torch.int64)
    for row, example in enumerate(rows):
        ids[row, : len(example["input_ids"])] = torch.tensor(example["input_ids"])
    return {
        "input_ids": ids,
        "attention_mask": (ids != 1).long(),
        "labels": torch.tensor([row["labels"] for row in rows]),
    }


class Clock:
    """CPU time from the end of the first update to the end of the last, and the losses."""

    def __init__(self) -> None:
        self.marks: list[float] = []
        self.losses: list[float] = []

    def tick(self) -> None:
        """An update is done."""
        self.marks.append(time.process_time())

    def result(self) -> dict[str, Any]:
        """Seconds, and the losses that were kept."""
        return {"seconds": self.marks[-1] - self.marks[0], "updates": len(self.marks) - 1, "losses": self.losses}


def train_hf(settings: Settings) -> dict[str, Any]:
    """Hugging Face's Trainer."""
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainerCallback, TrainingArguments

    grouped = settings.recipe == "hf_grouped"
    rows, clock = examples(settings), Clock()
    options: dict[str, Any] = {"logging_steps": 1} if settings.log else {}

    class InOrder(Trainer):
        def _get_train_sampler(self, *args: Any) -> Any:
            return super()._get_train_sampler(*args) if grouped else SequentialSampler(rows)

    class Watch(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            clock.tick()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in (logs or {}):
                clock.losses.append(float(logs["loss"]))

    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(prefix="xmit-bench-"),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        learning_rate=LEARNING_RATE,
        bf16=settings.bf16,
        train_sampling_strategy="group_by_length" if grouped else "random",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **options,
    )
    trainer = InOrder(model(settings), arguments, train_dataset=rows, data_collator=collate, callbacks=[Watch()])
    trainer.train()
    return clock.result()


def train_xtreme(settings: Settings) -> dict[str, Any]:
    """The loop of the XTREME scripts."""
    own, rows, clock = model(settings), examples(settings), Clock()
    optimizer = torch.optim.AdamW(own.parameters(), LEARNING_RATE, weight_decay=0.0, foreach=False, fused=False)
    updates = len(rows) // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / updates)
    for start in range(0, updates * BATCH, BATCH):
        for micro in range(start, start + BATCH, 8):
            loss = own(**collate(rows[micro : micro + 8], 128)).loss / 4
            loss.backward()
        nn.utils.clip_grad_norm_(own.parameters(), 1.0, foreach=False)
        optimizer.step()
        schedule.step()
        own.zero_grad()
        clock.tick()
    return clock.result()


def train_ours(settings: Settings) -> dict[str, Any]:
    """This library: packed, or in bf16 grouped; compact embedding."""
    from xmit.bench.ours import train

    return train(settings)


RECIPES: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "ours": train_ours,
    "hf": train_hf,
    "hf_grouped": train_hf,
    "xtreme": train_xtreme,
}


def in_own_process(settings: Settings) -> dict[str, Any]:
    """Carry out a training in a fresh process with one thread.

    Raises:
        XmitError: If it fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-W", "ignore", "-m", "xmit.bench.recipes", json.dumps(asdict(settings))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise XmitError(f"bench: the recipe {settings.recipe!r} failed: {last[0]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    """Run the training that the one argument describes, and print its result."""
    torch.set_num_threads(1)
    settings = Settings(**json.loads(sys.argv[1]))
    result = RECIPES[settings.recipe](settings)
    sys.stdout.write("\n" + json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
