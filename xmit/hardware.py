"""What a device can do, and every choice that follows from it.

All such choices are made here and belong to the device that computes: on a machine with a GPU, a run with
``accelerator: cpu`` gets the CPU's precision, batches and loaders, and a search on the CPU the CPU's number format.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

CPU = torch.device("cpu")

_HEAD_SIZE = 256
"""The largest attention head that flash attention knows; its size is a multiple of eight."""
_WORKERS = 4
"""The most loader workers a process that are chosen by themselves; more wait for the GPU, not the GPU for them."""


def best_device() -> torch.device:
    """The fastest kind of device that this machine has: CUDA, Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps") if torch.backends.mps.is_available() else CPU


def chosen_device(accelerator: Any = "auto", strategy: Any = "auto") -> torch.device:
    """The kind of device that a trainer with these arguments will compute on, before it is built.

    Args:
        accelerator: As for :class:`lightning.pytorch.Trainer`, a name or an object.
        strategy: The like; a strategy object may bring its own accelerator or device.
    """
    brought = getattr(strategy, "accelerator", None) or getattr(strategy, "_root_device", None)
    wanted = accelerator if accelerator not in (None, "auto") or brought is None else brought
    if isinstance(wanted, torch.device):
        return wanted
    if wanted in (None, "auto", "gpu"):
        return best_device()
    name = (wanted if isinstance(wanted, str) else type(wanted).__name__).lower()
    for kind in ("cuda", "mps"):
        if name.startswith(kind):
            return torch.device(kind)
    if isinstance(wanted, str):
        return CPU
    devices = wanted.get_parallel_devices(wanted.parse_devices(1))
    return devices[0] if devices and isinstance(devices[0], torch.device) else CPU


def trainer_device(trainer: Any) -> torch.device:
    """The device of this process's part of a run; the CPU where there is no trainer.

    Args:
        trainer: A trainer, or None.
    """
    device = None if trainer is None else getattr(getattr(trainer, "strategy", None), "root_device", None)
    return device if isinstance(device, torch.device) else CPU


def computes_bf16(device: torch.device) -> bool:
    """Whether a device multiplies matrices in bf16 by itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and _cpu_bf16()


@lru_cache(maxsize=1)
def _cpu_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def fast_precision(device: torch.device) -> Literal["bf16-mixed", "16-mixed", "32-true"]:
    """``bf16-mixed`` where the device computes in bf16; else ``16-mixed`` on a CUDA device, ``32-true`` elsewhere.

    A GPU without bf16 (V100, T4) is several times faster in fp16, whose loss Lightning scales.
    """
    if computes_bf16(device):
        return "bf16-mixed"
    return "16-mixed" if device.type == "cuda" else "32-true"


def scoring_tokens(device: torch.device) -> int:
    """The most tokens of a batch that is scored: what fills a GPU, or a CPU's caches."""
    return 1024 if device.type == "cpu" else 16384


def loader_workers(device: torch.device, processes: int = 1) -> int:
    """How many workers prepare batches: none on the CPU, whose cores train; else the cores there are, at most four.

    Args:
        device: The device that computes.
        processes: How many such processes this machine has.
    """
    if device.type == "cpu":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(_WORKERS, cores // max(1, processes) - 1))


def pins_memory(device: torch.device) -> bool:
    """Whether batches lie in page-locked memory, from which copies run beside the computation."""
    return device.type == "cuda"


def packs_scoring(device: torch.device) -> bool:
    """Whether scoring leaves out padding too: where attention has kernels for it, or calls cost less than padding."""
    return device.type == "cuda"


def pads_groups(device: torch.device) -> bool:
    """Whether attention over groups of sequences takes few padded calls, or one for each length, with no padding."""
    return device.type != "cpu"


def wants_few_launches(device: torch.device) -> bool:
    """Whether a layer's many small kernels cost more than the work in them, so that fewer and larger ones pay."""
    return device.type == "cuda"


def runs_packed(device: torch.device) -> bool:
    """Whether packed batches are computed on as such; elsewhere (``mps``) they take the plain, padded path."""
    return device.type in ("cpu", "cuda")


def describe(device: torch.device) -> str:
    """A device for people and result files: the GPU's name, or the processor's architecture."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    import platform

    return f"{platform.machine()} {'CPU' if device.type == 'cpu' else device.type}"


PEAKS = {
    "B200": 2250e12, "H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "GH200": 989e12, "A100": 312e12,
    "A40": 150e12, "A10": 125e12, "L40S": 362e12, "L40": 181e12, "L4": 121e12, "RTX 4090": 165e12, "RTX 3090": 71e12,
    "V100": 125e12, "T4": 65e12,
}  # fmt: skip
"""Half-precision FLOP/s of dense matrix products with fp32 accumulation, by NVIDIA's data sheets."""


def peak_flops(name: str) -> float | None:
    """The half-precision peak of a GPU in FLOP/s; None where it is not in :data:`PEAKS`.

    Args:
        name: As ``torch.cuda.get_device_name`` gives it.
    """
    return next((peak for part, peak in PEAKS.items() if part.lower() in name.lower()), None)


# -- attention ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attention:
    """Which kernel attends within the sequences of a packed batch.

    Args:
        kernel: ``flash-attn``, the package; ``varlen``, torch's own kernel of the same kind; ``groups``, SDPA over
            groups of like length, which is exact everywhere.
        why: The reason, for people.
    """

    kernel: Literal["flash-attn", "varlen", "groups"]
    why: str


def attention(device: torch.device, dtype: torch.dtype, dropout: bool, head_size: int) -> Attention:
    """Choose the attention kernel of packed batches.

    Args:
        device: Where.
        dtype: In which attention is computed.
        dropout: Whether attention weights are dropped.
        head_size: Width of an attention head.
    """
    if device.type != "cuda":
        why = "one call a length costs little" if runs_packed(device) else "batches are padded"
        return Attention("groups", f"{device.type}: {why}")
    if dtype not in (torch.float16, torch.bfloat16):
        return Attention("groups", f"flash attention knows no {str(dtype).removeprefix('torch.')}")
    if head_size % 8 or head_size > _HEAD_SIZE:
        return Attention("groups", f"flash attention knows no heads of {head_size} values")
    major, minor = torch.cuda.get_device_capability(device)
    if major < 8:
        return Attention("groups", f"flash attention needs compute capability 8.0, this GPU has {major}.{minor}")
    missing = flash_attn_missing()
    if missing is None:
        return Attention("flash-attn", "the package flash-attn is installed")
    if dropout:
        return Attention("groups", f"{missing}, and torch's varlen kernel knows no dropout of attention weights")
    if not torch_varlen():
        return Attention("groups", f"{missing}, and this torch was built without flash attention")
    return Attention("varlen", f"{missing}; torch's varlen kernel does the same without dropout")


@lru_cache(maxsize=1)
def flash_attn_missing() -> str | None:
    """Why the package flash-attn cannot be used; None where it can. It is imported: a wheel may not fit this torch."""
    import importlib.util

    if importlib.util.find_spec("flash_attn") is None:
        return "flash-attn is not installed"
    try:
        from flash_attn import flash_attn_varlen_func
    except Exception as error:  # a wheel of another torch or CUDA may fail in any way, and there are other kernels
        return f"flash-attn does not import ({' '.join(str(error).split())[:120]})"
    return None if callable(flash_attn_varlen_func) else "flash-attn has no flash_attn_varlen_func"


@lru_cache(maxsize=1)
def torch_varlen() -> bool:
    """Whether this torch has its own kernel for sequences of different lengths."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return callable(varlen_attn) and bool(torch.backends.cuda.is_flash_attention_available())
