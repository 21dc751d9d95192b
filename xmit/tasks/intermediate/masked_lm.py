"""Masked language modelling on Wikipedia or one's own text."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.documents import read_documents
from xmit.data.sources import load_hub
from xmit.registry import register_task
from xmit.tasks.masked_lm import MaskedLMTask
from xmit.tasks.metadata import TaskMetadata

LANGUAGES = "af ar az bg bn de el en es et eu fa fi fr gu he hi ht hu id it ja jv ka kk ko lt ml mr ms my nl pa pl pt"
LANGUAGES += " qu ro ru sw ta te th tl tr uk ur vi wo yo zh"


@register_task
class MaskedLM(MaskedLMTask):
    """Multilingual masked language modelling: the rival of English intermediates in arXiv 2005.13013.

    From the hub it reads Wikipedia as of November 2023 in XTREME-R's 50 languages, by default the first parquet file of
    each language, of which English has 41. ``documents: null`` takes all files. With ``data_dir`` it reads plain text,
    ``{language}.txt`` or all of ``{language}/*.txt``, gzipped or not, with a blank line between documents.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="masked_lm",
        roles=("intermediate",),
        languages=tuple(LANGUAGES.split()),
        main_score="accuracy",
        dataset="wikimedia/wikipedia",
        license="CC BY-SA 3.0 and GFDL",
        citation="Wikimedia Foundation, https://dumps.wikimedia.org; Phang et al. 2020, arXiv 2005.13013",
        description="masked tokens of Wikipedia, or of one's own text, in many languages",
    )

    def load_documents(self, language: str) -> Any:
        """Load the documents of a language."""
        import datasets

        if self.data_dir:
            texts = read_documents(self.data_dir, language, task=self.name, file=self.own_file("train"))
            return datasets.Dataset.from_dict({"text": texts})
        parts = "train-*.parquet" if self.documents is None else "train-00000-of-*.parquet"
        files = f"20231101.{self.native(language)}/{parts}"
        return load_hub(self.metadata.dataset, split="train", data_files=files, revision=self.metadata.revision)
