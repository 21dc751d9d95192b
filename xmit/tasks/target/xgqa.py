"""xGQA: compositional questions about photographs in eight languages (IGLUE)."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.sources import load_hub
from xmit.registry import register_task
from xmit.tasks.answers import AnswerTask
from xmit.tasks.image_text.sources import GQA_ROWS, gqa, gqa_questions, with_images_of
from xmit.tasks.metadata import TaskMetadata


@register_task
class XGQA(AnswerTask):
    """GQA's questions in eight languages; the answers are English everywhere. Trained and validated on GQA.

    With ``data_dir``: ``zero_shot/testdev_balanced_questions_{language}.json`` (12,578 questions), GQA's own files and
    ``images/``. The hub has the 9,666 of the few-shot setting's test, without ids: joined by their number.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="xgqa",
        roles=("target", "image-text"),
        languages=("bn", "de", "en", "id", "ko", "pt", "ru", "zh"),
        main_score="accuracy",
        dataset="floschne/xgqa",
        license="CC BY 4.0",
        citation="Pfeiffer et al. 2022, xGQA: Cross-Lingual Visual Question Answering, Findings of ACL",
        description="answer a compositional question about a photograph",
        parallel=True,
        overlaps=("gqa", "vqa_v2", "coco_itm", "image_mlm", "xflickrco"),
        sizes=GQA_ROWS,
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language."""
        if split != "test":
            return gqa(self, split, language)
        code = self.native(language)
        if self.data_dir:
            file = f"zero_shot/testdev_balanced_questions_{code}.json"
            return gqa_questions(self, self.file(split, "en", file, f"data/{file}", f"xgqa/{file}", f"xGQA/{file}"))
        table = load_hub(self.metadata.dataset, split=code, rows=9_666)
        rows = {"id": [f"test-{n}" for n in range(len(table))], "question": table["question"][:]}
        rows["answers"] = [[answer] for answer in table["answer"][:]]
        rows["photo"] = [f"{key}.jpg" for key in table["image_id"][:]]
        return with_images_of(rows, ("image",), table)
