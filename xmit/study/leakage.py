"""What training data share with test data of other tasks: found by the tasks' own word and by hashing, then dropped."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xmit.data.image_files import image_source
from xmit.data.images import read_source
from xmit.errors import DataError
from xmit.tasks.base import Task, TaskData

if TYPE_CHECKING:
    import datasets

PHOTO = "photo"
"""A column with the file name of each image in its collection, see ``with_images_of`` of the image-text sources."""
NO_ITEMS = frozenset(
    {"id", "language", "label", "labels", "tags", "group", "answers", "gold", "targets", "side", PHOTO}
)
"""Columns that are no text of an item."""
TRAINING_ARGUMENTS = frozenset(
    {
        "source_language", "train_file", "validation_file", "batch_size", "max_length", "batching", "eval_tokens",
        "train_examples", "validation_examples", "num_workers", "train", "pooling",
    }
)  # fmt: skip
"""Arguments of a task that leave its test split as it is."""
LONG = 40
"""Bytes of a sentence, without blanks and punctuation, from which on it is taken for the same wherever it stands."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+|[\n。！？।॥؟۔]+")
_NOISE = re.compile(r"[\W_]+")
_NAME = re.compile(r"\d{6,}")


def overlap(one: type[Task], other: type[Task], thorough: bool = False) -> bool:
    """Whether two tasks may share items or images.

    Args:
        one: A task.
        other: Another.
        thorough: Take it that any two may.
    """
    a, b = one.metadata, other.metadata
    return thorough or one is other or b.name in a.overlaps or a.name in b.overlaps


def held_out(
    parts: Sequence[type[Task]], targets: Mapping[str, tuple[Mapping[str, Any], type[TaskData]]], leakage: str
) -> dict[str, Any]:
    """The settings of a fit that keep test items of targets out of its training data.

    Args:
        parts: The tasks trained on.
        targets: A study's targets by name, each with its fit config and class.
        leakage: ``drop``, ``thorough`` or ``refuse``.

    Returns:
        ``held_out`` and perhaps ``on_shared``, in an order that does not depend on the study's; empty where no target
        overlaps.
    """
    found: dict[str, dict[str, Any]] = {}
    for config, cls in targets.values():
        assert issubclass(cls, Task)
        if any(overlap(part, cls, leakage == "thorough") for part in parts):
            init = config["data"].get("init_args") or {}
            kept = {key: value for key, value in init.items() if key not in TRAINING_ARGUMENTS}
            if isinstance(kept.get("languages"), list):
                kept["languages"] = sorted(kept["languages"])
            spec = {"class_path": config["data"]["class_path"], **({"init_args": kept} if kept else {})}
            found[json.dumps(spec, sort_keys=True, default=str)] = spec
    if not found:
        return {}
    action = {"on_shared": "refuse"} if leakage == "refuse" else {}
    return {"held_out": [found[key] for key in sorted(found)], **action}


class SharedItems:
    """Finds the rows of training data that share an item or an image with the test data of other tasks.

    A row is shared if the texts of its item, taken together, are those of a test item; if a sentence of at least 40
    bytes stands in a test item (a Belebele passage holds sentences of SIB-200); or if one of its images is a test
    image, by its bytes or by a file name with a number of six digits or more, as those of Flickr and COCO have. The
    control without images is compared by them too, so that it trains on the same rows. Texts are compared as NFKC
    without case, blanks and punctuation, images never decoded. Rows with images are compared by these alone: many
    images share a caption or a question. Hashes of the test data are kept, 8 bytes a key; nothing else is held in
    memory.

    Args:
        tasks: The tasks whose test data are held out.
        refuse: Refuse training data with shared rows instead of dropping them.
    """

    def __init__(self, tasks: Sequence[Task], refuse: bool = False) -> None:
        self.tasks, self.refuse = list(tasks), refuse
        self.counts: dict[str, dict[str, Any]] = {}
        """By task trained on: ``examples`` before, ``dropped``, and ``shared_with`` how many with each test."""
        self._tests: dict[str, set[int]] | None = None

    @property
    def tests(self) -> dict[str, set[int]]:
        """The keys of every test split, by task; read once."""
        if self._tests is None:
            self._tests = {}
            for task in self.tasks:
                keys = self._tests.setdefault(task.name, set())
                for language in task.languages:
                    for row in item_keys(task, task.load_split(task.test_split, language)):
                        keys.update(row)
        return self._tests

    def __call__(self, task: Task, table: datasets.Dataset) -> datasets.Dataset:
        """Drop shared rows.

        Args:
            task: The task trained on.
            table: Its training data.

        Returns:
            The rows that share nothing, in their order.

        Raises:
            DataError: If rows are shared and that is refused, or no row is left.
        """
        kept, shared = [], Counter[str]()
        for number, keys in enumerate(item_keys(task, table, training=True)):
            found = [name for name, test in self.tests.items() if not test.isdisjoint(keys)]
            shared.update(found)
            if not found:
                kept.append(number)
        dropped = len(table) - len(kept)
        self.counts[task.name] = {"examples": len(table), "dropped": dropped, "shared_with": dict(shared)}
        with_whom = ", ".join(f"{n} with {name}" for name, n in sorted(shared.items()))
        if dropped and (self.refuse or not kept):
            raise DataError(
                f"task {task.name!r}: {dropped} of {len(table)} training examples share items or images with test data "
                f"({with_whom}): train on something else, or set 'leakage: {'ignore' if not kept else 'drop'}'"
            )
        return table.select(kept) if dropped else table


