"""CUDA's autocast on simulated tensors: its lists are read from torch's own header.

C++ would ask a simulated tensor whether it is CUDA's and hear that it is not, so the operators of the lists are
implemented here anew, by the same rules: those of the first list compute in the lower precision, those of the second in
fp32, those of the third too unless told otherwise, those of the last in the widest type given.
"""

from __future__ import annotations

import re
import warnings
import weakref
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map_only

aten = torch.ops.aten
HEADER = Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h"
LISTS = ("LOWER_PRECISION_FP", "FP32", "FP32_SET_OPT_DTYPE", "PROMOTE")

_casts: dict[tuple[int, torch.dtype], tuple[weakref.ref[torch.Tensor], torch.Tensor]] = {}
"""Weights in the lower precision, which autocast keeps until it ends, as C++ does."""


@lru_cache(maxsize=1)
def lists() -> dict[str, list[str]]:
    """The operators of each of CUDA's lists, as ``name`` or ``name.overload``."""
    text = HEADER.read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for name in LISTS:
        (line,) = re.findall(rf"#define AT_FORALL_{name}\(_\)(.*)", text)
        pairs = re.findall(r"_\((\w+)(?:,\s*(\w+))?\)", line)
        found[name] = [f"{op}.{overload}" if overload else op for op, overload in pairs]
    found["FP32"] += ["norm.Scalar", "norm.ScalarOpt_dim"]  # which C++ redirects to overloads that name a type
    return found


def forget_casts() -> None:
    """What ``torch.clear_autocast_cache`` does."""
    _casts.clear()


def cast(tree: Any, dtype: torch.dtype) -> Any:
    """Cast the simulated floating-point tensors among arguments, but for fp64 ones; weights once."""
    from cuda.device import SimulatedTensor

    def one(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, SimulatedTensor) or not tensor.is_floating_point() or tensor.dtype == torch.float64:
            return tensor
        if tensor.dtype == dtype:
            return tensor
        weight = tensor.is_leaf and tensor.requires_grad and tensor.dtype == torch.float32 and not tensor._is_view()
        if not (weight and dtype != torch.float32 and torch.is_autocast_cache_enabled()):
            return tensor.to(dtype)
        known = _casts.get((id(tensor), dtype))
        if known is None or known[0]() is not tensor:
            known = _casts[id(tensor), dtype] = (weakref.ref(tensor), tensor.to(dtype))
        return known[1]

    return tree_map_only(torch.Tensor, one, tree)


@lru_cache(maxsize=2)
def register(device_type: str) -> torch.library.Library:
    """Implement the lists for simulated tensors of a type of device; once a process."""
    key = getattr(torch._C.DispatchKey, f"Autocast{device_type.upper()}")
    keys = torch._C.DispatchKeySet(key)
    library = torch.library.Library("aten", "IMPL")
    rules: dict[str, Callable[..., Any]] = {
        "LOWER_PRECISION_FP": _lower, "FP32": _full, "FP32_SET_OPT_DTYPE": _full_unless_told, "PROMOTE": _widest,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that kernels of C++ are overridden
        for name, operators in lists().items():
            for operator in operators:
                base, _, overload = operator.partition(".")
                op = getattr(getattr(aten, base), overload or "default")
                run = _without(keys, rules[name](op, device_type))
                library.impl(operator, run, f"Autocast{device_type.upper()}", allow_override=True)
    return library


def _without(keys: torch._C.DispatchKeySet, run: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return run(*args, **kwargs)

    return guarded


def _lower(op: Any, device_type: str) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        dtype = torch.get_autocast_dtype(device_type)
        return op(*cast(args, dtype), **cast(kwargs, dtype))

    return run


def _full(op: Any, device_type: str) -> Callable[..., Any]:
    return lambda *args, **kwargs: op(*cast(args, torch.float32), **cast(kwargs, torch.float32))


def _full_unless_told(op: Any, device_type: str) -> Callable[..., Any]:
    place = [argument.name for argument in op._schema.arguments].index("dtype")

    def run(*args: Any, **kwargs: Any) -> Any:
        told = kwargs.get("dtype") or (args[place] if len(args) > place else None)
        if told is None and args[0].dtype in (torch.float16, torch.bfloat16):
            return op(*args[:place], **{**kwargs, "dtype": torch.float32})
        return op(*args, **kwargs)

    return run


def _widest(op: Any, device_type: str) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        given = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor) and t.is_floating_point()]
        if any(t.dtype == torch.float32 for t in given):
            return op(*cast(args, torch.float32), **cast(kwargs, torch.float32))
        return op(*args, **kwargs)

    return run
