"""AmericasNLI."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_tsv
from xmit.data.sources import find_file, labels_to_ids, load_hub
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.nli import LABELS, XNLI_ROWS, NLITask, nli_table
from xmit.tasks.parallel import Columns, integers

# the id of XNLI's first item, and how many rows the languages that are complete have
PARTS = {"validation": ("dev", 12_451, 743), "test": ("test", 25_051, 750)}

LACKING = {"validation": {"cni": 658, "nah": 376, "oto": 222}, "test": {"nah": 738, "oto": 748}}
"""The rows of languages that lack some."""


@register_task
class AmericasNLI(NLITask):
    """XNLI items translated into ten languages of the Americas; validation and training are English (XNLI, MNLI).

    Ids are XNLI's (``test-17`` is line 17 of its test split, from 0), so that shared items join. Ashaninka, Nahuatl
    and Otomi lack rows. The hub's rows have no ids: there the complete languages are joined by row
    with each other, the other ones not at all.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="americas_nli",
        roles=("target", "low-resource"),
        languages=("ay", "bzd", "cni", "gn", "hch", "nah", "oto", "qu", "shp", "tar"),
        language_map={"ay": "aym", "qu": "quy"},
        main_score="accuracy",
        dataset="nala-cub/americas_nli",
        license="CC BY-SA 4.0",
        citation="Ebrahimi et al. 2022, AmericasNLI: Evaluating Zero-shot Natural Language Understanding, ACL",
        description="does a sentence entail another, in languages of the Americas (3 classes)",
        parallel=True,
        overlaps=("xnli", "afri_xnli"),
        sizes={**XNLI_ROWS, "test": PARTS["test"][2]},
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language, ``data_dir`` having ``dev/aym.tsv``; English from MNLI and XNLI."""
        if language == "en":
            return self.mnli() if split == "train" else self.xnli(split, language)
        (part, first, complete), code = PARTS[split], self.native(language)
        if not self.data_dir:
            n = LACKING[split].get(code, complete)
            rows: Columns = load_hub(
                self.metadata.dataset, config=code, split=split, label_names=LABELS, rows=n
            ).to_dict()
            prefix = f"{split}-row" if len(rows["label"]) == complete else f"{split}-{language}"
            return nli_table(rows, prefix, range(len(rows["label"])))
        files = (f"americasnli/{part}/{code}.tsv", f"{part}/{code}.tsv")
        path = find_file(self.data_dir, *files, task=self.name, hub=self.metadata.dataset)
        rows = dict(read_tsv(path, ("id", *self.text_columns, "label"), header=True))
        rows["label"] = labels_to_ids(rows["label"], LABELS, path)
        return nli_table(rows, split, [number - first for number in integers(rows["id"], path)])
