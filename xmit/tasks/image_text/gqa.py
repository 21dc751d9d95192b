"""GQA."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.registry import register_task
from xmit.tasks.answers import AnswerTask
from xmit.tasks.image_text.sources import GQA_HUB, GQA_ROWS, gqa
from xmit.tasks.metadata import TaskMetadata


@register_task
class GQA(AnswerTask):
    """Compositional questions on Visual Genome's photographs, the balanced splits; the test is ``testdev``.

    The classes are all answers of the training split; the score is exact accuracy.

    With ``data_dir``: ``train_balanced_questions.json``, ``val_…``, ``testdev_…`` and ``images/``, or ``image_dir``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="gqa",
        roles=("intermediate", "image-text"),
        languages=("en",),
        main_score="accuracy",
        dataset=GQA_HUB,
        license="CC BY 4.0 (MIT on the hub's card)",
        citation="Hudson and Manning 2019, GQA: A New Dataset for Real-World Visual Reasoning, CVPR",
        description="answer a compositional question about a photograph",
        overlaps=("xgqa", "vqa_v2", "coco_itm", "image_mlm", "xflickrco"),
        sizes=GQA_ROWS,
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        return gqa(self, split, language)
