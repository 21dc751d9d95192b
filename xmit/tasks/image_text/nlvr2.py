"""NLVR2."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.registry import register_task
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.image_text.sources import NLVR2_ROWS, TRUE_FALSE, nlvr2
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.with_images import WithImages


class ImagePairTask(WithImages, SequenceClassificationTask):
    """Whether a statement is true of two photographs; trained on NLVR2, in English."""

    label_names: ClassVar[tuple[str, ...]] = TRUE_FALSE
    text_columns: ClassVar[tuple[str, ...]] = ("statement",)
    cluster_column: ClassVar[str | None] = "statement"
    image_columns: ClassVar[tuple[str, ...]] = ("left", "right")
    tokens_per_example: ClassVar[int] = 130


@register_task
class NLVR2(ImagePairTask):
    """Is a statement true of two photographs. The test is test-P.

    With ``data_dir``: the release's ``data/train.json``, ``dev.json``, ``test1.json`` and the images as released,
    ``images/train/{directory}/…``, ``dev/…``, ``test1/…``, there or in ``image_dir``. No hub has the training images.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="nlvr2",
        roles=("intermediate", "image-text"),
        languages=("en",),
        main_score="accuracy",
        dataset="github.com/lil-lab/nlvr",
        license="CC BY 4.0 (annotations); images as on the web",
        citation="Suhr et al. 2019, A Corpus for Reasoning About Natural Language Grounded in Photographs, ACL",
        description="is a statement true of two photographs",
        overlaps=("marvl",),
        sizes=NLVR2_ROWS,
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        return nlvr2(self, split, language)
