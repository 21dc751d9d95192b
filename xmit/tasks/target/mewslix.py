"""Mewsli-X: the entity that a mention in the news means, by descriptions in many languages."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.ranking import RankingTask
from xmit.tasks.target import mentions


@register_task
class MewsliX(RankingTask):
    """Mentions in WikiNews of eleven languages, against some 50,000 entities described in fifty.

    As in XTREME-R (``utils_mewslix.py``): a query is the mention, a colon, and the sentence it stands in with the
    mention in braces; a candidate is the first sentences of the entity's article; both are cut at 64 tokens. What is
    called ``map@20`` is MRR@20, each mention having one right entity. XTREME's download blanks the test's entities:
    it is predicted, not scored; ``test_split: validation`` scores the development mentions.

    Trained and validated on the release's English pairs of mention and entity, ``wikipedia_pairs``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="mewslix",
        roles=("target",),
        languages=("ar", "de", "en", "es", "fa", "ja", "pl", "ro", "ta", "tr", "uk"),
        main_score="map@20",
        dataset="izhx/mewsli-x",
        license="Apache 2.0",
        citation="Ruder et al. (2021), XTREME-R: Towards More Challenging and Nuanced Multilingual Evaluation, EMNLP",
        description="the entity that a mention in the news means",
        benchmark_version="xtreme-r",
    )
    rule = "mrr"

    def __init__(self, max_length: int = 64, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, **kwargs)

    def load_pairs(self, split: str, language: str) -> dict[str, list[str]]:
        """Mentions in the English Wikipedia, and the entities they mean."""
        return mentions.load_pairs(self, split, language)

    def load_queries(self, split: str, language: str) -> dict[str, list[Any]]:
        """The mentions in one language."""
        return mentions.load_mentions(self, split, language)

    def load_candidates(self) -> dict[str, list[str]]:
        """The entities with their descriptions."""
        return mentions.load_entities(self)
