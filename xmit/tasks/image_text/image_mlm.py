"""Masked language modelling of captions, grounded in their images."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from xmit.data.batching import Ragged
from xmit.errors import check_choice
from xmit.registry import register_task
from xmit.tasks.base import Examples
from xmit.tasks.image_text.captions import COCO, COCO_ROWS, FLICKR, FLICKR_HUB, load_captions
from xmit.tasks.image_text.emoji_data import load_names
from xmit.tasks.masked_lm import MaskedLMTask
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.with_images import WithImages

IMAGES = ("flickr30k_itm", "coco_itm", "snli_ve", "xvnli", "vqa_v2", "gqa", "xgqa", "xflickrco", "emoji", "emoji_itm")


@register_task
class ImageMLM(WithImages, MaskedLMTask):
    """Predict masked words of a caption from the others and from its image; no image is in two splits.

    Args:
        source: Whose captions: ``flickr30k``, ``coco``, or ``emoji``, whose captions are the English names.
        mask_rate: Share of tokens that are predicted.
        max_length: Tokens of a caption.
        images: See :class:`~xmit.tasks.with_images.WithImages`, as for all further arguments.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="image_mlm",
        roles=("intermediate", "image-text"),
        languages=("en",),
        main_score="accuracy",
        dataset=FLICKR_HUB,
        license="that of the source chosen",
        citation="Tan and Bansal 2019, LXMERT: Learning Cross-Modality Encoder Representations, EMNLP",
        description="masked words of a caption, seen beside its image",
        overlaps=IMAGES,
    )

    def __init__(self, source: Literal["flickr30k", "coco", "emoji"] = "flickr30k", mask_rate: float = 0.15,
                 max_length: int = 64, **kwargs: Any) -> None:  # fmt: skip
        super().__init__(documents=None, held_out=0.1, alpha=1.0, mask_rate=mask_rate, max_length=max_length, **kwargs)
        check_choice("data.source", source, ("flickr30k", "coco", "emoji"))
        self.source = source
        self.sizes = {"flickr30k": FLICKR.rows, "coco": COCO_ROWS, "emoji": {}}[source]

    def load_documents(self, language: str) -> Any:
        """Load all captions of the training split; splits are the source's own."""
        return self.load_split("train", language)

    def load_split(self, split: str, language: str) -> Any:
        """Load the captions of one split."""
        rows = load_names(self, split) if self.source == "emoji" else load_captions(
            self, {"flickr30k": FLICKR, "coco": COCO}[self.source], split, language)  # fmt: skip
        return rows.rename_column("caption", "text")

    def encode_text(self, table: Any) -> Examples:
        """Every caption is a block of its own."""
        assert self.tokenizer is not None
        ids = self.tokenizer(table["text"][:], truncation=True, max_length=self.max_length)["input_ids"]
        return Examples(table["id"][:], table["language"][:], {"text": Ragged.from_lists(ids)})
