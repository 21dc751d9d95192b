"""SNLI."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xmit.data.sources import load_hub
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.nli import LABELS, NLITask, nli_table, read_pairs

if TYPE_CHECKING:
    import datasets

ROWS = {"train": 550_152, "validation": 10_000, "test": 10_000}  # before those without a label are dropped


@register_task
class SNLI(NLITask):
    """Natural language inference on captions of photographs.

    With ``data_dir``: ``snli_1.0/snli_1.0_train.jsonl``, ``…_dev.jsonl``, ``…_test.jsonl``, the hub's parquet files,
    or CSV, ``snli/train.csv``. Pairs without a label, ``-``, are dropped.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="snli",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset="stanfordnlp/snli",
        license="CC BY-SA 4.0",
        citation="Bowman et al. 2015, A large annotated corpus for learning natural language inference, D15-1075",
        description="does a caption entail another (3 classes)",
        overlaps=("anli_plus", "snli_ve", "xvnli", "flickr30k_itm", "image_mlm"),
        sizes={"train": 549_367, "validation": 9_842, "test": 9_824},
    )

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load one split of one language."""
        if not self.data_dir:
            rows = load_hub(self.metadata.dataset, config="plain_text", split=split, rows=ROWS[split],
                            label_names=LABELS, drop_unlabelled=True).to_dict()  # fmt: skip
        else:
            part = "dev" if split == "validation" else split
            own = f"snli_1.0_{part}"
            names = [f"snli_1.0/{own}.jsonl", f"{own}.jsonl", f"snli_1.0/{own}.txt", f"{own}.txt"]
            names += [f"plain_text/{split}-00000-of-00001.parquet", f"snli/{part}.csv", f"nli/snli/{part}.csv"]
            rows = read_pairs(self.file(split, language, *names))
        return nli_table(rows, split, range(len(rows["label"])))
