"""MLQA: questions on Wikipedia paragraphs that exist in several of seven languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from xmit.data.readers import read_squad
from xmit.data.sources import load_hub
from xmit.metrics.qa import mlqa_scores
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.parallel import Columns
from xmit.tasks.qa_sources import SQUAD_SIZES
from xmit.tasks.spans import hub_columns
from xmit.tasks.target.english_qa import EnglishQATask

ROWS = {
    "validation": {"ar": 517, "de": 512, "en": 1148, "es": 500, "hi": 507, "vi": 511, "zh": 504},
    "test": {"ar": 5335, "de": 4517, "en": 11590, "es": 5253, "hi": 4918, "vi": 5495, "zh": 5137},
}


@register_task
class MLQA(EnglishQATask):
    """Question and context in the same language, scored by MLQA's own rules for that language.

    A question has an id in two to four languages, so consistency has to intersect ids. Validation is MLQA's
    English dev split; training is SQuAD 1.1's. ``test_split: validation`` scores the dev split in all languages.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="mlqa",
        roles=("target",),
        languages=("ar", "de", "en", "es", "hi", "vi", "zh"),
        main_score="f1",
        dataset="google/xtreme",
        license="CC BY-SA 3.0",
        citation="Lewis et al. (2020), MLQA: Evaluating Cross-lingual Extractive Question Answering, ACL",
        description="answer spans in Wikipedia paragraphs that were found parallel",
        parallel=True,
        benchmark_version="xtreme, xtreme-r",
        sizes={"train": SQUAD_SIZES["1.1"]["train"], **{split: rows["en"] for split, rows in ROWS.items()}},
    )

    own_validation = True

    def read(self, split: str, language: str) -> Columns:
        """MLQA's own validation (``dev``) or test split."""
        code, hub = self.native(language), self.metadata.dataset
        if self.data_dir:
            part = {"validation": "dev"}.get(split, split)
            name = f"{part}/{part}-context-{code}-question-{code}.json"
            names = [folder + name for folder in ("", "MLQA_V1/", "mlqa/MLQA_V1/")]
            return read_squad(self.file(split, language, *names, translations=names))
        return hub_columns(load_hub(hub, split=split, config=f"MLQA.{code}.{code}", rows=ROWS[split][language]))

    def score_answers(self, language: str, answers: dict[str, str], gold: dict[str, list[str]]) -> Mapping[str, Any]:
        """Score by MLQA's rules, which split Chinese into characters and know each language's articles."""
        return mlqa_scores(answers, gold, language)
