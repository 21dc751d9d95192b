"""Several tasks trained at once on one encoder, a head each; every batch is of one task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Sampler

from xmit.data import batching
from xmit.data.workers import BatchBuilder, Build
from xmit.errors import ConfigError, check_choice, check_number
from xmit.tasks.base import Task
from xmit.tasks.datamodule import TaskData
from xmit.tasks.examples import Batch
from xmit.tasks.with_images import WithImages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmit.data.batching import BatchStream, EvaluationStream
    from xmit.data.image_spec import ImageSpec

Sampling = Literal["proportional", "uniform", "temperature"]
CAP = 2**17


def sampling_shares(
    sizes: Mapping[str, int],
    sampling: Sampling = "proportional",
    cap: int | None = CAP,
    temperature: float = 2.0,
    weights: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """How often each task is drawn, as a share of all updates.

    With e_m training examples in task m and the cap K: ``proportional`` is min(e_m, K) / Σ_n min(e_n, K) (Raffel et
    al. 2020, §3.5.2; arXiv 2005.13013 takes K = 2^17), ``temperature`` raises min(e_m, K) to 1/T before (ibid.), and
    ``uniform`` gives all the same.

    Args:
        sizes: Training examples by task.
        sampling: Which of the three.
        cap: K; None for no cap.
        temperature: T, at least 1.
        weights: Factors by task, 1 where none is given.

    Returns:
        Shares that sum to 1.

    Raises:
        ConfigError: For a cap, temperature or weight that is not positive, or the weight of an unknown task.

    Example:
        >>> sampling_shares({"mnli": 392702, "copa": 400})["copa"].__round__(4)
        0.003
    """
    check_choice("sampling", sampling, ("proportional", "uniform", "temperature"))
    unknown = sorted(set(weights or {}) - set(sizes))
    if unknown:
        raise ConfigError(f"mixture: weight of {unknown[0]!r}, which is none of its tasks {', '.join(sizes)}")
    if (cap is not None and cap < 1) or temperature < 1 or any(w <= 0 for w in (weights or {}).values()):
        raise ConfigError("mixture: cap and weights must be positive, and temperature at least 1")
    power = {"proportional": 1.0, "uniform": 0.0, "temperature": 1 / temperature}[sampling]
    rates = {m: min(e, cap or e) ** power * (weights or {}).get(m, 1.0) for m, e in sizes.items()}
    total = sum(rates.values())
    return {m: rate / total for m, rate in rates.items()}


class MixedBatches(Sampler[tuple[str, list[int]]]):
    """Batches of several tasks: a task is drawn for every update, then its next batch is taken.

    Which tasks are drawn depends on seed and epoch alone, so that all processes draw the same one; every task's own
    stream goes on over the epochs of the mixture and begins anew when it is through.

    Args:
        streams: The training batches of each task.
        shares: How often each is drawn.
        updates: Batches an epoch of the mixture.
        seed: The seed.
    """

    def __init__(
        self, streams: Mapping[str, BatchStream], shares: Mapping[str, float], updates: int, seed: int = 0
    ) -> None:
        self.streams, self.names = streams, list(streams)
        self.shares = np.asarray([shares[name] for name in self.names])
        self.updates, self.seed = updates, seed
        self.epoch = self.start_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that comes next; Lightning calls this."""
        self.epoch = epoch

    def draws(self, epoch: int) -> npt.NDArray[np.int64]:
        """The number of the task drawn for each update of an epoch, ``(updates,)``."""
        rng = np.random.default_rng((self.seed, epoch))
        return rng.choice(len(self.names), size=self.updates, p=self.shares)

    def __iter__(self) -> Iterator[tuple[str, list[int]]]:
        start, self.start_batch = self.start_batch, 0
        epoch, self.epoch = self.epoch, self.epoch + 1
        drawn = self.draws(epoch)
        before = np.bincount(drawn[:start], minlength=len(self.names))
        for past in range(epoch):
            before += np.bincount(self.draws(past), minlength=len(self.names))
        streams = [_endless(self.streams[name], int(n)) for name, n in zip(self.names, before, strict=True)]
        for number in drawn[start:]:
            yield self.names[number], next(streams[number])

    def __len__(self) -> int:
        return self.updates


def _endless(stream: BatchStream, position: int) -> Iterator[list[int]]:
    """A stream's batches from a position on, epoch after epoch."""
    stream.epoch, stream.start_batch = divmod(position, len(stream))
    while True:
        yield from stream


class _EvaluationBatches(Sampler[tuple[str, list[int]]]):
    """The evaluation streams of several tasks, one after the other."""

    def __init__(self, streams: Mapping[str, EvaluationStream]) -> None:
        self.streams = streams

    def __iter__(self) -> Iterator[tuple[str, list[int]]]:
        for name, stream in self.streams.items():
            for items in stream:
                yield name, items

    def __len__(self) -> int:
        return sum(len(stream) for stream in self.streams.values())


