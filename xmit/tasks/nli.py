"""Natural language inference: the three labels, and the English training data that all NLI targets share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xmit.data.readers import read_csv, read_jsonl, read_tsv
from xmit.data.sources import find_file, labels_to_ids, load_hub
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.parallel import Columns, keep_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import datasets

LABELS = ("entailment", "neutral", "contradiction")
MNLI_FILES = ("xnli/train-en.tsv", "train-en.tsv", "multinli_1.0/multinli_1.0_train.jsonl", "multinli_1.0_train.jsonl")
XNLI_ROWS = {"train": 392_702, "validation": 2_490, "test": 5_010}


class NLITask(SequenceClassificationTask):
    """Whether a premise entails a hypothesis, contradicts it or neither.

    Training is on MNLI (Williams et al. 2018), 392,702 English pairs, as XTREME has it; validation on XNLI's
    English validation split unless the data have an English one of their own. With ``data_dir`` MNLI is read
    from XTREME's ``xnli/train-en.tsv`` or MultiNLI's own ``multinli_1.0_train.jsonl``.

    A ``train_file`` is CSV with a header (``premise``, ``hypothesis``, ``label``), TSV without, or jsonl as MultiNLI's.
    """

    label_names: ClassVar[tuple[str, ...]] = LABELS
    text_columns: ClassVar[tuple[str, ...]] = ("premise", "hypothesis")

    def mnli(self) -> datasets.Dataset:
        """MNLI's training split."""
        if not self.data_dir:
            rows = load_hub("nyu-mll/glue", config="mnli", split="train", rows=XNLI_ROWS["train"], label_names=LABELS)
            return nli_table(rows.to_dict(), "mnli", range(len(rows)))
        columns = read_pairs(self.file("train", self.metadata.source_language, *MNLI_FILES))
        return nli_table(columns, "mnli", range(len(columns["label"])))

    def xnli(self, split: str, language: str) -> datasets.Dataset:
        """A split of XNLI in one language; its rows are translations of each other, line by line.

        Args:
            split: ``validation`` or ``test``, on the hub also ``train``, machine-translated from English.
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
        path = find_file(self.data_dir, *names, task=self.name, hub="facebook/xnli")
        if path.name.startswith("xnli."):  # XNLI's own release: all languages in one file
            rows: Columns = dict(read_tsv(path, ("language", "sentence1", "sentence2", "gold_label"), header=True))
            rows["gold_label"] = labels_to_ids(rows["gold_label"], LABELS, path)
            mine = [i for i, code in enumerate(rows.pop("language")) if code == language]
            columns = keep_rows(dict(zip((*self.text_columns, "label"), rows.values(), strict=True)), mine)
        else:
            columns = read_pairs(path)
        return nli_table(columns, split, range(len(columns["label"])))


def read_pairs(path: Path) -> Columns:
    """Premises, hypotheses and labels of a file: CSV with header, TSV without, or MultiNLI's jsonl."""
    names = ("premise", "hypothesis", "label")
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "csv":
        columns: Columns = dict(read_csv(path, names))
    elif kind == "jsonl":
        rows = read_jsonl(path, ("sentence1", "sentence2", "gold_label"))
        columns = dict(zip(names, rows.values(), strict=True))
        kept = [i for i, label in enumerate(columns["label"]) if label != "-"]  # annotators did not agree
        columns = keep_rows(columns, kept)
    else:
        columns = dict(read_tsv(path, names))
    # XNLI's training files write contradictory
    labels = ["contradiction" if label == "contradictory" else label for label in columns["label"]]
    return {**columns, "label": labels_to_ids(labels, LABELS, str(path))}


def nli_table(columns: Columns, prefix: str, numbers: Sequence[int | str]) -> datasets.Dataset:
    """The canonical columns, with ids such as ``test-17`` that all languages of parallel data share."""
    import datasets

    names = ("premise", "hypothesis", "label")
    ids = [f"{prefix}-{number}" for number in numbers]
    return datasets.Dataset.from_dict({"id": ids, **{name: columns[name] for name in names}})
