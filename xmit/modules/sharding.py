"""A module whose weights FSDP scatters over processes: whole in checkpoints, in pieces everywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn

from xmit.errors import ConfigError
from xmit.modules.optimizer import clip_by_norm, clip_by_value
from xmit.modules.resuming import ResumableModule


class ShardedModule(ResumableModule):
    """What FSDP needs to know of a module, and what it leaves behind; without FSDP it does nothing."""

    in_pieces = False
    """Whether the weights of a fit were scattered and are not loaded again."""

    @property
    def sharded(self) -> bool:
        """Whether the trainer that runs it scatters its weights."""
        return self._trainer is not None and isinstance(self.trainer.strategy, FSDPStrategy)

    @property
    def loss_scale(self) -> Tensor | float:
        """By what the trainer multiplies the loss; 1 but in fp16, there on the device, so that no update waits."""
        scaler = None if self._trainer is None else getattr(self.trainer.precision_plugin, "scaler", None)
        return scaler.scale(torch.ones((), device=self.device)) if scaler else 1.0

    def setup(self, stage: str) -> None:
        """Have FSDP gather one encoder layer at a time, unless the strategy names another policy.

        Raises:
            ConfigError: If checkpoints would be in pieces too.
        """
        strategy = self.trainer.strategy
        if isinstance(strategy, FSDPStrategy):
            from torch.distributed.fsdp.wrap import ModuleWrapPolicy
            from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaLayer

            if strategy._state_dict_type != "full":
                raise ConfigError(
                    "FSDP: trainer.strategy.init_args.state_dict_type must be full, so that a run on any number of "
                    "devices can start from what this one leaves"
                )
            strategy.kwargs.setdefault("auto_wrap_policy", ModuleWrapPolicy({XLMRobertaLayer}))

    def note_matrices(self) -> None:
        """Keep in mind which parameters are matrices, before FSDP makes vectors of their pieces."""
        self.matrices = {name for name, parameter in self.named_parameters() if parameter.ndim > 1}

    def parameters_by_name(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters, by the names that they have without FSDP."""
        for name, parameter in self.named_parameters():
            yield name.replace("_fsdp_wrapped_module.", ""), parameter

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """With a checkpoint all weights are there again."""
        super().on_load_checkpoint(checkpoint)
        self.in_pieces = False

    def check_at_hand(self) -> None:
        """Refuse to score without the weights that a fit has left in pieces.

        Raises:
            ConfigError: If no checkpoint was loaded.
        """
        if self.in_pieces:
            raise ConfigError(
                "FSDP has left the weights in pieces: score the checkpoint, trainer.test(module, task, ckpt_path=…)"
            )

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the norm, within the update or under FSDP over all processes, or by value."""
        if not gradient_clip_val:
            return
        # Lightning refuses fused optimizers in mixed precision, in bf16 too, where no loss is scaled
        scale = self.loss_scale
        if gradient_clip_algorithm == "value":
            clip_by_value(self.parameters(), gradient_clip_val, scale)
        elif self.sharded:
            root: Any = self.trainer.strategy.model
            root.clip_grad_norm_(gradient_clip_val * scale)
        else:
            clip_by_norm(optimizer, gradient_clip_val, scale)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Update, and let gradients go at once; Lightning keeps them through the next forward pass."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        optimizer.zero_grad()
