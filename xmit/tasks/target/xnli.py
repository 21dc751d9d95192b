"""XNLI."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.nli import XNLI_ROWS, NLITask

if TYPE_CHECKING:
    import datasets


@register_task
class XNLI(NLITask):
    """Natural language inference in 15 languages, 2,490 validation and 5,010 test pairs each, parallel.

    English training is MNLI. With ``data_dir``: XTREME's ``xnli/{train,dev,test}-{language}.tsv`` (its test files
    carry no labels: score with ``test_split: validation``, or give the release's ``xnli.test.tsv``). Another
    ``source_language`` trains on MNLI's machine translations, which the hub's data carry, see
    :mod:`xmit.data.pairs` for files; it is validated on XNLI's own validation split in that language.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="xnli",
        roles=("target",),
        languages=("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"),
        main_score="accuracy",
        dataset="facebook/xnli",
        license="CC BY-NC 4.0",
        citation="Conneau et al. 2018, XNLI: Evaluating Cross-lingual Sentence Representations, EMNLP",
        description="does a sentence entail another (3 classes)",
        parallel=True,
        overlaps=("americas_nli", "afri_xnli"),
        benchmark_version="xtreme, xtreme-r",
        sizes=XNLI_ROWS,
    )

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load one split of one language."""
        if split == "train":
            return self.mnli(self.native(language))
        return self.xnli(split, self.native(language))
