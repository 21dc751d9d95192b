"""Social IQa."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.registry import register_task
from xmit.tasks.choice_sources import SIQA_HUB, SIQA_SIZES, load_social_iqa
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.multiple_choice import MultipleChoiceTask


@register_task
class SocialIQA(MultipleChoiceTask):
    """Questions on people's motives, feelings and reactions, 3 answers.

    With ``data_dir``: ``socialiqa-train-dev/train.jsonl``, ``train-labels.lst`` beside it, and ``dev`` likewise.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="social_iqa",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset=SIQA_HUB,  # a copy: allenai/social_i_qa is a script
        license="not stated",
        citation="Sap et al. 2019, Social IQa: Commonsense Reasoning about Social Interactions, EMNLP",
        description="questions on motives and reactions (3 answers)",
        sizes=SIQA_SIZES,
    )
    num_choices = 3

    def load_split(self, split: str, language: str) -> Any:
        """Load one split; there is no public test."""
        return load_social_iqa(self, split, language)
