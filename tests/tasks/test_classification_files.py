"""Classification and multiple-choice targets from the original files: their layouts, counts and known defects."""

from __future__ import annotations

import gzip
import json
from collections import Counter

import pytest

from xmit.errors import DataError
from xmit.tasks import target as targets


def load(task):
    """All rows of all splits."""
    task.setup("fit")
    task.setup("test")
    return [task.table(split) for split in ("train", "validation", "test")]


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")


def test_xnli_in_the_layout_of_xtreme(tmp_path):
    write(tmp_path, "xnli/train-en.tsv.gz", "p\th\tcontradictory\np\th2\tentailment\n")
    for code in ("en", "ur"):
        write(tmp_path, f"xnli/dev-{code}.tsv", f"{code}\th\tneutral\n")
        write(tmp_path, f"xnli/test-{code}.tsv", f"{code}\th\n")
    task = targets.XNLI(languages=["ur"], data_dir=str(tmp_path))
    task.setup("fit")
    assert task.table("train")["label"][:] == [2, 0]
    with pytest.raises(DataError, match=r"test-ur\.tsv:1"):  # XTREME blanks the labels of the test
        task.setup("test")
    task = targets.XNLI(languages=["ur"], data_dir=str(tmp_path), test_split="validation")
    task.setup("test")
    assert task.table("test")[:] == {"id": ["validation-0"], "premise": ["ur"], "hypothesis": ["h"], "label": [1],
                                     "language": ["ur"]}  # fmt: skip


def test_xnli_as_released_and_mnli_as_released(tmp_path):
    head = "language\tgold_label\tsentence1\tsentence2\n"
    for part in ("dev", "test"):
        rows = "de\tneutral\tA\tB\nen\tentailment\tC\tD\nde\tcontradiction\tE\tF\n"
        write(tmp_path, f"XNLI-1.0/xnli.{part}.tsv", head + rows)
    pairs = [("entailment", "a"), ("-", "b"), ("neutral", "c")]
    lines = [json.dumps({"gold_label": gold, "sentence1": text, "sentence2": "h"}) for gold, text in pairs]
    write(tmp_path, "multinli_1.0/multinli_1.0_train.jsonl", "".join(f"{line}\n" for line in lines))
    train, validation, test = load(targets.XNLI(languages=["de"], data_dir=str(tmp_path)))
    assert train["premise"][:] == ["a", "c"]
    assert len(validation) == 1
    assert (test["premise"][:], test["label"][:]) == (["A", "E"], [1, 2])


def test_afri_xnli_and_belebele_files(tmp_path):
    write(tmp_path, "train-en.tsv", "p\th\tentailment\n")
    for code in ("eng", "zul"):
        for part in ("dev", "test"):
            write(tmp_path, f"{code}/{part}.tsv", "premise\thypothesis\tlabel\nx\ty\t2\n")
    assert load(targets.AfriXNLI(languages=["zu"], data_dir=str(tmp_path)))[2]["label"][:] == [2]
    write(tmp_path, "zul/test.tsv", "premise\thypothesis\tlabel\nx\ty\t3\n")
    with pytest.raises(DataError, match=r"test\.tsv.*'3', not one of 0, 1, 2"):
        targets.AfriXNLI(languages=["zu"], data_dir=str(tmp_path)).setup("test")
    row = {"link": "u", "question_number": 1, "flores_passage": "P", "question": "Q", "correct_answer_num": "5"}
    row |= {f"mc_answer{k}": "a" for k in (1, 2, 3, 4)}
    write(tmp_path, "Belebele/zul_Latn.jsonl", json.dumps(row) + "\n")
    with pytest.raises(DataError, match="answer of row 1 is '5', not 1 to 4"):
        targets.Belebele(languages=["zu"], data_dir=str(tmp_path)).setup("test")
    write(
        tmp_path, "cosmos_qa/train.csv", "id,context,question,answer0,answer1,answer2,answer3,label\nx,C,Q,a,b,c,d,3\n"
    )
    task = targets.Belebele(data_dir=str(tmp_path))
    assert task.load_split("train", "en")[0] == {"id": "cosmos-train-0", "context": "C Q", "choices": list("abcd"),
                                                 "label": 3}  # fmt: skip


