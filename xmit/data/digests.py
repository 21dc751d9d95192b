"""Tables of 16-byte hashes: a million images take 24 MB, and a batch is looked up in microseconds."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xmit.files import atomic_write

Digests = npt.NDArray[np.bytes_]
WIDTH = 16
KIND = np.dtype(f"S{WIDTH}")


def pack(keys: Iterable[str]) -> Digests:
    """Hexadecimal hashes as an array of 16 bytes each.

    Raises:
        ValueError: If one is no hash of 32 digits.
    """
    names = list(keys)
    if any(len(name) != 2 * WIDTH for name in names):
        raise ValueError(f"a content key has {2 * WIDTH} hexadecimal digits")
    return np.frombuffer(bytes.fromhex("".join(names)), KIND)


def unpack(digests: Digests) -> list[str]:
    """The other way round."""
    digits = digests.tobytes().hex()
    return [digits[i : i + 2 * WIDTH] for i in range(0, len(digits), 2 * WIDTH)]


class Table:
    """A sorted table from digests to values; the first value of a digest counts.

    Args:
        kind: Type of the values.
    """

    def __init__(self, kind: npt.DTypeLike) -> None:
        self.digests: Digests = np.empty(0, KIND)
        self.values: npt.NDArray[Any] = np.empty(0, kind)

    def __len__(self) -> int:
        return len(self.digests)

    def add(self, digests: Digests, values: npt.NDArray[Any]) -> None:
        """Take in digests that are not there yet."""
        digests, first = np.unique(digests, return_index=True)
        new = self.find(digests) < 0
        places = np.searchsorted(self.digests, digests[new])
        self.digests = np.insert(self.digests, places, digests[new])
        self.values = np.insert(self.values, places, values[first][new])

    def find(self, digests: Digests) -> npt.NDArray[np.int64]:
        """The place of each digest, -1 where it is not there."""
        if not len(self.digests):
            return np.full(len(digests), -1)
        places = np.minimum(np.searchsorted(self.digests, digests), len(self.digests) - 1)
        return np.where(self.digests[places] == digests, places, -1)


class Sources:
    """Which image is behind a file, so that a file seen before need not be decoded to know its content key.

    Append-only files, each named after its hash, that several processes may write at the same time.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._table = Table(KIND)
        self._files: set[Path] = set()
        self._new: dict[str, str] = {}
        self.refresh()

    def __len__(self) -> int:
        return len(self._table) + len(self._new)

    def refresh(self) -> None:
        """Take in what other processes have written meanwhile."""
        found = sorted(set(self.folder.glob("*.ids")) - self._files)
        self._files.update(found)
        parts = [np.frombuffer(content, KIND).reshape(-1, 2) for path in found if (content := _read(path))]
        if parts:
            pairs = np.concatenate(parts)
            self._table.add(pairs[:, 0], pairs[:, 1])

    def find(self, ids: Sequence[str]) -> dict[str, str]:
        """The content keys of those sources that are known."""
        places = self._table.find(pack(ids))
        known = unpack(self._table.values[places[places >= 0]])
        found = dict(zip((name for name, place in zip(ids, places, strict=True) if place >= 0), known, strict=True))
        return found | {name: self._new[name] for name in ids if name in self._new}

    def note(self, source: str, key: str) -> None:
        """Remember the content key of a source; :meth:`save` writes it down."""
        self._new[source] = key

    def save(self) -> None:
        """Write what was noted."""
        if not self._new:
            return
        pairs = np.stack([pack(self._new), pack(self._new.values())], axis=1)
        content = pairs.tobytes()
        path = self.folder / f"{_name(content)}.ids"
        try:
            atomic_write(path, lambda draft: draft.write_bytes(content))
        except OSError as error:  # nothing but time is lost, and a shared cache may be for reading only
            warnings.warn(f"{path} cannot be written ({error}): its images will be decoded again", stacklevel=2)
        self._files.add(path)
        self._table.add(pairs[:, 0], pairs[:, 1])
        self._new.clear()


def _name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[: 2 * WIDTH]


def _read(path: Path) -> bytes:
    """The content of a file of sources; nothing if it is damaged, which only costs time."""
    try:
        content = path.read_bytes()
    except OSError:
        return b""
    return content if _name(content) == path.stem and len(content) % (2 * WIDTH) == 0 else b""
