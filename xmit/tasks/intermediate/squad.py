"""SQuAD 1.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from xmit.metrics.qa import squad_scores
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.qa_sources import SQUAD_HUBS, SQUAD_SIZES, load_squad
from xmit.tasks.question_answering import QuestionAnsweringTask
from xmit.tasks.spans import qa_table, training_table


@register_task
class SQuAD(QuestionAnsweringTask):
    """Questions on paragraphs of Wikipedia; every one has an answer. With ``data_dir``: ``train-v1.1.json``, ``dev-…``.

    Other source languages are XTREME's ``SQuAD/translate-train/squad.translate.train.en-de.json`` and so on, or MLQA's.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="squad",
        roles=("intermediate",),
        languages=("en",),
        main_score="f1",
        dataset=SQUAD_HUBS["1.1"],
        license="CC BY-SA 4.0",
        citation="Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine Comprehension of Text, EMNLP",
        description="answer spans in Wikipedia paragraphs",
        sizes=SQUAD_SIZES["1.1"],
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split; the test is not public."""
        columns = load_squad(self, split, language)
        return training_table(columns, self.name) if split == "train" else qa_table(columns)

    def score_answers(self, language: str, answers: dict[str, str], gold: dict[str, list[str]]) -> Mapping[str, Any]:
        """Score by SQuAD 1.1's rules."""
        return squad_scores(answers, gold)
