"""TyDiQA-GoldP: questions by people who did not know the answer, in nine languages."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_squad
from xmit.data.sources import find_file, load_hub
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.parallel import Columns
from xmit.tasks.qa_sources import TYDIQA, TYDIQA_ENGLISH, TYDIQA_NAMES, TYDIQA_ROWS, of_language, select
from xmit.tasks.spans import hub_columns
from xmit.tasks.target.english_qa import EnglishQATask, Source


@register_task
class TyDiQA(EnglishQATask):
    """The gold passage task as XTREME has it: trained on its English questions, tested on its dev split.

    There is no public test split. A tenth of the English training passages is kept for validation, which XTREME
    does not do, see :func:`~xmit.tasks.qa_sources.load_tydiqa`. Hub and original files hold all languages in
    one: the id begins with the name of its language.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="tydiqa",
        roles=("target",),
        languages=("ar", "bn", "en", "fi", "id", "ko", "ru", "sw", "te"),
        main_score="f1",
        dataset=TYDIQA,
        license="Apache 2.0",
        citation="Clark et al. (2020), TyDi QA: A Benchmark for Information-Seeking Question Answering in "
        "Typologically Diverse Languages, TACL",
        description="answer spans in the passage that holds the answer",
        language_map=TYDIQA_NAMES,
        benchmark_version="xtreme, xtreme-r",
        sizes={**TYDIQA_ENGLISH, "test": 440},
    )

    def __init__(self, train_from: Source = "tydiqa", **kwargs: Any) -> None:
        super().__init__(train_from=train_from, **kwargs)

    def read(self, split: str, language: str) -> Columns:
        """TyDiQA's dev split."""
        name, dev = self.native(language), "tydiqa-goldp-v1.1-dev"
        if self.data_dir:
            names = [f"{folder}{name}/{name}_tydiqa_dev.json" for folder in ("", "tydiqa_goldp/")]
            for folder in ("", f"{dev}/", f"tydiqa/{dev}/"):
                names += [f"{folder}tydiqa.goldp.{language}.dev.json", f"{folder}tydiqa-goldp-dev-{name}.json"]
            columns = read_squad(find_file(self.data_dir, *names, task=self.name, hub=TYDIQA))
        else:
            table = load_hub(TYDIQA, split="validation", config="secondary_task", rows=TYDIQA_ROWS["validation"])
            columns = hub_columns(table)
        return select(columns, of_language(columns["id"], name))
