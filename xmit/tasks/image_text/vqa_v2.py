"""VQA v2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from xmit.metrics.vqa import normalise_answer, soft_scores
from xmit.registry import register_task
from xmit.tasks.answers import AnswerTask
from xmit.tasks.base import Score
from xmit.tasks.image_text.vqa_data import VQA_HUB, VQA_ROWS, load_vqa, official_scores
from xmit.tasks.metadata import TaskMetadata

if TYPE_CHECKING:
    import pandas as pd


@register_task
class VQAv2(AnswerTask):
    """Questions on COCO's photographs, each answered by ten people; 3,129 classes and soft targets by default.

    Targets are what the official score gives each answer, its score is :func:`~xmit.metrics.vqa.vqa_accuracy`. The
    answers to the test's questions are not public: score with ``test_split: validation``.

    With ``data_dir``: ``v2_OpenEnded_mscoco_train2014_questions.json``, ``v2_mscoco_train2014_annotations.json``, the
    same of ``val2014``, and the images in ``train2014/`` and ``val2014/``, or in ``image_dir``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="vqa_v2",
        roles=("intermediate", "image-text"),
        languages=("en",),
        main_score="vqa_accuracy",
        dataset=VQA_HUB,
        license="CC BY 4.0 (annotations); images as on Flickr",
        citation="Goyal et al. 2017, Making the V in VQA Matter, CVPR",
        description="answer a question about a photograph (3,129 answers)",
        overlaps=("coco_itm", "image_mlm", "xflickrco", "gqa", "xgqa"),
        sizes=VQA_ROWS,
    )

    def __init__(self, answers: int | None = 3129, **kwargs: Any) -> None:
        super().__init__(answers=answers, **kwargs)

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        return load_vqa(self, split, language)

    def credit(self, answers: Sequence[str]) -> dict[str, float]:
        """What each of the ten answers, normalised, would get."""
        return soft_scores([normalise_answer(answer) for answer in answers])

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """The official accuracy."""
        return official_scores(predictions)
