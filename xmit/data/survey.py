"""Which of some images have no features yet, and the one pass over these that computes them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from xmit.data.features import FeatureCache
from xmit.data.images import Member, content_key, decode, describe, is_file, read_source, short_hash, source_id
from xmit.errors import DataError, check_choice
from xmit.hardware import best_device
from xmit.progress import progress

if TYPE_CHECKING:
    from xmit.data.image_spec import ImageSpec

OnBad = Literal["refuse", "skip"]

_BATCH = 64
_SHARD_BYTES, _SHARD_SECONDS = 64 * 2**20, 60.0  # a killed run loses at most a minute's work


class Survey:
    """Images of a task, told apart without decoding those whose files were seen before.

    Args:
        spec: Tower and cache.
        images: See :meth:`~xmit.data.image_spec.ImageSpec.encode`.
        on_bad: See there.

    Attributes:
        ids: What tells each image's file, None for a bad one.
        missing: The first row of each file whose image has no features yet.
    """

    def __init__(self, spec: ImageSpec, images: Sequence[Any], on_bad: OnBad = "refuse") -> None:
        check_choice("on_bad_image", on_bad, ("refuse", "skip"))
        self.spec, self.images, self.on_bad = spec, images, on_bad
        self.bad: dict[int, str] = {}
        self.ids: list[str | None] = []
        self._first: dict[str, int] = {}
        files: dict[str, int] = {}
        seen: dict[Any, str] = {}
        with progress("looking at images", len(images)) as advance:
            for row, image in enumerate(images):
                try:
                    named = isinstance(image, str | Path | Member)
                    name = (seen.get(image) if named else None) or source_id(image)
                except DataError as error:
                    self._refuse(row, error)
                    self.ids.append(None)
                    continue
                if named:
                    seen[image] = name
                self.ids.append(name)
                if self._first.setdefault(name, row) == row and is_file(image):
                    files[name] = row
                if row % 256 == 0:
                    advance(row)
        self.refresh()
        self._find_moved({name: row for name, row in files.items() if name in self.missing})
        self.refresh()

    def refresh(self) -> None:
        """Leave out what has been computed meanwhile, by another survey or another process."""
        cache, sources = self.spec.cache, self.spec.sources
        cache.refresh()
        sources.refresh()
        known = sources.find(list(self._first))
        cached = dict(zip(known, cache.holds(list(known.values())), strict=True))
        self.missing = {name: row for name, row in self._first.items() if not cached.get(name)}

    def compute(self, workers: int = 0, part: tuple[int, int] = (0, 1)) -> None:
        """Compute the missing features.

        Args:
            workers: Processes that decode; 0 decodes in this one.
            part: Which part of how many, where several processes share the work.

        Raises:
            DataError: If an image is bad and ``on_bad`` is ``refuse``.
        """
        self.refresh()
        number, parts = part
        missing = {name: row for name, row in self.missing.items() if int(name[:8], 16) % parts == number}
        if not missing:
            return
        spec = self.spec
        tower = spec.tower.to(spec.device or best_device())
        todo = _Decoded(self.images, list(missing.values()), tower.preprocess, spec.cache)
        # a generator of its own: the global random numbers stay as they are
        loader = DataLoader(todo, batch_size=None, num_workers=workers, generator=torch.Generator())
        writer = _Writer(spec, tower)
        with progress(f"vision features ({spec.config.name})", len(missing)) as advance:
            try:
                for done, ((name, row), found) in enumerate(zip(missing.items(), loader, strict=True), 1):
                    if isinstance(found, str):
                        self._refuse(row, DataError(found))
                    else:
                        key, content, pixels = found
                        for source in (name, content):
                            spec.sources.note(source, key)
                        writer.add(key, pixels)
                    advance(done)
                writer.compute()
            finally:  # an interrupted run keeps what it has computed
                writer.flush()
                tower.to("cpu")
        spec.cache.refresh()

    def keys(self) -> list[str | None]:
        """The content key of each image, None where a bad one is left out, with one warning for all."""
        known = self.spec.sources.find([name for name in dict.fromkeys(self.ids) if name])
        keys = [known.get(name) if name else None for name in self.ids]
        if self.bad:
            row, first = min(self.bad.items())
            warnings.warn(
                f"{keys.count(None):,} of {len(keys):,} images are bad and left out; the first, number {row + 1:,}: "
                f"{first}",
                stacklevel=3,
            )
        return keys

    def _refuse(self, row: int, error: DataError) -> None:
        if self.on_bad == "refuse":
            raise DataError(f"{error} (image {row + 1:,})") from error
        self.bad[row] = str(error)

    def _find_moved(self, files: dict[str, int]) -> None:
        """Files that were copied or touched are told by their bytes, where there is something to compare with."""
        sources = self.spec.sources
        for name, row in files.items() if len(sources) else ():
            try:
                content = read_source(self.images[row])
            except DataError:
                continue  # is met again when it is decoded
            content_id = short_hash(content) if isinstance(content, bytes) else name
            for key in sources.find([content_id]).values():
                sources.note(name, key)
        sources.save()


class _Decoded(Dataset[Any]):
    """The images of some rows, decoded and preprocessed: key, hash of the file and pixels; or what is wrong."""

    def __init__(
        self, images: Sequence[Any], rows: list[int], preprocess: Callable[[Any], Tensor], cache: FeatureCache
    ) -> None:
        self.images, self.rows, self.preprocess, self.cache = images, rows, preprocess, cache

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[str, str, Tensor | None] | str:
        source = self.images[self.rows[i]]
        try:
            content = read_source(source)
            image = decode(content, describe(source))
        except DataError as error:
            return str(error)
        key = content_key(image)
        return key, short_hash(content) if isinstance(content, bytes) else key, self._pixels(key, image)

    def _pixels(self, key: str, image: Any) -> Tensor | None:
        return None if key in self.cache else self.preprocess(image)


class _Writer:
    """Computes features a batch at a time and writes them a shard at a time."""

    def __init__(self, spec: ImageSpec, tower: Any) -> None:
        self.spec, self.tower = spec, tower
        self.device = next(tower.parameters()).device
        self.waiting: dict[str, Tensor] = {}
        self.shard: dict[str, npt.NDArray[np.float16]] = {}
        self.written: set[str] = set()
        self.last = time.monotonic()

    def add(self, key: str, pixels: Tensor | None) -> None:
        """Take in an image, unless it was taken in before."""
        if pixels is None or key in self.waiting or key in self.shard or key in self.written:
            return
        self.waiting[key] = pixels
        if len(self.waiting) == _BATCH:
            self.compute()
        size = len(self.shard) * self.spec.row_bytes
        if self.shard and (size >= _SHARD_BYTES or time.monotonic() - self.last > _SHARD_SECONDS):
            self.flush()

    def compute(self) -> None:
        """Compute the features of what waits."""
        if self.waiting:
            features = self.tower(torch.stack(list(self.waiting.values())).to(self.device)).half().cpu().numpy()
            self.shard |= zip(self.waiting, features, strict=True)
            self.waiting.clear()

    def flush(self) -> None:
        """Write what is computed, and which files the images are from."""
        if self.shard:
            self.spec.cache.append(list(self.shard), np.stack(list(self.shard.values())))
            self.written.update(self.shard)
            self.shard.clear()
        self.spec.sources.save()
        self.last = time.monotonic()
