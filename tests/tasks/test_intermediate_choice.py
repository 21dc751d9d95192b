"""Intermediate tasks of multiple choice: the hub's columns, the release's files, translations, and the real files."""

from __future__ import annotations

import json

import pytest
from mini_hub import Hub
from mini_hub_choices import commonsense_qa, cosmos_qa, english_copa, hellaswag, social_iqa

from xmit.errors import ConfigError, DataError, LanguageNotFoundError
from xmit.tasks import COPA, XCOPA, Belebele, CommonsenseQA, CosmosQA, HellaSwag, SocialIQA

ASKED = {  # what the hub is asked for
    CommonsenseQA: ("tau/commonsense_qa", None, (9_741, 1_221)),
    COPA: ("aps/super_glue", "copa", (400, 100)),
    CosmosQA: ("allenai/cosmos_qa", None, (25_262, 2_985)),
    HellaSwag: ("Rowan/hellaswag", None, (39_905, 10_042)),
    SocialIQA: ("lighteval/siqa", None, (33_410, 1_954)),
}
SWAG = {"ind": 4, "ctx_a": "He sits on a roof.", "ctx_b": "he", "ctx": "He sits on a roof. he", "label": "3"}
SWAG |= {"endings": ["sings.", "falls.", "eats.", "tears tiles off."]}
QUESTION = {"stem": "Where?", "question_concept": "x", "choices": [{"label": k, "text": k.lower()} for k in "EDCBA"]}
COMMON = {"id": "a1", "question": QUESTION, "answerKey": "B"}
SIQA = {"context": "C.", "question": "Q?", "answerA": "a", "answerB": "b", "answerC": "c"}
CAUSE = {"premise": "P.", "choice1": "a", "choice2": "b", "question": "cause", "label": 1, "idx": 0}
COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\n"


