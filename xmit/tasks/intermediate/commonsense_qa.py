"""CommonsenseQA."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_jsonl
from xmit.data.sources import labels_to_ids, load_hub
from xmit.errors import DataError
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.multiple_choice import MultipleChoiceTask, choice_table
from xmit.tasks.parallel import published_rows

SIZES = {"train": 9_741, "validation": 1_221}
LETTERS = "ABCDE"


@register_task
class CommonsenseQA(MultipleChoiceTask):
    """Questions that take everyday knowledge, 5 answers; the official random split.

    With ``data_dir``: the release's ``train_rand_split.jsonl`` and ``dev_rand_split.jsonl``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="commonsense_qa",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset="tau/commonsense_qa",
        license="MIT",
        citation="Talmor et al. 2019, CommonsenseQA: A Question Answering Challenge Targeting Commonsense Knowledge, "
        "NAACL",
        description="questions that take everyday knowledge (5 answers)",
        sizes=SIZES,
    )
    num_choices = 5

    def load_split(self, split: str, language: str) -> Any:
        """Load one split; the test's answers are not public."""
        count, where = published_rows(self, "CommonsenseQA", SIZES, split, language), self.metadata.dataset
        if self.data_dir:
            name = f"{'dev' if split == 'validation' else split}_rand_split.jsonl"
            path = self.file(split, language, f"commonsense_qa/{name}", f"csqa/{name}", f"data/{name}", name)
            ids, nested, keys = read_jsonl(path, ("id", "question", "answerKey")).values()
            where, questions = str(path), [question.get("stem") for question in nested]
            given = [{one.get("label"): one.get("text") for one in question.get("choices", ())} for question in nested]
        else:
            table = load_hub(where, split=split, rows=count)
            ids, questions, keys = (table[name][:] for name in ("id", "question", "answerKey"))
            given = [dict(zip(one["label"], one["text"], strict=True)) for one in table["choices"][:]]
        for row, own in enumerate(given, 1):
            if set(own) != set(LETTERS):
                raise DataError(
                    f"{where}: the choices of row {row} are {', '.join(map(str, own))}, not A to E; mend it"
                )
        choices = [[own[letter] for own in given] for letter in LETTERS]
        return choice_table(ids, [questions], choices, labels_to_ids(keys, LETTERS, where))
