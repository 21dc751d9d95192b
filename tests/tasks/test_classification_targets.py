"""Classification and multiple-choice targets from the hub's columns, in miniature."""

from __future__ import annotations

import datasets
import pytest
from mini_hub import Hub
from mini_hub_choices import (
    NLI,
    afri_xnli,
    belebele,
    mnli,
    nli,
    nusax,
    pawsx,
    sib200,
    story,
    xcopa,
    xnli,
    xstory_cloze,
)

from xmit.errors import DataError
from xmit.languages import get_language
from xmit.tasks import target as targets


@pytest.fixture
def hub(tmp_path, monkeypatch):
    made = Hub(tmp_path / "hub")
    made.install(monkeypatch)
    return made


def load(task):
    """All rows of all splits."""
    task.setup("fit")
    task.setup("test")
    return [task.table(split) for split in ("train", "validation", "test")]


def test_xnli_from_the_hub(hub):
    xnli(hub, ["sw"])
    train, validation, test = load(targets.XNLI(languages=["en", "sw"]))
    assert [len(t) for t in (train, validation, test)] == [7, 4, 10]
    assert train[1]["premise"] == 'mnli "p" 1'
    assert validation["id"][:] == [f"validation-{i}" for i in range(4)]
    assert [row["premise"] for row in test if row["id"] == "test-2"] == ['en test "p" 2', 'sw test "p" 2']


def test_labels_in_another_order_are_refused(hub):
    features = datasets.Features(
        {**NLI, "label": datasets.ClassLabel(names=["contradiction", "neutral", "entailment"])}
    )
    hub.write("facebook/xnli", "de", "test", nli(3, "de"), features)
    with pytest.raises(DataError, match="entailment, neutral, contradiction"):
        targets.XNLI(languages=["de"]).setup("test")


def test_pawsx_drops_untranslated_items_in_all_languages(hub):
    pawsx(hub, absent={"de": [("sentence2", 1)], "ko": [("sentence1", 4)]})
    _, validation, test = load(targets.PAWSX(languages=["en", "de"]))
    assert validation["id"][:] == [f"validation-{i}" for i in (0, 2, 3, 5)]
    assert test["id"][:] == [f"test-{i}" for i in (0, 2, 3, 5)] * 2
    kept = targets.PAWSX(languages=["en", "de"], keep_untranslated=True)
    assert len(load(kept)[2]) == 12


def test_xcopa_takes_its_question_from_estonian(hub):
    xcopa(hub, ["et", "th"])
    train, validation, test = load(targets.XCOPA(languages=["et", "th"]))
    assert [len(t) for t in (train, validation, test)] == [6, 4, 8]
    thai = [row["context"] for row in test if row["language"] == "th"]
    assert thai == [f"th {i}. What was the {q}?" for i, q in enumerate(["cause", "effect"] * 2)]
    assert test["choices"][0] == ["et a", "et b"]
    own = targets.XCOPA(languages=["th"], question_from="own")
    own.setup("test")
    assert own.table("test")["context"][0] == "th 0. What was the effect?"


def test_xcopa_trains_on_social_iqa_first(hub):
    xcopa(hub, ["et", "th"])
    train = load(targets.XCOPA(languages=["et"], train_from="siqa+copa"))[0]
    assert [len(own) for own in train["choices"]] == [3] * 5 + [2] * 6
    assert (train["context"][0], train["label"][:5]) == ("C Q?", [0, 1, 2, 2, 0])


def test_americas_nli_from_the_hub(hub):
    mnli(hub)
    hub.write("facebook/xnli", "en", "validation", nli(4, "en"), NLI)
    for code, n in (("aym", 750), ("shp", 750), ("oto", 748)):
        hub.write("nala-cub/americas_nli", code, "test", nli(n, code), NLI)
    task = targets.AmericasNLI(languages=["ay", "shp", "oto"])
    train, validation, test = load(task)
    assert (len(train), len(validation)) == (7, 4)
    ids = {code: {r["id"] for r in test if r["language"] == code} for code in ("ay", "shp", "oto")}
    assert ids["ay"] == ids["shp"]
    assert not ids["ay"] & ids["oto"]  # without ids there is no telling which rows are missing


def test_afri_xnli_from_the_hub(hub):
    afri_xnli(hub, ["eng", "amh", "twi"])
    train, validation, test = load(targets.AfriXNLI(languages=["amh", "tw"]))
    assert (len(train), len(validation), len(test)) == (7, 6, 12)
    assert validation[3] == {"id": "validation-3", "premise": 'eng "p" 3', "hypothesis": "eng h 3", "label": 0,
                             "language": "en"}  # fmt: skip


