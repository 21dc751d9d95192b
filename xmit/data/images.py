"""Images from files, bytes and archives, opened lazily and without trust."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmit.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


def open_image(source: Any) -> Image:
    """Open and decode one image.

    Args:
        source: A path, the bytes of a file, a ``{"bytes", "path"}`` dict as the hub's data sets have, or a PIL image.

    Returns:
        The image in RGB.

    Raises:
        DataError: If it cannot be decoded.
    """
    from PIL import Image

    if isinstance(source, Image.Image):
        return to_rgb(source)
    if isinstance(source, dict):
        source = source["bytes"] if source.get("bytes") is not None else source["path"]
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else Path(source)) as image:
            return to_rgb(image).copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
        raise DataError(f"the image {name} cannot be decoded ({error}): get the file again") from error


def to_rgb(image: Image) -> Image:
    """The image in RGB."""
    return image if image.mode == "RGB" else image.convert("RGB")


def content_key(image: Image) -> str:
    """Hash of an image's size and RGB pixels."""
    digest = hashlib.sha256(f"{image.width} {image.height} ".encode())
    digest.update(to_rgb(image).tobytes())
    return digest.hexdigest()[:32]
