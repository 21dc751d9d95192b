"""A simulated CUDA device: values are computed on the CPU, but tensors say ``cuda:0`` and CUDA's rules hold.

How to use it, from a test or a program with ``tests`` on its path::

    from cuda.device import Device

    with Device() as device:  # capability=(7, 0), bf16=False for a V100; flash_attn=True; kind="mps"
        x = torch.ones(3, device="cuda") * 2  # Lightning's Trainer() finds the device by itself
    device.waits, device.uploads, device.copies, device.launched(), device.peak_bytes  # what was noted

``device.phase = "…"`` names what comes next in the notes, ``device.clear()`` forgets them, ``device.reset_peak()``
measures memory anew. The rules that hold:

- A tensor of the host with dimensions never meets one of the device; a generator belongs to its device; ``numpy()`` of
  the device's refuses; only the host's memory is pinned; an index out of range is a :class:`DeviceAssert`.
- What makes the host wait is noted with the line that did it: ``item()``, copies to the host, copies to the device that
  block, masks as indices, ``nonzero`` and the like, ``synchronize``.
- A copy to the host that nobody waits for holds nonsense until the host has waited for anything at all; an operator
  that reads it before is a :class:`NotArrived`.
- Autocast is CUDA's own (:mod:`cuda.autocast`), SDPA is one kernel that saves what CUDA's saves (:mod:`cuda.kernels`).

Its limits: time is not simulated, random numbers are the CPU's, kernels are counted by operator, workspaces within an
operator are not counted as memory, and there is one stream.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from cuda.ledger import Ledger, kernels
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, _len_torch_dispatch_stack

aten = torch.ops.aten

_DATA_DEPENDENT = {
    aten.nonzero.default, aten.masked_select.default, aten._unique2.default, aten.unique_dim.default,
    aten.unique_consecutive.default, aten.equal.default, aten.bincount.default, aten._local_scalar_dense.default,
    aten.is_nonzero.default, aten.histc.default, aten.nonzero_numpy.default,
}  # fmt: skip
"""Operators whose result, or its shape, the host must know."""
_INDEXING = {
    aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default,
    aten._unsafe_index.Tensor, aten._unsafe_index_put.default,
}  # fmt: skip
_TWO_DEVICES = "Expected all tensors to be on the same device, but found at least two devices, {} and cpu! ({})"
_ASSERTS = ("out of bounds", "out of range", "index -", "Target ")


def by_itself() -> contextlib.AbstractContextManager[Any]:
    """Within it operators of tensors of the host are nobody's business."""
    return _disable_current_modes() if _len_torch_dispatch_stack() else contextlib.nullcontext()


def _is_there(func: Any, args: Any, kwargs: Any, wanted: torch.device | None) -> bool:
    """Whether it is a ``to`` that changes nothing: torch asks C++, which knows our tensors as another device's."""
    same = func is aten._to_copy.default and kwargs.get("dtype") in (None, args[0].dtype)
    return same and isinstance(args[0], SimulatedTensor) and wanted in (None, args[0].device)


class DeviceAssert(RuntimeError):
    """A kernel met an index that is not there; on a GPU nothing works any more after it."""


class NotArrived(RuntimeError):
    """The host reads a copy that it has not waited for."""


