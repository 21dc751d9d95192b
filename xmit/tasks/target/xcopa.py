"""XCOPA."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from xmit.data.readers import read_jsonl
from xmit.data.sources import load_hub
from xmit.registry import register_task
from xmit.tasks.choice_sources import COPA_COLUMNS, COPA_SIZES, copa_files, copa_table, load_copa, matched
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.target.staged_choice import StagedChoiceTask


@register_task
class XCOPA(StagedChoiceTask):
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
        sizes=COPA_SIZES,
    )

    def __init__(self, question_from: Literal["et", "own"] = "et", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.question_from = question_from

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language; English is COPA's. ``data_dir`` has ``data/et/val.et.jsonl`` and so on."""
        if split == "train":
            return self.training_rows(language)
        if language == "en":
            return load_copa(self, split, language)
        rows = self._read(split, language)
        if self.question_from == "et" and not (split == "validation" and self.validation_file):
            rows["question"] = matched(rows["idx"], self._read(split, "et", "en"), "question")
        return copa_table(rows, split, f"XCOPA, {language}, {split}")

    def _read(self, split: str, *languages: str) -> Any:
        if self.data_dir:
            files = [name for code in languages for name in copa_files(split, code)]
            return read_jsonl(self.file(split, languages[0], *files, translations=files), COPA_COLUMNS)
        return load_hub(self.metadata.dataset, config=languages[0], split=split, rows=COPA_SIZES[split]).to_dict()
