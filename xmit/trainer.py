"""Lightning's Trainer with this library's defaults."""

from __future__ import annotations

from typing import Any, Literal

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException

from xmit.errors import ConfigError
from xmit.hardware import chosen_device, fast_precision

Precision = Literal["auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true", "64-true"]


class Trainer(pl.Trainer):
    """Lightning's Trainer; only these defaults differ.

    Args:
        precision: ``auto`` takes what is fast on the device that computes: ``bf16-mixed`` where it has bf16,
            ``16-mixed`` on other GPUs, else ``32-true``; see :func:`~xmit.hardware.fast_precision`.
        use_distributed_sampler: Off: tasks deal their batches out to processes themselves.
        num_sanity_val_steps: Off: the validation metric wants the whole split.
        log_every_n_steps: How often the training loss is logged.
        kwargs: See :class:`lightning.pytorch.Trainer`.

    Raises:
        ConfigError: If Lightning cannot do what is asked for, such as train on a GPU where there is none.
    """

    def __init__(
        self,
        precision: Precision = "auto",
        use_distributed_sampler: bool = False,
        num_sanity_val_steps: int = 0,
        log_every_n_steps: int = 10,
        **kwargs: Any,
    ) -> None:
        if precision == "auto":
            precision = fast_precision(chosen_device(kwargs.get("accelerator"), kwargs.get("strategy")))
        try:
            super().__init__(
                precision=precision,
                use_distributed_sampler=use_distributed_sampler,
                num_sanity_val_steps=num_sanity_val_steps,
                log_every_n_steps=log_every_n_steps,
                **kwargs,
            )
        except MisconfigurationException as error:
            asked = kwargs.get("accelerator") not in (None, "auto")
            hint = "; trainer.accelerator auto takes what there is" if asked else ""
            raise ConfigError(f"trainer: {error}{hint}") from error
