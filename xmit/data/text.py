"""From the bytes of a file to its lines: UTF-8, plain or gzipped; what is damaged is refused with its line."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NoReturn

from xmit.errors import DataError

AGAIN = "download it again"
_UTF8_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (  # UTF-32 first: its mark begins with UTF-16's
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def fail(path: Path, line: int | None, what: str, remedy: str) -> NoReturn:
    """Refuse a file.

    Args:
        path: The file.
        line: The line, counted from 1, or None where there is none.
        what: What is wrong.
        remedy: What to do about it.

    Raises:
        DataError: Always: ``PATH:LINE: what; remedy``.
    """
    raise DataError(f"{path}{'' if line is None else f':{line}'}: {what}; {remedy}") from None


def read_text(path: Path) -> str:
    """Read a whole file as text.

    Args:
        path: The file, plain or gzipped (known by its first bytes), in UTF-8 with or without a byte order mark.

    Returns:
        The text, with CRLF turned into a line feed. A carriage return elsewhere stays.

    Raises:
        DataError: If the file cannot be read, is empty, holds NUL bytes, is not UTF-8, or is a damaged gzip.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        fail(path, None, f"cannot be read ({error.strerror or error})", "check the path")
    if data.startswith(b"\x1f\x8b"):
        data = _gunzip(path, data)
    elif path.suffix == ".gz" and data:
        fail(path, None, "is named .gz but is not gzipped", f"rename it without .gz, or {AGAIN}")
    for mark, name in _OTHER_BOMS:
        if data.startswith(mark):
            fail(path, 1, f"the encoding is {name}, not UTF-8", f"convert it: iconv -f {name} -t UTF-8 FILE > NEW")
    nul = data.find(b"\0")
    if nul >= 0:
        fail(path, _line(data, nul), "a NUL byte: the file is damaged, or its encoding is not UTF-8", AGAIN)
    data = data.removeprefix(_UTF8_BOM)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _line(data, error.start)
        if error.reason == "unexpected end of data":
            fail(path, line, "the file ends within a character: it was cut short", AGAIN)
        fail(
            path,
            line,
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            f"{AGAIN}, or convert it: iconv -f LATIN1 -t UTF-8 FILE > NEW",
        )
    if not text.strip():
        fail(path, 1, "the file is empty", AGAIN)
    return text.replace("\r\n", "\n")


def read_lines(path: Path, *, ended: bool = True) -> list[str]:
    r"""Read the lines of a text file, without their ends.

    Only ``\n`` and ``\r\n`` end a line: U+2028, U+0085, form feeds and the like occur within real sentences.

    Args:
        path: The file, plain or gzipped.
        ended: Whether the last line must have a line end too. All original releases we know have it, and a file
            that was cut short lacks it; pass False for files that people write by hand.

    Returns:
        The lines, in order.

    Raises:
        DataError: As :func:`read_text`; also for a carriage return within a line and, with ``ended``, for a last
            line that has no end.
    """
    text = read_text(path)
    stray = text.find("\r")
    if stray >= 0:
        line = text.count("\n", 0, stray) + 1
        fail(path, line, "a carriage return within the line", "end lines with \\n or \\r\\n: tr '\\r' '\\n' FILE > NEW")
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    elif ended:
        check_ended(path, text)
    return lines


def check_ended(path: Path, text: str) -> None:
    """Refuse a text whose last line has no line end.

    Raises:
        DataError: If the text does not end with a line feed.
    """
    if not text.endswith("\n"):
        remedy = f"{AGAIN}, or, if the line is whole, add a line end: echo >> FILE"
        fail(path, text.count("\n") + 1, "the last line has no line end: the file was probably cut short", remedy)


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _gunzip(path: Path, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        cut = isinstance(error, EOFError)
        readable = b""
        try:
            readable = zlib.decompressobj(wbits=31).decompress(data)
        except zlib.error:
            cut = False
        what = "the gzip is cut short" if cut else "the gzip is corrupt"
        fail(path, _line(readable, len(readable)), f"{what} ({error}) at or after this line", AGAIN)