class _MixedBatch(BatchBuilder):
    """Hands the items of a batch to the collate of its task."""

    def __init__(self, tasks: Mapping[str, Task], split: str) -> None:
        self.tasks, self.split = tasks, split

    def build(self, which: Any) -> Batch:
        """The batch of some items of a task."""
        return _batch(self.tasks, self.split, which)

    def for_workers(self) -> Build:
        """The like of tasks that have this split alone."""
        return partial(_batch, {name: task.for_workers(self.split) for name, task in self.tasks.items()}, self.split)


def _batch(tasks: Mapping[str, Task], split: str, which: tuple[str, list[int]]) -> Batch:
    name, items = which
    return tasks[name].batch(split, items)


class TaskMixture(TaskData):
    """Trains several tasks at once: one encoder, a head each, every batch of one task (intermediate training).

    The best checkpoint is chosen by the mean of the tasks' main scores. Every task keeps its own batch size, lengths
    and source languages; shares count updates, not examples.

    Args:
        tasks: The tasks, of different names; in a config each with ``class_path`` and perhaps ``init_args``.
        name: The mixture's name in result rows.
        sampling: See :func:`sampling_shares`, as for ``cap``, ``temperature`` and ``weights``.
        cap: The most examples that a task counts for.
        temperature: Of ``sampling: temperature``.
        weights: Factors on the shares, by task.
        updates_per_epoch: Updates that make an epoch, by default Σ_m min(e_m, cap) / (batch size of m, over all
            processes).
        data_dir: Of every task that has none of its own. A task with a ``source_language`` that only its files have
            needs its own.
        images: ``real``, ``shuffled`` or ``none`` for every task with images, see
            :class:`~xmit.tasks.with_images.WithImages`; as each says by default.
        num_workers: Worker processes that build batches; by default as for each :class:`~xmit.tasks.base.Task`.
    """

    def __init__(
        self,
        tasks: list[Task],
        name: str = "mixture",
        sampling: Sampling = "proportional",
        cap: int | None = CAP,
        temperature: float = 2.0,
        weights: dict[str, float] | None = None,
        updates_per_epoch: int | None = None,
        data_dir: str | None = None,
        images: Literal["real", "shuffled", "none"] | None = None,
        num_workers: int | None = None,
    ) -> None:
        super().__init__()
        if num_workers is not None:
            check_number("data.num_workers", num_workers, whole=True)
        self.name, self.num_workers = name, num_workers
        self._tasks = {task.name: task for task in tasks}
        if len(self._tasks) < len(tasks) or not tasks:
            names = [task.name for task in tasks]
            twice = next((n for n in names if names.count(n) > 1), None)
            raise ConfigError(f"mixture {name!r}: {f'the task {twice!r} is in it twice' if twice else 'no tasks'}")
        for task in tasks:
            if not task.trains:
                raise ConfigError(f"mixture {name!r}: task {task.name!r} has nothing to train")
            task.data_dir = task.data_dir or data_dir
            if images is not None and isinstance(task, WithImages):
                check_choice("data.images", images, ("real", "shuffled", "none"))
                task.images = images
        self.sampling, self.cap, self.temperature, self.weights = sampling, cap, temperature, weights
        self.updates_per_epoch = updates_per_epoch
        if updates_per_epoch is not None and updates_per_epoch < 1:
            raise ConfigError(f"mixture {name!r}: updates_per_epoch is {updates_per_epoch}, it must be at least 1")
        sampling_shares(dict.fromkeys(self._tasks, 1), sampling, cap, temperature, weights)  # bad arguments show now

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks by name."""
        return self._tasks

    @property
    def roles(self) -> tuple[str, ...]:
        """Mixtures are intermediates."""
        return ("intermediate",)

    def bind(self, tokenizer: PreTrainedTokenizerBase, image_spec: ImageSpec | None = None) -> None:
        """Hand tokenizer and image spec to every task."""
        for task in self._tasks.values():
            task.bind(tokenizer, image_spec)

    def setup(self, stage: str) -> None:
        """Load the splits of a stage."""
        for task in self._tasks.values():
            task.setup(stage)

    def shares(self) -> dict[str, float]:
        """How often each task is drawn; needs the training data."""
        sizes = {name: len(task.table("train")) for name, task in self._tasks.items()}
        return sampling_shares(sizes, self.sampling, self.cap, self.temperature, self.weights)

    def train_batches(self) -> MixedBatches:
        """The training batches of all tasks, mixed."""
        streams = {name: task.train_batches(drop_last=True) for name, task in self._tasks.items()}
        _, world = batching.processes()
        # a stream's length in its own batches, capped as its examples are
        updates = sum(
            min(len(stream), max(1, (self.cap or 2**62) // (self._tasks[name].batch_size * world)))
            for name, stream in streams.items()
        )
        return MixedBatches(streams, self.shares(), self.updates_per_epoch or updates, torch.initial_seed() % 2**63)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of all tasks, mixed."""
        return self.loader(_MixedBatch(self._tasks, "train"), self.train_batches(), training=True)

    def evaluation_loader(self, split: str) -> DataLoader[Batch]:
        """A split of every task, one after the other."""
        streams = {name: task.evaluation_batches(split) for name, task in self._tasks.items()}
        return self.loader(_MixedBatch(self._tasks, split), _EvaluationBatches(streams))
