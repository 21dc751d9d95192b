"""``fit --dry-run``: what a run would do, and the memory it is expected to take, without doing it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from xmit.data.image_spec import ImageSpec
from xmit.errors import XmitError
from xmit.memory.runs import card, described_device, planned_device, processes, run_memory, tower_features
from xmit.memory.words import beyond, memory_lines, remedy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from xmit.modules.module import MultimodalModule
    from xmit.modules.vision import VisionConfig
    from xmit.tasks.base import Task, TaskData


class UnreadImages(ImageSpec):
    """Says how wide features are and how many an image has, and reads none: for plans.

    Args:
        config: The tower, which is not built.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__(config)
        self._known = dict(zip(("width", "n_tokens"), tower_features(config), strict=True)) | {"fingerprint": "unread"}

    def encode(self, images: Sequence[Any], on_bad: Any = "refuse", workers: int = 0) -> list[str | None]:
        """A key for each image; none is opened, and all are taken to be good."""
        return ["unread"] * len(images)


@dataclass(frozen=True)
class DryRun:
    """A fit as it would be.

    Args:
        module: The module, not built.
        data: Its task or tasks.
        trainer: The trainer's settings.
        folder: The run's folder.
        before: What a fit does before it loads its data.
    """

    module: MultimodalModule
    data: TaskData
    trainer: Mapping[str, Any]
    folder: Path
    before: Callable[[], None] = lambda: None

    def lines(self) -> Iterator[str]:
        """The plan, line by line, and a warning where the device is too small."""
        device = planned_device(self.trainer)
        self.data.compute_on(device)
        missing = self.load()
        at_hand = missing is None
        run = run_memory(self.module, self.data, self.trainer, device, at_hand)
        n = processes(self.trainer, device)
        for name, task in self.data.tasks.items():
            yield f"task {name}: {_examples(task, at_hand)}; {_languages(task)}"
            if task.trains:
                yield f"  {task.batch_size} examples a batch and device, at most {task.max_length} tokens an input"
        if missing is not None:
            yield f"the data are not at hand, so sizes are the published ones and the longest possible: {missing}"
        yield self.updates(n, at_hand)
        hparams = self.module.hparams
        yield f"encoder {hparams['init_from'] or hparams['encoder']}, word embeddings {hparams['embedding']}"
        if self.module.vision is not None:
            vision = {key: value for key, value in asdict(self.module.vision).items() if value}
            yield "vision tower " + ", ".join(f"{key} {value}" for key, value in vision.items())
        yield f"device {described_device(device)}{f', {n} of them' if n > 1 else ''}, precision {run.precision}"
        yield f"attention {run.kernel}" if run.kernel else "attention unknown"
        yield f"output {self.folder}"
        yield from memory_lines(run)
        room = card(device)
        if warning := beyond(run, room):
            assert room is not None
            found = remedy(self.module, self.data, self.trainer, device, room, at_hand)
            yield f"warning: {warning}: {f'set {found}' if found else 'take a larger GPU, or FSDP over several'}"

    def load(self) -> str | None:
        """Load and tokenise the data that a fit begins with; says why where they are not to be had."""
        try:
            spec = UnreadImages(self.module.vision) if self.module.vision is not None else None
            self.before()
            self.data.setup("fit")
            self.data.bind(self.module.tokenizer, spec)
            for task in self.data.tasks.values() if self.data.trains else ():
                for split in ("train", "validation"):
                    task.examples(split)
        except XmitError as error:
            return " ".join(str(error).split())
        return None

    def updates(self, n: int, at_hand: bool) -> str:
        """How many updates there will be, as far as it can be known.

        Args:
            n: Devices that train on parts of each batch.
            at_hand: Whether the data are.
        """
        if not self.data.trains:
            return "nothing is trained"
        steps, epochs = self.trainer.get("max_steps") or -1, self.trainer.get("max_epochs")
        accumulated = int(self.trainer.get("accumulate_grad_batches") or 1)
        batches = self._batches(n, at_hand)
        found = math.inf if steps < 0 else steps
        limit = self.trainer.get("limit_train_batches")
        if batches is not None and isinstance(limit, int | float):
            batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        if batches is not None and epochs not in (None, -1):
            found = min(found, epochs * math.ceil(batches / accumulated))
        each = f" of {accumulated} batches" if accumulated > 1 else ""
        if found == math.inf:
            return f"updates: unknown; {'max_epochs ' + str(epochs) if epochs else 'no end is set'}"
        return f"updates: {found:,}{each}"

    def _batches(self, n: int, at_hand: bool) -> int | None:
        """Batches of an epoch; None where the size of the data is not known."""
        if at_hand:
            stream: Any = self.data.train_dataloader().sampler
            return max(1, len(stream) // n)
        (task, *others) = self.data.tasks.values()
        size = _published(task)
        return None if others or size is None else math.ceil(size / (task.batch_size * n))


def _published(task: Task) -> int | None:
    """Training examples by the metadata and the task's settings."""
    size = task.sizes.get("train")
    if size is not None:
        size *= len(task.source_languages)
    return min((n for n in (size, task.train_examples) if n is not None), default=None)


def _examples(task: Task, at_hand: bool) -> str:
    if not task.trains:
        return "nothing to train"
    n = len(task.examples("train")) if at_hand else _published(task)
    return "training examples unknown" if n is None else f"{n:,} training examples"


def _languages(task: Task) -> str:
    shown = " ".join(task.languages[:8]) + (" …" if len(task.languages) > 8 else "")
    trained = f"trained on {' '.join(task.source_languages)}, " if task.trains else ""
    return f"{trained}{len(task.languages)} languages: {shown}"
