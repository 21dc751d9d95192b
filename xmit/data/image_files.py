"""Where the images of a task lie: files of a folder, members of an archive, columns of the hub's data."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmit.data.images import Member, archive_images, open_image, source_id
from xmit.errors import DataError, MissingDataError
from xmit.progress import progress

if TYPE_CHECKING:
    import datasets

_MEMBER = "::"
"""Stands between the path of an archive and the name of an image in it."""


def find_images(folders: Sequence[Path], names: Iterable[str], layouts: Sequence[str], task: str) -> list[str]:
    """Find images by file name; nothing is opened.

    Args:
        folders: Where to look, in order of preference.
        names: The file name of each row's image.
        layouts: Paths below a folder that hold ``{name}``, such as ``images/{name}``, in order of preference; one such
            as ``images.tar::{name}`` looks into an archive.
        task: Who asks, for the error.

    Returns:
        The place of each row's image. One that is nowhere is taken to be in the first place, where opening it fails,
        so that ``on_bad_image`` decides about it.

    Raises:
        MissingDataError: If not a single image is found.
    """
    rows = list(names)
    found: dict[str, str] = {}
    archives: dict[str, Container[str]] = {}
    hits = 0
    for name in dict.fromkeys(rows):
        places = [f"{folder}/{layout.format(name=name)}" for folder in folders for layout in layouts]
        there = next((place for place in places if _exists(place, archives)), None)
        hits += there is not None
        found[name] = there or places[0]
    if rows and not hits:
        wanted = " or ".join(layout.format(name=rows[0]) for layout in layouts)
        raise MissingDataError(
            f"task {task!r}: none of its {len(found):,} images is there; looked for {wanted} below "
            f"{' and '.join(map(str, folders))}. Put the images there, name their folder with image_dir, or train the "
            f"control without images (images: none)"
        )
    return [found[name] for name in rows]


def _exists(place: str, archives: dict[str, Container[str]]) -> bool:
    archive, _, name = place.partition(_MEMBER)
    if not name:
        return Path(place).is_file()
    if archive not in archives:
        archives[archive] = archive_images(archive) if Path(archive).is_file() else ()
    return name in archives[archive]


def image_source(cell: Any) -> Any:
    """Turn the place of an image, or the hub's cell, into what :func:`xmit.data.images.open_image` opens."""
    if isinstance(cell, str) and _MEMBER in cell:
        archive, _, name = cell.partition(_MEMBER)
        return Member(archive, name)
    return cell


class ImageSources(Sequence[Any]):
    """The images of a table, row by row and within a row column by column; each is read when it is asked for.

    Args:
        table: The rows.
        columns: Its columns of images: places, or files as the hub has them.
    """

    def __init__(self, table: datasets.Dataset, columns: Sequence[str]) -> None:
        import datasets

        self._columns = list(columns)
        self._table = table.select_columns(self._columns)
        for column, kind in self._table.features.items():
            if isinstance(kind, datasets.Image):
                self._table = self._table.cast_column(column, datasets.Image(decode=False))

    def __len__(self) -> int:
        return len(self._table) * len(self._columns)

    def __getitem__(self, item: Any) -> Any:
        """What :func:`xmit.data.images.open_image` opens."""
        row, column = divmod(range(len(self))[item], len(self._columns))
        return image_source(self._table[row][self._columns[column]])


def decodable(images: Sequence[Any]) -> list[bool]:
    """Whether each image can be decoded; one that occurs often is decoded once, and none is kept.

    Args:
        images: What :func:`~xmit.data.images.open_image` opens.
    """
    known: dict[str, bool] = {}
    found = []
    with progress("looking at images", len(images)) as advance:
        for row, image in enumerate(images):
            try:
                name = source_id(image)
                if name not in known:
                    known[name] = False
                    open_image(image)
                    known[name] = True
                found.append(known[name])
            except DataError:
                found.append(False)
            if row % 256 == 0:
                advance(row)
    return found
