"""Batches too large to compute on at once: cut into micro-batches whose gradients add up to the whole batch's."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from xmit.errors import ConfigError

if TYPE_CHECKING:
    from xmit.modules.module import MultimodalModule
    from xmit.tasks.base import Batch


def check_cuts(module: MultimodalModule) -> None:
    """Refuse to cut batches where that would change the outcome.

    Raises:
        ConfigError: If a task asks for it all the same.
    """
    for name, task in module.tasks.items():
        if task.train_tokens and (module.sharded or module.heads[name].compares):
            why = "FSDP scatters gradients" if module.sharded else "its loss compares all items of a batch"
            raise ConfigError(
                f"task {name!r}: data.train_tokens cuts batches, but {why}: leave it out and lower data.batch_size"
            )


def micro_batch(batch: Any, start: int, stop: int) -> Any:
    """Some consecutive items of a batch, in all its sides."""
    if isinstance(batch, dict):
        return {n: micro_batch(part, start, stop) for n, part in batch.items() if n not in ("cuts", "packing")}
    return batch[start:stop] if isinstance(batch, Tensor | list) else batch


def summed_loss(module: MultimodalModule, batch: Batch) -> Tensor:
    """The loss of a batch with ``cuts``, computed micro-batch by micro-batch.

    Each micro-batch is done with, backward pass and all, before the next one begins; what is returned holds no graph
    but the sum of their gradients, and hands it on in *its* backward pass. So Lightning, its schedules, checkpoints and
    DDP see one batch and one loss.

    Args:
        module: The module, whose head knows of how many terms its loss is the mean.
        batch: A batch with ``cuts``, the first item of each micro-batch and the end of the last.

    Returns:
        The scalar loss of the whole batch.
    """
    packings = batch.get("packing") or [None] * (len(batch["cuts"]) - 1)
    pieces = [
        {**micro_batch(batch, start, stop), "packing": packing}
        for (start, stop), packing in zip(pairwise(batch["cuts"]), packings, strict=True)
    ]
    terms = [module.heads[batch["task"]].terms(piece) for piece in pieces]  # type: ignore[operator]
    total = torch.as_tensor(sum(terms)).clamp(min=1)
    parameters = [p for p in module.parameters() if p.requires_grad]
    gradients: list[Tensor | None] = [None] * len(parameters)
    losses, scale = [], module.loss_scale  # in half precision gradients would vanish before the trainer's own scaling
    for piece, n in zip(pieces, terms, strict=True):
        loss = module(piece)["loss"] * (n / total)
        losses.append(loss.detach())
        with torch.autocast(loss.device.type, enabled=False):
            found = torch.autograd.grad(loss * scale, parameters, allow_unused=True)
        torch.clear_autocast_cache()  # its copies of the weights belong to the graph that is gone
        for place, gradient in enumerate(found):
            known = gradients[place]
            if gradient is not None:  # not in place: two parameters may have been given the same tensor
                gradients[place] = gradient if known is None else known + gradient
        del loss, found
    used = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    summed: Tensor = _Known.apply(torch.stack(losses).sum(), scale, [g for _, g in used], *(p for p, _ in used))
    return summed


class _Known(torch.autograd.Function):
    """A loss whose gradients are known already, times a scale."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, scale: float, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients, ctx.scale = gradients, scale
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        return None, None, None, *(gradient * (upstream / ctx.scale) for gradient in gradients)
