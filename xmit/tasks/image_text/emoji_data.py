"""Emoji with their images, groups and names in many languages: an ``annotations.jsonl`` and a tar of images."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmit.data.readers import read_jsonl
from xmit.data.sources import find_file
from xmit.data.text import AGAIN, fail
from xmit.errors import ConfigError
from xmit.tasks.image_text.sources import with_images_of

if TYPE_CHECKING:
    import datasets

    from xmit.tasks.base import Task
    from xmit.tasks.with_images import WithImages

GROUPS = (
    *("Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places"),
    *("Activities", "Objects", "Symbols", "Flags"),
)
DATA: dict[str, Any] = {
    "dataset": "github.com/googlefonts/noto-emoji",
    "license": "Apache 2.0 (images); Unicode License v3 (names)",
    "citation": "Noto Emoji, https://github.com/googlefonts/noto-emoji; Unicode CLDR, https://cldr.unicode.org",
}
SHARES = {"train": range(70), "validation": range(70, 80), "test": range(80, 100)}
"""Which hundredths of the emoji are in each split."""
MASK = "<mask>"


def split_of(emoji: str) -> str:
    """The split of an emoji, by a hash of its characters: the same in every language and version of the data."""
    place = int.from_bytes(hashlib.blake2b(emoji.encode(), digest_size=8).digest()) % 100
    return next(split for split, share in SHARES.items() if place in share)


def read_emoji(task: Task, split: str) -> dict[str, list[Any]]:
    """The emoji of a split: ``emoji``, ``file``, ``group`` and ``names`` (by locale).

    Raises:
        ConfigError: Without a ``data_dir``.
    """
    if not task.data_dir:
        raise ConfigError(
            f"task {task.name!r} is on no hub: pass data_dir with annotations.jsonl and images72.tar, see "
            f"docs/image_text.md"
        )
    names = ("annotations.jsonl", "emoji/annotations.jsonl")
    path = find_file(task.data_dir, *names, task=task.name, hub=task.metadata.dataset)
    status = path.stat()
    rows = _read(path, (status.st_mtime_ns, status.st_size))
    mine = [i for i, emoji in enumerate(rows["emoji"]) if split_of(emoji) == split]
    return {name: [values[i] for i in mine] for name, values in rows.items()}


@lru_cache(maxsize=1)
def _read(path: Path, version: tuple[int, int]) -> dict[str, list[Any]]:
    """The file, kept: it holds all languages, and a task of many asks for it once for each."""
    rows = read_jsonl(path, ("emoji", "file", "group", "names"), texts=("emoji", "file"))
    first: dict[str, int] = {}
    for line, (emoji, names) in enumerate(zip(rows["emoji"], rows["names"], strict=True), 1):
        if first.setdefault(emoji, line) != line:
            fail(path, line, f"the emoji {emoji!r} occurs twice, first in line {first[emoji]}", AGAIN)
        if not isinstance(names, dict) or not all(isinstance(name, str) and name.strip() for name in names.values()):
            fail(path, line, f"the names of {emoji!r} are not one text a locale", f"mend the line, or {AGAIN}")
    return rows


def load_names(task: WithImages, split: str) -> datasets.Dataset:
    """The English names of a split with their images.

    Returns:
        ``id``, ``caption`` (the name), ``group`` (the emoji itself), ``kind`` (its group) and ``image``.
    """
    rows = read_emoji(task, split)
    kept = [i for i, names in enumerate(rows["names"]) if "en" in names and rows["group"][i]]
    emoji, files = ([rows[column][i] for i in kept] for column in ("emoji", "file"))
    columns = {
        "id": emoji,
        "caption": [rows["names"][i]["en"] for i in kept],
        "group": emoji,
        "kind": [rows["group"][i] for i in kept],
        "image": task.local_images(
            [f"{file.removesuffix('.png')}.png" for file in files],
            *("images72.tar::{name}", "images/{name}", "emoji/images72.tar::{name}"),
        ),
    }
    return with_images_of(columns, (), None)


def mask_words(name: str, share: float) -> str:
    """A name with a share of its words masked, by a hash of each, so that every run masks the same."""
    words = name.split()
    chance = [
        int.from_bytes(hashlib.blake2b(f"{n} {name}".encode(), digest_size=4).digest()) / 2**32
        for n in range(len(words))
    ]
    return " ".join(MASK if c < share else word for c, word in zip(chance, words, strict=True))
