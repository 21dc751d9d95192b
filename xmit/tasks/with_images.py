"""What a task with images beside its text has in common: a mix-in for the families, not a copy of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from xmit.data.batching import EvaluationStream
from xmit.data.image_files import ImageSources, decodable, find_images, image_source
from xmit.errors import ConfigError, MissingDataError, check_choice
from xmit.tasks.base import Examples, Task

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from xmit.data.image_spec import ImageSpec


class WithImages(Task):
    """Images beside the text of a family: put this before the family among a task's bases.

    ``load_split`` then also returns the columns named in ``image_columns``: where each image lies, as
    :meth:`local_images` tells, or its file as in the hub's data. Nothing is decoded before the module asks for it.

    The two controls without which a gain cannot be laid to images are an argument. ``shuffled``: every image (or pair)
    gives its place to another one of the split, in all the rows that have it and by the run's seed, so no row keeps its
    own. ``none``: no images at all, nor a tower. All three train on the same rows, in the same order: where rows are
    left out for their images, as test images of other tasks or as bad ones, ``none`` looks at the images too.

    Args:
        images: ``real``, ``shuffled`` or ``none``.
        on_bad_image: Whether an image that cannot be decoded is refused, or its rows are left out with a count.
        image_dir: Folder with the images by file name; ``data_dir`` by default.
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    image_columns: ClassVar[tuple[str, ...]] = ("image",)
    image_side: ClassVar[str] = "text"
    """The side of a batch that the images stand beside."""
    tokens_per_example: ClassVar[int] = 80
    """With the 49 visual tokens of a ViT-B/32."""

    def __init__(
        self,
        images: Literal["real", "shuffled", "none"] = "real",
        on_bad_image: Literal["refuse", "skip"] = "refuse",
        image_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("data.images", images, ("real", "shuffled", "none"))
        check_choice("data.on_bad_image", on_bad_image, ("refuse", "skip"))
        self.images: str = images
        self.on_bad_image, self.image_dir = on_bad_image, image_dir

    @property
    def columns(self) -> tuple[str, ...]:
        """The family's columns, and those of the images."""
        return (*super().columns, *(self.image_columns if self.images != "none" else ()))

    def find_images(self, names: Sequence[str], *layouts: str, beside: Path | None = None) -> list[str]:
        """Find images that the data name by their files.

        Args:
            names: The file name of each row's image.
            *layouts: See :func:`~xmit.data.image_files.find_images`; ``{name}`` itself is looked for first.
            beside: A folder to look in too, before ``data_dir``.

        Returns:
            The place of each row's image.

        Raises:
            MissingDataError: If there is no folder to look in, or not a single image.
        """
        folders = [Path(folder).expanduser() for folder in (self.image_dir, beside, self.data_dir) if folder]
        if not folders:
            raise MissingDataError(
                f"task {self.name!r}: its data name images by their files: pass the folder that holds them as image_dir"
            )
        return find_images(folders[:1] if self.image_dir else folders, names, ("{name}", *layouts), self.name)

    def local_images(self, names: Sequence[str], *layouts: str, beside: Path | None = None) -> list[str]:
        """The same; in the control without images the names as they are, where not a single image is there."""
        try:
            return self.find_images(names, *layouts, beside=beside)
        except MissingDataError as error:
            if self.images != "none":
                raise
            if self.sorts_images:
                warnings.warn(
                    f"runs with images may use fewer rows than this one, which leaves rows out for their images by "
                    f"file names alone: {error}",
                    stacklevel=2,
                )
            return list(names)

    @property
    def sorts_images(self) -> bool:
        """Whether rows are left out for their images, so that even the control without images needs them."""
        return self.train_filter is not None or self.on_bad_image == "skip"

    def split_images(self, split: str) -> Sequence[Any]:
        """All images of a split, lazily, row by row."""
        return () if self.images == "none" else ImageSources(self.table(split), self.image_columns)

    def bind(self, tokenizer: PreTrainedTokenizerBase, image_spec: ImageSpec | None = None) -> None:
        """Take the tokenizer and the image spec from the module.

        Raises:
            ConfigError: If there are images but no vision tower.
        """
        if image_spec is None and self.images != "none":
            raise ConfigError(
                f"task {self.name!r} has images but the module has no vision tower: set model.vision.name, or train "
                f"the control without images (images: none)"
            )
        super().bind(tokenizer, image_spec)

    def encode(self, table: datasets.Dataset) -> Examples:
        """Encode the text as the family does, and put the content keys of the images beside it."""
        if self.images == "none":
            return self.encode_text(self._sound_rows(table) if self.on_bad_image == "skip" else table)
        assert self.image_spec is not None
        n = len(self.image_columns)
        keys = self.image_spec.encode(ImageSources(table, self.image_columns), on_bad=self.on_bad_image)
        rows = [tuple(keys[i : i + n]) for i in range(0, len(keys), n)]
        good = [i for i, row in enumerate(rows) if None not in row]
        examples = self.encode_text(table if len(good) == len(rows) else table.select(good))
        kept = [tuple(str(key) for key in rows[i]) for i in good]
        examples.images = {self.image_side: shuffle(kept) if self.images == "shuffled" else kept}
        return examples

    def _sound_rows(self, table: datasets.Dataset) -> datasets.Dataset:
        """The rows that ``skip`` leaves in where images are used; all of them where no image is at hand."""
        sound = np.array(decodable(ImageSources(table, self.image_columns))).reshape(len(table), -1).all(axis=1)
        if sound.all() or not sound.any():
            return table
        warnings.warn(f"{np.sum(~sound):,} of {len(table):,} rows are left out for their bad images", stacklevel=3)
        return table.select(np.flatnonzero(sound))

    def encode_text(self, table: datasets.Dataset) -> Examples:
        """Encode everything but the images; the family's own."""
        return super().encode(table)  # type: ignore[safe-super]

    def evaluation_batches(self, split: str) -> EvaluationStream:
        """A split's batches for scoring; visual tokens count."""
        return EvaluationStream(self.examples(split).lengths + self.visual_tokens, self.eval_tokens)

    @property
    def visual_tokens(self) -> int:
        """Visual tokens an item, at most."""
        if self.images == "none" or self.image_spec is None:
            return 0
        return len(self.image_columns) * self.image_spec.n_tokens

    def preview(self, language: str | None = None, n: int = 3, split: str = "test") -> pd.DataFrame:
        """Show some examples as they were loaded, their images decoded; see :meth:`Task.preview`."""
        from xmit.data.images import open_image

        rows = super().preview(language, n, split)
        for column in self.image_columns if self.images != "none" else ():
            rows = rows.assign(**{column: [open_image(image_source(cell)) for cell in rows[column]]})  # type: ignore[arg-type]
        return rows


def shuffle(rows: Sequence[tuple[str, ...]], seed: int | None = None) -> list[tuple[str, ...]]:
    """Give each different entry's place to another one: a random cycle, so none keeps its own.

    Args:
        rows: The entries; equal ones are replaced by equal ones.
        seed: The run's by default.
    """
    different = list(dict.fromkeys(rows))
    order: npt.NDArray[np.int64] = np.random.default_rng(
        torch.initial_seed() % 2**63 if seed is None else seed
    ).permutation(len(different))
    other = {different[old]: different[new] for old, new in zip(order, np.roll(order, 1), strict=True)}
    return [other[row] for row in rows]
