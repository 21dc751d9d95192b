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

from xmit.bench.ours import QUIET
from xmit.bench.recipes import collate
from xmit.tasks import CldrGeo, DigitsText
from xmit.tasks.base import Task

Outcome = tuple[float, dict[str, float]]


def _tasks(quick: bool) -> list[tuple[Task, int, int]]:
    """Tasks as the demo's configs have them, updates, and between how many of them they are validated."""
    share = 4 if quick else 1
    geo: dict[str, Any] = {"batch_size": 32, "max_length": 64, "pooling": "mean"}
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


def hf_plan(quick: bool) -> Outcome:
    """By Hugging Face's Trainer."""
    from transformers import Trainer, TrainingArguments, XLMRobertaForSequenceClassification

    from xmit.modules.encoders import load_text_encoder, load_tokenizer

    start = time.process_time()
    body = load_text_encoder("embedded:e5-small")
    for task, updates, every in _tasks(quick):
        task.bind(load_tokenizer("embedded:e5-small"))
        splits = {split: _rows(task, split) for split in ("train", "validation")}
        model: Any = _classifier(task, body, XLMRobertaForSequenceClassification)
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
        )
        trainer = Trainer(
            model, arguments, train_dataset=splits["train"], eval_dataset=splits["validation"], data_collator=collate
        )
        trainer.train()
        body = model.roberta
    rows, scores = _rows(task, "test"), {}
    languages = task.examples("test").languages
    for code in dict.fromkeys(languages):
        own: Any = [row for row, language in zip(rows, languages, strict=True) if language == code]
        found: Any = trainer.predict(own)
        scores[code] = float((found.predictions.argmax(-1) == found.label_ids).mean())
    return time.process_time() - start, scores


def _classifier(task: Task, body: Any, cls: Any) -> Any:
    torch.manual_seed(0)
    body.config.num_labels = len(task.label_names)  # type: ignore[attr-defined]
    model = cls(body.config)
    model.roberta.load_state_dict(body.state_dict())
    model.roberta.embeddings.word_embeddings.requires_grad_(False)
    return model


def _rows(task: Task, split: str) -> list[dict[str, Any]]:
    examples = task.examples(split)
    text, labels = examples.text["text"], examples.labels
    assert labels is not None
    return [
        {"input_ids": text.flat[text.offsets[i] : text.offsets[i + 1]].tolist(), "labels": int(labels[i])}
        for i in range(len(examples))
    ]
