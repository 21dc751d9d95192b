"""Images from files, bytes and archives: opened lazily, and without trust in what is in them."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xmit.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
"""All that is decoded. Pillow knows dozens more, among them EPS, for which it starts Ghostscript, and TIFF, whose
library decodes damaged files to noise and writes of it to the console."""
MAX_PIXELS = 2**26
"""The most pixels of an image, known before it is decoded: 192 MiB in RGB."""
MAX_ASPECT = 100
"""The most that a side is longer than the other: a tower's preprocessing enlarges the shorter one."""
MAX_BYTES = 2**28
"""The most bytes of an image file, unpacked."""

_ORIENTATION = 0x0112  # of EXIF; what undoes it are names of PIL.Image.Transpose
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
_DAMAGE = (  # what Python's archive readers raise; RuntimeError: encrypted, or a compression that Python lacks
    OSError, EOFError, ValueError, RuntimeError, LookupError, OverflowError, struct.error, zlib.error, lzma.LZMAError,
    zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip
_REMEDY = "get the file again, or leave such images out with on_bad_image: skip"


@dataclass(frozen=True)
class Member:
    """An image file in a zip archive, or in a tar archive that is not compressed; see :func:`archive_images`.

    Args:
        archive: The archive's path.
        name: The file's name in there; it is looked up, never taken for a path.
    """

    archive: str
    name: str

    def __str__(self) -> str:
        return f"{self.archive}:{self.name}"


def open_image(source: Any) -> Image:
    """Open and decode one image, the first of several in a file, upright as EXIF says.

    Transparent pixels are laid on white, 16-bit greys are scaled to 8 bits.

    Args:
        source: A path, a :class:`Member` of an archive, the bytes of a file, ``{"bytes", "path"}`` as the hub has
            them, or an open PIL image.

    Returns:
        The image in RGB.

    Raises:
        DataError: If it is missing, damaged, none of :data:`FORMATS`, or too large to be one.
    """
    return decode(read_source(source), describe(source))


def describe(source: Any) -> str:
    """What an error calls an image."""
    if isinstance(source, dict):
        source = source.get("path") or source.get("bytes")
    if isinstance(source, bytes):
        return f"image of {len(source):,} bytes"
    return f"image {source}" if isinstance(source, str | Path | Member) else "image"


def is_file(source: Any) -> bool:
    """Whether an image is told by its file, not by its content."""
    return isinstance(_plain(source), str | Path | Member)


def _plain(source: Any) -> Any:
    if isinstance(source, dict):
        return source.get("path") if source.get("bytes") is None else source["bytes"]
    return source


def source_id(source: Any) -> str:
    """What tells an image from others without decoding it.

    Of a file path, size and time of change, of bytes their hash, of an open image its content key.

    Raises:
        DataError: If the file is not there, or the open image cannot be decoded.
    """
    source = _plain(source)
    if isinstance(source, bytes):
        return short_hash(source)
    if isinstance(source, str | Path | Member):
        path = source.archive if isinstance(source, Member) else source
        name = source.name if isinstance(source, Member) else ""
        facts = _regular_file(path, describe(source))
        return short_hash(f"{os.path.abspath(path)}\0{facts.st_size}\0{facts.st_mtime_ns}\0{name}".encode())  # noqa: PTH100
    return content_key(open_image(source))


def read_source(source: Any) -> bytes | Image:
    """The bytes of an image file; an open image is handed back as it is.

    Raises:
        DataError: If there are none, or more than :data:`MAX_BYTES`.
    """
    source = _plain(source)
    if isinstance(source, str | Path):
        size = _regular_file(source, describe(source)).st_size
        _check_bytes(size, describe(source))
        try:
            with Path(source).expanduser().open("rb") as file:
                return file.read(MAX_BYTES)
        except OSError as error:
            raise DataError(f"{describe(source)} cannot be read ({error}): {_REMEDY}") from error
    if isinstance(source, Member):
        return _read_member(source)
    if isinstance(source, bytes):
        _check_bytes(len(source), describe(source))
        return source
    if source is None or not hasattr(source, "getexif"):
        what = "an image is missing" if source is None else f"a {type(source).__name__} is no image"
        raise DataError(f"{what}: {_REMEDY}")
    return source  # type: ignore[no-any-return]


def decode(data: bytes | Image, name: str = "image") -> Image:
    """Decode an image file; see :func:`open_image`.

    Args:
        data: The bytes of a file, or an open image.
        name: What an error calls it.

    Raises:
        DataError: If it cannot be decoded, or is too large.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused or mended here
            image = Image.open(io.BytesIO(data), formats=FORMATS) if isinstance(data, bytes) else data
            _check_size(image, name)
            return to_rgb(_upright(image))
    except DataError:
        raise
    except Exception as error:  # the decoders fail on damaged files with errors of all kinds
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{name} cannot be decoded ({what}): {_REMEDY}") from error


def to_rgb(image: Image) -> Image:
    """The image in RGB; transparent pixels are laid on white, 16-bit greys scaled to 8 bits.

    Raises:
        ValueError: If its values have no fixed range (modes ``I`` and ``F``), or Pillow cannot convert it.
    """
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode} has no fixed range: save it with 8 or 16 bits")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def content_key(image: Image) -> str:
    """Hash of an image's size and RGB pixels, 32 hexadecimal digits."""
    digest = hashlib.sha256(f"{image.width} {image.height} ".encode())
    digest.update(to_rgb(image).tobytes())
    return digest.hexdigest()[:32]


def short_hash(data: bytes) -> str:
    """Hash of some bytes, 32 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()[:32]


def _check_bytes(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise DataError(f"{name} has {size:,} bytes, more than {MAX_BYTES:,}: shrink it, or leave it out")


def _check_size(image: Image, name: str) -> None:
    width, height = image.size
    shape = f"{name} has {width:,} × {height:,} pixels"
    if not width * height:
        raise DataError(f"{shape}, that is none: {_REMEDY}")
    if width * height > MAX_PIXELS:
        raise DataError(f"{shape}, more than {MAX_PIXELS:,}: shrink it, or leave such images out (on_bad_image: skip)")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise DataError(f"{shape}, one side more than {MAX_ASPECT} times the other: {_REMEDY}")


def _upright(image: Image) -> Image:
    from PIL.Image import Transpose

    image.load()
    try:
        how = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF of a sound image; any kind of error, as in decoding
        how = None
    return image.transpose(Transpose[how]) if how else image


# -- archives ------------------------------------------------------------------------------------------------


def archive_images(archive: str | Path) -> dict[str, Member]:
    """The files in a zip or tar archive by name, to be opened one by one; nothing is unpacked on disk.

    Raises:
        DataError: If it is no such archive, or a compressed tar, in which one cannot jump.
    """
    return {name: Member(str(archive), name) for name in _index(archive)}


def _index(archive: str | Path) -> dict[str, Any]:
    facts = _regular_file(archive, f"archive {archive}")
    # a zip file's handle, which has a position, must not be shared with forked processes
    return _open_archive(str(archive), facts.st_size, facts.st_mtime_ns, os.getpid())


@lru_cache(maxsize=8)
def _open_archive(archive: str, size: int, changed: int, process: int) -> dict[str, Any]:
    path = Path(archive).expanduser()
    try:
        if zipfile.is_zipfile(path):
            file = zipfile.ZipFile(path)
            return {info.filename: (file, info) for info in file.infolist() if not info.is_dir()}
        with tarfile.open(path, "r:") as tar:  # links, devices and sparse files are no images
            return {info.name: (info.offset_data, info.size) for info in tar if info.isreg() and not info.issparse()}
    except _DAMAGE as error:
        raise DataError(f"{archive} is no zip and no uncompressed tar archive ({error}): unpack it first") from error


def _read_member(member: Member) -> bytes:
    try:
        first, second = _index(member.archive)[member.name]
    except KeyError:
        raise DataError(f"{member.archive} has no file {member.name}: {_REMEDY}") from None
    _check_bytes(second.file_size if isinstance(first, zipfile.ZipFile) else second, f"image {member}")
    try:
        if isinstance(first, zipfile.ZipFile):
            return first.read(second)
        with Path(member.archive).expanduser().open("rb") as file:
            file.seek(first)
            return file.read(second)
    except _DAMAGE as error:
        raise DataError(f"image {member} cannot be read ({error}): {_REMEDY}") from error


def _regular_file(path: str | Path, name: str) -> os.stat_result:
    try:
        facts = os.stat(os.path.expanduser(path))  # noqa: PTH111, PTH116 - a million of them, and Path is slow
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name} cannot be read ({reason}): {_REMEDY}") from error
    if not stat.S_ISREG(facts.st_mode):  # reading a pipe or a device may never end
        raise DataError(f"{name} is no file: {_REMEDY}")
    return facts
