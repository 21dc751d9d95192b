"""What torch is told of a simulated device, where it would ask a driver."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # before anything is patched: it keeps functions as they are when it is imported
import torch.distributed as dist
import torch.utils._device
from cuda import autocast, kernels
from cuda.device import Device, SimulatedTensor
from torch.optim.optimizer import _foreach_supported_types as _optimizer_types
from torch.utils._device import DeviceContext
from torch.utils._foreach_utils import _foreach_supported_types as _foreach_types
from torch.utils._python_dispatch import _len_torch_dispatch_stack

torch.utils._device._device_constructors()  # keeps functions too

_to, _tensor, _as_tensor, _generator = torch.Tensor.to, torch.tensor, torch.as_tensor, torch.Generator
_compatible = torch._has_compatible_shallow_copy_type
_in_context = DeviceContext.__torch_function__


class SimulatedGenerator(torch.Generator):
    """A generator that says it is the device's; its numbers are the CPU's."""

    owner: Device

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Whose it is."""
        return self.owner.device


class _Generators(type):
    def __instancecheck__(cls, other: Any) -> bool:
        return isinstance(other, _generator)


@contextlib.contextmanager
def installed(device: Device) -> Iterator[None]:
    """Make torch believe in a device.

    Args:
        device: The device.
    """
    patches = (
        _common(device)
        | (_processes(device) if device.count > 1 else {})
        | (_cuda(device) if device.device.type == "cuda" else _mps(device))
    )
    autocast.register(device.device.type)
    with contextlib.ExitStack() as stack:
        for name, value in patches.items():
            stack.enter_context(mock.patch(name, value))
        for name, module in kernels.packages(device).items():
            stack.enter_context(mock.patch.dict(sys.modules, {name: module}))
        for known in (_optimizer_types, _foreach_types):
            known.append(SimulatedTensor)
            stack.callback(known.remove, SimulatedTensor)
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, before)
        stack.callback(autocast.forget_casts)
        yield


