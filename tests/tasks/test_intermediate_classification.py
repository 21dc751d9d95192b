"""NLI and paraphrase intermediates: counts, labels in all spellings, defects, translations, composition."""

from __future__ import annotations

import csv
import json
from collections import Counter

import datasets
import mini_hub_choices
import numpy as np
import pandas as pd
import pytest
import yaml
from mini_hub import Hub
from mini_hub_choices import LABELS, NLI, anli_plus, pawsx, qqp, xnli
from sklearn.metrics import accuracy_score, f1_score

from xmit.__main__ import main
from xmit.data.pairs import read_pairs as read_any
from xmit.errors import ConfigError, DataError, LanguageNotFoundError
from xmit.study.results import load_results
from xmit.tasks import MNLI, PAWSX, QQP, SNLI, XNLI, AfriXNLI, ANLIPlus
from xmit.tasks.nli import read_pairs

pytestmark = pytest.mark.filterwarnings("ignore:.*num_workers")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = Hub(tmp_path / "hub")
    hub.install(monkeypatch)
    return hub


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def jsonl(folder, name, rows):
    return write(folder, name, "".join(json.dumps(row) + "\n" for row in rows))


def pairs(folder, name, texts, keys=("sentence1", "sentence2", "gold_label"), label="neutral"):
    return jsonl(folder, name, [dict(zip(keys, (text, "h", label), strict=True)) for text in texts])


# -- from the hub ------------------------------------------------------------------------------------------


def test_published_sizes():
    """The sizes of the X-STILTs paper, and of each corpus' own."""
    assert MNLI.metadata.sizes == {"train": 392_702, "validation": 9_815 + 9_832}
    assert SNLI.metadata.sizes == {"train": 549_367, "validation": 9_842, "test": 9_824}
    assert QQP.metadata.sizes == {"train": 363_846, "validation": 40_430}
    assert ANLIPlus.metadata.sizes["train"] == 1_104_934 == 162_865 + 392_702 + 549_367
    assert ANLIPlus.metadata.sizes["validation"] == 3_200 + 19_647 + 9_842


def test_hub_rows_are_asked_for_and_unlabelled_ones_dropped(hub):
    hub.fill({"anli_plus": anli_plus})
    task = ANLIPlus()
    task.setup("fit")
    asked = {(name, split): rows for name, _, split, rows in hub.asked}
    assert sum(rows for (name, split), rows in asked.items() if split.startswith("train")) == 1_104_934 + 785
    assert asked["stanfordnlp/snli", "validation"] == 10_000
    assert {split: rows for (name, split), rows in asked.items() if name == "nyu-mll/glue"} == {
        "train": 392_702, "validation_matched": 9_815, "validation_mismatched": 9_832}  # fmt: skip
    origins = {
        split: Counter(i.rpartition("-")[0] for i in task.table(split)["id"]) for split in ("train", "validation")
    }
    assert origins["train"] == {"anli-r1": 3, "anli-r2": 4, "anli-r3": 5, "mnli-mnli": 7, "snli-train": 5}
    assert origins["validation"] == {"anli-r1": 3, "anli-r2": 4, "anli-r3": 5, "mnli-matched": 4,
                                     "mnli-mismatched": 5, "snli-validation": 3}  # fmt: skip


def test_another_number_of_rows_or_order_of_labels_is_refused(hub, monkeypatch):
    from xmit.data import sources
    from xmit.tasks.intermediate import snli

    hub.fill({"snli": mini_hub_choices.snli})
    folder = str(hub.folder / "stanfordnlp/snli")
    monkeypatch.setattr(snli, "load_hub", lambda name, **options: sources.load_hub(folder, **options))
    with pytest.raises(DataError, match="6 rows instead of 550152"):
        SNLI().setup("fit")
    other = Hub(hub.folder / "other")
    kinds = datasets.Features({**NLI, "label": datasets.ClassLabel(names=LABELS[::-1])})
    other.write("stanfordnlp/snli", "plain_text", "train", {"premise": ["p"], "hypothesis": ["h"], "label": [0]}, kinds)
    folder = str(other.folder / "stanfordnlp/snli")
    monkeypatch.setitem(snli.ROWS, "train", 1)
    with pytest.raises(DataError, match="no column has the labels entailment, neutral, contradiction in this order"):
        SNLI().load_split("train", "en")


@pytest.mark.parametrize("task", [MNLI, QQP, ANLIPlus])
def test_hidden_test_labels_are_no_surprise(task):
    with pytest.raises(ConfigError, match="not public; set test_split: validation"):
        task().setup("test")


# -- from files --------------------------------------------------------------------------------------------


