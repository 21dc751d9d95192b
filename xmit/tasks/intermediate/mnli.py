"""MNLI."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xmit.data.pairs import no_test_labels
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.nli import MNLI_DEV, NLITask
from xmit.tasks.target.xnli import XNLI

if TYPE_CHECKING:
    import datasets


@register_task
class MNLI(NLITask):
    """Natural language inference in ten genres, validated on both dev sets: ids begin with their names.

    Files: see :class:`~xmit.tasks.nli.NLITask`; ``multinli_1.0_dev_matched.jsonl`` and ``…_mismatched.jsonl``. Other
    source languages are XNLI's, their training pairs machine-translated, validated on XNLI's validation split.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="mnli",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset="nyu-mll/glue",
        license="by genre: OANC, CC BY 3.0, CC BY-SA 3.0, US public domain",
        citation="Williams et al. 2018, A Broad-Coverage Challenge Corpus for Sentence Understanding, N18-1101",
        description="does a sentence entail another (3 classes)",
        overlaps=("anli_plus", "xnli", "americas_nli", "afri_xnli"),
        sizes={"train": 392_702, "validation": sum(MNLI_DEV.values())},
    )

    def resolve_language(self, code: str, source: bool = False) -> str:
        """Take XNLI's languages to train on, from the hub too."""
        return code if source and code in XNLI.metadata.languages else super().resolve_language(code, source)

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load one split of one language."""
        if split == "test":
            raise no_test_labels(self.name)
        if split == "train":
            return self.mnli(language)
        return self.mnli_dev() if language == "en" else self.xnli(split, language)
