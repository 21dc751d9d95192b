"""NusaX."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_csv
from xmit.data.sources import labels_to_ids, load_hub
from xmit.registry import register_task
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.metadata import TaskMetadata

FOLDERS = {
    **{"ace": "acehnese", "ban": "balinese", "bbc": "toba_batak", "bjn": "banjarese", "bug": "buginese"},
    **{"eng": "english", "ind": "indonesian", "jav": "javanese", "mad": "madurese", "min": "minangkabau"},
    **{"nij": "ngaju", "sun": "sundanese"},
}
ROWS = {"train": 500, "validation": 100, "test": 400}


@register_task
class NusaX(SequenceClassificationTask):
    """Sentiment of a text in ten languages of Indonesia, Indonesian and English: 500 to train on, 400 to test."""

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="nusax",
        roles=("target", "low-resource"),
        languages=("ace", "ban", "bbc", "bjn", "bug", "en", "id", "jv", "mad", "min", "nij", "su"),
        language_map={"en": "eng", "id": "ind", "jv": "jav", "su": "sun"},
        main_score="accuracy",
        dataset="indonlp/NusaX-senti",  # a script, so its converted copy is read
        license="CC BY-SA 4.0",
        citation="Winata et al. 2023, NusaX: Multilingual Parallel Sentiment Dataset for 10 Indonesian Languages, EACL",
        description="sentiment of a text (3 classes)",
        parallel=True,
        sizes=ROWS,
    )
    label_names = ("negative", "neutral", "positive")

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language, ``data_dir`` having the release's ``sentiment/english/train.csv``."""
        import datasets

        code, names = self.native(language), ("id", "text", "label")
        if self.data_dir:
            file = f"sentiment/{FOLDERS[code]}/{'valid' if split == 'validation' else split}.csv"
            files = (file, f"nusax/{file}", f"datasets/{file}", file.removeprefix("sentiment/"))
            path = self.file(split, language, *files, translations=files)
            rows: dict[str, list[Any]] = dict(read_csv(path, names))
            rows["label"] = labels_to_ids(rows["label"], self.label_names, path)
        else:
            table = load_hub(self.metadata.dataset, config=code, split=split, parquet_branch=True, rows=ROWS[split])
            rows = {"id": list(range(len(table))), **table.to_dict()}  # the rows are parallel where they have no id
        return datasets.Dataset.from_dict({"id": [str(i) for i in rows["id"]], **{n: rows[n] for n in names[1:]}})
