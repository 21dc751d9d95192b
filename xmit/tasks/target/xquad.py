"""XQuAD: 1,190 questions of SQuAD's dev split in twelve languages."""

from __future__ import annotations

from typing import ClassVar

from xmit.data.readers import read_squad
from xmit.data.sources import find_file, load_hub
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.parallel import Columns
from xmit.tasks.qa_sources import SQUAD_SIZES
from xmit.tasks.spans import hub_columns
from xmit.tasks.target.english_qa import EnglishQATask
from xmit.tasks.versions import XtremeVersions


@register_task
class XQuAD(XtremeVersions, EnglishQATask):
    """Professional translations of 240 paragraphs and 1,190 questions of SQuAD 1.1's dev split.

    Its English questions stand in SQuAD's dev split, the validation split here: English is no unseen test data
    for a checkpoint that was chosen on it. XTREME's download blanks the answers; use the original files.

    Args:
        version: XTREME's eleven languages, or XTREME-R's, which add Romanian.
        languages: See :class:`~xmit.tasks.target.english_qa.EnglishQATask`, as for all further arguments.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="xquad",
        roles=("target",),
        languages=("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh", "ro"),
        main_score="f1",
        dataset="google/xquad",
        license="CC BY-SA 4.0",
        citation="Artetxe, Ruder and Yogatama (2020), On the Cross-lingual Transferability of Monolingual "
        "Representations, ACL",
        description="answer spans in translated Wikipedia paragraphs",
        parallel=True,
        benchmark_version="xtreme, xtreme-r",
        sizes={**SQUAD_SIZES["1.1"], "test": 1_190},
    )

    added = ("ro",)

    def read(self, split: str, language: str) -> Columns:
        """The test split: the data set's only one."""
        name = f"xquad.{self.native(language)}"
        hub = self.metadata.dataset
        if self.data_dir:
            return read_squad(find_file(self.data_dir, f"{name}.json", f"xquad/{name}.json", task=self.name, hub=hub))
        return hub_columns(load_hub(hub, split="validation", config=name, rows=1190))
