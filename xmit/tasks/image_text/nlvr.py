"""NLVR, the one with synthetic images."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

from xmit.data.readers import read_jsonl
from xmit.data.sources import labels_to_ids
from xmit.errors import ConfigError, MissingDataError
from xmit.registry import register_task
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.image_text.sources import TRUE_FALSE, with_images_of
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.parallel import Columns
from xmit.tasks.with_images import WithImages

STATEMENTS = {"train": 12_409, "validation": 989, "test": 990}
ORDERS = 6
LAYOUTS = ("images/{name}", "images.tar::images/{name}", "images.tar::{name}")


@register_task
class NLVR(WithImages, SequenceClassificationTask):
    """Is a statement true of an image of three boxes with coloured shapes.

    Every image comes in six orders of its boxes, each an item of its own, in training and in the official accuracy
    alike; an order of which no image is at hand is left out. A statement stands beside several images: intervals are
    clustered by it. A tower's centre crop would leave the middle box alone: set ``model.vision.resize``.

    With ``data_dir`` (on no hub): ``train/train.json``, ``dev/dev.json``, ``test/test.json`` (JSON lines), and beside
    each ``images/`` or ``images.tar``, which is read without unpacking. A ``train_file`` such as ``test/test.json``
    trains on that.

    Args:
        orders: How many of the six orders.
        images: See :class:`~xmit.tasks.with_images.WithImages`, as for all further arguments.
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
        sizes=STATEMENTS,
    )
    label_names: ClassVar[tuple[str, ...]] = TRUE_FALSE
    text_columns: ClassVar[tuple[str, ...]] = ("statement",)
    cluster_column: ClassVar[str | None] = "statement"

    def __init__(self, orders: int = ORDERS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 1 <= orders <= ORDERS:
            raise ConfigError(f"data.orders must be a number from 1 to {ORDERS}, not {orders!r}")
        self.orders = orders
        self.sizes = {split: orders * count for split, count in STATEMENTS.items()}

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        if not self.data_dir:
            raise ConfigError(f"task {self.name!r} is on no hub: pass data_dir with a copy of {self.metadata.dataset}")
        part = "dev" if split == "validation" else split
        path = self.file(split, language, f"{part}/{part}.json", f"nlvr/{part}/{part}.json", f"{part}.json")
        read = read_jsonl(path, ("identifier", "sentence", "label", "directory"))
        labels = labels_to_ids(read["label"], TRUE_FALSE, path)
        release = path.name.partition(".")[0]  # files are called after the release's split
        names = [f"{n}/{release}-{key}" for n, key in zip(read["directory"], read["identifier"], strict=True)]
        wanted = {order: [f"{name}-{order}.png" for name in names] for order in range(self.orders)}
        found = {0: self.local_images(wanted[0], *LAYOUTS, beside=path.parent)}
        if found[0] == wanted[0]:  # the control without images, where there are none
            found = wanted
        for order in range(len(found), self.orders):
            with suppress(MissingDataError):
                found[order] = self.find_images(wanted[order], *LAYOUTS, beside=path.parent)
        rows: Columns = {"id": [f"{key}-{order}" for order in found for key in read["identifier"]]}
        rows |= {"statement": read["sentence"] * len(found), "label": labels * len(found)}
        rows["image"] = [place for places in found.values() for place in places]
        return with_images_of(rows, (), None)
