"""A cache of vision features on disk: append-only shards that several processes may write at the same time."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xmit.errors import DataError
from xmit.files import atomic_write

Features = npt.NDArray[np.float16]


def cache_root() -> Path:
    """The user's cache folder: ``$XMIT_CACHE``, or ``~/.cache/xmit``."""
    return Path(os.environ.get("XMIT_CACHE") or "~/.cache/xmit").expanduser()


class _Shard:
    """One safetensors file, named after the hash of its bytes; these are checked before the first row is read."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self._rows: Features | None = None
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, path.stat().st_size)))
            self._offset, self._shape = 8 + length, tuple(header["features"]["shape"])
            meta = json.loads(header["__metadata__"]["xmit"])
            self.keys: list[str] = meta["keys"]
            if meta["fingerprint"] != fingerprint or len(self.keys) != self._shape[0]:
                raise ValueError("another fingerprint or number of rows")
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise self._damaged() from error

    def rows(self) -> Features:
        """All rows, memory-mapped."""
        if self._rows is None:
            try:
                with self.path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest()[:32] != self.path.stem:
                        raise ValueError("another checksum")
                self._rows = np.memmap(self.path, np.float16, "r", self._offset, self._shape)
            except (OSError, ValueError) as error:
                raise self._damaged() from error
        return self._rows

    def _damaged(self) -> DataError:
        return DataError(f"the feature shard {self.path} is damaged: delete it, its features will be computed again")


class FeatureCache:
    """Features of images by content key, in half precision.

    A shard appears whole or not at all and never changes, so writers need no lock; a key that two of them
    write is there twice, which does no harm.

    Args:
        folder: The folder of all feature caches.
        fingerprint: Tower and preprocessing that the features come from; each has a folder of its own.
    """

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = Path(folder) / fingerprint[:32], fingerprint
        self._shards: dict[Path, _Shard] = {}
        self._index: dict[str, tuple[_Shard, int]] = {}
        self.refresh()

    def __reduce__(self) -> tuple[type[FeatureCache], tuple[Path, str]]:
        # memory maps would be pickled with all their bytes: a worker process opens the folder again
        return FeatureCache, (self.folder.parent, self.fingerprint)

    def __contains__(self, key: str) -> bool:
        """Whether the features are there and sound; a damaged shard is removed with a warning."""
        while key in self._index:
            shard, _ = self._index[key]
            try:
                return bool(len(shard.rows()))
            except DataError as error:
                self._discard(shard.path, error)
        return False

    def refresh(self) -> None:
        """Take in the shards that other processes have written meanwhile."""
        for path in sorted(set(self.folder.glob("*.safetensors")) - set(self._shards)):
            try:
                shard = self._shards[path] = _Shard(path, self.fingerprint)
                self._index |= {key: (shard, row) for row, key in enumerate(shard.keys)}
            except DataError as error:
                self._discard(path, error)

    def _discard(self, path: Path, error: DataError) -> None:
        warnings.warn(f"{error} (deleted now)", stacklevel=3)
        path.unlink(missing_ok=True)
        self._shards.pop(path, None)
        self._index = {key: (shard, row) for shard in self._shards.values() for row, key in enumerate(shard.keys)}

    def append(self, keys: Sequence[str], features: npt.NDArray[Any]) -> Path:
        """Write features ``(n, T, D)``, one row a key, as a new shard.

        Raises:
            DataError: If a value is not finite in half precision.
        """
        from safetensors.numpy import save

        with np.errstate(over="ignore"):  # reported just below
            rows = np.ascontiguousarray(features, dtype=np.float16)
        if len(keys) != len(rows) or not np.isfinite(rows).all():
            raise DataError(f"cannot cache features in {self.folder}: not one row a key, or not finite in float16")
        # one entry only: safetensors writes several in any order, and equal work should leave equal files
        meta = {"xmit": json.dumps({"fingerprint": self.fingerprint, "keys": list(keys)})}
        content = save({"features": rows}, meta)
        path = self.folder / f"{hashlib.sha256(content).hexdigest()[:32]}.safetensors"
        atomic_write(path, lambda draft: draft.write_bytes(content))
        self.refresh()
        return path

    def read(self, keys: Iterable[str]) -> Features:
        """The features of some keys, ``(n, T, D)``.

        Raises:
            DataError: If a key has no features, or its shard is damaged.
        """
        try:
            places = [self._index[key] for key in keys]
        except KeyError as error:
            raise DataError(f"{self.folder} has no features of the image {error}: encode it first") from None
        order = sorted(range(len(places)), key=lambda i: str(places[i][0].path))  # shard by shard
        parts = [
            shard.rows()[[places[i][1] for i in members]]
            for shard, members in itertools.groupby(order, key=lambda i: places[i][0])
        ]
        return np.concatenate(parts)[np.argsort(order)]
