"""Crossmodal-3600: captions of the same photographs in 36 languages."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_jsonl
from xmit.data.sources import load_hub
from xmit.data.text import AGAIN, fail
from xmit.errors import ConfigError
from xmit.registry import register_task
from xmit.tasks.image_matching import ImageRetrievalTask
from xmit.tasks.image_text.sources import with_images_of
from xmit.tasks.metadata import TaskMetadata

LANGUAGES = """ar bn cs da de el en es fa fi fr he hi hr hu id it ja ko mi nb nl pl pt qu ro ru sv sw te th tl tr uk vi
zh"""


@register_task
class XM3600(ImageRetrievalTask):
    """Find the photograph of a caption and the captions of a photograph; nothing is trained.

    3,600 photographs, captions written in each language on its own, so they are not parallel. With ``data_dir``:
    ``captions.jsonl`` as released and ``images/{key}.jpg``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="xm3600",
        roles=("target", "image-text", "low-resource"),
        languages=tuple(LANGUAGES.split()),
        language_map={"tl": "fil", "qu": "quz", "nb": "no"},
        main_score="recall@1",
        dataset="floschne/xm3600",
        license="CC BY 4.0",
        citation="Thapliyal et al. 2022, Crossmodal-3600: A Massively Multilingual Multimodal Dataset, EMNLP",
        description="captions and photographs, found by each other",
    )
    trains = False

    def __init__(self, train: bool = False, **kwargs: Any) -> None:
        super().__init__(train=train, **kwargs)
        if train:
            raise ConfigError(f"task {self.name!r} has no training data: leave out train")

    def load_split(self, split: str, language: str) -> Any:
        """Load the captions of one language; there is the test alone."""
        if split != "test":
            raise ConfigError(f"task {self.name!r} has no split {split!r}: it is only scored, on 'test'")
        found: list[tuple[Any, Any]]
        code, table, hub = self.native(language), None, self.metadata.dataset
        if self.data_dir:
            path = self.file(split, "en", "captions.jsonl", "xm3600/captions.jsonl", "crossmodal3600/captions.jsonl")
            read = read_jsonl(path, ("image/key", code), texts=("image/key",))
            found = [(key, own.get("caption") if isinstance(own, dict) else None)
                     for key, own in zip(read["image/key"], read[code], strict=True)]  # fmt: skip
            for line, (key, captions) in enumerate(found, 1):
                if not isinstance(captions, list):
                    fail(path, line, f"no list of captions of {key!r} in {code!r}", f"mend the line, or {AGAIN}")
        else:
            table = load_hub(hub, split=code, rows=3_600)
            found = list(zip(table["image_id"][:], table["captions"][:], strict=True))
        rows = {
            "id": [f"{key}-{n}" for key, captions in found for n in range(len(captions))],
            "caption": [caption for _, captions in found for caption in captions],
            "group": [str(key) for key, captions in found for _ in captions],
        }
        if table is not None:
            return with_images_of(rows, ("image",), table.select([n for n, own in enumerate(found) for _ in own[1]]))
        rows["image"] = self.local_images([f"{key}.jpg" for key in rows["group"]], "images/{name}", beside=path.parent)
        return with_images_of(rows, (), None)
