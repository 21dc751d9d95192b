"""A cache of vision features on disk: append-only shards that several processes may write at the same time."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import time
import warnings
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xmit.data.digests import KIND, WIDTH, Digests, Table, pack
from xmit.errors import DataError
from xmit.files import atomic_write

Features = npt.NDArray[np.float16]

_STALE = 3600.0  # seconds after which a draft's writer is dead


def _most_open() -> int:
    """How many shards may be open at once: a memory map holds a file handle, of which 1,024 are allowed as a rule."""
    try:
        import resource
    except ImportError:  # Windows
        return 256
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4096 if limit == resource.RLIM_INFINITY else min(4096, limit // 4)


_OPEN_SHARDS = _most_open()


def cache_root() -> Path:
    """The user's cache folder: ``$XMIT_CACHE``, or ``~/.cache/xmit``."""
    return Path(os.environ.get("XMIT_CACHE") or "~/.cache/xmit").expanduser()


class _Shard:
    """One safetensors file: ``features`` ``(n, T, D)``, ``keys`` ``(n, 16)`` and ``checks`` ``(n,)``.

    It is named after the hash of all but the features, and each row of these has a checksum over key and features:
    opening a shard reads 20 bytes an image, and a row is checked whenever it is read.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                start = file.read(8)
                length = int.from_bytes(start, "little")
                header = file.read(min(length, size))
                facts = json.loads(header)
                self.shape = tuple(facts["features"]["shape"])
                places = {name: facts[name]["data_offsets"] for name in ("features", "checks", "keys")}
                if max(end for _, end in places.values()) != size - 8 - length:
                    raise ValueError("another size")
                checks, keys = (_part(file, 8 + length, places[name]) for name in ("checks", "keys"))
            if _name(start + header, checks, keys) != path.stem:
                raise ValueError("another checksum")
            if facts["__metadata__"]["fingerprint"] != fingerprint:
                raise ValueError("another fingerprint")
            self.offset = 8 + length + places["features"][0]
            self.checks: npt.NDArray[np.uint32] = np.frombuffer(checks, np.uint32)
            self.keys: Digests = np.frombuffer(keys, KIND)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.damaged() from error

    def map(self) -> Features:
        """All rows, memory-mapped."""
        try:
            with self.path.open("rb") as file:  # np.memmap takes twice as long
                rows = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return np.frombuffer(rows, np.float16, math.prod(self.shape), self.offset).reshape(self.shape)
        except (OSError, ValueError) as error:
            raise self.damaged() from error

    def damaged(self) -> DataError:
        return DataError(f"the feature shard {self.path} is damaged: delete it, its features will be computed again")


class FeatureCache:
    """Features of images by content key, in half precision.

    A shard appears whole or not at all and never changes, so writers need no lock. A key that two of them write
    stands in the index once.

    Args:
        folder: The folder of all feature caches.
        fingerprint: Tower and preprocessing that the features come from; each has a folder of its own.
    """

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = Path(folder) / f"features-{fingerprint[:32]}", fingerprint
        self._swept = False
        self._forget()
        self.refresh()

    def _forget(self) -> None:
        self._shards: list[_Shard] = []
        self._seen: set[Path] = set()
        self._table = Table(np.int64)  # shard << 32 | row
        self._map = lru_cache(_OPEN_SHARDS)(lambda number: self._shards[number].map())

    def __reduce__(self) -> tuple[type[FeatureCache], tuple[Path, str]]:
        # memory maps would be pickled with all their bytes: a worker process opens the folder again
        return FeatureCache, (self.folder.parent, self.fingerprint)

    def __len__(self) -> int:
        """How many images there are."""
        return len(self._table)

    def __contains__(self, key: str) -> bool:
        """Whether there are features of an image; they are checked when they are read."""
        return bool(self.holds([key])[0])

    def holds(self, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Of which images there are features, ``(n,)``."""
        return self._table.find(pack(keys)) >= 0

    def refresh(self) -> None:
        """Take in the shards that other processes have written meanwhile."""
        digests, places = [], []
        for path in sorted(set(self.folder.glob("*.safetensors")) - self._seen):
            try:
                shard = _Shard(path, self.fingerprint)
                if self._shards and shard.shape[1:] != self._shards[0].shape[1:]:
                    raise shard.damaged()
            except DataError as error:
                _delete(path, error)
                continue
            self._seen.add(path)
            digests.append(shard.keys)
            places.append((len(self._shards) << 32) + np.arange(len(shard.keys)))
            self._shards.append(shard)
        if digests:
            self._table.add(np.concatenate(digests), np.concatenate(places))

    def check(self) -> int:
        """Read everything; shards with a damaged row are deleted, with a warning.

        Returns:
            How many images have sound features.
        """
        for shard in list(self._shards):
            try:
                rows = shard.map()
                if [_check(key, row) for key, row in zip(_raw(shard.keys), rows, strict=True)] != shard.checks.tolist():
                    raise shard.damaged()
            except DataError as error:
                _delete(shard.path, error)
        self._forget()
        self.refresh()
        return len(self)

    def append(self, keys: Sequence[str], features: npt.NDArray[Any]) -> Path:
        """Write features ``(n, T, D)``, one row a key, as a new shard; :meth:`refresh` takes it in.

        Raises:
            DataError: If a value is not finite in half precision.
        """
        from safetensors.numpy import save

        with np.errstate(over="ignore"):  # reported just below
            rows = np.ascontiguousarray(features, dtype=np.float16)
        if len(keys) != len(rows) or not np.isfinite(rows).all():
            raise DataError(f"cannot cache features in {self.folder}: not one row a key, or not finite in float16")
        self._sweep()
        digests = pack(keys)
        checks = np.array([_check(key, row) for key, row in zip(_raw(digests), rows, strict=True)], np.uint32)
        index = np.frombuffer(digests.tobytes(), np.uint8).reshape(-1, WIDTH)
        content = save({"features": rows, "keys": index, "checks": checks}, {"fingerprint": self.fingerprint})
        head = content[: 8 + int.from_bytes(content[:8], "little")]
        path = self.folder / f"{_name(head, checks.tobytes(), digests.tobytes())}.safetensors"
        atomic_write(path, lambda draft: draft.write_bytes(content))
        return path

    def _sweep(self) -> None:
        """Delete what killed writers have left; once."""
        if not self._swept:
            self._swept = True
            for draft in self.folder.glob(".*.safetensors.*"):
                try:
                    if time.time() - draft.stat().st_mtime > _STALE:
                        draft.unlink()
                except OSError:  # another process was quicker
                    continue

    def read(self, keys: Sequence[str]) -> Features:
        """The features of some keys, ``(n, T, D)``.

        Raises:
            DataError: If a key has no features, or they are damaged.
        """
        digests = pack(keys)
        places = self._table.find(digests)
        if (places < 0).any():
            self.refresh()
            places = self._table.find(digests)
        if (places < 0).any():
            key = keys[int(np.argmin(places))]
            raise DataError(f"{self.folder} has no features of the image {key!r}: encode it first")
        values = self._table.values[places]
        rows, raw = values & 0xFFFFFFFF, _raw(digests)
        features: Features = np.empty((len(keys), *self._shards[0].shape[1:]), np.float16)
        for i in np.argsort(values).tolist():  # shard by shard, and forwards
            number = int(values[i] >> 32)
            features[i] = self._map(number)[rows[i]]
            if _check(raw[i], features[i]) != self._shards[number].checks[rows[i]]:
                raise self._shards[number].damaged()
        return features


def _part(file: Any, start: int, place: tuple[int, int]) -> bytes:
    file.seek(start + place[0])
    content: bytes = file.read(place[1] - place[0])
    return content


def _name(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:32]


def _raw(digests: Digests) -> list[bytes]:
    """Each digest's 16 bytes; NumPy would drop zeros at the end."""
    content = digests.tobytes()
    return [content[i : i + WIDTH] for i in range(0, len(content), WIDTH)]


def _check(key: bytes, row: Features) -> int:
    """Checksum of one image's features, ``(T, D)``: CRC-32 over its key and its bytes."""
    return zlib.crc32(row.data, zlib.crc32(key))


def _delete(path: Path, error: DataError) -> None:
    warnings.warn(f"{error} (deleted now)", stacklevel=4)
    try:
        path.unlink(missing_ok=True)
    except OSError:  # somebody else's cache: it is passed over
        return