def test_releases_as_they_are(tmp_path):
    keys = ("context", "hypothesis", "label")
    for number, label in ((1, "e"), (2, "n"), (3, "c")):
        for part in ("train", "dev"):
            pairs(tmp_path, f"anli_v1.0/R{number}/{part}.jsonl", [f"r{number}"] * number, keys, label)
    for part in ("train", "dev_matched", "dev_mismatched"):
        pairs(tmp_path, f"multinli_1.0/multinli_1.0_{part}.jsonl", [part] * 2, label="contradiction")
    for part in ("train", "dev", "test"):
        path = pairs(tmp_path, f"snli_1.0_{part}.jsonl", [part], label="entailment")
        path.write_text(path.read_text() + path.read_text().replace("entailment", "-"))
    task = ANLIPlus(data_dir=str(tmp_path))
    task.setup("fit")
    train = task.table("train")
    assert list(zip(train["premise"], train["label"], strict=True)) == [
        ("r1", 0), *[("r2", 1)] * 2, *[("r3", 2)] * 3, *[("train", 2)] * 2, ("train", 0)]  # fmt: skip
    assert len(task.table("validation")) == 6 + 4 + 1
    snli = SNLI(data_dir=str(tmp_path))
    assert snli.load_split("test", "en").to_dict() == {
        "id": ["test-0"], "premise": ["test"], "hypothesis": ["h"], "label": [0]}  # fmt: skip


def test_the_hubs_parquet_files_are_files_too(hub):
    hub.fill({"anli_plus": anli_plus})
    for task, folder in ((SNLI, "stanfordnlp/snli"), (MNLI, "nyu-mll/glue")):
        for split in ("train", "validation"):
            local = task(data_dir=str(hub.folder / folder)).load_split(split, "en")
            assert local.to_dict() == task().load_split(split, "en").to_dict()


def test_spellings_and_layouts(tmp_path):
    rows = [["p", "h", "entailment"], ["q", 'h, "x"', "-"], ["r", "h", "contradictory"], ["s", "h", "n"]]
    for name, header, mark in (
        ("a.csv", '"sentence1","sentence2",gold_label', ","),
        ("b.tsv", "premise\thypo\tlabel", "\t"), ("c.tsv", "", "\t"),
        ("d.txt", "gold_label\tx\tsentence1\tsentence2", "\t"), ("e.tsv", "five", "\t"),
    ):  # fmt: skip
        path = tmp_path / name
        with path.open("w", newline="") as file:
            kind = {"quoting": csv.QUOTE_MINIMAL} if mark == "," else {"quoting": csv.QUOTE_NONE, "quotechar": None}
            writer = csv.writer(file, delimiter=mark, lineterminator="\n", **kind)
            if header not in ("", "five"):
                file.write(header + "\n")
            for p, h, label in rows:
                own = {"d.txt": [label, "-", p, h], "e.tsv": ["English", "English", p, h, label]}.get(
                    name, [p, h, label]
                )
                writer.writerow(own)
        assert read_pairs(path) == {"premise": ["p", "r", "s"], "hypothesis": ["h"] * 3, "label": [0, 2, 1]}, name


def test_wrong_labels_are_refused_with_file_and_row(tmp_path):
    path = write(tmp_path, "own.csv", "premise,hypothesis,label\np,h,-\np,h,maybe\n")
    with pytest.raises(DataError, match=r"own\.csv: the label of row 2 is 'maybe', not one of entailment, neutral"):
        SNLI(data_dir=str(tmp_path), train_file=path.name).load_split("train", "en")
    with pytest.raises(DataError, match=r"looked for snli_1\.0/snli_1\.0_dev\.jsonl or .*stanfordnlp/snli"):
        SNLI(data_dir=str(tmp_path)).load_split("validation", "en")


def test_own_files(tmp_path):
    for name in ("a", "b"):
        write(tmp_path, f"{name}.csv", f"premise,hypothesis,label\n{name},h,neutral\n")
    for task in (MNLI, SNLI, ANLIPlus, XNLI):
        own = task(data_dir=str(tmp_path), train_file="a.csv", validation_file="b.csv")
        own.setup("fit")
        assert (own.table("train")["premise"][:], own.table("validation")["premise"][:]) == (["a"], ["b"])


