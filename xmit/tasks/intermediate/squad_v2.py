"""SQuAD 2.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from xmit.metrics.qa import squad_best, squad_scores
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.qa_sources import SQUAD_HUBS, SQUAD_SIZES, load_squad
from xmit.tasks.question_answering import QuestionAnsweringTask
from xmit.tasks.spans import qa_table, training_table

if TYPE_CHECKING:
    import pandas as pd


@register_task
class SQuADv2(QuestionAnsweringTask):
    """SQuAD 1.1's questions and over 50,000 whose paragraph has no answer: they train towards the first token.

    With ``data_dir``: ``train-v2.0.json`` and ``dev-v2.0.json``. ``best_f1`` and ``best_exact`` are at the threshold
    that is best for them, see :func:`~xmit.metrics.squad_best`; the other scores at ``null_threshold``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="squad_v2",
        roles=("intermediate",),
        languages=("en",),
        main_score="f1",
        dataset=SQUAD_HUBS["2.0"],
        license="CC BY-SA 4.0",
        citation="Rajpurkar, Jia and Liang 2018, Know What You Don't Know: Unanswerable Questions for SQuAD, ACL",
        description="answer spans in Wikipedia paragraphs, or that there is none",
        overlaps=("squad",),
        sizes=SQUAD_SIZES["2.0"],
    )
    metrics = ("f1", "exact_match", "has_answer_f1", "no_answer_f1", "best_f1", "best_exact")

    def __init__(self, null_threshold: float | None = 0.0, **kwargs: Any) -> None:
        super().__init__(null_threshold=null_threshold, **kwargs)

    def load_split(self, split: str, language: str) -> Any:
        """Load one split; the test is not public."""
        columns = load_squad(self, split, language, "2.0")
        return training_table(columns, self.name) if split == "train" else qa_table(columns)

    def score_answers(self, language: str, answers: dict[str, str], gold: dict[str, list[str]]) -> Mapping[str, Any]:
        """Score by SQuAD 2.0's rules."""
        return squad_scores(answers, gold, "2.0")

    def score_rows(self, language: str, rows: pd.DataFrame, gold: dict[str, list[str]]) -> Mapping[str, Any]:
        """The scores at the threshold, and those at the best."""
        no_answer = {key: float(null - best) for key, (best, null) in zip(rows["id"], rows["scores"], strict=True)}
        best = squad_best(dict(zip(rows["id"], rows["answer"], strict=True)), gold, no_answer)
        return {**super().score_rows(language, rows, gold), **best}
