"""Attention kernels of a simulated device, by their own rules: SDPA, torch's varlen attention, the package flash-attn.

Each is one kernel forward and a few backward, and saves for the backward pass what the real ones save: query, key,
value, output, and one number a query and head.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from cuda.autocast import cast
from torch import Tensor

if TYPE_CHECKING:
    from cuda.device import Device

_sdpa = torch.nn.functional.scaled_dot_product_attention
_varlen = torch.nn.attention.varlen.varlen_attn if hasattr(torch.nn.attention, "varlen") else None
BACKWARD_KERNELS = 3
"""Of flash attention: the row sums of gradient times output; the gradients; that of the query to its own type."""


class _Fused(torch.autograd.Function):
    """Attention in one kernel: computed by ``compute`` on tensors of the host, again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, name: str, compute: Callable[..., Tensor], sums: Any, *parts: Tensor | None) -> Tensor:
        from cuda.device import SimulatedTensor, by_itself

        first = parts[0]
        assert isinstance(first, SimulatedTensor)
        owner = first.owner
        owner.launch(name)
        ctx.state, ctx.name, ctx.compute, ctx.owner = torch.get_rng_state(), name, compute, owner
        with by_itself(), torch.no_grad():
            output = compute(*(_held(part) for part in parts))
            rows = torch.zeros(sums, dtype=torch.float32)
        found = SimulatedTensor(output, owner)
        ctx.save_for_backward(*parts, found, SimulatedTensor(rows, owner))
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        from cuda.device import SimulatedTensor, by_itself

        *parts, _, _ = ctx.saved_tensors
        ctx.owner.launch(f"{ctx.name}_backward", BACKWARD_KERNELS)
        wanted = [i for i, part in enumerate(parts) if part is not None and ctx.needs_input_grad[i + 3]]
        after = torch.get_rng_state()
        torch.set_rng_state(ctx.state)  # the same weights are dropped again
        with by_itself(), torch.enable_grad():
            inner = [None if part is None else _held(part).detach() for part in parts]
            for i in wanted:
                inner[i].requires_grad_()
            output = ctx.compute(*inner)
            found = torch.autograd.grad(output, [inner[i] for i in wanted], gradient.held)
        torch.set_rng_state(after)
        grads: list[Any] = [None] * len(parts)
        for i, value in zip(wanted, found, strict=True):
            grads[i] = SimulatedTensor(value.contiguous(), ctx.owner)
        return None, None, None, *grads


def _held(part: Any) -> Any:
    return None if part is None else part.held


