"""COPA."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.registry import register_task
from xmit.tasks.choice_sources import COPA_HUB, COPA_SIZES, load_copa
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.multiple_choice import MultipleChoiceTask


@register_task
class COPA(MultipleChoiceTask):
    """The cause or effect of a premise, 2 choices.

    With ``data_dir``: SuperGLUE's ``COPA/train.jsonl`` and ``val.jsonl``, or the same beside XCOPA's as
    ``data/en/train.en.jsonl``, where the test's labels may be given too.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="copa",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset=COPA_HUB,
        license="BSD 2-Clause",
        citation="Roemmele, Bejan and Gordon 2011, Choice of Plausible Alternatives, AAAI Spring Symposium",
        description="cause or effect of a premise (2 choices)",
        sizes=COPA_SIZES,
    )
    num_choices = 2

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        return load_copa(self, split, language)
