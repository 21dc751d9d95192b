"""NLVR, the one with synthetic images."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_jsonl
from xmit.data.sources import labels_to_ids
from xmit.errors import ConfigError
from xmit.registry import register_task
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.image_text.sources import TRUE_FALSE, with_images_of
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.with_images import WithImages


@register_task
class NLVR(WithImages, SequenceClassificationTask):
    """Is a statement true of an image of three boxes with coloured shapes.

    A statement stands beside several images, so scores want intervals clustered by ``statement``. With ``data_dir`` (on
    no hub): ``train/train.json``, ``dev/dev.json``, ``test/test.json`` (JSON lines), and beside each ``images/`` or
    ``images.tar``, which is read without unpacking. A ``train_file`` such as ``test/test.json`` trains on that.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="nlvr",
        roles=("intermediate", "image-text"),
        languages=("en",),
        main_score="accuracy",
        dataset="github.com/lil-lab/nlvr",
        license="CC BY 4.0",
        citation="Suhr et al. 2017, A Corpus of Natural Language for Visual Reasoning, ACL",
        description="is a statement true of an image of coloured shapes",
        sizes={"train": 12_409, "validation": 989, "test": 990},
    )
    label_names: ClassVar[tuple[str, ...]] = TRUE_FALSE
    text_columns: ClassVar[tuple[str, ...]] = ("statement",)

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        if not self.data_dir:
            raise ConfigError(f"task {self.name!r} is on no hub: pass data_dir with a copy of {self.metadata.dataset}")
        part = "dev" if split == "validation" else split
        path = self.file(split, language, f"{part}/{part}.json", f"nlvr/{part}/{part}.json", f"{part}.json")
        read = read_jsonl(path, ("identifier", "sentence", "label", "directory"))
        # of the six orders of the boxes the first; files are called after the release's split
        names = [f"{n}/{path.name.partition('.')[0]}-{key}-0.png" for n, key in
                 zip(read["directory"], read["identifier"], strict=True)]  # fmt: skip
        rows = {"id": read["identifier"], "statement": read["sentence"]}
        rows["label"] = labels_to_ids(read["label"], TRUE_FALSE, path)
        layouts = ("images/{name}", "images.tar::images/{name}", "images.tar::{name}")
        rows["image"] = self.local_images(names, *layouts, beside=path.parent)
        return with_images_of(rows, (), None)