def item_keys(task: Task, table: datasets.Dataset, training: bool = False) -> Iterator[set[int]]:
    """What tells the items and images of each row, row by row.

    Args:
        task: Whose rows they are.
        table: The rows.
        training: Whether they are trained on: texts that stand beside an image then count for nothing.
    """
    import datasets

    images = [c for c, kind in table.features.items() if isinstance(kind, datasets.Image)]
    named = getattr(task, "image_columns", ())
    images += [c for c in named if c in table.column_names and c not in images]
    texts = [c for c, kind in table.features.items() if c not in NO_ITEMS and c not in images and _is_text(kind)]
    texts = [] if training and (images or named) else texts
    photos = [PHOTO] if PHOTO in table.column_names else []
    if not images and not texts and not photos:
        yield from (set[int]() for _ in range(len(table)))
        return
    view = table.select_columns([*texts, *photos, *images])
    for column in images:
        if isinstance(view.features[column], datasets.Image):
            view = view.cast_column(column, datasets.Image(decode=False))
    first = len(texts) + len(photos)
    files: dict[str, tuple[int, ...]] = {}  # one is in many rows, and read once

    def keys_of(cell: Any) -> Iterable[int]:
        if not isinstance(cell, str):
            return image_keys(cell)
        if cell not in files:
            files[cell] = tuple(image_keys(cell))
        return files[cell]

    for batch in view.iter(batch_size=256):
        for row in zip(*(batch[column] for column in (*texts, *photos, *images)), strict=True):
            yield {
                *text_keys([text for cell in row[: len(texts)] for text in _texts(cell)]),
                *(key for cell in row[len(texts) : first] for key in name_keys(cell)),
                *(key for cell in row[first:] for key in keys_of(cell)),
            }


def _is_text(kind: Any) -> bool:
    import datasets

    inner = kind.feature if isinstance(kind, datasets.List | datasets.LargeList) else kind
    return isinstance(inner, datasets.Value) and inner.dtype in ("string", "large_string")


def _texts(cell: Any) -> list[str]:
    if isinstance(cell, list):  # the words of a sentence, or choices
        return [" ".join(str(part) for part in cell)]
    return [str(cell)] if cell else []


def text_keys(texts: Sequence[str]) -> Iterator[int]:
    """The keys of an item's texts: one of all together, one of every long sentence."""
    plain = sorted(filter(None, map(_plain, texts)))
    if plain:
        yield _key("\x1f".join(plain).encode())
    for text in texts:
        for sentence in _SENTENCE.split(text):
            words = _plain(sentence).encode()
            if len(words) >= LONG:
                yield _key(words)


def image_keys(cell: Any) -> Iterator[int]:
    """The keys of an image: its file's bytes, and its name where that names one image alone.

    Args:
        cell: ``{"bytes", "path"}`` as the hub has it, or where the file lies, which may be in an archive.
    """
    source, place = image_source(cell), cell.get("path") if isinstance(cell, dict) else cell
    try:
        data = read_source(source)
    except DataError:
        data = b""  # what a missing or damaged image means is the task's to say; its name may tell it all the same
    if isinstance(data, bytes) and data:
        yield _key(b"\x00" + data)
    yield from name_keys(place)


def name_keys(place: Any) -> Iterator[int]:
    """The key of an image's file name, where that names one image alone."""
    name = re.split(r"[/\\:]", str(place or ""))[-1].rpartition(".")[0]
    if _NAME.search(name):
        yield _key(f"\x01{name}".encode())


def _plain(text: str) -> str:
    return _NOISE.sub("", unicodedata.normalize("NFKC", text).casefold())


def _key(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