def test_sib200_from_the_hub(hub):
    sib200(hub, ["eng_Latn", "ace_Arab", "zho_Hant"])
    train, _, test = load(targets.SIB200(languages=["ace-Arab", "zho_Hant"]))
    assert train["label"][:] == list(range(7))
    assert train["text"][0] == 'eng_Latn "NA 0'
    assert test["id"][:2] == ["9", "3"]
    assert set(test["language"]) == {"ace-Arab", "zh-Hant"}


def test_belebele_from_the_hub(hub):
    belebele(hub, ["eng_Latn", "hin_Latn"])
    train, _, test = load(targets.Belebele(languages=["en", "hi-Latn"]))
    assert (train["context"][0], train["label"][:]) == ("C Q", [0, 1, 2, 3, 0])
    labels = {code: {r["id"]: r["label"] for r in test if r["language"] == code} for code in ("en", "hi-Latn")}
    assert labels["en"] == labels["hi-Latn"] == {"u#1": 3, "u#2": 0, "v#1": 1}
    assert test[0]["context"] == "eng_Latn P q0"


STORY_FILE = ("InputStoryid", *(f"InputSentence{k}" for k in (1, 2, 3, 4)), "RandomFifthSentenceQuiz1",
              "RandomFifthSentenceQuiz2", "AnswerRightEnding")  # fmt: skip


def test_xstory_cloze_from_the_hub_and_from_files(hub, tmp_path):
    xstory_cloze(hub, ["en", "eu"])
    for code in ("en", "eu"):
        for split, n in (("train", 12), ("eval", 5)):
            rows = story(n, split, STORY_FILE)
            lines = [list(rows), *zip(*rows.values(), strict=True)]
            text = "".join("\t".join(map(str, line)) + "\n" for line in lines)
            (tmp_path / f"spring2016.val.{code}.tsv.split_20_80_{split}.tsv").write_text(text, encoding="utf-8")
    online = load(targets.XStoryCloze(languages=["en", "eu"]))
    local = load(targets.XStoryCloze(languages=["en", "eu"], data_dir=str(tmp_path)))
    assert [table[:] for table in online] == [table[:] for table in local]
    train, validation, test = local
    assert (len(train), len(validation), len(test)) == (10, 2, 10)
    assert not set(train["id"]) & set(validation["id"])
    assert test[1]["context"] == "eval 1. eval 2. eval 3. eval 4."
    assert test["label"][:5] == [0, 1, 0, 1, 0]


def test_a_story_file_of_one_s_own_is_not_divided(tmp_path):
    names = ["InputStoryid", *(f"InputSentence{k}" for k in (1, 2, 3, 4))]
    names += ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding"]
    rows = [[str(i), *"abcd", "yes", "no", str(i % 2 + 1)] for i in range(12)]
    text = "\n".join("\t".join(row) for row in [names, *rows]) + "\n"
    for name in ("mine.tsv", "spring2016.val.en.tsv.split_20_80_train.tsv"):
        (tmp_path / name).write_text(text)
    sizes = {}
    for own in ((), ("train_file",), ("validation_file",), ("train_file", "validation_file")):
        task = targets.XStoryCloze(data_dir=str(tmp_path), **dict.fromkeys(own, "mine.tsv"))
        sizes[own] = [len(task.load_split(split, "en")) for split in ("train", "validation")]
    assert list(sizes.values()) == [[10, 2], [12, 2], [12, 12], [12, 12]]


@pytest.mark.parametrize("with_id", [True, False])
def test_nusax_from_the_hub(hub, with_id):
    nusax(hub, ["eng", "bbc"], with_id)
    train, _, test = load(targets.NusaX(languages=["en", "bbc"]))
    assert train["label"][:] == [2, 0, 1]
    assert test["id"][:] == (["7", "5", "9"] if with_id else ["0", "1", "2"]) * 2


def test_languages_are_all_there():
    counts = {"XNLI": 15, "PAWSX": 7, "XCOPA": 11, "AmericasNLI": 10, "AfriXNLI": 18, "SIB200": 205, "Belebele": 122,
              "XStoryCloze": 11, "NusaX": 12}  # fmt: skip
    for name, n in counts.items():
        codes = getattr(targets, name).metadata.languages
        assert len(codes) == n
        assert all(get_language(code).code == code for code in codes)
    assert targets.SIB200(languages=["swh_Latn"]).languages == ["sw"]
    assert targets.AmericasNLI(languages=["quy", "aym"]).languages == ["qu", "ay"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hypothesis": ["a", None, "c"]}, "'hypothesis' of example 'test-1' is None, which is no text"),
        ({"label": [0, None, 2]}, "the label of example 'test-1' is -1, not one of 0 to 2"),
    ],
)
def test_missing_values_are_refused(hub, change, message):
    hub.write("facebook/xnli", "de", "test", {**nli(3, "de"), **change}, NLI)
    with pytest.raises(DataError, match=message):
        targets.XNLI(languages=["de"]).setup("test")
