"""TyDiQA-GoldP: questions by people who did not know the answer, in nine languages."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_squad
from xmit.data.sources import find_file, load_hub
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.target import english_qa as english


@register_task
class TyDiQA(english.EnglishQATask):
    """The gold passage task as XTREME has it: trained on its English questions, tested on its dev split.

    There is no public test split. A tenth of the English training passages is kept for validation, which XTREME
    does not do, see :func:`~xmit.tasks.target.english_qa.tydiqa`. Hub and original files hold all languages in
    one: the id begins with the name of its language.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="tydiqa",
        roles=("target",),
        languages=("ar", "bn", "en", "fi", "id", "ko", "ru", "sw", "te"),
        main_score="f1",
        dataset=english.TYDIQA,
        license="Apache 2.0",
        citation="Clark et al. (2020), TyDi QA: A Benchmark for Information-Seeking Question Answering in "
        "Typologically Diverse Languages, TACL",
        description="answer spans in the passage that holds the answer",
        language_map={
            **{"ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish", "id": "indonesian"},
            **{"ko": "korean", "ru": "russian", "sw": "swahili", "te": "telugu"},
        },
        benchmark_version="xtreme, xtreme-r",
        sizes={**english.TYDIQA_ENGLISH, "test": 440},
    )

    def __init__(self, train_from: english.Source = "tydiqa", **kwargs: Any) -> None:
        super().__init__(train_from=train_from, **kwargs)

    def read(self, split: str, language: str) -> english.Columns:
        """TyDiQA's dev split."""
        name, dev = self.native(language), "tydiqa-goldp-v1.1-dev"
        if self.data_dir:
            names = [f"{folder}{name}/{name}_tydiqa_dev.json" for folder in ("", "tydiqa_goldp/")]
            for folder in ("", f"{dev}/", f"tydiqa/{dev}/"):
                names += [f"{folder}tydiqa.goldp.{language}.dev.json", f"{folder}tydiqa-goldp-dev-{name}.json"]
            columns = read_squad(find_file(self.data_dir, *names, task=self.name, hub=english.TYDIQA))
        else:
            table = load_hub(
                english.TYDIQA, split="validation", config="secondary_task", rows=english.TYDIQA_ROWS["validation"]
            )
            columns = english.hub_columns(table)
        return english.select(columns, english.of_language(columns["id"], name))
