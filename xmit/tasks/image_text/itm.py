"""Image-text matching on Flickr30k and COCO."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.registry import register_task
from xmit.tasks.image_matching import ImageRetrievalTask
from xmit.tasks.image_text.captions import COCO, COCO_HUB, COCO_ROWS, FLICKR, FLICKR_HUB, FLICKR_ROWS, load_captions
from xmit.tasks.metadata import TaskMetadata

ITM: dict[str, Any] = {
    "roles": ("intermediate", "image-text"),
    "languages": ("en",),
    "main_score": "recall@1",
    "description": "captions and photographs matched",
}


@register_task
class Flickr30kITM(ImageRetrievalTask):
    """Captions of Flickr30k matched with their photographs, Karpathy's splits; see :func:`~.captions.load_captions`."""

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="flickr30k_itm",
        dataset=FLICKR_HUB,
        license="for non-commercial research and education",
        citation="Young et al. 2014, From image descriptions to visual denotations, TACL",
        overlaps=("snli", "snli_ve", "anli_plus", "xvnli", "xflickrco", "image_mlm"),
        sizes=FLICKR_ROWS,
        **ITM,
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        return load_captions(self, FLICKR, split, language)


@register_task
class CocoITM(ImageRetrievalTask):
    """Captions of COCO matched with their photographs, Karpathy's splits; images always from a folder."""

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="coco_itm",
        dataset=COCO_HUB,
        license="CC BY 4.0 (captions); images as on Flickr",
        citation="Lin et al. 2014, Microsoft COCO: Common Objects in Context, ECCV",
        overlaps=("vqa_v2", "gqa", "xgqa", "xflickrco", "image_mlm"),
        sizes=COCO_ROWS,
        **ITM,
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        return load_captions(self, COCO, split, language)