def write(path, *rows, text=None):
    """A file of JSON lines, or of a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows) if text is None else text
    path.write_text(text, encoding="utf-8")
    return str(path.parent)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    made = Hub(tmp_path)
    for build in (commonsense_qa, english_copa, cosmos_qa, hellaswag, social_iqa):
        build(made)
    made.install(monkeypatch)
    return made


@pytest.mark.parametrize("kind", ASKED, ids=lambda kind: kind.__name__)
def test_the_hub_is_asked_for_the_right_rows(kind, hub):
    task = kind()
    task.setup("fit")
    name, config, rows = ASKED[kind]
    assert hub.asked == [(name, config, split, n) for split, n in zip(("train", "validation"), rows, strict=True)]
    assert tuple(task.metadata.sizes[split] for split in ("train", "validation")) == rows
    with pytest.raises(ConfigError, match=r"no split 'test' with public labels, .*; set test_split: validation"):
        task.setup("test")
    assert len(kind(test_split="validation").table("test")) == len(task.table("validation"))
    with pytest.raises(LanguageNotFoundError):
        kind(source_language="de")  # there are translations in files only


def test_rows_of_the_hub(hub):
    first, second = (HellaSwag().table("train")[i] for i in (0, 1))
    assert (first["context"], first["choices"][3], first["label"]) == ("train 0.", "the man ends 0 3.", 0)
    assert (second["choices"][0], second["label"]) == ("ends 1 0.", 1)
    row = CommonsenseQA().table("validation")[2]
    assert (row["id"], row["context"], row["choices"]) == ("validation2", "Where is 2?", [f"{k} 2" for k in "vwxyz"])
    assert row["label"] == 2
    assert SocialIQA().table("train")["label"][:3] == [0, 1, 2]
    assert COPA().table("train")["context"][1] == "en 1. What was the effect?"
    assert CosmosQA().table("train")[2]["choices"] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("label", [3, "3"])
def test_hellaswag_files(tmp_path, label):
    folder = write(tmp_path / "hellaswag_train.jsonl", {**SWAG, "label": label}, {**SWAG, "label": label, "ctx_b": ""})
    write(tmp_path / "hellaswag_val.jsonl", {key: SWAG[key] for key in ("ind", "ctx", "endings", "label")})
    begun, whole = HellaSwag(data_dir=folder).table("train")
    assert begun["context"] == whole["context"] == "He sits on a roof."
    assert (begun["choices"][3], whole["choices"][3]) == ("he tears tiles off.", "tears tiles off.")
    assert begun["label"] == 3
    row = HellaSwag(data_dir=folder).table("validation")[0]
    assert (row["context"], row["choices"]) == (SWAG["ctx"], SWAG["endings"])


def test_commonsense_qa_files_in_any_order_of_choices(tmp_path):
    row = CommonsenseQA(data_dir=write(tmp_path / "dev_rand_split.jsonl", COMMON)).table("validation")[0]
    assert (row["id"], row["context"], row["choices"], row["label"]) == ("a1", "Where?", list("abcde"), 1)


def test_social_iqa_of_both_versions(tmp_path):
    write(tmp_path / "socialiqa-train-dev/train.jsonl", SIQA, SIQA)
    write(tmp_path / "socialiqa-train-dev/train-labels.lst", text="3\n1\n")
    assert SocialIQA(data_dir=str(tmp_path)).table("train")["label"] == [2, 0]
    with pytest.raises(DataError, match=r"looked for .*dev\.jsonl or .*socialIQa_v1\.4_dev\.jsonl"):
        SocialIQA(data_dir=str(tmp_path)).table("validation")
    write(tmp_path / "socialIQa_v1.4_dev.jsonl", {**SIQA, "correct": "B"})
    assert SocialIQA(data_dir=str(tmp_path)).table("validation")["label"] == [1]
    write(tmp_path / "socialiqa-train-dev/train-labels.lst", text="3\n")
    with pytest.raises(DataError, match=r"train-labels\.lst: 1 labels for 2 questions"):
        SocialIQA(data_dir=str(tmp_path)).table("train")


@pytest.mark.parametrize("name", ["COPA/val.jsonl", "data/en/val.en.jsonl", "xcopa/val.en.jsonl"])
def test_copa_files(tmp_path, name):
    write(tmp_path / name, CAUSE)
    row = COPA(data_dir=str(tmp_path)).table("validation")[0]
    assert (row["context"], row["choices"], row["label"]) == ("P. What was the cause?", ["a", "b"], 1)


BAD = [  # task, file, its rows, what is said
    (HellaSwag, "hellaswag_val.jsonl", [SWAG, {**SWAG, "label": ""}], "the answer of row 2 is '', not 0 to 3"),
    (HellaSwag, "hellaswag_val.jsonl", [{**SWAG, "label": "4"}], "the answer of row 1 is '4', not 0 to 3"),
    (HellaSwag, "hellaswag_val.jsonl", [SWAG, {**SWAG, "endings": ["x"]}], "row 2 has 1 choices instead of 4"),
    (CommonsenseQA, "dev_rand_split.jsonl", [{**COMMON, "answerKey": ""}], "the label of row 1 is '', not one of A, B"),
    (CommonsenseQA, "dev_rand_split.jsonl", [COMMON, {**COMMON, "answerKey": "F"}], "the label of row 2 is 'F'"),
    (
        CommonsenseQA,
        "dev_rand_split.jsonl",
        [COMMON, {**COMMON, "question": {**QUESTION, "choices": QUESTION["choices"][1:]}}],
        "the choices of row 2 are D, C, B, A, not A to E",
    ),
    (COPA, "val.jsonl", [CAUSE, {**CAUSE, "label": -1}], "the answer of row 2 is -1, not 0 to 1"),
    (COPA, "val.jsonl", [{**CAUSE, "question": "why"}], "the question of row 1 is 'why', not cause or effect"),
    (
        SocialIQA,
        "socialIQa_v1.4_dev.jsonl",
        [{**SIQA, "correct": "D"}],
        "the label of row 1 is 'D', not one of A, B, C",
    ),
]


@pytest.mark.parametrize(("kind", "name", "rows", "message"), BAD)
def test_wrong_rows_are_refused_with_file_and_row(tmp_path, kind, name, rows, message):
    folder = write(tmp_path / name, *rows)
    with pytest.raises(DataError, match=rf"{name}: {message}") as error:
        kind(data_dir=folder).table("validation")
    assert "\n" not in str(error.value)


def test_wrong_labels_of_cosmos_qa_and_social_iqa(tmp_path):
    write(tmp_path / "valid.csv", text=COSMOS + "x,C,Q,a,b,c,d,3\ny,C,Q,a,b,c,d,\n")
    with pytest.raises(DataError, match=r"valid\.csv: the answer of row 2 is '', not 0 to 3"):
        CosmosQA(data_dir=str(tmp_path)).table("validation")
    write(tmp_path / "socialiqa-train-dev/dev.jsonl", SIQA)
    write(tmp_path / "socialiqa-train-dev/dev-labels.lst", text="4\n")
    with pytest.raises(DataError, match=r"dev-labels\.lst: the answer of row 1 is '4', not 1 to 3"):
        SocialIQA(data_dir=str(tmp_path)).table("validation")


def test_ids_that_occur_twice_and_texts_that_are_missing_are_refused(tmp_path):
    folder = write(tmp_path / "dev_rand_split.jsonl", COMMON, {**COMMON, "answerKey": "C"})
    with pytest.raises(DataError, match="the id 'a1' occurs twice"):
        CommonsenseQA(data_dir=folder).table("validation")
    with pytest.raises(DataError, match="the id 'validation-0' occurs twice"):
        COPA(data_dir=write(tmp_path / "val.jsonl", CAUSE, CAUSE)).table("validation")
    write(tmp_path / "hellaswag_val.jsonl", {**SWAG, "ctx_b": None})
    with pytest.raises(DataError, match="example 'hellaswag-validation-0' has None where text belongs"):
        HellaSwag(data_dir=folder).table("validation")


def test_translations(tmp_path):
    write(tmp_path / "hellaswag_train.jsonl", SWAG)
    write(tmp_path / "translate-train/de/hellaswag_train.jsonl", {**SWAG, "ctx_a": "Er sitzt auf einem Dach."})
    write(tmp_path / "translate-train/de/hellaswag_val.jsonl", SWAG)
    task = HellaSwag(data_dir=str(tmp_path), source_language=["en", "de"])
    assert list(zip(task.table("train")["language"], task.table("train")["context"], strict=True)) == [
        ("en", "He sits on a roof."),
        ("de", "Er sitzt auf einem Dach."),
    ]
    with pytest.raises(DataError, match=r"looked for hellaswag/hellaswag_val\.jsonl or"):
        task.table("validation")
    assert len(HellaSwag(data_dir=str(tmp_path), source_language="de").table("validation")) == 1
    write(tmp_path / "translate-train/sw/train.csv", text=COSMOS + "x,Sw C,Q,a,b,c,d,3\n")
    for kind in (CosmosQA, Belebele):
        assert kind(data_dir=str(tmp_path), source_language="sw").table("train")["context"] == ["Sw C Q"]
    with pytest.raises(
        ConfigError, match=r"Cosmos QA is in English only, not in 'sw'; pass data_dir with translations"
    ):
        Belebele(source_language="sw").table("train")


def test_xcopa_in_another_source_language(tmp_path):
    write(tmp_path / "xcopa_translate_train/xcopa_et_translate_train.jsonl", {**CAUSE, "premise": "Eesti."})
    write(tmp_path / "siqa_translate_train/socialIQa_v1.4_et_translate_train.jsonl", {**SIQA, "correct": "A"})
    write(tmp_path / "data/et/val.et.jsonl", {**CAUSE, "premise": "Inimese tõlgitud."})
    task = XCOPA(data_dir=str(tmp_path), source_language="et", train_from="siqa+copa")
    assert task.table("train")["context"] == ["C. Q?", "Eesti. What was the cause?"]
    assert task.table("validation")["context"] == ["Inimese tõlgitud. What was the cause?"]
    assert COPA(data_dir=str(tmp_path), source_language="et").table("train")["id"] == ["copa-0"]


def test_own_files(tmp_path):
    write(tmp_path / "mine.de.jsonl", SWAG, SWAG)
    files = {"train_file": "mine.{language}.jsonl", "validation_file": "mine.de.jsonl"}
    task = HellaSwag(data_dir=str(tmp_path), source_language="de", **files)
    assert len(task.table("train")) == len(task.table("validation")) == 2


@pytest.mark.realdata
def test_real_hellaswag(real_data):
    task = HellaSwag(data_dir=str(real_data), test_split="validation", languages=["en"])
    table = task.table("test")
    assert len(table) == 8000
    counts = [table["label"].count(k) for k in range(4)]
    assert min(counts) > 1900  # about a quarter each
    assert all(len(set(own)) == 4 for own in table["choices"])
    assert table["context"][0] == "A man is sitting on a roof. he"
    assert table["choices"][0][table["label"][0]] == "starts pulling up roofing on a roof."


@pytest.mark.realdata
def test_real_copa(real_data):
    task = COPA(data_dir=str(real_data / "xcopa"))
    assert {split: len(task.table(split)) for split in ("train", "validation", "test")} == task.metadata.sizes
    estonian = XCOPA(data_dir=str(real_data / "xcopa"), languages=["et"])
    for split in ("validation", "test"):  # translations have the ids and labels of the original
        own = estonian.load_split(split, "et")
        assert dict(zip(own["id"], own["label"], strict=True)) == dict(
            zip(task.table(split)["id"], task.table(split)["label"], strict=True)
        )
