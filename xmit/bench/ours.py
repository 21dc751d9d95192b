"""This library's own trainings for the bench, on tokens instead of texts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import nn

from xmit import MultimodalModule, TaskMetadata, Trainer
from xmit.bench.recipes import BATCH, LEARNING_RATE, Clock, Settings, examples, model
from xmit.data.batching import Batching, Ragged, TrainingBatches
from xmit.errors import DataError
from xmit.modules.dropout import set_dropout
from xmit.tasks import SequenceClassificationTask
from xmit.tasks.examples import Examples

if TYPE_CHECKING:
    import datasets

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Tokens(SequenceClassificationTask):
    """Classify sequences of tokens that are given as such.

    Args:
        rows: ``input_ids`` and ``labels`` of each example.
        in_order: Take them as they come instead of at random.
        used: Further rows of the vocabulary that the data as a whole would use.
        **kwargs: See :class:`~xmit.tasks.base.Task`.
    """

    metadata = TaskMetadata(
        name="bench_tokens",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset="random tokens",
        license="CC0-1.0",
        citation="none",
        description="random tokens",
    )
    label_names = ("0", "1", "2")

    def __init__(self, rows: list[dict[str, Any]], in_order: bool = True, used: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.in_order = in_order
        ids, labels = [row["input_ids"] for row in rows], torch.tensor([row["labels"] for row in rows])
        names, languages = [str(i) for i in range(len(rows))], ["en"] * len(rows)
        self.own = {"train": Examples(names, languages, {"text": Ragged.from_lists(ids)}, labels)}
        spare = Ragged.from_lists([list(range(3, used + 3))])
        self.own["validation"] = Examples(["0"], ["en"], {"text": spare}, torch.tensor([0]))

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Refused: the examples are given as tokens."""
        raise DataError(f"task {self.name!r} is made of tokens, it has no split {split!r} of texts")

    def setup(self, stage: str) -> None:
        """Nothing is loaded."""

    def examples(self, split: str) -> Examples:
        """The tokens."""
        return self.own[split]

    def train_batches(self, drop_last: bool = False) -> Any:
        """Batches at random, or in the order of the examples."""
        batches = super().train_batches(drop_last)
        if self.in_order:
            assert isinstance(batches, TrainingBatches)
            return InOrder(batches)
        return batches


class InOrder:
    """The batches of a stream in the order of its examples."""

    def __init__(self, stream: TrainingBatches) -> None:
        self.stream, self.epoch, self.start_batch = stream, 0, 0

    def __iter__(self) -> Any:
        n, size = len(self.stream.lengths), self.stream.batch_size
        return iter([list(range(i, min(i + size, n))) for i in range(0, n, size)])

    def __len__(self) -> int:
        return len(self.stream)


class Watch(pl.Callback):
    """Starts from another model's head, and tells a clock of every update."""

    def __init__(self, clock: Clock, classifier: nn.Module, log: bool) -> None:
        self.clock, self.classifier, self.log = clock, classifier, log

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the head's weights."""
        head: Any = module.heads["bench_tokens"]  # type: ignore[index]
        theirs: Any = self.classifier
        head.dropout.p = theirs.dropout.p
        head.dense.load_state_dict(theirs.dense.state_dict())
        head.projection.load_state_dict(theirs.out_proj.state_dict())

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, *_: Any) -> None:
        """An update is done."""
        if self.log:
            self.clock.losses.append(outputs["loss"].item())
        self.clock.tick()


def train(settings: Settings) -> dict[str, Any]:
    """Train by this library: packed, or in bf16 grouped as the peer is; compact embedding."""
    theirs, clock = model(settings), Clock()
    module = MultimodalModule(encoder="embedded:e5-small", learning_rate=LEARNING_RATE, warmup=0.0)
    module.text_encoder = theirs.roberta
    set_dropout(module.text_encoder)  # as of one that the module has loaded
    batching: Batching = "grouped" if settings.bf16 else "packed"
    task = Tokens(
        examples(settings), in_order=not settings.bf16, used=settings.rows, batch_size=BATCH, batching=batching
    )
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        precision="bf16-mixed" if settings.bf16 else "32-true",
        gradient_clip_val=1.0,
        limit_val_batches=0,
        callbacks=[Watch(clock, theirs.classifier, settings.log)],
        **QUIET,
    )
    trainer.fit(module, task)
    return clock.result()


def _tiny(steps: int) -> tuple[MultimodalModule, Tokens]:
    settings = Settings("ours", 1, 8 * steps, vocabulary=1000, rows=500, width=64)
    module = MultimodalModule(encoder="embedded:e5-small", warmup=0.0)
    module.text_encoder = model(settings).roberta
    rows = [{**row, "input_ids": row["input_ids"][:8]} for row in examples(settings)]
    return module, Tokens(rows, used=990, batch_size=8)


def fit_steps(steps: int) -> float:
    """CPU seconds a step of a tiny encoder under the trainer, with clipping and a logger."""
    import tempfile

    from lightning.pytorch.loggers import CSVLogger

    module, task = _tiny(steps)
    clock = Clock()
    watch = Watch(clock, nn.Identity(), False)
    watch.on_fit_start = lambda trainer, module: None  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=1, accelerator="cpu", precision="32-true", gradient_clip_val=1.0, limit_val_batches=0,
            callbacks=[watch], **{**QUIET, "logger": CSVLogger(folder)},
        )  # fmt: skip
        trainer.fit(module, task)
    return clock.result()["seconds"] / (steps - 1)  # type: ignore[no-any-return]


def raw_steps(steps: int) -> float:
    """The same forward, backward, clipping and update of batches that lie ready, in a bare loop."""
    module, task = _tiny(steps)
    task.bind(module.tokenizer)
    module._build_heads(task.head_specs())
    module.train()
    batches = [task.batch("train", items) for items in task.train_batches()]
    optimizer = torch.optim.AdamW(module.parameters(), 1e-5, fused=True)
    start = time.process_time()
    for batch in batches:
        optimizer.zero_grad()
        module(batch)["loss"].backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    return (time.process_time() - start) / steps
