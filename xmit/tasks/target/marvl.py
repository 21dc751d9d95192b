"""MaRVL: statements about two photographs in five languages (IGLUE)."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_jsonl
from xmit.data.sources import labels_to_ids, load_hub
from xmit.registry import register_task
from xmit.tasks.image_text.nlvr2 import ImagePairTask
from xmit.tasks.image_text.sources import NLVR2_ROWS, TRUE_FALSE, nlvr2, with_images_of
from xmit.tasks.metadata import TaskMetadata

ROWS = {"id": 1_128, "sw": 1_108, "ta": 1_242, "tr": 1_180, "zh": 1_012}


@register_task
class MaRVL(ImagePairTask):
    """Is a statement true of two photographs, on concepts of each culture; languages are not parallel.

    Trained and validated on NLVR2, which needs a ``data_dir``. There: ``zero_shot/annotations/marvl-{language}.jsonl``,
    NLVR2's files, and the images as released, ``{language}/images/{concept}/{name}``, there or in ``image_dir``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="marvl",
        roles=("target", "image-text", "low-resource"),
        languages=tuple(ROWS),
        main_score="accuracy",
        dataset="floschne/marvl",
        license="CC BY 4.0",
        citation="Liu et al. 2021, Visually Grounded Reasoning across Languages and Cultures, EMNLP",
        description="is a statement true of two photographs",
        overlaps=("nlvr2",),
        sizes={**NLVR2_ROWS, "test": 1_128},
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language; training and validation are NLVR2's."""
        if split != "test":
            return nlvr2(self, split, language)
        code = self.native(language)
        if not self.data_dir:
            table = load_hub(self.metadata.dataset, split=code, rows=ROWS[language])
            rows = {"id": [str(key) for key in table["id"][:]], "statement": table["hypothesis"][:]}
            rows["label"] = [int(label) for label in table["label"][:]]
            table = table.select_columns(["left_img", "right_img"])
            return with_images_of(rows, self.image_columns, table.rename_columns(dict(
                zip(("left_img", "right_img"), self.image_columns, strict=True))))  # fmt: skip
        name = f"zero_shot/annotations/marvl-{code}.jsonl"
        path = self.file(split, "en", name, f"marvl/{name}", f"iglue/marvl/{name}", f"datasets/marvl/{name}")
        texts = ("id", "caption", "concept", "left_img", "right_img")
        read = read_jsonl(path, (*texts, "label"), texts=texts)
        rows = {"id": read["id"], "statement": read["caption"]}
        rows["label"] = labels_to_ids([str(label).lower() for label in read["label"]], TRUE_FALSE, path)
        for side, column in zip(self.image_columns, ("left_img", "right_img"), strict=True):
            names = [f"{concept}/{image}" for concept, image in zip(read["concept"], read[column], strict=True)]
            layouts = [f"{folder}{code}/images/{{name}}" for folder in ("", "images/", "zero_shot/images/")]
            rows[side] = self.local_images(names, *layouts, beside=path.parent.parent)
        return with_images_of(rows, (), None)
