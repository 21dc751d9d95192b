"""Batches built in worker processes: what is sent to these, and how the batches come back.

Under ``fork`` a worker has everything already. Under ``spawn`` and ``forkserver`` (macOS, Windows, Python 3.14) it gets
what builds batches and nothing else; token arrays that are mapped from a file are sent as their place there.
"""

from __future__ import annotations

import io
import math
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from abc import abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from xmit.errors import ConfigError, DataError, XmitError, check_choice

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Build = Callable[[Any], dict[str, Any]]
"""Makes a batch of what a sampler yields."""

_SHARED = 2**20
"""Bytes from which a tensor comes back in shared memory. Below it a pipe is quicker, and holds no file open."""
_PLACE = 256
"""Bytes of an array from which its place in a file is the shorter message."""
_READY = 8
"""About how many batches of all workers lie ready."""
_KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


# -- how workers start -----------------------------------------------------------------------------------------


def start_method(context: str | None = None) -> str:
    """How worker processes are started: as told, as the program has set, else as this Python does by default."""
    known = multiprocessing.get_all_start_methods()
    if context is not None:
        check_choice("multiprocessing_context", context, known)
    return context or multiprocessing.get_start_method(allow_none=True) or known[0]


def warm_up(start: str) -> None:
    """Let the process that ``forkserver`` forks workers from import what all of them need: seconds each, else."""
    if start == "forkserver":
        multiprocessing.set_forkserver_preload(["__main__", "xmit.tasks"])


def prefetched(workers: int) -> int:
    """Batches that each of so many workers prepares ahead."""
    return max(2, _READY // workers)


def hindrance(start: str, classes: Iterable[type]) -> str | None:
    """Why workers could not run, with the remedy; None where nothing is in the way.

    Args:
        start: How they are started, see :func:`start_method`.
        classes: The classes of the tasks.
    """
    if start == "fork":
        return None
    script = _main_file()
    if script is None:
        return next((_unseen(cls.__qualname__) for cls in classes if cls.__module__ == "__main__"), None)
    try:
        guarded = getattr(sys.modules["__main__"], "__spec__", None) or b"__name__" in script.read_bytes()
    except OSError:
        return None
    if guarded:
        return None
    return (
        f"loader workers started by {start!r} run {script} again from its top: put its calls under "
        f"if __name__ == '__main__': or set num_workers to 0"
    )


def _main_file() -> Path | None:
    """The program's file, which new processes import; None in a notebook and at the prompt."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file) if file else None


def _unseen(name: str) -> str:
    return (
        f"{name} is defined in a notebook or at the prompt, where loader workers cannot import it: move it to a file "
        f"and import it from there, or set num_workers to 0"
    )


def begin(worker: int) -> None:
    """What a worker does first: it computes with one thread, and leaves signals to the process that trains.

    Args:
        worker: Its number.
    """
    torch.set_num_threads(1)
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):  # they reach the whole group; that process ends its workers
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _told_to_end)


def _told_to_end(signum: int, frame: FrameType | None) -> None:
    """SLURM's SIGTERM is for all: batches go on until a checkpoint is saved. A second one is for this process."""
    signal.signal(signum, signal.SIG_DFL)


# -- what is sent to workers -----------------------------------------------------------------------------------


class BatchBuilder(Dataset[dict[str, Any]]):
    """Makes whole batches of what a sampler yields, here or in a worker process."""

    @abstractmethod
    def build(self, which: Any) -> dict[str, Any]:
        """Make a batch."""

    @abstractmethod
    def for_workers(self) -> Build:
        """Return what makes the same batches elsewhere, with as little as that takes."""

    def __getitem__(self, which: Any) -> Any:
        return self.build(which) if get_worker_info() is None else _answer(self.build, which)

    def __reduce__(self) -> tuple[type[_SentBuilder], tuple[bytes]]:
        return _SentBuilder, (packed(self.for_workers()),)


class _SentBuilder(Dataset[Any]):
    """A builder as it arrives in a worker, opened with the first batch: what goes wrong then is told like all else."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._build: Build | None = None

    def __getitem__(self, which: Any) -> Any:
        return _answer(self.build, which)

    def build(self, which: Any) -> dict[str, Any]:
        if self._build is None:
            self._build, self.content = _unpacked(self.content), b""
        return self._build(which)


def packed(build: Build) -> bytes:
    """Pickle what builds batches.

    Raises:
        ConfigError: If it cannot be pickled, or the worker could not find its classes.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL)
    try:
        pickler.dump(build)
    except (pickle.PicklingError, TypeError, AttributeError) as error:  # Python has no single error for it
        raise ConfigError(
            f"what builds batches cannot be sent to loader workers ({error}): define classes and functions at the top "
            f"of a file, keep open files and the like off the task (Task.for_workers), or set num_workers to 0"
        ) from error
    if pickler.main and _main_file() is None:
        raise ConfigError(_unseen(pickler.main))
    return buffer.getvalue()


def _unpacked(content: bytes) -> Build:
    try:
        build: Build = pickle.loads(content)
    except (AttributeError, ImportError) as error:
        raise ConfigError(
            f"a loader worker does not find what builds batches ({error}): move it to a file that can be imported, or "
            f"set num_workers to 0"
        ) from error
    return build


class _Pickler(pickle.Pickler):
    """Sends arrays that are mapped from a file as their place there; notes what belongs to the program's own module."""

    main: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._files: dict[str, _MappedFile] = {}

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            place = _place(value) if value.nbytes > _PLACE else None
            if place is None:
                return NotImplemented
            path, *rest = place
            return _MappedFile.array, (self._files.setdefault(path, _MappedFile(path)), *rest)
        if isinstance(value, type | FunctionType) and value.__module__ == "__main__":
            self.main = value.__qualname__
        return NotImplemented


