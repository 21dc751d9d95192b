"""What a simulated device notes: host waits, copies, uploads, kernel launches and live memory."""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

_OWN = tuple(
    str(Path(__file__).with_name(f"{name}.py")) for name in ("autocast", "device", "driver", "kernels", "ledger")
)
_MACHINERY = (*_OWN, "contextlib.py", "/torch/utils/_python_dispatch", "/torch/utils/_pytree", "/torch/_tensor.py")

CHUNK, BLOCKS = 65536, 320
"""Elements of a chunk, and the most chunks of a launch, of a multi-tensor kernel (ATen's ``MultiTensorApply.cuh``)."""
MOST_TENSORS = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}
"""The most tensors of a launch by the lists of tensors that the kernel takes (the same file)."""


@dataclass(frozen=True)
class Wait:
    """The host waited for the device.

    Args:
        phase: What was going on.
        what: What made it wait.
        line: The library's line that did it, and the innermost one where that is another.
    """

    phase: str
    what: str
    line: str


@dataclass(frozen=True)
class Upload:
    """Bytes went from the host to the device.

    Args:
        phase: What was going on.
        pinned: Whether they came from page-locked memory.
        blocking: Whether the host waited for them.
        size: Bytes.
        line: As of :class:`Wait`.
    """

    phase: str
    pinned: bool
    blocking: bool
    size: int
    line: str


@dataclass(frozen=True)
class Copy:
    """Bytes went from the device to the host, which did not wait for them.

    Args:
        phase: What was going on.
        size: Bytes.
        line: As of :class:`Wait`.
    """

    phase: str
    size: int
    line: str


@dataclass
class Ledger:
    """Everything noted since the last :meth:`clear`.

    Attributes:
        phase: What is going on, for the entries to come; whoever runs something sets it.
        waits: Each time that the host waited.
        uploads: Each transfer to the device.
        copies: Each transfer to the host that was not waited for.
        launches: Kernels launched, by phase and operator.
        live_bytes: Bytes of device memory that tensors hold now; pieces of one storage count once.
        peak_bytes: The most there were since :meth:`reset_peak`.
    """

    phase: str = "-"
    waits: list[Wait] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    launches: Counter[tuple[str, str]] = field(default_factory=Counter)
    live_bytes: int = 0
    peak_bytes: int = 0
    _sizes: dict[int, int] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget what was noted, but not what memory is held."""
        self.waits.clear()
        self.uploads.clear()
        self.copies.clear()
        self.launches.clear()

    def wait(self, what: str) -> None:
        """Note that the host waits here."""
        self.waits.append(Wait(self.phase, what, caller()))

    def upload(self, size: int, pinned: bool, blocking: bool) -> None:
        """Note bytes that go to the device."""
        self.uploads.append(Upload(self.phase, pinned, blocking, size, caller()))

    def copy(self, size: int) -> None:
        """Note bytes that go to the host without a wait."""
        self.copies.append(Copy(self.phase, size, caller()))

    def launch(self, name: str, n: int = 1) -> None:
        """Note so many kernels of an operator."""
        self.launches[self.phase, name] += n

    def launched(self, phase: str | None = None) -> int:
        """How many kernels a phase launched; all of them by default."""
        return sum(n for (own, _), n in self.launches.items() if phase in (None, own))

    def hold(self, tensor: Tensor) -> None:
        """Count the memory of a tensor for as long as its storage lives."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        size = storage.nbytes()
        self._sizes[key] = size
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._release, key).atexit = False

    def _release(self, key: int) -> None:
        self.live_bytes -= self._sizes.pop(key)

    def reset_peak(self) -> None:
        """Measure the peak anew, from what is held now."""
        self.peak_bytes = self.live_bytes


def caller() -> str:
    """The innermost line of this library, and the innermost of all where that is elsewhere."""
    frame, inner, own = sys._getframe(1), None, None
    while frame is not None and own is None:
        file = frame.f_code.co_filename
        if not any(part in file for part in _MACHINERY):
            if inner is None and ("/torch/" not in file or "/torch/optim" in file):
                inner = frame
            if "/xmit/" in file:
                own = frame
        frame = frame.f_back
    lines = [f"{_short(f.f_code.co_filename)}:{f.f_lineno} {f.f_code.co_name}" for f in (own, inner) if f is not None]
    return " -> ".join(dict.fromkeys(lines)) or "elsewhere"


def _short(file: str) -> str:
    for root in ("site-packages/", "/main/"):
        file = file.split(root)[-1]
    return file


# -- launches ----------------------------------------------------------------------------------------------

_NO_KERNEL = {
    "aten::empty.memory_format", "aten::empty_strided", "aten::empty_like", "aten::new_empty",
    "aten::new_empty_strided", "aten::_unsafe_view", "aten::set_", "aten::resize_", "aten::lift_fresh",
    "aten::lift", "aten::detach_", "aten::is_same_size", "aten::_local_scalar_dense", "aten::is_pinned",
    "aten::_has_same_storage_numel", "aten::record_stream", "aten::sym_size.int", "aten::_fused_sdp_choice",
}  # fmt: skip
_SEVERAL = {
    "aten::native_layer_norm_backward": 2,  # of the input; of weight and bias
    "aten::embedding_dense_backward": 6,  # sorts the ids first
    "aten::sort": 4, "aten::sort.stable": 4, "aten::cumsum": 2, "aten::nonzero": 4, "aten::nonzero_static": 4,
}  # fmt: skip


def kernels(func: torch._ops.OpOverload, args: tuple[object, ...], kwargs: dict[str, object]) -> int:
    """How many kernels an operator launches.

    One each, none for views and for what only allocates; a multi-tensor operator as many as its chunks and its tensors
    need; a few that are known to take several, those. Composite kernels of libraries count as one.

    Args:
        func: The operator.
        args: What it is called with.
        kwargs: The like.
    """
    name = func.name()
    if func.is_view or name in _NO_KERNEL:
        return 0
    if name.startswith(("aten::_foreach_", "aten::_fused_", "aten::_amp_foreach_")):
        return _multi_tensor(name, [a for a in (*args, *kwargs.values()) if isinstance(a, list | tuple)])
    return _SEVERAL.get(name, 1)


def _multi_tensor(name: str, given: list[list[object] | tuple[object, ...]]) -> int:
    lists: list[list[Tensor]] = [own for own in given if own and all(isinstance(t, Tensor) for t in own)]  # type: ignore[misc]
    if not lists:
        return 0
    # the counts of updates are read from the arguments of the launch; results of what is not in place are one list more
    depth = sum(1 for own in lists if own[0].dim() or not name.startswith("aten::_fused_"))
    depth += not name.split(".")[0].endswith("_") and name.split(".")[0] != "aten::_foreach_norm"
    launches, tensors, blocks = 0, 0, 0
    most = MOST_TENSORS[min(max(depth, 1), 5)]
    for tensor in lists[0]:
        tensors += 1
        chunks = -(-tensor.numel() // CHUNK)
        while chunks:
            taken = min(chunks, BLOCKS - blocks)
            chunks, blocks = chunks - taken, blocks + taken
            if blocks == BLOCKS or (tensors == most and not chunks):
                launches, blocks, tensors = launches + 1, 0, int(chunks > 0)
    norm = name.startswith("aten::_foreach_norm")  # which then adds up what its chunks found
    return launches + (blocks > 0) + norm
