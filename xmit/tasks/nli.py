"""Natural language inference: the three labels, and the English training data that all NLI targets share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xmit.data import pairs
from xmit.data.readers import read_tsv
from xmit.data.sources import labels_to_ids, load_hub
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.parallel import Columns, keep_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import datasets

LABELS = ("entailment", "neutral", "contradiction")
SPELLINGS = {"contradictory": "contradiction", "e": LABELS[0], "n": LABELS[1], "c": LABELS[2]}
"""Other ways to write the labels: XNLI's training files have the first, ANLI's files the letters."""
LAYOUTS = (
    ("premise", "hypothesis", "label"),
    ("sentence1", "sentence2", "gold_label"),  # MultiNLI's and SNLI's own
    ("context", "hypothesis", "label"),  # ANLI's own
    ("premise", "hypo", "label"),  # XNLI-MT's
)
MNLI_FILES = (
    *("xnli/train-en.tsv", "train-en.tsv", "multinli_1.0/multinli_1.0_train.jsonl", "multinli_1.0_train.jsonl"),
    *("MNLI/train.tsv", "mnli/train-00000-of-00001.parquet", "mnli/train.csv", "nli/mnli/train.csv"),
)
MNLI_DEV = {"matched": 9_815, "mismatched": 9_832}
ANLI_ROWS = {"train": (16_946, 45_460, 100_459), "validation": (1_000, 1_000, 1_200)}
XNLI_ROWS = {"train": 392_702, "validation": 2_490, "test": 5_010}


def read_pairs(path: Path) -> Columns:
    """Premises, hypotheses and labels of a file, by :func:`xmit.data.pairs.read_pairs`.

    A pair whose label is ``-`` is left out: its annotators did not agree.
    """
    columns: Columns = pairs.read_pairs(path, LAYOUTS, LABELS, spellings=SPELLINGS, dropped=("-",))
    return columns


class NLITask(SequenceClassificationTask):
    """Whether a premise entails a hypothesis, contradicts it or neither.

    Training is on MNLI (Williams et al. 2018), 392,702 English pairs, as XTREME has it; validation on XNLI's
    English validation split unless the data have an English one of their own. With ``data_dir`` MNLI is read
    from XTREME's ``xnli/train-en.tsv`` or MultiNLI's own ``multinli_1.0_train.jsonl``, its translations from XTREME's
    ``XNLI/translate-train/en-de-translated.tsv`` or XNLI's ``XNLI-MT-1.0/multinli/multinli.train.de.tsv``.

    A ``train_file`` is CSV with a header (``premise``, ``hypothesis``, ``label``), TSV with or without, or jsonl as
    MultiNLI's.
    """

    label_names: ClassVar[tuple[str, ...]] = LABELS
    text_columns: ClassVar[tuple[str, ...]] = ("premise", "hypothesis")

    def mnli(self, language: str = "en") -> datasets.Dataset:
        """MNLI's training split.

        Args:
            language: XNLI's code; other than English a machine translation.
        """
        if not self.data_dir:
            hub, config = ("nyu-mll/glue", "mnli") if language == "en" else ("facebook/xnli", language)
            rows = load_hub(hub, config=config, split="train", rows=XNLI_ROWS["train"], label_names=LABELS)
            return nli_table(rows.to_dict(), "mnli", range(len(rows)))
        translations = pairs.translation_names(language, "XNLI")
        columns = read_pairs(self.file("train", language, *MNLI_FILES, translations=translations))
        return nli_table(columns, "mnli", range(len(columns["label"])))

    def mnli_dev(self) -> datasets.Dataset:
        """MNLI's two development sets one after the other, or the ``validation_file``."""
        import datasets

        tables = []
        for part, count in MNLI_DEV.items():
            if not self.data_dir:
                split = f"validation_{part}"
                rows: Columns = load_hub(
                    "nyu-mll/glue", config="mnli", split=split, rows=count, label_names=LABELS
                ).to_dict()
            else:
                own = f"multinli_1.0_dev_{part}.jsonl"
                names = [f"multinli_1.0/{own}", own, f"MNLI/dev_{part}.tsv"]
                names += [f"mnli/validation_{part}-00000-of-00001.parquet"]
                rows = read_pairs(self.file("validation", "en", *names))
            tables.append(nli_table(rows, part, range(len(rows["label"]))))
            if self.validation_file:
                break
        return datasets.concatenate_datasets(tables)

    def anli(self, split: str, language: str, number: int) -> datasets.Dataset:
        """A split of one of ANLI's rounds.

        Args:
            split: ``train`` or ``validation``.
            language: An xmit code; other than English from translate-train files.
            number: The round, 1 to 3.
        """
        part = "dev" if split == "validation" else split
        if not self.data_dir:
            count = ANLI_ROWS[split][number - 1]
            rows: Columns = load_hub(
                "facebook/anli", config="plain_text", split=f"{part}_r{number}", rows=count, label_names=LABELS
            ).to_dict()
        else:
            names = [f"{folder}R{number}/{part}.jsonl" for folder in ("anli_v1.0/", "")]
            names += [f"plain_text/{part}_r{number}-00000-of-00001.parquet"]
            rows = read_pairs(self.file(split, language, *names))
        return nli_table(rows, f"anli-r{number}", range(len(rows["label"])))

    def xnli(self, split: str, language: str) -> datasets.Dataset:
        """A split of XNLI in one language; its rows are translations of each other, line by line.

        Args:
            split: ``validation`` or ``test``.
            language: XNLI's code.
        """
        if not self.data_dir:
            hub = load_hub(
                "facebook/xnli", config=language, split=split, rows=XNLI_ROWS[split], label_names=LABELS
            ).to_dict()
            return nli_table(hub, split, range(len(hub["label"])))
        part = {"validation": "dev"}.get(split, split)
        own = f"{part}-{language}.tsv"
        names = (f"xnli/{own}", own, f"nc/xnli/{own}", f"XNLI-1.0/xnli.{part}.tsv", f"xnli.{part}.tsv")
        path = self.file(split, language, *names, translations=names)
        if path.name.startswith("xnli."):  # XNLI's own release: all languages in one file
            rows: Columns = dict(read_tsv(path, ("language", "sentence1", "sentence2", "gold_label"), header=True))
            rows["gold_label"] = labels_to_ids(rows["gold_label"], LABELS, path)
            mine = [i for i, code in enumerate(rows.pop("language")) if code == language]
            columns = keep_rows(dict(zip((*self.text_columns, "label"), rows.values(), strict=True)), mine)
        else:
            columns = read_pairs(path)
        return nli_table(columns, split, range(len(columns["label"])))


def nli_table(columns: Columns, prefix: str, numbers: Sequence[int | str]) -> datasets.Dataset:
    """The canonical columns, with ids such as ``test-17`` that all languages of parallel data share."""
    import datasets

    names = ("premise", "hypothesis", "label")
    ids = [f"{prefix}-{number}" for number in numbers]
    return datasets.Dataset.from_dict({"id": ids, **{name: columns[name] for name in names}})
