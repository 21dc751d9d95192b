"""A user's own task, as CONTRIBUTING shows it: one file outside the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmit.tasks import SequenceClassificationTask, TaskMetadata, register_task

if TYPE_CHECKING:
    from datasets import Dataset

WORDS = {
    "en": ("good", "fine", "bad", "poor"),
    "de": ("gut", "fein", "schlecht", "arm"),
    "sw": ("nzuri", "safi", "mbaya", "maskini"),
}


@register_task
class MyTask(SequenceClassificationTask):
    """Is a word kind or unkind?"""

    metadata = TaskMetadata(
        name="my_task",
        roles=("target", "intermediate"),
        languages=("en", "de", "sw"),
        main_score="accuracy",
        dataset="made up",
        license="CC0-1.0",
        citation="none",
        description="Kind and unkind words.",
        parallel=True,
    )
    label_names = ("kind", "unkind")

    def load_split(self, split: str, language: str) -> Dataset:
        from datasets import Dataset

        n = 64 if split == "train" else 16
        return Dataset.from_dict(
            {
                "id": [str(i) for i in range(n)],
                "text": [f"{WORDS[language][i % 4]} {i // 4}" for i in range(n)],
                "label": [i % 4 // 2 for i in range(n)],
            }
        )