def test_qqp_skips_a_few_broken_lines_and_no_more(tmp_path):
    head = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    good = "".join(f'{i}\t1\t2\tWhat is {i}?\tIs it "{i}?\t{i % 2}\n' for i in range(200))
    write(tmp_path, "QQP/train.tsv", head + "7\t1\t2\tWhere\n" + good)
    with pytest.warns(UserWarning, match=r"train\.tsv: 1 broken lines of 201 skipped, the first is line 2"):
        table = QQP(data_dir=str(tmp_path)).load_split("train", "en")
    assert table["label"][:] == [i % 2 for i in range(200)]
    assert table["question2"][3] == 'Is it "3?'
    write(tmp_path, "QQP/train.tsv", head + good + "7\t1\t2\tWhere\n" * 3)
    with pytest.raises(DataError, match=r"train\.tsv:202: 3 of 203 lines"):
        QQP(data_dir=str(tmp_path)).load_split("train", "en")
    with pytest.raises(DataError, match="not_duplicate"):
        read_any(write(tmp_path, "x.csv", "question1,question2,label\na,b,2\n"), (("question1", "question2", "label"),),
                 ("not_duplicate", "duplicate"))  # fmt: skip


# -- translate-train ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "XNLI/translate-train/en-{}-translated.tsv", "XNLI-Translated/en-{}-translated.tsv",
    "XNLI-MT-1.0/multinli/multinli.train.{}.tsv", "translate-train/{}/multinli_1.0_train.jsonl",
])  # fmt: skip
def test_mnli_and_xnli_in_other_languages_from_files(tmp_path, name):
    """The columns of XTREME's files: its README (five), its third_party/processors/xnli.py (three)."""
    write(tmp_path, "train-en.tsv", "p\th\tneutral\n")
    for code in ("de", "sw"):
        line = {"XNLI": f"p\th\t{code}\th\tcontradictory\n", "XNLI-Translated": f"{code}\th\tcontradictory\n",
                "XNLI-MT-1.0": f"premise\thypo\tlabel\n{code}\th\tcontradictory\n"}.get(name.split("/")[0])  # fmt: skip
        line = line or json.dumps({"sentence1": code, "sentence2": "h", "gold_label": "contradiction"})
        write(tmp_path, name.format(code), line)
        write(tmp_path, f"dev-{code}.tsv", f"dev {code}\th\tneutral\n")
    for part in ("matched", "mismatched"):
        pairs(tmp_path, f"multinli_1.0_dev_{part}.jsonl", ["dev en"])
    write(tmp_path, "dev-en.tsv", "dev en\th\tneutral\n")
    for kind, n in ((MNLI, 2), (XNLI, 1)):
        task = kind(data_dir=str(tmp_path), source_language=["en", "de", "sw"])
        task.setup("fit")
        train = task.table("train")
        assert list(zip(train["language"], train["premise"], train["label"], strict=True)) == [
            ("en", "p", 1), ("de", "de", 2), ("sw", "sw", 2)]  # fmt: skip
        assert task.table("validation")["premise"][:] == ["dev en"] * n + ["dev de", "dev sw"]
    if "jsonl" not in name:  # by the release's own code, swa
        assert AfriXNLI(data_dir=str(tmp_path), source_language="sw").load_split("train", "sw")["premise"][:] == ["sw"]
    with pytest.raises(DataError, match=r"XNLI/translate-train/en-tr-translated\.tsv or"):
        MNLI(data_dir=str(tmp_path), source_language="tr").setup("fit")


def test_mnli_and_xnli_in_other_languages_from_the_hub(hub):
    hub.fill({"xnli": xnli})
    for split in ("train", "validation"):
        hub.write("facebook/xnli", "de", split, {"premise": ["de"], "hypothesis": ["h"], "label": [2]}, NLI)
    for kind in (MNLI, XNLI):
        task = kind(source_language=["de", "en"])
        task.setup("fit")
        assert Counter(task.table("train")["language"]) == {"de": 1, "en": 7}
        assert task.table("validation")["premise"][0] == "de"
        assert task.source_language == "de"
    assert ("facebook/xnli", "de", "train", 392_702) in hub.asked
    with pytest.raises(LanguageNotFoundError):
        SNLI(source_language="de")  # nobody has published it


def test_pawsx_in_other_languages(hub, tmp_path):
    hub.fill({"pawsx": pawsx})
    task = PAWSX(source_language=["de", "fr"])
    task.setup("fit")
    assert Counter(task.table("train")["language"]) == {"de": 6, "fr": 6}
    assert Counter(task.table("validation")["language"]) == {"de": 5, "fr": 5}  # one is not translated into German
    for code in ("de", "en"):
        write(tmp_path, f"pawsx/dev-{code}.tsv", f"{code}\tb\t1\n")
    write(tmp_path, "PAWSX/translate-train/en-de-translated.tsv",
          "en\ten\tno label\n" + "en\ten\tde\tb\t1\n" * 150)  # fmt: skip
    task = PAWSX(source_language="de", data_dir=str(tmp_path))
    with pytest.warns(UserWarning, match="1 broken lines of 151"):
        task.setup("fit")
    assert set(task.table("train")["sentence1"]) == {"de"}
    assert task.table("validation")["sentence1"][:] == ["de"]
    (tmp_path / "PAWSX/translate-train/en-de-translated.tsv").unlink()
    write(tmp_path, "x-final/de/translated_train.tsv", "id\tsentence1\tsentence2\tlabel\n1\ta\tb\t0\n")
    assert PAWSX(source_language="de", data_dir=str(tmp_path)).load_split("train", "de")["sentence1"][:] == ["a"]