class SimulatedTensor(Tensor):
    """A tensor of a simulated device.

    C++ sees a tensor of the meta device, so that neither autograd nor allocators ask a driver; its dispatch keys are
    the device's, for autocast.

    Attributes:
        held: The values, a tensor of the host.
        owner: The device.
    """

    held: Tensor
    owner: Device

    @staticmethod
    def __new__(cls, held: Tensor, owner: Device) -> SimulatedTensor:
        # a view of an ordinary tensor is one in inference mode too
        ordinary = torch.inference_mode(False) if torch.is_inference_mode_enabled() else contextlib.nullcontext()
        with ordinary, torch._C.DisableTorchFunctionSubclass(), by_itself():
            held = held.detach()
            shell = torch.empty_strided(held.shape, held.stride(), dtype=held.dtype, device="meta")
            self: SimulatedTensor = Tensor._make_subclass(  # type: ignore[attr-defined]
                cls, shell, False, device_for_backend_keys=owner.key_device
            )
        self.held, self.owner = held, owner
        owner.hold(held)
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl

    device = property(lambda self: self.owner.device)  # type: ignore[assignment]
    is_cuda = property(lambda self: self.owner.device.type == "cuda")  # type: ignore[assignment]
    is_mps = property(lambda self: self.owner.device.type == "mps")  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        assert isinstance(value, SimulatedTensor), "data of another device"
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.held = value.held

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first")
        return self.detach().cpu().numpy()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        self.owner.wait("tolist")
        self.owner.arrive()
        return self.held.tolist()

    def get_device(self) -> int:
        return self.owner.device.index

    def new_tensor(self, data: Any, **kwargs: Any) -> Tensor:
        return torch.tensor(data, **{"device": self.device, "dtype": self.dtype, **kwargs})

    def pin_memory(self, *args: Any) -> Tensor:
        raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")

    def is_pinned(self, *args: Any) -> bool:
        return False

    def type(self, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            return Tensor.type(self, *args, **kwargs)
        return self.held.type().replace("torch.", f"torch.{self.owner.device.type}.")

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def __deepcopy__(self, memo: dict[int, Any]) -> SimulatedTensor:
        if id(self) not in memo:
            new = SimulatedTensor(self.held.clone(), self.owner).requires_grad_(self.requires_grad)
            if getattr(self, "_is_param", False):
                new._is_param = True  # type: ignore[attr-defined]
            memo[id(self)] = new
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:  # saved as a tensor of the host: there is no device to load it to
        self.owner.wait("saved")
        self.owner.arrive()
        return self.held.clone().__reduce_ex__(protocol)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"SimulatedTensor({self.held!r}, device={str(self.device)!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        owner = next(t.owner for t in _tensors((args, tuple(kwargs.values()))) if isinstance(t, SimulatedTensor))
        return owner.call(func, args, kwargs)


class Device(Ledger, TorchDispatchMode):
    """Within it torch believes in a GPU; afterwards its tensors still work and its notes can be read.

    Args:
        kind: ``cuda`` or ``mps``.
        index: Which of the devices this process computes on.
        count: How many there are; with several, collectives take no tensors of the host, as NCCL's do not.
        capability: CUDA's compute capability.
        bf16: Whether it computes in bf16.
        flash_attn: Whether the package flash-attn is there.
        torch_flash: Whether torch was built with flash attention.
        total_memory: Bytes.
    """

    def __init__(
        self,
        kind: str = "cuda",
        index: int = 0,
        count: int = 1,
        capability: tuple[int, int] = (9, 0),
        bf16: bool = True,
        flash_attn: bool = False,
        torch_flash: bool = True,
        total_memory: int = 80 * 2**30,
    ) -> None:
        Ledger.__init__(self)
        TorchDispatchMode.__init__(self)
        self.device = torch.device(kind, index)
        self.key_device = torch.device(kind, 0)
        self.count, self.capability, self.bf16 = count, capability, bf16
        self.flash_attn, self.torch_flash, self.total_memory = flash_attn, torch_flash, total_memory
        self.pins = 0
        """How many tensors were put into page-locked memory."""
        self.attention_calls: list[str] = []
        """Which attention kernels were called, in order."""
        self.collectives: list[tuple[str, str]] = []
        """Which collectives were called, in order, each with its phase."""
        self.generators: dict[int, torch.Generator] = {}
        """The generators that are the device's own, by their address."""
        self.meta_depth = 0
        """Within how many ``torch.device("meta")`` we are: there the meta device is meant."""
        self._stack: contextlib.ExitStack | None = None
        self._pinned: dict[int, Any] = {}
        self._coming: dict[int, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> Device:
        from cuda.driver import installed

        self._stack = contextlib.ExitStack()
        self._stack.enter_context(installed(self))
        TorchDispatchMode.__enter__(self)
        return self

    def __exit__(self, *exception: Any) -> None:
        TorchDispatchMode.__exit__(self, *exception)
        assert self._stack is not None
        self.arrive()
        self._stack.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.call(func, args, kwargs or {})

    @contextlib.contextmanager
    def present(self) -> Iterator[None]:
        """Within it operators of this thread are the device's to run."""
        TorchDispatchMode.__enter__(self)
        try:
            yield
        finally:
            TorchDispatchMode.__exit__(self, None, None, None)

    @contextlib.contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Within it the notes are of a phase."""
        before, self.phase = self.phase, phase
        try:
            yield
        finally:
            self.phase = before

    # -- memory of the host ----------------------------------------------------------------------------------

    def pin(self, tensor: Tensor) -> Tensor:
        """A copy in page-locked memory, as somebody has asked for."""
        self.pins += 1
        return self._locked(tensor)

    def _locked(self, tensor: Tensor) -> Tensor:
        copy = tensor.clone(memory_format=torch.contiguous_format)
        storage = copy.untyped_storage()
        key = storage._cdata
        self._pinned[key] = weakref.finalize(storage, self._pinned.pop, key, None)
        return copy

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether a tensor of the host lies in page-locked memory."""
        return tensor.untyped_storage()._cdata in self._pinned

    def arrive(self) -> None:
        """The host has waited: what is on its way to it has arrived."""
        coming, self._coming = self._coming, {}
        with by_itself(), torch.inference_mode():  # some were made in it
            for there, values in coming.values():
                there.copy_(values)

    def synchronize(self, *_: Any) -> None:
        """What ``torch.cuda.synchronize`` does."""
        self.wait("synchronize")
        self.arrive()

    # -- operators -------------------------------------------------------------------------------------------

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator by the device's rules; one that has nothing to do with the device as ever."""
        tensors = list(_tensors((args, tuple(kwargs.values()))))
        ours = [t for t in tensors if isinstance(t, SimulatedTensor)]
        host = [t for t in tensors if not isinstance(t, SimulatedTensor)]
        if self._coming and not func.is_view and func is not aten.detach.default:
            self._check_arrived(host)
        if func.namespace == "c10d":
            return self._collective(func, args, ours, host)
        wanted = kwargs.get("device")
        wanted = None if wanted is None else torch.device(wanted)
        if wanted is not None and wanted.type == "meta" and (ours or not self.meta_depth):
            wanted = self.device  # options that C++ took from one of our tensors
        to_us = wanted is not None and wanted.type == self.device.type
        if not ours and not to_us:
            return func(*args, **kwargs)
        if to_us and wanted.index not in (None, self.device.index):
            raise RuntimeError(f"this process computes on {self.device}, not on {wanted}")
        if torch.is_inference_mode_enabled() and _composite(func):  # else autograd has taken it apart already
            with self.present():
                return func.decompose(*args, **kwargs)
        generator = kwargs.get("generator")
        if generator is not None and generator._cdata not in self.generators:
            raise RuntimeError(f"Expected a {self.device.type!r} device type for generator but found 'cpu'")
        if func is aten._to_copy.default or func is aten.copy_.default:
            done = self._transfer(func, args, kwargs, wanted, to_us)
            if done is not None:
                return done
        elif func in _INDEXING:
            self._check_indexing(func, args)
        else:
            if ours and any(t.dim() for t in host):
                raise RuntimeError(_TWO_DEVICES.format(self.device, func))
            self._note_wait(func, args, kwargs)
        n = 0 if _is_there(func, args, kwargs, wanted) else kernels(func, args, kwargs)
        if n:
            self.launch(func.name(), n)
        return self._compute(func, args, kwargs, wanted, ours)

    def _compute(self, func: Any, args: Any, kwargs: Any, wanted: torch.device | None, ours: list[Any]) -> Any:
        inner, options = _map(_held, args), {name: _map(_held, value) for name, value in kwargs.items()}
        if "device" in options:
            options["device"] = None if wanted is None else torch.device("cpu")
            options.pop("pin_memory", None)
        try:
            with by_itself():
                out = func(*inner, **options)
        except (IndexError, RuntimeError) as error:
            text = str(error)
            if "Dimension out of range" in text or not any(part in text for part in _ASSERTS):
                raise
            raise DeviceAssert(f"CUDA error: device-side assert triggered ({func}: {text})") from error
        if not isinstance(out, Tensor | list | tuple):
            return out
        if wanted is not None and wanted.type != self.device.type:
            return out
        known = {id(t.held): t for t in ours}

        def wrap(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if id(value) in known:
                old = known[id(value)]
                assert old.shape == value.shape, f"{func} changes a tensor's shape in place, which is not simulated"
                return old
            if self.device.type == "mps" and value.dtype in (torch.float64, torch.complex128):
                raise TypeError(
                    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. "
                    "Please use float32 instead."
                )
            return SimulatedTensor(value, self)

        return _map(wrap, out)

    def _transfer(self, func: Any, args: Any, kwargs: Any, wanted: torch.device | None, to_us: bool) -> Any:
        """Note a copy between host and device; carry it out where it is to the host."""
        blocking = not (kwargs.get("non_blocking") or (func is aten.copy_.default and len(args) > 2 and args[2]))
        if func is aten.copy_.default:
            there, source = args[:2]
            down = isinstance(source, SimulatedTensor) and not isinstance(there, SimulatedTensor)
            up = isinstance(there, SimulatedTensor) and not isinstance(source, SimulatedTensor)
        else:
            there, source = None, args[0]
            down = isinstance(source, SimulatedTensor) and wanted is not None and not to_us
            up = not isinstance(source, SimulatedTensor)
        size = source.numel() * source.element_size()
        if up and (source.dim() or func is not aten.copy_.default):  # one number is an argument of a kernel
            if blocking:
                self.wait("host to device, blocking")
                self.arrive()
            self.upload(size, self.is_pinned(source), blocking)
            if source.dtype == (there.dtype if there is not None else kwargs.get("dtype") or source.dtype):
                return self._compute(func, args, kwargs, wanted, [there] if there is not None else [])
        if not down:
            return None
        if func is aten._to_copy.default:
            options = {name: value for name, value in kwargs.items() if name not in ("device", "non_blocking")}
            options.pop("pin_memory", None)
            with by_itself():
                values = aten._to_copy.default(source.held, **options)
                there = values if blocking else self._locked(values)  # torch takes page-locked memory by itself
        else:
            with by_itself():
                values = source.held.expand(there.shape).to(there.dtype)
            blocking = blocking or not self.is_pinned(there)
        if blocking:
            self.wait("device to host")
            self.arrive()
            if func is aten.copy_.default:
                with by_itself():
                    there.copy_(values)
            return there
        self.copy(size)
        with by_itself():
            values = values.clone()
            if there.numel():
                there.untyped_storage().fill_(255)  # NaN, -1: whoever reads it will notice
        self._coming[there.untyped_storage()._cdata] = (there, values)
        return there

    def _collective(self, func: Any, args: Any, ours: list[Any], host: list[Tensor]) -> Any:
        """What processes do together: by the device alone where there are several, as NCCL does."""
        if host and self.count > 1:
            raise RuntimeError("No backend type associated with device type cpu")
        self.collectives.append((self.phase, func.name().removeprefix("c10d::")))
        known = {id(t.held): t for t in ours}
        with by_itself():
            out = func(*_map(_held, args))
        return _map(lambda value: known.get(id(value), value), out)

    def _check_arrived(self, host: list[Tensor]) -> None:
        for tensor in host:
            if tensor.device.type == "cpu" and tensor.untyped_storage()._cdata in self._coming:
                raise NotArrived("the host reads a non_blocking copy before it has waited for the device")

    def _note_wait(self, func: Any, args: Any, kwargs: Any) -> None:
        known_size = func is aten.repeat_interleave.Tensor and (kwargs.get("output_size") or args[1:])
        if func in _DATA_DEPENDENT or (func is aten.repeat_interleave.Tensor and not known_size):
            self.wait("item" if func is aten._local_scalar_dense.default else str(func).removeprefix("aten."))
            self.arrive()

    def _check_indexing(self, func: Any, args: Any) -> None:
        ours = isinstance(args[0], SimulatedTensor)
        value = args[2] if len(args) > 2 else None
        for index in args[1]:
            if index is None:
                continue
            if isinstance(index, SimulatedTensor) and not ours:
                raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
            if ours and not isinstance(index, SimulatedTensor):
                self.wait("index of the host, copied to the device")
                self.upload(index.numel() * index.element_size(), self.is_pinned(index), True)
            one = value is not None and value.numel() == 1  # then CUDA fills by the mask
            if index.dtype in (torch.bool, torch.uint8) and not one:
                self.wait("mask as index")
                self.arrive()
        if value is not None and value.dim() and isinstance(value, SimulatedTensor) != ours:
            raise RuntimeError(_TWO_DEVICES.format(self.device, func))


@cache
def _composite(func: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


def _tensors(tree: Any) -> Iterator[Tensor]:
    for part in tree:
        if isinstance(part, Tensor):
            yield part
        elif isinstance(part, list | tuple):
            yield from _tensors(part)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, SimulatedTensor) else value


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, list | tuple):
        parts = [_map(function, part) for part in tree]
        return type(tree)(parts) if type(tree) in (list, tuple) else tuple(parts)
    return function(tree)
