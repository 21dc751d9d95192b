"""AfriXNLI."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_tsv
from xmit.data.sources import labels_to_ids, load_hub
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.nli import XNLI_ROWS, NLITask, nli_table
from xmit.tasks.parallel import Columns

CODES = {
    **{"am": "amh", "en": "eng", "ee": "ewe", "fr": "fra", "ha": "hau", "ig": "ibo", "rw": "kin", "ln": "lin"},
    **{"lg": "lug", "om": "orm", "sn": "sna", "st": "sot", "sw": "swa", "tw": "twi", "wo": "wol", "xh": "xho"},
    **{"yo": "yor", "zu": "zul"},
}
PARTS = {"validation": ("dev", 450), "test": ("test", 600)}


@register_task
class AfriXNLI(NLITask):
    """XNLI items translated into 16 African languages, with their English and French: 450 validation, 600 test.

    The rows are parallel, by line. They carry no key into XNLI, so shared items can only be found by their English
    text. Training is English MNLI, validation AfriXNLI's English.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="afri_xnli",
        roles=("target", "low-resource"),
        languages=tuple(CODES),
        language_map=CODES,
        main_score="accuracy",
        dataset="masakhane/afrixnli",
        license="Apache 2.0",
        citation="Adelani et al. 2025, IrokoBench: A New Benchmark for African Languages in the Age of LLMs, NAACL",
        description="does a sentence entail another, in African languages (3 classes)",
        parallel=True,
        overlaps=("xnli", "americas_nli"),
        sizes={"train": XNLI_ROWS["train"], **{split: count for split, (_, count) in PARTS.items()}},
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language, ``data_dir`` having the hub's ``amh/dev.tsv``; English training is MNLI."""
        if split == "train":
            return self.mnli(language)
        (part, count), code = PARTS[split], self.native(language)
        if not self.data_dir:
            rows: Columns = load_hub(self.metadata.dataset, config=code, split=split, rows=count).to_dict()
        else:
            files = (f"afrixnli/{code}/{part}.tsv", f"data/{code}/{part}.tsv", f"{code}/{part}.tsv")
            path = self.file(split, language, *files, translations=files)
            rows = dict(read_tsv(path, (*self.text_columns, "label"), header=True))
            rows["label"] = labels_to_ids(rows["label"], ("0", "1", "2"), path)
        return nli_table(rows, split, range(len(rows["label"])))
