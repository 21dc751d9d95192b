"""xFlickr&CO: captions and photographs in eight languages (IGLUE)."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_jsonl
from xmit.data.sources import load_hub
from xmit.registry import register_task
from xmit.tasks.image_matching import ImageRetrievalTask
from xmit.tasks.image_text.captions import FLICKR, FLICKR_ROWS, load_captions
from xmit.tasks.image_text.sources import COCO_IMAGES, FLICKR_IMAGES, with_images_of
from xmit.tasks.metadata import TaskMetadata


@register_task
class XFlickrCO(ImageRetrievalTask):
    """Find the photograph of a caption and the caption of a photograph: 2,000 each, half of Flickr30k, half of COCO.

    Trained and validated on Flickr30k in English; ``train: false`` scores the model as it is. With ``data_dir``:
    IGLUE's ``xFlickrCO/annotations/{language}/test.jsonl``, Karpathy's Flickr30k, and both collections' images.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="xflickrco",
        roles=("target", "image-text"),
        languages=("de", "en", "es", "id", "ja", "ru", "tr", "zh"),
        main_score="recall@1",
        dataset="floschne/xflickrco",
        license="CC BY-SA 4.0 (captions); images for non-commercial research",
        citation="Bugliarello et al. 2022, IGLUE: A Benchmark for Transfer Learning across Modalities, ICML",
        description="captions and photographs, found by each other",
        parallel=True,
        overlaps=(
            "flickr30k_itm",
            "coco_itm",
            "snli",
            "anli_plus",
            "snli_ve",
            "xvnli",
            "vqa_v2",
            "gqa",
            "xgqa",
            "image_mlm",
        ),
        sizes={**FLICKR_ROWS, "test": 2_000},
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language."""
        if split != "test":
            return load_captions(self, FLICKR, split, language)
        code, table = self.native(language), None
        if self.data_dir:
            name = f"annotations/{code}/test.jsonl"
            names = [f"{folder}{name}" for folder in ("xFlickrCO/", "iglue/xFlickrCO/", "datasets/xFlickrCO/", "")]
            path = self.file(split, "en", *names)
            read: Any = read_jsonl(path, ("id", "img_path", "sentences"), texts=("img_path",))
        else:
            read = table = load_hub(self.metadata.dataset, split=code, rows=2_000)
        keys = [str(key) for key in read["id"]]
        captions = [own if isinstance(own, str) else next(iter(own or ()), None) for own in read["sentences"]]
        rows: dict[str, list[Any]] = {"id": keys, "caption": captions, "group": keys}
        if table is None:
            images = [path.rpartition("/")[2] for path in read["img_path"]]
            rows["image"] = self.local_images(images, *FLICKR_IMAGES, *COCO_IMAGES, beside=path.parent)
        return with_images_of(rows, ("image",), table)