def _place(array: npt.NDArray[Any]) -> tuple[str, str, tuple[int, ...], int] | None:
    """File, number format, shape and first byte of an array that is mapped from a file, whole or in part."""
    base: Any = array
    while isinstance(base, np.ndarray) and not (isinstance(base, np.memmap) and not isinstance(base.base, np.ndarray)):
        base = base.base
    if not isinstance(base, np.memmap) or base.filename is None or not array.flags.c_contiguous:
        return None
    first = base.offset + array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    return os.fspath(base.filename), array.dtype.str, array.shape, first


class _MappedFile:
    """A file that arrays lie in; in another process mapped again, once for all of them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._bytes: npt.NDArray[np.uint8] | None = None

    def __reduce__(self) -> tuple[type[_MappedFile], tuple[str]]:
        return _MappedFile, (self.path,)

    def array(self, dtype: str, shape: tuple[int, ...], first: int) -> npt.NDArray[Any]:
        """An array again; who sent it has checked the file."""
        try:
            if self._bytes is None:
                self._bytes = np.memmap(self.path, np.uint8, "r").view(np.ndarray)
            return np.frombuffer(self._bytes, dtype, math.prod(shape), first).reshape(shape)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path} has gone or is cut off ({error}): run again, and it is made anew") from error


class SpecialTokens:
    """A tokenizer's special tokens and their ids: all that batches need of what takes seconds to load.

    Args:
        tokenizer: Whose.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        names = [f"{kind}_token{end}" for kind in _KINDS for end in ("", "_id")]
        names += ["all_special_tokens", "all_special_ids", "padding_side", "model_max_length", "vocab_size"]
        self._known = {name: getattr(tokenizer, name, None) for name in names}
        self._size = len(tokenizer)

    def __len__(self) -> int:
        return self._size

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pickle asks
            raise AttributeError(name)
        if name not in self._known:
            _refuse(f"tokenizer.{name}", "self.tokenizer")
        return self._known[name]

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: no text is left to tokenise."""
        _refuse("the tokenizer", "self.tokenizer")


class NotSent(list[str]):
    """Stands for a list that batches do not need.

    Args:
        name: Its name.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __reduce__(self) -> tuple[type[NotSent], tuple[str]]:
        return NotSent, (self.name,)

    def __getitem__(self, place: SupportsIndex | slice) -> NoReturn:
        _refuse(f"examples.{self.name}", f"examples.{self.name}")

    def __iter__(self) -> NoReturn:
        _refuse(f"examples.{self.name}", f"examples.{self.name}")

    def __len__(self) -> int:
        _refuse(f"examples.{self.name}", f"examples.{self.name}")


def _refuse(what: str, kept: str) -> NoReturn:
    raise ConfigError(
        f"collate uses {what}, which loader workers do not get: do that in encode, keep {kept} in an own "
        f"Task.for_workers, or set num_workers to 0"
    )


# -- how batches come back -------------------------------------------------------------------------------------


class BatchLoader(DataLoader[Any]):
    """A DataLoader whose batches may come from workers, as they are or as the one line of what went wrong there."""

    def __iter__(self) -> Any:
        """The batches."""
        for batch in super().__iter__():
            if isinstance(batch, _Failure):
                raise batch.error()
            yield batch.opened() if isinstance(batch, _Parcel) else batch


def _answer(build: Build, which: Any) -> _Parcel | _Failure:
    """A batch on its way out of a worker, or what is wrong with it."""
    try:
        return _Parcel(build(which))
    except XmitError as error:
        return _Failure(error)


class _Parcel:
    """A batch between processes: one piece of bytes, and beside it the large tensors, which lie in shared memory."""

    def __init__(self, batch: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        pickler = _BatchPickler(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        pickler.dump(batch)
        self.content, self.large = buffer.getvalue(), pickler.large

    def opened(self) -> dict[str, Any]:
        batch: dict[str, Any] = _BatchUnpickler(io.BytesIO(self.content), self.large).load()
        return batch

    def pin_memory(self, device: Any = None) -> Any:
        """The batch in page-locked memory; the loader's own thread calls this."""
        return _pinned(self.opened())


class _BatchPickler(pickle.Pickler):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.large: list[Tensor] = []

    def persistent_id(self, value: Any) -> int | None:
        if type(value) is not Tensor or value.nbytes < _SHARED:
            return None
        self.large.append(value)
        return len(self.large) - 1

    def reducer_override(self, value: Any) -> Any:
        if type(value) is Tensor and value.dtype is not torch.bfloat16 and not value.requires_grad:
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented


class _BatchUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, large: list[Tensor]) -> None:
        super().__init__(file)
        self.large = large

    def persistent_load(self, number: int) -> Tensor:
        return self.large[number]


def _pinned(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _pinned(value) for name, value in part.items()}
    if isinstance(part, list) and part and not isinstance(part[0], int | float | str):
        return [_pinned(value) for value in part]
    return part.pin_memory() if hasattr(part, "pin_memory") else part


class _Failure:
    """An error on its way out of a worker, with the place where it was raised as a note."""

    def __init__(self, error: XmitError) -> None:
        kind = type(error)
        self.kind = kind if kind.__init__ is Exception.__init__ else XmitError  # others want arguments of their own
        self.message, self.trace = str(error), "".join(traceback.format_exception(error))

    def error(self) -> XmitError:
        error = self.kind(self.message)
        error.add_note(f"In a loader worker:\n{self.trace}")
        return error
