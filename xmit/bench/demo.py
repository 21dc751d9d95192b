"""A part of the demo study's plan by this library and by Hugging Face's Trainer: an intermediate, then a target.

Both train on the same examples, with as many updates and validations, from the same encoder with frozen word
embeddings, and score all languages in the end: ours by one sorted stream in the precision of ``auto``, Hugging Face's
Trainer language by language with its defaults.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
from torch import Tensor, nn

from xmit.bench.ours import QUIET
from xmit.modules.heads import Encoded, build_head
from xmit.tasks import CldrGeo, DigitsText
from xmit.tasks.base import Task

Outcome = tuple[float, dict[str, float]]


def _tasks(quick: bool) -> list[tuple[Task, int, int]]:
    """Tasks as the demo's configs have them, updates, and between how many of them they are validated."""
    share = 4 if quick else 1
    geo: dict[str, Any] = {"batch_size": 32, "max_length": 64, "pooling": "mean"}
    if quick:
        geo["languages"] = list(CldrGeo.metadata.languages[::3])
    return [
        (DigitsText(batch_size=48, max_length=32), 48 // share, 24 // share),
        (CldrGeo(**geo), 100 // share, 50 // share),
    ]


def our_plan(quick: bool) -> Outcome:
    """By this library: CPU seconds, and accuracy by language."""
    from xmit import MultimodalModule, Trainer

    start = time.process_time()
    encoder = None
    for task, updates, every in _tasks(quick):
        torch.manual_seed(0)
        module = MultimodalModule(encoder="embedded:e5-small", embedding="frozen", learning_rate=1e-4)
        if encoder is not None:
            module.text_encoder = encoder.train()
        trainer = Trainer(
            max_steps=updates, max_epochs=-1, val_check_interval=every, check_val_every_n_epoch=None,
            accelerator="cpu", **QUIET,
        )  # fmt: skip
        trainer.fit(module, task)
        encoder = module.text_encoder
    trainer.test(module, task, verbose=False)
    rows = module.results["test"]
    rows = rows[rows["is_main"]]
    return time.process_time() - start, dict(zip(rows["language"], rows["value"], strict=True))


class Peer(nn.Module):
    """An encoder with a task's head for Hugging Face's Trainer, on padded batches.

    Args:
        encoder: The text encoder.
        task: Whose head it gets.
    """

    def __init__(self, encoder: Any, task: Task) -> None:
        super().__init__()
        torch.manual_seed(0)
        spec = task.head_spec()
        self.encoder = encoder
        self.head = build_head(spec.kind, encoder.config.hidden_size, encoder.config.num_hidden_layers, spec.options)
        encoder.embeddings.word_embeddings.requires_grad_(False)

    def forward(self, labels: Tensor, **batch: Any) -> dict[str, Tensor]:
        """``loss``, and ``logits`` where the head gives them."""
        outputs: dict[str, Tensor] = self.head(self._encode, {**batch, "labels": labels})
        return {name: outputs[name] for name in ("loss", "logits") if name in outputs}

    def _encode(self, side: dict[str, Tensor], layer: int | None = None, first: bool = False) -> Encoded:
        return Encoded(self.encoder(**side).last_hidden_state, side["attention_mask"], 0)


def hf_plan(quick: bool) -> Outcome:
    """By Hugging Face's Trainer."""
    from transformers import Trainer, TrainingArguments

    from xmit.modules.encoders import load_text_encoder, load_tokenizer

    start = time.process_time()
    encoder = load_text_encoder("embedded:e5-small").train()
    for task, updates, every in _tasks(quick):
        task.bind(load_tokenizer("embedded:e5-small"))
        arguments = TrainingArguments(
            output_dir=tempfile.mkdtemp(prefix="xmit-bench-"),
            per_device_train_batch_size=task.batch_size,
            max_steps=updates,
            learning_rate=1e-4,
            eval_strategy="steps",
            eval_steps=every,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        splits = {split: [(split, i) for i in range(len(task.examples(split)))] for split in ("train", "validation")}
        trainer = Trainer(
            Peer(encoder, task), arguments, train_dataset=splits["train"],
            eval_dataset=splits["validation"], data_collator=_collator(task),
        )  # fmt: skip
        trainer.train()
    languages, scores = task.examples("test").languages, {}
    for code in dict.fromkeys(languages):
        own: Any = [("test", i) for i, language in enumerate(languages) if language == code]
        found: Any = trainer.predict(own)
        scores[code] = float((found.predictions.argmax(-1) == found.label_ids).mean())
    return time.process_time() - start, scores


def _collator(task: Task) -> Any:
    return lambda rows: task.collate(task.examples(rows[0][0]), [item for _, item in rows])