def test_social_iqa_files(tmp_path):
    row = {"context": "C", "question": "Q", **{f"answer{k}": k for k in "ABC"}}
    write(tmp_path, "siqa/socialiqa-train-dev/train.jsonl", (json.dumps(row) + "\n") * 2)
    write(tmp_path, "siqa/socialiqa-train-dev/train-labels.lst", "3\n1\n")
    for part in ("train", "val"):
        row = {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause"}
        lines = [json.dumps({**row, "idx": i, "label": i}) for i in range(2)]
        write(tmp_path, f"xcopa/{part}.en.jsonl", "".join(f"{line}\n" for line in lines))
    task = targets.XCOPA(data_dir=str(tmp_path), train_from="siqa+copa")
    task.setup("fit")
    assert task.table("train")["label"][:] == [2, 0, 0, 1]
    write(tmp_path, "siqa/socialiqa-train-dev/train-labels.lst", "3\n")
    with pytest.raises(DataError, match="1 labels for 2 questions"):
        targets.XCOPA(data_dir=str(tmp_path), train_from="siqa").setup("fit")


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"task 'sib200': looked for yor_Latn/test\.tsv .*Davlan/sib200"):
        targets.SIB200(languages=["yo"], data_dir=str(tmp_path)).setup("test")
    write(tmp_path, "dev/aym.tsv", "id\tlanguage\tpremise\thypothesis\tlabel\nx1\taym\tp\th\tneutral\n")
    with pytest.raises(DataError, match="row 1 has 'x1' where a whole number belongs"):
        targets.AmericasNLI(languages=["ay"], data_dir=str(tmp_path), test_split="validation").setup("test")


# -- the real files ----------------------------------------------------------------------------------------


def counts(task):
    task.setup("test")
    return Counter(task.table("test")["language"])


@pytest.mark.realdata
def test_real_nli(real_data):
    settings = {"data_dir": str(real_data), "train_file": "nli/mnli/dev.csv", "test_split": "validation"}
    xnli = targets.XNLI(languages=["ar", "de", "en", "es", "fr", "ru", "tr", "vi", "zh"], **settings)
    xnli.setup("fit")
    assert len(xnli.table("train")) == 19_647
    assert counts(xnli) == dict.fromkeys(xnli.languages, 2_490)
    americas = targets.AmericasNLI(**settings)
    assert counts(americas) == {**dict.fromkeys(americas.languages, 743), "cni": 658, "nah": 585, "oto": 222}
    label = {row["id"]: row["label"] for row in xnli.table("validation")}
    assert all(label[row["id"]] == row["label"] for row in americas.table("test"))  # shared items join by id


@pytest.mark.realdata
def test_real_pawsx(real_data):
    settings = {"data_dir": str(real_data), "languages": ["de", "en", "es", "fr", "zh"], "test_split": "validation"}
    whole = targets.PAWSX(keep_untranslated=True, **settings)
    assert counts(whole) == dict.fromkeys(whole.languages, 2_000)
    absent = Counter(r["language"] for r in whole.table("test") if "NS" in (r["sentence1"], r["sentence2"]))
    assert absent == {"de": 68, "es": 38, "zh": 16, "fr": 8}
    task = targets.PAWSX(**settings)
    assert len(set(counts(task).values())) == 1
    assert 2_000 - 130 <= counts(task)["en"] <= 2_000 - 68
    assert not any("NS" in (r["sentence1"], r["sentence2"]) for r in task.table("test"))


@pytest.mark.realdata
def test_real_xcopa(real_data):
    languages = ["et", "id", "it", "sw", "ta", "th", "tr", "zh"]
    task = targets.XCOPA(data_dir=str(real_data), languages=languages)
    task.setup("fit")
    assert (len(task.table("train")), len(task.table("validation"))) == (400, 100)
    assert counts(task) == dict.fromkeys(languages, 500)
    asked = {
        code: [r["context"].split()[-1] for r in task.table("test") if r["language"] == code] for code in languages
    }
    assert all(asked[code] == asked["et"] for code in languages)
    own = targets.XCOPA(data_dir=str(real_data), languages=languages, question_from="own")
    wrong = dict.fromkeys(languages, 0)
    own.setup("test")
    for row, right in zip(own.table("test"), task.table("test"), strict=True):
        wrong[row["language"]] += row["context"] != right["context"]
    assert wrong == {"et": 0, "id": 4, "it": 4, "sw": 37, "ta": 0, "th": 250, "tr": 51, "zh": 0}
    for code in languages:
        labels = [r["label"] for r in task.table("test") if r["language"] == code]
        assert labels == [r["label"] for r in task.table("test") if r["language"] == "et"]


@pytest.mark.realdata
def test_real_sib200_and_nusax(real_data):
    folders = sorted(path.name for path in (real_data / "sib200").iterdir() if path.is_dir())
    sib = targets.SIB200(data_dir=str(real_data), languages=folders)
    sib.setup("fit")
    assert (len(sib.table("train")), len(sib.table("validation"))) == (701, 99)
    assert counts(sib) == dict.fromkeys(sib.languages, 204)
    assert len(folders) == 189
    nusax = targets.NusaX(
        data_dir=str(real_data), languages=["ace", "ban", "bjn", "en", "id", "jv", "min", "nij", "su"]
    )
    nusax.setup("fit")
    assert (len(nusax.table("train")), len(nusax.table("validation"))) == (500, 100)
    assert counts(nusax) == dict.fromkeys(nusax.languages, 400)
    for task in (sib, nusax):  # translations have the label of their original
        assert len({(r["id"], r["label"]) for r in task.table("test")}) == len(set(task.table("test")["id"]))
