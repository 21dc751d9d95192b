"""PAWS-X."""

from typing import Any, ClassVar

from xmit.data.pairs import read_pairs, translation_names
from xmit.data.sources import load_hub
from xmit.registry import register_task
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.parallel import keep_rows, rows_with

ROWS = {"train": 49_401, "validation": 2_000, "test": 2_000}


@register_task
class PAWSX(SequenceClassificationTask):
    """Paraphrases among pairs with nearly the same words, 2,000 test pairs in each of 7 languages, parallel.

    What was not translated holds the text ``NS`` and label 0: an item that is ``NS`` in any language at hand is
    dropped in all. ``keep_untranslated`` keeps it, as published scores and submission files do. Another
    ``source_language`` trains on machine translations, the hub's or files, see :mod:`xmit.data.pairs`.
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
    asked_options: ClassVar[str | tuple[str, ...]] = ("no paraphrase", "paraphrase")

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
        names = [f"pawsx/{part}-{language}.tsv", f"{part}-{language}.tsv"]
        others = [*(translation_names(language, "PAWSX") if split == "train" else ()), *names]
        path = self.file(split, language, *names, translations=others)
        # XTREME's German translation has 49,340 lines with a label
        return read_pairs(path, ((*self.text_columns, "label"),), ("0", "1"), broken=0.01 * ("translated" in path.name))