# -- scores ------------------------------------------------------------------------------------------------


def rows_of(labels, ids=None, n=200, seed=0):
    rng = np.random.default_rng(seed)
    rows = {side: rng.choice(labels, n) for side in ("prediction", "target")}
    return pd.DataFrame({**rows, "language": rng.choice(["en", "de"], n), "id": ids or [f"x-{i}" for i in range(n)]})


def test_qqp_scores_are_glues():
    rows = rows_of(["duplicate", "not_duplicate", "not_duplicate"])
    values = {(s.language, s.metric): s.value for s in QQP(data_dir=".").score(rows)}
    for code, part in rows.groupby("language"):
        assert values[code, "accuracy"] == pytest.approx(accuracy_score(part.target, part.prediction))
        assert values[code, "f1"] == pytest.approx(f1_score(part.target, part.prediction, pos_label="duplicate"))
    none = rows.assign(prediction="not_duplicate", target="not_duplicate")
    assert {s.value for s in QQP(data_dir=".").score(none) if s.metric == "f1"} == {0.0}


def test_anli_plus_scores_each_corpus():
    ids = [
        f"{part}-{i}" for i in range(40) for part in ("anli-r1", "anli-r3", "mnli-matched", "mnli-mismatched", "snli-x")
    ]
    rows = rows_of(LABELS, ids).assign(language="en")
    values = {s.metric: (s.value, s.n) for s in ANLIPlus().score(rows)}
    parts = rows.id.str.split("-").str[0]
    for part, n in (("anli", 80), ("mnli", 80), ("snli", 40)):
        own = rows[parts == part]
        assert values[f"accuracy_{part}"] == (pytest.approx(accuracy_score(own.target, own.prediction)), n)
    assert values["accuracy"] == (pytest.approx(accuracy_score(rows.target, rows.prediction)), 200)


# -- runs -----------------------------------------------------------------------------------------------------


def test_a_saved_config_with_early_stopping_fits_again(hub, tiny_encoder, tmp_path):
    hub.fill({"qqp": qqp})
    quick = {"model": {"encoder": tiny_encoder}, "data": {"init_args": {"batch_size": 4}},
             "trainer": {"max_steps": 2, "val_check_interval": 1, "logger": False}}  # fmt: skip
    path = write(tmp_path, "quick.yaml", yaml.safe_dump(quick))
    assert main(["fit", "--config", "configs/intermediate/qqp.yaml", "--config", str(path), "--output",
                 str(tmp_path / "a")]) == 0  # fmt: skip
    saved = tmp_path / "a" / "config.yaml"
    callbacks = yaml.safe_load(saved.read_text())["trainer"]["callbacks"]
    assert [c["class_path"].rpartition(".")[2] for c in callbacks] == ["EarlyStopping"]
    assert main(["fit", "--config", str(saved), "--output", str(tmp_path / "b")]) == 0
    first, second = (load_results(tmp_path / name) for name in "ab")
    assert first.value.equals(second.value)
    assert set(first[first.is_main].metric) == {"accuracy"}
    assert "f1" in set(first.metric)


# -- the real files ----------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_real_nli_files(real_data):
    settings = {"data_dir": str(real_data), "train_file": "nli/mnli/dev.csv", "validation_file": "nli/snli/dev.csv"}
    for task, name, n in ((MNLI, "nli/mnli/dev.csv", 19_647), (SNLI, "nli/snli/dev.csv", 9_831)):
        table = task(**settings).load_split("train" if task is MNLI else "validation", "en")
        with (real_data / name).open(newline="") as file:
            counts = Counter(row["label"] for row in csv.DictReader(file))
        assert len(table) == n == counts.total()
        assert Counter(LABELS[label] for label in table["label"]) == counts
    task = MNLI(**{**settings, "validation_file": "nc/xnli/dev-{language}.tsv"}, source_language=["en", "de"])
    task.setup("validate")
    assert Counter(task.table("validation")["language"]) == {"en": 2_490, "de": 2_490}


@pytest.mark.realdata
def test_real_snli_by_its_own_name(real_data):
    assert len(SNLI(data_dir=str(real_data)).load_split("validation", "en")) == 9_831
