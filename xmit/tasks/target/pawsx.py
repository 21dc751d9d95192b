"""PAWS-X."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_tsv
from xmit.data.sources import find_file, labels_to_ids, load_hub
from xmit.registry import register_task
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.parallel import keep_rows, rows_with

ROWS = {"train": 49_401, "validation": 2_000, "test": 2_000}


@register_task
class PAWSX(SequenceClassificationTask):
    """Paraphrases among pairs with nearly the same words, 2,000 test pairs in each of 7 languages, parallel.

    What is ``NS`` (untranslated) in any language at hand is dropped in all; published scores ``keep_untranslated``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="pawsx",
        roles=("target",),
        languages=("de", "en", "es", "fr", "ja", "ko", "zh"),
        main_score="accuracy",
        dataset="google-research-datasets/paws-x",  # google/xtreme's copy lacks rows
        license="may be freely used for any purpose, attribution wished",
        citation="Yang et al. 2019, PAWS-X: A Cross-lingual Adversarial Dataset for Paraphrase Identification, EMNLP",
        description="are two sentences paraphrases",
        parallel=True,
        benchmark_version="xtreme",
        sizes=ROWS,
    )
    label_names, text_columns = ("0", "1"), ("sentence1", "sentence2")

    def __init__(self, keep_untranslated: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep_untranslated, self.sizes = keep_untranslated, ROWS if keep_untranslated else {"train": ROWS["train"]}

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language, ``data_dir`` having XTREME's ``pawsx/dev-de.tsv``."""
        import datasets

        others = (language,) if split == "train" else () if self.keep_untranslated else self.metadata.languages
        absent = rows_with("NS", self.text_columns, others, lambda code: self._read(split, code))
        rows = self._read(split, language)
        kept = [i for i in range(len(rows["label"])) if i not in absent]
        return datasets.Dataset.from_dict({**keep_rows(rows, kept), "id": [f"{split}-{i}" for i in kept]})

    def _read(self, split: str, language: str) -> Any:
        hub, part = self.metadata.dataset, "dev" if split == "validation" else split
        if not self.data_dir:
            return load_hub(hub, config=language, split=split, rows=ROWS[split], label_names=("0", "1")).to_dict()
        names = (f"pawsx/{part}-{language}.tsv", f"{part}-{language}.tsv")
        path = find_file(self.data_dir, *names, task=self.name, hub=hub)
        rows = read_tsv(path, (*self.text_columns, "label"))
        return {**rows, "label": labels_to_ids(rows["label"], self.label_names, path)}
