"""Going on with an interrupted run: what a full checkpoint holds besides weights, and how it is taken up again."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn

from xmit.data.batching import TrainingLoader
from xmit.errors import EncoderError
from xmit.modules.random_state import random_state, restore_random_state
from xmit.tasks.base import Batch


class ResumableModule(LightningModule):
    """A LightningModule whose interrupted runs go on where they stood in their data and random numbers.

    Attributes:
        run_config: The run's settings as JSON, for its checkpoints; the command line sets it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.run_config: str | None = None
        self._resume_random: list[dict[str, Any]] | None = None
        self._resume_batches: int | None = None

    def on_train_start(self) -> None:
        """After resuming, go on where the interrupted run stood in its data."""
        loader = self.trainer.train_dataloader
        if isinstance(loader, TrainingLoader) and self._resume_batches is not None:
            # Lightning restores a loader only if nothing asked for its length before, as the schedule does
            loader.load_state_dict({"handed_out": self._resume_batches})
            loader.cut(self.trainer.num_training_batches)
        self._resume_batches = None

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """After resuming, go on with the random numbers of the run that was interrupted."""
        if self._resume_random is not None:
            restore_random_state(self._resume_random, self.device)
            self._resume_random = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write random state, settings and place in the data into what training goes on from."""
        if "optimizer_states" in checkpoint:
            checkpoint["random_state"] = random_state(self.device)
            checkpoint["run_config"] = self.run_config
            loader = self.trainer.train_dataloader
            checkpoint["handed_out"] = loader.handed_out if isinstance(loader, TrainingLoader) else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep for the first batch what a run goes on with.

        Raises:
            EncoderError: If the settings are not the checkpoint's.
        """
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._check_resumed(checkpoint)
            self._resume_random = checkpoint.get("random_state")
            self._resume_batches = checkpoint.get("handed_out")

    def _check_resumed(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with other settings: optimizer and schedule would keep the checkpoint's without a word."""
        there, here = checkpoint.get("hyper_parameters", {}), dict(self.hparams)
        other = [f"{k} (there {there[k]!r}, here {here.get(k)!r})" for k in there if k in here and there[k] != here[k]]
        if other:
            raise EncoderError(
                f"a resumed run must have the checkpoint's settings, but these differ: {', '.join(other)}. Repeat "
                f"them; or begin a new run from its encoder with --model.init_from RUN"
            )
