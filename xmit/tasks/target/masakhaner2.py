"""MasakhaNER 2.0: names in the news of twenty African languages."""

from typing import Any, ClassVar

from xmit.data.readers import read_conll
from xmit.data.sources import load_hub
from xmit.data.words import check_tags, hub_columns
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.token_classification import TokenClassificationTask, sentences

CODES = {
    **{"bm": "bam", "ee": "ewe", "ha": "hau", "ig": "ibo", "rw": "kin", "lg": "lug", "ny": "nya", "sn": "sna"},
    **{"sw": "swa", "tn": "tsn", "tw": "twi", "wo": "wol", "xh": "xho", "yo": "yor", "zu": "zul"},
}
ENGLISH = "universalner/universal_ner"
SWAHILI = {"train": 6_593, "validation": 942, "test": 1_883}


@register_task
class MasakhaNER2(TokenClassificationTask):
    """Persons, organisations, places and dates, tagged by native speakers.

    There is no English part: English training data are UNER's English-EWT, which has no dates, so that trained on
    English no date is found and counts as missed. Each language has training data of its own: set
    ``source_language``. Adelani et al. trained on CoNLL-2003, whose licence is no open one.

    Args:
        languages: See :class:`~xmit.tasks.base.Task`. In ``data_dir`` lie ``hau/test.txt`` and so on, and for
            English ``UNER_English-EWT/en_ewt-ud-train.iob2``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="masakhaner2",
        roles=("target", "low-resource"),
        languages=tuple(sorted([*CODES, "bbj", "fon", "luo", "mos", "pcm"])),
        main_score="f1",
        dataset="masakhane/masakhaner2",
        license="CC BY-NC 4.0",
        citation="Adelani et al. (2022), MasakhaNER 2.0: Africa-centric Transfer Learning for Named Entity Recognition",
        description="names and dates in the news of African languages",
        language_map=CODES,
        sizes={"train": 12_543, "validation": 2_001},
    )
    label_names = ("O", *(f"{b}-{t}" for t in ("PER", "ORG", "LOC", "DATE") for b in "BI"))

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language; the hub's copy is a script, its parquet branch is read."""
        name, code, english = "dev" if split == "validation" else split, self.native(language), language == "en"
        source, config = (ENGLISH, "en_ewt") if english else (self.metadata.dataset, code)
        if self.data_dir:
            names = [f"{code}/{name}.txt", f"data/{code}/{name}.txt", f"nc/masakhaner2/{code}/{name}.txt"]
            if english:
                names = [f"{folder}UNER_English-EWT/en_ewt-ud-{name}.iob2" for folder in ("", "uner/")]
            path = self.file(split, language, *names, translations=names)
            columns = read_conll(path, token=1, tag=2) if english else read_conll(path)
            check_tags(path, columns["tags"], self.label_names, column=2 if english else -1)
            return sentences(columns)
        rows = SWAHILI[split] if code == "swa" else None  # the one language whose published rows are known
        table = load_hub(source, split=split, config=config, parquet_branch=True, rows=rows)
        return sentences(hub_columns(table, "ner_tags"))
