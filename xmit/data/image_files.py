"""Where the images of a task lie: files of a folder, members of a tar archive, columns of the hub's data."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xmit.errors import DataError, MissingDataError

if TYPE_CHECKING:
    import datasets

MEMBER = "::"
"""Stands between the path of a tar archive and the name of an image in it."""


def find_images(folders: Sequence[Path], names: Iterable[str], layouts: Sequence[str], task: str) -> list[str]:
    """Find images by file name; nothing is opened.

    Args:
        folders: Where to look, in order of preference.
        names: The file name of each row's image.
        layouts: Paths below a folder that hold ``{name}``, such as ``images/{name}``, in order of preference; one such
            as ``images.tar::{name}`` looks into an archive that is not compressed.
        task: Who asks, for the error.

    Returns:
        The place of each row's image. One that is nowhere is taken to be in the first place, where opening it fails,
        so that ``on_bad_image`` decides about it.

    Raises:
        MissingDataError: If not a single image is found.
    """
    rows = list(names)
    found: dict[str, str] = {}
    places = [f"{folder}/{layout}" for folder in folders for layout in layouts]
    hits = 0
    for name in dict.fromkeys(rows):
        candidates = [place.format(name=name) for place in places]
        there = next((place for place in candidates if _exists(place)), None)
        hits += there is not None
        found[name] = there or candidates[0]
    if rows and not hits:
        wanted = " or ".join(layout.format(name=rows[0]) for layout in layouts)
        raise MissingDataError(
            f"task {task!r}: none of its {len(found):,} images is there; looked for {wanted} below "
            f"{' and '.join(map(str, folders))}. Put the images there, name their folder with image_dir, or train the "
            f"control without images (images: none)"
        )
    return [found[name] for name in rows]


def read_source(place: Any) -> Any:
    """Turn the place of an image into what :func:`xmit.data.images.open_image` opens; reads an archive's member.

    A member that is not there stays a place, which cannot be opened: ``on_bad_image`` decides about it.

    Raises:
        DataError: If the archive cannot be read.
    """
    archive, _, name = place.partition(MEMBER) if isinstance(place, str) else ("", "", "")
    if not name or name not in _members(archive):
        return place
    start, size = _members(archive)[name]
    with Path(archive).open("rb") as file:
        file.seek(start)
        return {"bytes": file.read(size), "path": place}


def _exists(place: str) -> bool:
    archive, _, name = place.partition(MEMBER)
    if name:
        return Path(archive).is_file() and name in _members(archive)
    return Path(place).is_file()


@lru_cache(maxsize=32)
def _members(archive: str) -> dict[str, tuple[int, int]]:
    """Where each file of a tar archive begins, and how long it is; reads the headers alone."""
    try:
        with tarfile.open(archive, "r:") as file:
            return {member.name: (member.offset_data, member.size) for member in file if member.isfile()}
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{archive}: not a tar archive that can be read ({error}); get it again") from error


class ImageSources(Sequence[Any]):
    """The different images of a table, in the order of its rows; each is read when it is asked for.

    Images are told apart by their place, or by a hash of their file where the table holds it, so that one that many
    rows share is decoded once.

    Args:
        table: The rows.
        columns: Its columns of images: places, or files as the hub has them.
    """

    def __init__(self, table: datasets.Dataset, columns: Sequence[str]) -> None:
        import datasets

        self._table = table.select_columns(list(columns))
        for column, kind in self._table.features.items():
            if isinstance(kind, datasets.Image):
                self._table = self._table.cast_column(column, datasets.Image(decode=False))
        numbers: dict[Any, int] = {}
        self._first: list[tuple[int, str]] = []
        places = np.empty((len(table), len(columns)), dtype=np.int64)
        for row, cells in enumerate(self._table):
            for n, column in enumerate(columns):
                key = _identity(cells[column])
                if key not in numbers:
                    numbers[key] = len(numbers)
                    self._first.append((row, column))
                places[row, n] = numbers[key]
        self.places: npt.NDArray[np.int64] = places
        """Which of the images each row has, ``(rows, columns)``."""

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, item: Any) -> Any:
        """What :func:`xmit.data.images.open_image` opens."""
        row, column = self._first[item]
        return read_source(self._table[row][column])


def _identity(cell: Any) -> Any:
    if isinstance(cell, dict):
        data = cell.get("bytes")
        return hashlib.blake2b(data, digest_size=16).digest() if data is not None else cell.get("path")
    return cell
