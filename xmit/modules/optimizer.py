"""AdamW as a run uses it, and clipping that is part of its update."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from transformers.optimization import get_scheduler


def adamw(
    named: Iterable[tuple[str, nn.Parameter]], settings: Mapping[str, Any], steps: int, matrices: Collection[str]
) -> tuple[torch.optim.AdamW, LRScheduler]:
    """AdamW, fused, with a learning rate that rises and falls; new parts may learn faster.

    Args:
        named: The module's parameters; those of the encoder are called ``text_encoder.…``.
        settings: The module's ``learning_rate``, ``head_learning_rate``, ``weight_decay``, ``schedule``, ``warmup``.
        steps: How many updates there will be.
        matrices: The names of those that weight decay is for.

    Returns:
        The optimizer, and the schedule by updates.
    """
    rate = settings["learning_rate"]
    head_rate = rate if settings["head_learning_rate"] is None else settings["head_learning_rate"]
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            decay = settings["weight_decay"] if name in matrices else 0.0
            key = (rate if name.startswith("text_encoder.") else head_rate, decay)
            groups.setdefault(key, []).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()], fused=True
    )
    warmup = math.ceil(settings["warmup"] * steps)
    return optimizer, get_scheduler(settings["schedule"], optimizer, warmup, steps)


def clip_by_norm(optimizer: torch.optim.Optimizer, largest: float, loss_scale: Tensor | float = 1.0) -> Tensor:
    """Let a fused optimizer scale gradients down to a norm as it reads them, which saves writing all of them once more.

    The outcome is that of :func:`torch.nn.utils.clip_grad_norm_`, rounded differently.

    Args:
        optimizer: A fused one, before its step.
        largest: The largest norm of all gradients together.
        loss_scale: By what the loss was multiplied, in half precision.

    Returns:
        The norm, on the device.
    """
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients) / loss_scale
    optimizer.grad_scale = ((norm + 1e-6) / largest).clamp(min=1.0).float()  # type: ignore[attr-defined]
    return norm


def clip_by_value(parameters: Iterable[nn.Parameter], largest: float, loss_scale: Tensor | float = 1.0) -> None:
    """:func:`torch.nn.utils.clip_grad_value_`, whose bound may lie on the device, where reading it would mean waiting.

    Args:
        parameters: What has gradients.
        largest: The largest value of a gradient, and with the other sign the least.
        loss_scale: By what the loss was multiplied, in half precision.
    """
    if not isinstance(loss_scale, Tensor):
        nn.utils.clip_grad_value_(parameters, largest * loss_scale)
        return
    bound = largest * loss_scale
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.clamp_(-bound, bound)
