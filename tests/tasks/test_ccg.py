"""CCG supertagging from invented sentences in CCGbank's own format."""

from __future__ import annotations

import pytest
import torch
import yaml
from mini_hub import Hub
from mini_hub_texts import CCG_LINES, ccg

from xmit.__main__ import main
from xmit.data.ccgbank import read_auto
from xmit.errors import DataError
from xmit.modules.encoders import load_tokenizer
from xmit.study.results import load_results
from xmit.tasks import CCG


@pytest.fixture
def folder(tmp_path):
    ccg(Hub(tmp_path), [])
    return tmp_path / "files" / "ccg"


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_ccg_reads_words_and_categories(tmp_path):
    path = write(tmp_path, "wsj_0001.auto", CCG_LINES.format(name="0001"))
    columns = read_auto(path)
    assert columns["id"] == ["wsj_0001.1", "wsj_0001.2"]
    assert columns["tokens"] == [["Bonn", "keeps", "a", "river", "."], ["Bells", "and", "1/2"]]
    assert columns["tags"] == [["N", r"(S[dcl]\NP)/NP", "NP[nb]/N", "N", "."], ["N", "conj", "N"]]
    odd = "ID=w.1 X\n(<T N 0 2> (<L ( -LRB- -LRB- -LRB- (>) (<L N NN NN >) N>) )\n"
    assert read_auto(write(tmp_path, "odd.auto", odd))["tokens"] == [["(", ">)"]]


@pytest.mark.parametrize(("line", "old", "new", "message"), [
    (2, "(<L N NNP NNP Bonn N>)", "(<L N NNP Bonn N>)", "5 leaves, 4 of the form"),
    (2, " (<L . . . . .>) )", "", "brackets that do not match"),
    (3, "ID=wsj_0001.2 PARSER=GOLD NUMPARSE=1", "%", "'%' is neither a line ID="),
    (4, "(<T NP 0 2>", "ID=wsj_0001.3", None),
    (1, "ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n", "", "a derivation without a line ID="),
])  # fmt: skip
def test_ccg_refuses_what_is_damaged(tmp_path, line, old, new, message):
    text = CCG_LINES.format(name="0001")
    assert text.count(old) == 1
    path = write(tmp_path, "wsj_0001.auto", text.replace(old, new))
    with pytest.raises(DataError, match=rf"wsj_0001\.auto:{line if message else 3}: {message or 'the sentence'}"):
        read_auto(path)


def test_ccg_labels_are_the_most_frequent_of_the_training_sections(folder, monkeypatch):
    task = CCG(data_dir=str(folder))
    assert task.label_names == ("N", "(S[dcl]\\NP)/NP", ".", "NP[nb]/N", "conj", "other")
    assert task.head_spec().options == {"num_labels": 6}
    monkeypatch.setattr("xmit.tasks.intermediate.ccg.MOST", 3)
    task = CCG(data_dir=str(folder / "data"))  # the alphabet decides between the four that are equally frequent
    task.setup("fit")
    task.setup("test")
    assert task.label_names == ("N", "(S[dcl]\\NP)/NP", ".", "other")
    assert [len(task.table(split)) for split in ("train", "validation", "test")] == [40, 2, 2]
    assert task.table("test")["id"][:] == ["wsj_2300.1", "wsj_2300.2"]
    assert task.table("test")["tags"][1] == ["N", "other", "N"]
    task.bind(load_tokenizer("embedded:e5-small"))
    examples = task.examples("test")
    words = int(examples.extra["windows"].places.lengths.max())
    gold = torch.full((2, words), -1)
    for i, tags in enumerate(task.table("test")["tags"]):
        gold[i, : len(tags)] = torch.tensor([task.label_names.index(tag) for tag in tags])
    rows = task.predictions({"item": torch.arange(2), "prediction": gold}, "test")
    values = {s.metric: s.value for s in task.evaluate(rows)}
    assert values == {"accuracy": 6 / 8, "majority": 4 / 8}  # 'other' is never right, though it is predicted


def test_ccg_says_what_is_missing(folder, tmp_path):
    with pytest.raises(DataError, match=r"no data_dir .* LDC User Agreement .* LDC2005T13"):
        CCG().setup("fit")
    with pytest.raises(DataError, match=r"looked for .*data/AUTO/02/wsj_\*\.auto.* LDC2005T13"):
        CCG(data_dir=str(tmp_path / "empty")).setup("fit")
    (folder / "data/AUTO/07/wsj_0700.auto").unlink()
    with pytest.warns(UserWarning, match="lacks the sections 07: scores will not be comparable"):
        CCG(data_dir=str(folder)).load_split("train", "en")


def test_ccg_trains_and_is_tested_from_its_checkpoint(folder, tiny_encoder, tmp_path):
    config = {"model": {"encoder": tiny_encoder}, "seed_everything": 1,
              "trainer": {"max_steps": 2, "val_check_interval": 2, "check_val_every_n_epoch": None, "logger": False},
              "data": {"class_path": "xmit.tasks.CCG",
                       "init_args": {"data_dir": str(folder), "batch_size": 4}}}  # fmt: skip
    path = write(tmp_path, "c.yaml", yaml.safe_dump(config))
    assert main(["fit", "--config", str(path), "--output", str(tmp_path / "r")]) == 0
    best = str(tmp_path / "r" / "checkpoints" / "best.ckpt")
    assert main(["test", "--config", str(path), "--ckpt_path", best, "--output", str(tmp_path / "t")]) == 0
    rows = load_results(tmp_path / "t")
    assert set(rows.metric) >= {"accuracy", "majority"}