def _common(device: Device) -> dict[str, Any]:
    kind = device.device.type

    def full(value: Any) -> Any:  # C++ asks the driver for the current device where no number is given
        return device.device if isinstance(value, str | torch.device) and str(value) == kind else value

    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        places = [torch.device(v) for v in (*args, *kwargs.values()) if isinstance(v, str | torch.device)]
        # modes are a thread's own, and transformers loads weights in threads
        alone = any(p.type == kind for p in places) and not _len_torch_dispatch_stack()
        with device.present() if alone else contextlib.nullcontext():
            return _to(self, *map(full, args), **{name: full(value) for name, value in kwargs.items()})

    def home(asked: Any) -> torch.device:
        contexts = [m for m in torch.overrides._get_current_function_mode_stack() if isinstance(m, DeviceContext)]
        return torch.device(asked if asked is not None else contexts[-1].device if contexts else "cpu")

    def tensor(data: Any, *, device: Any = None, **kwargs: Any) -> Any:
        place = home(device)
        if place.type != kind:
            return _tensor(data, device=place, **kwargs)
        grad = kwargs.pop("requires_grad", False)
        return _to(_tensor(data, device="cpu", **kwargs), full(place)).requires_grad_(grad)

    def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
        if isinstance(data, SimulatedTensor):
            return to(data, device or data.device, dtype or data.dtype)
        place = home(device)
        if place.type != kind:
            return _as_tensor(data, dtype=dtype, device=place)
        return _to(_as_tensor(data, dtype=dtype, device="cpu"), full(place))

    def in_context(self: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        meta = self.device.type == "meta"
        device.meta_depth += meta
        try:
            return _in_context(self, func, types, args, kwargs)
        finally:
            device.meta_depth -= meta

    class Generator(metaclass=_Generators):
        def __new__(cls, device: Any = "cpu") -> Any:
            if torch.device(device).type != kind:
                return _generator(device=device)
            made = SimulatedGenerator()
            made.owner = owner
            owner.generators[made._cdata] = made
            return made

    owner = device

    def compatible(one: Any, other: Any) -> bool:
        return (
            not isinstance(one, SimulatedTensor) and not isinstance(other, SimulatedTensor) and _compatible(one, other)
        )

    return {
        "torch._has_compatible_shallow_copy_type": compatible,
        "torch.Generator": Generator,
        "torch.Tensor.pin_memory": lambda self, *_: device.pin(self),
        "torch.Tensor.is_pinned": lambda self, *_: device.is_pinned(self),
        "torch.tensor": tensor,
        "torch.as_tensor": as_tensor,
        "torch.Tensor.to": to,
        "torch.utils._device.DeviceContext.__torch_function__": in_context,
        "torch.clear_autocast_cache": autocast.forget_casts,
        "torch.nn.functional.scaled_dot_product_attention": kernels.sdpa(device),
        "torch.nn.attention.varlen.varlen_attn": kernels.varlen(device),
        "torch.optim.Optimizer._accelerator_graph_capture_health_check": lambda *_: None,
        "torch.accelerator.is_available": lambda: True,
        "torch.accelerator.current_accelerator": lambda *_, **__: torch.device(kind),
        "torch.accelerator.device_count": lambda: device.count,
        "torch.accelerator.current_device_index": lambda: device.device.index,
        "torch.accelerator.set_device_index": lambda *_: None,
        "torch.accelerator.synchronize": device.synchronize,
        "torch._C._group_tensors_by_device_and_dtype": _group,
    }


_dropout = torch.nn.functional.dropout


def _one_kernel(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Dropout as CUDA has it, one kernel that keeps a byte a value; C++ takes it for tensors it knows to be CUDA's."""
    if isinstance(x, SimulatedTensor):
        return torch.native_dropout(x, p, True)[0] if training and p else x
    return _dropout(x, p, training, inplace)


def _cuda(device: Device) -> dict[str, Any]:
    name = f"Simulated {device.capability[0]}.{device.capability[1]}"
    properties = SimpleNamespace(
        name=name, major=device.capability[0], minor=device.capability[1], total_memory=device.total_memory,
        multi_processor_count=132,
    )  # fmt: skip
    generator = _generator().manual_seed(0)

    def bf16(including_emulation: bool = True) -> bool:
        return device.bf16 or including_emulation

    def cuda(self: Any, place: Any = None, non_blocking: bool = False, **_: Any) -> Any:
        return _to(self, device.device, non_blocking=non_blocking)

    own = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": lambda: None,
        "device_count": lambda: device.count,
        "current_device": lambda: device.device.index,
        "set_device": lambda *_: None,
        "_exchange_device": lambda *_: device.device.index,
        "_maybe_exchange_device": lambda *_: device.device.index,
        "is_bf16_supported": bf16,
        "get_device_properties": lambda *_: properties,
        "get_device_name": lambda *_: name,
        "get_device_capability": lambda *_: device.capability,
        "synchronize": device.synchronize,
        "empty_cache": lambda: None,
        "get_rng_state": lambda *_: generator.get_state(),
        "get_rng_state_all": lambda *_: [generator.get_state()],
        "set_rng_state": lambda *_: None,
        "set_rng_state_all": lambda *_: None,
        "manual_seed": lambda *_: None,
        "manual_seed_all": lambda *_: None,
        "mem_get_info": lambda *_: (device.total_memory - device.live_bytes, device.total_memory),
        "memory_allocated": lambda *_: device.live_bytes,
        "max_memory_allocated": lambda *_: device.peak_bytes,
        "memory_reserved": lambda *_: device.peak_bytes,
        "max_memory_reserved": lambda *_: device.peak_bytes,
        "reset_peak_memory_stats": lambda *_: device.reset_peak(),
        "memory_stats": lambda *_: {"allocated_bytes.all.peak": device.peak_bytes},
    }
    patches = {f"torch.cuda.{function}": value for function, value in own.items()}
    patches["torch.Tensor.cuda"] = cuda
    patches["torch.backends.cuda.is_flash_attention_available"] = lambda: device.torch_flash
    patches["torch.nn.functional.dropout"] = _one_kernel
    return patches


def _processes(device: Device) -> dict[str, Any]:
    """A process group of gloo that says it is NCCL's."""
    reduce = dist.all_reduce

    def all_reduce(tensor: Any, op: Any = dist.ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Any:
        mean = op == dist.ReduceOp.AVG  # which gloo does not know
        work = reduce(tensor, dist.ReduceOp.SUM if mean else op, group, async_op)
        if mean:
            tensor /= dist.get_world_size(group)
        return work

    def barrier(group: Any = None, **_: Any) -> None:  # NCCL's is this too
        reduce(torch.zeros(1, device=device.device), group=group)
        device.wait("barrier")

    kind = device.device.type
    return {
        "torch.distributed.get_backend": lambda *_: "nccl",
        "torch.distributed.get_backend_config": lambda *_: f"{kind}:nccl",
        "torch.distributed.all_reduce": all_reduce,
        "torch.distributed.barrier": barrier,
        "torch.distributed.distributed_c10d.get_backend": lambda *_: "nccl",
        "torch.distributed.distributed_c10d.get_backend_config": lambda *_: f"{kind}:nccl",
        "torch.distributed.distributed_c10d._get_object_coll_device": lambda *_: kind,
    }


def _mps(device: Device) -> dict[str, Any]:
    generator = _generator().manual_seed(0)
    own = {
        "synchronize": device.synchronize,
        "empty_cache": lambda: None,
        "device_count": lambda: 1,
        "manual_seed": lambda *_: None,
        "get_rng_state": lambda *_: generator.get_state(),
        "set_rng_state": lambda *_: None,
        "current_allocated_memory": lambda: device.live_bytes,
        "driver_allocated_memory": lambda: device.peak_bytes,
    }
    patches: dict[str, Any] = {f"torch.mps.{function}": value for function, value in own.items()}
    return patches | {
        "torch.backends.mps.is_available": lambda: True,
        "torch.backends.mps.is_built": lambda: True,
        "torch.cuda.is_available": lambda: False,
        "torch.cuda.device_count": lambda: 0,
        "lightning.fabric.accelerators.mps.MPSAccelerator.is_available": staticmethod(lambda: True),
        "lightning.pytorch.accelerators.mps.MPSAccelerator.is_available": staticmethod(lambda: True),
    }


def _group(tensors: Any, with_indices: bool = False) -> Any:
    """What optimizers do with their lists of tensors, in Python: C++ would find the meta device."""
    found: dict[Any, Any] = {}
    for i in range(len(tensors[0])):
        first = next(own[i] for own in tensors if own and own[i] is not None)
        lists, places = found.setdefault((first.device, first.dtype), ([[] for _ in tensors], []))
        for own, mine in zip(tensors, lists, strict=True):
            if own:
                mine.append(own[i])
        places.append(i)
    return {key: (lists, places if with_indices else []) for key, (lists, places) in found.items()}
