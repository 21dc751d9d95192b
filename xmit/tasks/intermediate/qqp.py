"""QQP."""

from typing import Any, ClassVar

from xmit.data.pairs import no_test_labels, read_pairs
from xmit.data.sources import load_hub
from xmit.registry import register_task
from xmit.tasks.base import Score
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.scoring import f1_scores

ROWS = {"train": 363_846, "validation": 40_430}
LAYOUTS = (("question1", "question2", "label"), ("question1", "question2", "is_duplicate"))


@register_task
class QQP(SequenceClassificationTask):
    """Quora question pairs, in GLUE's split: do two questions ask the same? ``f1`` is that of the duplicates.

    With ``data_dir``: GLUE's ``QQP/train.tsv`` and ``QQP/dev.tsv``, where a few broken lines are skipped, or the hub's
    parquet files. Quora's own ``quora_duplicate_questions.tsv`` has no split: make two files of it, and name them as
    ``train_file`` and ``validation_file``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="qqp",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset="nyu-mll/glue",
        license="Quora's terms of service, non-commercial",
        citation="Iyer et al. 2017, First Quora Dataset Release: Question Pairs; split: Wang et al. 2018, GLUE",
        description="do two questions ask the same",
        sizes=ROWS,
    )
    label_names, text_columns = ("not_duplicate", "duplicate"), ("question1", "question2")

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language."""
        import datasets

        if split == "test":
            raise no_test_labels(self.name)
        hub, part = self.metadata.dataset, "dev" if split == "validation" else split
        if not self.data_dir:
            rows = load_hub(hub, config="qqp", split=split, rows=ROWS[split], label_names=self.label_names)
            table = {name: list(rows[name]) for name in LAYOUTS[0]}
        else:
            names = (f"QQP/{part}.tsv", f"{part}.tsv", f"qqp/{split}-00000-of-00001.parquet")
            path, spellings = self.file(split, language, *names), dict(zip("01", self.label_names, strict=True))
            table = read_pairs(path, LAYOUTS, self.label_names, spellings=spellings, broken=0.01)
        return datasets.Dataset.from_dict({**table, "id": [f"{split}-{i}" for i in range(len(table["label"]))]})

    def score(self, predictions: Any) -> list[Score]:
        """Accuracy, and the F1 of the duplicates, which GLUE reports beside it."""
        return super().score(predictions) + f1_scores(predictions, "duplicate")