def sdpa(device: Device) -> Callable[..., Tensor]:
    """``scaled_dot_product_attention`` of a device; of tensors of the host as ever."""
    from cuda.device import SimulatedTensor

    def run(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        given = [part for part in (query, key, value, attn_mask) if part is not None]
        simulated = [isinstance(part, SimulatedTensor) for part in given]
        if not any(simulated):
            return _sdpa(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        if not all(simulated):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found {device.device} and cpu! (sdpa)"
            )
        kind = device.device.type
        if torch.is_autocast_enabled(kind):
            low = torch.get_autocast_dtype(kind)
            query, key, value = cast((query, key, value), low)
            attn_mask = attn_mask if attn_mask is None or attn_mask.dtype == torch.bool else cast(attn_mask, low)
        if not query.dtype == key.dtype == value.dtype:
            raise RuntimeError(
                f"Expected query, key, and value to have the same dtype, but got {query.dtype}, {key.dtype}"
            )
        if attn_mask is not None and attn_mask.dtype not in (torch.bool, query.dtype):
            raise RuntimeError(
                f"Expected attn_mask dtype to be bool or to match query dtype, but got {attn_mask.dtype}"
            )
        device.attention_calls.append("sdpa")

        def compute(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
            return _sdpa(q, k, v, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)

        with torch.autocast(kind, enabled=False):
            out: Tensor = _Fused.apply("sdpa", compute, query.shape[:-1], query, key, value, attn_mask)
        return out

    return run


def _check_packed(device: Device, name: str, parts: Any, offsets: Any, most: Any) -> None:
    """What flash attention asks of packed sequences.

    Raises:
        RuntimeError: If it is asked for something else.
    """
    from cuda.device import SimulatedTensor

    def refuse(text: str) -> None:
        raise RuntimeError(f"{name}: {text}")

    if device.capability < (8, 0):
        refuse("FlashAttention only supports Ampere GPUs or newer.")
    if not all(isinstance(part, SimulatedTensor) for part in (*parts, *offsets)):
        refuse("Input tensor must be on CUDA")
    if len({part.dtype for part in parts}) > 1 or parts[0].dtype not in (torch.float16, torch.bfloat16):
        refuse(f"FlashAttention only support fp16 and bf16 data type, not {[part.dtype for part in parts]}")
    if any(part.dim() != 3 or part.stride(-1) != 1 for part in parts):
        refuse("Input tensor must have contiguous last dimension, and three dimensions")
    if parts[0].shape[-1] > 256 or parts[0].shape[-1] % 8:
        refuse(f"head_size must be a multiple of 8, at most 256, not {parts[0].shape[-1]}")
    if parts[1].shape != parts[2].shape or parts[0].shape[1:] != parts[1].shape[1:]:
        refuse(f"query, key and value do not fit: {[tuple(part.shape) for part in parts]}")
    if len(offsets[0]) != len(offsets[1]):
        refuse("cu_seqlens of queries and keys must have the same shape")
    for ends, n, longest in zip(offsets, (len(parts[0]), len(parts[1])), most, strict=True):
        if ends.dtype != torch.int32 or not ends.is_contiguous():
            refuse("cu_seqlens must be contiguous and have dtype int32")
        if type(longest) is not int:
            refuse(f"max_seqlen must be an int, not {type(longest).__name__}")
        places = ends.held.tolist()
        sizes = [b - a for a, b in pairwise(places)]
        if places[0] != 0 or places[-1] != n or min(sizes) < 0 or max(sizes) > longest:
            # a GPU would read what is not there, or leave out tokens, without a word
            refuse(f"offsets {places} or the most of {longest} do not fit {n} tokens")


def _packed(
    device: Device, name: str, parts: Any, offsets: Any, most: Any, dropout: float, scale: float | None
) -> Tensor:
    _check_packed(device, name, parts, offsets, most)
    device.attention_calls.append(name)
    ends = [own.held.tolist() for own in offsets]

    def compute(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = []
        for (a, b), (c, d) in zip(pairwise(ends[0]), pairwise(ends[1]), strict=True):
            own = (part.transpose(0, 1)[None] for part in (q[a:b], k[c:d], v[c:d]))
            out.append(_sdpa(*own, dropout_p=dropout, scale=scale)[0].transpose(0, 1))
        return torch.cat(out)

    with torch.autocast(device.device.type, enabled=False):
        found: Tensor = _Fused.apply(name, compute, parts[0].shape[:-1], *parts)
    return found


def varlen(device: Device) -> Callable[..., Any]:
    """``torch.nn.attention.varlen.varlen_attn`` of a device: it knows no dropout."""

    def varlen_attn(
        query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int,
        *, return_aux: Any = None, scale: float | None = None, window_size: tuple[int, int] = (-1, -1),
    ) -> Tensor:  # fmt: skip
        assert return_aux is None, "not simulated"
        assert tuple(window_size) == (-1, -1), "not simulated"
        if not device.torch_flash:
            raise RuntimeError("USE_FLASH_ATTENTION was not enabled for build.")
        parts, offsets = (query, key, value), (cu_seq_q, cu_seq_k)
        return _packed(device, "varlen_attn", parts, offsets, (max_q, max_k), 0.0, scale)

    return varlen_attn


def packages(device: Device) -> dict[str, types.ModuleType]:
    """The packages that a machine with this device has beside torch, by name."""
    if not device.flash_attn:
        return {}
    module = types.ModuleType("flash_attn")
    module.__spec__ = ModuleSpec("flash_attn", None)

    def flash_attn_varlen_func(
        q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor,
        max_seqlen_q: int, max_seqlen_k: int,
        dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False,
    ) -> Tensor:  # fmt: skip
        assert not causal, "not simulated"
        parts, offsets = (q, k, v), (cu_seqlens_q, cu_seqlens_k)
        return _packed(device, "flash_attn", parts, offsets, (max_seqlen_q, max_seqlen_k), dropout_p, softmax_scale)

    module.flash_attn_varlen_func = flash_attn_varlen_func  # type: ignore[attr-defined]
    return {"flash_attn": module}
