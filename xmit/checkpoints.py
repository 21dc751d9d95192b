"""Checkpoints that are whole or not there, that may move with their run, and that an interruption leaves behind."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from xmit import interruption
from xmit.files import atomic_write
from xmit.modules.module import MAIN_SCORE

BEST, LAST = "best.ckpt", "last.ckpt"
_ASK = 50
"""After how many updates, at most, the processes of a run ask each other whether one was told to end."""
WORTH_SAVING = 60.0
"""Seconds of training that are saved before the test, where checkpoints go by time."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old file and then moves; reads tensors and plain values only, never code.

    Lightning itself writes to the system's temporary folder and copies, which a kill can cut in two.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return

        def write(draft: Path) -> None:
            with draft.open("wb") as file:
                _save(checkpoint, _Draft(file))

        atomic_write(Path(path), write)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; ``weights_only`` is on whatever is asked for."""
        return super().load_checkpoint(path, map_location or (lambda storage, _: storage), True)


class _Draft:
    """A file that remembers what stopped its writing, of which torch tells nothing.

    Args:
        file: The file, open for writing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.failed: BaseException | None = None

    def write(self, data: Any) -> int:
        """Write some bytes."""
        try:
            return self.file.write(data)
        except BaseException as error:
            self.failed = error
            raise

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self.file.flush()


def _save(checkpoint: dict[str, Any], draft: _Draft) -> None:
    """``torch.save``, whose error is the full disk's or the signal's, and not that of its own clearing up."""
    try:
        torch.save(checkpoint, draft)  # type: ignore[arg-type]
    except RuntimeError as error:
        cause: BaseException | None = draft.failed or error
        while cause is not None:
            if isinstance(cause, OSError | interruption.Interrupted):
                raise cause from None
            cause = cause.__context__
        raise


class BestCheckpoint(ModelCheckpoint):
    """Keeps the weights with the best main score. Its state names no folder, so a run may be moved.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder, Path(BEST).stem, MAIN_SCORE, mode="max", save_weights_only=True, enable_version_counter=False
        )

    def state_dict(self) -> dict[str, Any]:
        """The state, with names instead of paths."""
        state = super().state_dict()
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[key] = Path(state[key]).name if state[key] else ""
        state["best_k_models"] = {Path(path).name: score for path, score in state["best_k_models"].items()}
        return {**state, "dirpath": ""}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state as one of this folder."""
        folder = Path(str(self.dirpath))
        state = {**state_dict, "dirpath": self.dirpath}
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[key] = str(folder / Path(state[key]).name) if state[key] else ""
        state["best_k_models"] = {str(folder / Path(p).name): v for p, v in state["best_k_models"].items()}
        super().load_state_dict(state)


class LastCheckpoint(ModelCheckpoint):
    """Keeps all that an interrupted run goes on from, and saves it when the process is told to end.

    Args:
        folder: Where to.
        updates: Save every so many updates.
        minutes: Save every so many minutes instead. With neither, save after every validation.
    """

    def __init__(self, folder: Path, updates: int | None = None, minutes: float | None = None) -> None:
        super().__init__(
            folder,
            Path(LAST).stem,
            every_n_train_steps=updates,
            train_time_interval=None if minutes is None else timedelta(minutes=minutes),
            enable_version_counter=False,
        )
        self.path, self.minutes = folder / LAST, minutes
        self.begun, self.before, self.saved, self._postponed = time.monotonic(), 0.0, False, False
        self._saved_at = self.begun

    @property
    def seconds(self) -> float:
        """How long the run took, what went before its interruptions included."""
        return self.before + time.monotonic() - self.begun

    def state_dict(self) -> dict[str, Any]:
        """How long the run took; the rest is the same in every run."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count what went before."""
        self.before, self.saved = float(state_dict.get("seconds", 0.0)), True

    @property
    def state_key(self) -> str:
        """The same for every interval, which may change when a run goes on."""
        return type(self).__qualname__

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        self._saved_at, self.saved = time.monotonic(), True

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint now."""
        self._save_checkpoint(trainer, str(self.path))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on a signal waits for the end of an update."""
        super().on_train_start(trainer, pl_module)
        self._saved_at = time.monotonic()
        interruption.defer(True)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Save when it is time, or when the process was told to end; after the validation that is due, if one is.

        A run that went on from before it would leave it out, and perhaps end with other weights.
        """
        if trainer.fit_loop._should_accumulate():
            return  # gradients lie in no checkpoint
        if self._validation_is_due(trainer):
            self._postponed = self._is_time(trainer) or self._stop(trainer)
            return
        super().on_train_batch_end(trainer, *args)
        # several processes must agree, and to ask them makes every device wait: not after each update
        asks = trainer.world_size == 1 or trainer.global_step % min(trainer.log_every_n_steps or _ASK, _ASK) == 0  # type: ignore[attr-defined]
        if asks and self._stop(trainer):
            self.save(trainer)
            raise interruption.Interrupted(interruption.requested() or 15)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what was to be saved before the validation."""
        super().on_validation_end(trainer, pl_module)
        if self._postponed:
            self._postponed, self._last_time_checked = False, time.monotonic()
            self.save(trainer)
            if self._stop(trainer):
                raise interruption.Interrupted(interruption.requested() or 15)

    @staticmethod
    def _validation_is_due(trainer: pl.Trainer) -> bool:
        """Whether a validation follows the batch that has just ended."""
        fetcher: Any = trainer.fit_loop._data_fetcher
        return trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)

    def _is_time(self, trainer: pl.Trainer) -> bool:
        """Whether so many updates or minutes have passed; the first process decides."""
        if self._every_n_train_steps >= 1:
            return trainer.global_step % self._every_n_train_steps == 0
        if self.minutes is None:
            return False
        due = time.monotonic() - (self._last_time_checked or self.begun) >= 60 * self.minutes
        return bool(trainer.strategy.broadcast(due))

    def _stop(self, trainer: pl.Trainer) -> bool:
        """Whether any process of the run was told to end."""
        told = interruption.requested() is not None
        return told if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(told, all=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save much work before the test, and whatever there is when the process was told to end."""
        worth = self.minutes is not None and time.monotonic() - self._saved_at > WORTH_SAVING
        told = self._stop(trainer)
        if told or (worth if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(worth, all=False)):
            self.save(trainer)
        interruption.defer(False)
        if told:
            raise interruption.Interrupted(interruption.requested() or 15)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Training is over, however it ended."""
        interruption.defer(False)
