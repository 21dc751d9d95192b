"""Cosmos QA."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.registry import register_task
from xmit.tasks.choice_sources import COSMOS_HUB, COSMOS_SIZES, load_cosmos_qa
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.multiple_choice import MultipleChoiceTask


@register_task
class CosmosQA(MultipleChoiceTask):
    """Questions on what a short text of a blog does not say outright, 4 answers.

    With ``data_dir``: the release's ``train.csv`` and ``valid.csv``. Its training file has 25,262 rows, the paper
    25,588.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="cosmos_qa",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset=COSMOS_HUB,
        license="CC BY 4.0",
        citation="Huang et al. 2019, Cosmos QA: Machine Reading Comprehension with Contextual Commonsense, EMNLP",
        description="questions on what a text leaves unsaid (4 answers)",
        sizes=COSMOS_SIZES,
    )
    num_choices = 4

    def load_split(self, split: str, language: str) -> Any:
        """Load one split; the test's labels are not public."""
        return load_cosmos_qa(self, split, language)
