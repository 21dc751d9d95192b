"""Emoji: an image and its name, masked, tell the group; names and images matched."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.sources import labels_to_ids
from xmit.errors import ConfigError
from xmit.registry import register_task
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.image_matching import ImageRetrievalTask
from xmit.tasks.image_text.emoji_data import DATA, GROUPS, load_names, mask_words
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.with_images import WithImages

EMOJI: dict[str, Any] = {"roles": ("intermediate", "image-text"), "languages": ("en",), **DATA}


@register_task
class Emoji(WithImages, SequenceClassificationTask):
    """The group of an emoji (9, such as ``Food & Drink``) by its image and its English name with words masked.

    Args:
        masked: Share of the name's words that are masked; 1 leaves nothing but how many there are.
        images: See :class:`~xmit.tasks.with_images.WithImages`, as for all further arguments.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="emoji", main_score="accuracy", description="group of an emoji, by its image (9 classes)",
        overlaps=("emoji_itm", "emoji_names", "image_mlm"), **EMOJI,
    )  # fmt: skip
    label_names: ClassVar[tuple[str, ...]] = GROUPS

    def __init__(self, masked: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= masked <= 1:
            raise ConfigError(f"data.masked must be a share from 0 to 1, not {masked!r}")
        self.masked = masked

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        rows = load_names(self, split)
        text = [mask_words(name, self.masked) for name in rows["caption"]]
        labels = labels_to_ids(rows["kind"], GROUPS, "emoji annotations")
        return rows.remove_columns(["caption", "kind", "group"]).add_column("text", text).add_column("label", labels)


@register_task
class EmojiITM(ImageRetrievalTask):
    """English names of emoji matched with their images."""

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="emoji_itm", main_score="recall@1", description="names and images of emoji matched",
        overlaps=("emoji", "emoji_names", "image_mlm"), **EMOJI,
    )  # fmt: skip

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        return load_names(self, split)
