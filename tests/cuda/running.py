"""A run of this library on a simulated device, or the same on the CPU, and what came of it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cuda.device import Device
from families import BATCH
from lightning.pytorch import Callback, seed_everything

from xmit import MultimodalModule, Trainer, hardware
from xmit.modules.vision import VisionConfig

UPDATES = 3
"""Of a run by default: fewer than an epoch has, so that none of them is logged."""


class Phases(Callback):
    """Tells the device what is going on, and keeps the losses.

    Between the end of an update and the beginning of the next is what the trainer does for the next, its batch's way to
    the device, and what other callbacks do with the one before: all of that is the next update's.

    Args:
        device: The device; None on the CPU.
    """

    def __init__(self, device: Device | None) -> None:
        self.device, self.losses, self.batches = device, [], Counter[str]()

    def _now(self, phase: str) -> None:
        if self.device is not None:
            self.device.phase = phase

    def on_train_start(self, *_: Any) -> None:
        self._now("update 0")

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(outputs["loss"].detach().clone())
        self._now(f"update {len(self.losses)}")

    def on_train_end(self, *_: Any) -> None:
        self._now("train end")

    def on_validation_start(self, *_: Any) -> None:
        self._now("validation start")

    def on_validation_batch_start(self, *_: Any) -> None:
        self.batches["validation batch"] += 1
        self._now("validation batch")

    def on_validation_epoch_end(self, *_: Any) -> None:
        self._now("validation end")

    def on_test_start(self, *_: Any) -> None:
        self._now("test start")

    def on_test_batch_start(self, *_: Any) -> None:
        self.batches["test batch"] += 1
        self._now("test batch")

    def on_test_epoch_end(self, *_: Any) -> None:
        self._now("test end")

    def on_predict_start(self, *_: Any) -> None:
        self._now("predict start")

    def on_predict_batch_start(self, *_: Any) -> None:
        self.batches["predict batch"] += 1
        self._now("predict batch")

    def on_predict_epoch_end(self, *_: Any) -> None:
        self._now("predict end")


@dataclass
class Run:
    """What came of a run.

    Attributes:
        module: The module.
        device: The device, with its notes; None on the CPU.
        trainer: The trainer.
        losses: Of each update.
        results: Result rows of all splits that were scored.
        predictions: Prediction rows of the test split.
        batches: How many batches were scored, by phase.
    """

    module: MultimodalModule
    device: Device | None
    trainer: Trainer
    losses: list[float] = field(default_factory=list)
    results: dict[str, pd.DataFrame] = field(default_factory=dict)
    predictions: pd.DataFrame | None = None
    batches: Counter[str] = field(default_factory=Counter)

    @property
    def update_waits(self) -> dict[str, int]:
        """Lines at which updates made the host wait, and how often."""
        assert self.device is not None
        found = [f"{w.what} at {w.line}" for w in self.device.waits if w.phase in self.update_phases]
        return dict(Counter(found))

    @property
    def update_phases(self) -> list[str]:
        """The phases of the updates."""
        return [f"update {i}" for i in range(len(self.losses))]

    @property
    def pageable(self) -> dict[str, int]:
        """Lines at which updates sent memory to the device that is not page-locked, and how often."""
        assert self.device is not None
        found = [u.line for u in self.device.uploads if u.phase in self.update_phases and not u.pinned]
        return dict(Counter(found))

    def scoring_waits(self) -> dict[str, int]:
        """Lines at which a batch that was scored made the host wait, and how often."""
        assert self.device is not None
        return dict(Counter(f"{w.what} at {w.line}" for w in self.device.waits if w.phase in self.batches))

    def copies_a_batch(self) -> dict[str, float]:
        """Copies to the host for each batch that was scored, by phase."""
        assert self.device is not None
        copies = Counter(own.phase for own in self.device.copies)
        return {phase: copies[phase] / n for phase, n in self.batches.items()}


@contextlib.contextmanager
def on(device: Device | None) -> Iterator[None]:
    """Within it there is the device, or none, and the library looks anew at what its machine has."""
    looks = (hardware.flash_attn_missing, hardware.torch_varlen)
    for look in looks:
        look.cache_clear()
    try:
        with device or contextlib.nullcontext():
            yield
    finally:
        for look in looks:
            look.cache_clear()


def build(encoder: str, vision: str | Path | None = None, fusion: dict[str, Any] | None = None, **more: Any) -> Any:
    """A module whose weights are always the same, without dropout unless asked for.

    Args:
        encoder: The encoder's folder.
        vision: The folder of the vision features' cache; no tower by default.
        fusion: How images come in.
        **more: Of the module's arguments.
    """
    seed_everything(3, verbose=False)
    if vision is not None:
        tower = VisionConfig("embedded:digits", random=True, cache_dir=str(vision))
        more |= {"vision": tower, "fusion": fusion}
    return MultimodalModule(encoder=encoder, **{"learning_rate": 1e-3, "weight_decay": 0.01, "dropout": 0.0, **more})


def trainer(folder: str | Path, device: Device | None, callbacks: Any = (), **more: Any) -> Trainer:
    """A quiet trainer, on the device if there is one."""
    options: dict[str, Any] = {
        "max_steps": UPDATES, "val_check_interval": UPDATES, "precision": "32-true", "gradient_clip_val": 1.0,
        "log_every_n_steps": 50, "logger": False, "enable_model_summary": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "default_root_dir": str(folder), "callbacks": list(callbacks),
    }  # fmt: skip
    return Trainer(**({"accelerator": "cpu"} if device is None else {}) | options | more)


def run(
    module: Any,
    task: Any,
    folder: str | Path,
    device: Device | None,
    stages: tuple[str, ...] = ("fit", "test"),
    ckpt_path: str | None = None,
    **more: Any,
) -> Run:
    """Run a task through some stages.

    Args:
        module: The module, see :func:`build`.
        task: The task.
        folder: For what the trainer writes.
        device: Where; None for the CPU.
        stages: Of ``fit``, ``validate``, ``test`` and ``predict``.
        ckpt_path: A checkpoint to go on from.
        **more: Of the trainer's arguments.
    """
    phases = Phases(device)
    with on(device):
        made = trainer(folder, device, [phases, *more.pop("callbacks", ())], **more)
        if device is not None:
            assert made.strategy.root_device == device.device
        for stage in stages:
            if stage == "fit":
                if task.trains:
                    made.fit(module, task, ckpt_path=ckpt_path)
            elif stage == "predict":
                made.predict(module, task, return_predictions=False)
            else:
                getattr(made, stage)(module, task, verbose=False)
        losses = [float(loss) for loss in phases.losses]
    return Run(module, device, made, losses, dict(module.results), module.predictions.get("test"), phases.batches)


def assert_same(one: Run, other: Run, tolerance: float = 1e-4, scores: float | None = None) -> None:
    """Two runs came to the same losses and scores.

    Args:
        one: A run.
        other: Another.
        tolerance: By how much losses and scores may differ.
        scores: By how much scores may, where that is more: rounding ranks vectors that are nearly alike.
    """
    assert len(one.losses) == len(other.losses)
    np.testing.assert_allclose(one.losses, other.losses, rtol=0, atol=tolerance)
    assert one.results.keys() == other.results.keys()
    for split, rows in one.results.items():
        pd.testing.assert_frame_equal(
            rows, other.results[split], check_exact=False, rtol=tolerance, atol=scores or tolerance
        )


def assert_keeps_the_device_busy(run: Run) -> None:
    """No update waits for the device, its batch comes from page-locked memory, and scoring sends one copy a batch."""
    assert run.device is not None
    broken = {}
    if run.update_waits:
        broken["updates wait for the device"] = run.update_waits
    if run.pageable:
        broken["updates send memory that is not page-locked"] = run.pageable
    if run.scoring_waits():
        broken["scoring a batch waits for the device"] = run.scoring_waits()
    copies = run.copies_a_batch()
    if any(n != 1 for n in copies.values()):
        broken["copies to the host for each batch that is scored"] = copies
    assert not broken, "\n".join(f"{what}: {where}" for what, where in broken.items())


def task_of(kind: Any, **more: Any) -> Any:
    """A task in batches of the usual size, built in this process."""
    return kind(**{"batch_size": BATCH, "num_workers": 0, **more})


def parameters(module: Any) -> dict[str, torch.Tensor]:
    """A module's weights, on the host."""
    return {name: value.detach().cpu() for name, value in module.state_dict().items()}
