"""XCOPA."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from xmit.data.readers import read_jsonl
from xmit.data.sources import find_file, load_hub
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.target import english_choice as english


@register_task
class XCOPA(english.StagedChoiceTask):
    """The cause or effect of a premise, 2 choices, 100 validation and 500 test items in 11 languages, parallel.

    Trained on COPA (400 items), or like XTREME-R's baseline on Social IQa first and then on COPA.

    Args:
        train_from: ``siqa+copa`` goes ``rounds`` times through each in one epoch: set ``max_epochs: 1``.
        question_from: The ``question`` field is wrong in th and tr, partly in sw, id, it: ``et`` takes Estonian's
            (else COPA's) by ``idx``, ``own`` the published one.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="xcopa",
        roles=("target",),
        languages=("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"),
        main_score="accuracy",
        dataset="cambridgeltl/xcopa",
        license="CC BY 4.0",
        citation="Ponti et al. 2020, XCOPA: A Multilingual Dataset for Causal Commonsense Reasoning, EMNLP",
        description="cause or effect of a premise (2 choices)",
        parallel=True,
        benchmark_version="xtreme-r",
        sizes=english.COPA_ROWS,
    )

    def __init__(self, question_from: Literal["et", "own"] = "et", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.question_from = question_from

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language; English is COPA's. ``data_dir`` has ``data/et/val.et.jsonl`` and so on."""
        rows = self._read(split, language)
        if split == "train":
            return self.with_siqa(english.copa_table(rows, "copa"))
        if self.question_from == "et" and language != "en":
            rows["question"] = english.matched(rows["idx"], self._read(split, "et", "en"), "question")
        return english.copa_table(rows, split)

    def _read(self, split: str, *languages: str) -> Any:
        if self.data_dir:
            files = [name for code in languages for name in english.copa_files(split, code)]
            path = find_file(self.data_dir, *files, task=self.name, hub=self.metadata.dataset)
            return read_jsonl(path, english.COPA_COLUMNS)
        hub, config = ("aps/super_glue", "copa") if languages[0] == "en" else (self.metadata.dataset, languages[0])
        return load_hub(hub, config=config, split=split, rows=english.COPA_ROWS[split]).to_dict()
