"""Handwritten numbers and their English names: an image-text intermediate and its text-only control."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from xmit.registry import register_task
from xmit.tasks.base import TaskMetadata
from xmit.tasks.contrastive import ContrastiveTask
from xmit.tasks.embedded import digits_data
from xmit.tasks.image_matching import CaptionedImages

if TYPE_CHECKING:
    import datasets

_METADATA = TaskMetadata(
    name="digits_image",
    roles=("intermediate", "image-text", "embedded"),
    languages=("en",),
    main_score="accuracy",
    dataset="scikit-learn (PyPI)",
    license="CC-BY-4.0 (UCI), shipped with scikit-learn (BSD-3-Clause)",
    citation="Alpaydin and Kaynak (1998): Optical Recognition of Handwritten Digits, UCI Machine Learning "
    "Repository, doi:10.24432/C50P49",
    description="images of two handwritten digits and the number in English words, matched",
    overlaps=("digits_text",),
)


class _Digits(ContrastiveTask):
    """Both tasks see the same captions in the same order, so equal updates see equal captions."""

    with_images: ClassVar[bool]

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load one split.

        Args:
            split: ``train``, ``validation`` or ``test``: no digit image is in two of them.
            language: Always ``en``.
        """
        import datasets
        from PIL import Image

        pairs = digits_data.pairs(split)
        features = {name: datasets.Value("string") for name in ("id", "caption", "match", "group")}
        matches: list[str] | list[Image.Image] = [pair.numeral for pair in pairs]
        if self.with_images:
            features["match"] = datasets.Image()
            matches = [Image.fromarray(digits_data.compose(pair.digits)) for pair in pairs]
        rows = {
            "id": [pair.id for pair in pairs],
            "caption": [pair.caption for pair in pairs],
            "match": matches,
            "group": [str(pair.number) for pair in pairs],
        }
        return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


@register_task
class DigitsImage(CaptionedImages, _Digits):
    """Find the image a caption belongs to: ``twenty-three`` and two handwritten digits."""

    metadata: ClassVar[TaskMetadata] = _METADATA
    image_columns: ClassVar[tuple[str, ...]] = ("match",)
    with_images = True


@register_task
class DigitsText(_Digits):
    """The control without images: the same captions and the numeral ``23``."""

    metadata: ClassVar[TaskMetadata] = replace(
        _METADATA,
        name="digits_text",
        roles=("intermediate", "embedded"),
        description="numerals and the number in English words, matched: the text-only control of digits_image",
        overlaps=("digits_image",),
    )
    with_images = False
