"""LAReQA and Mewsli-X: what they load, and what they make of vectors; all retrieval targets through ``fit``."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from retrieval_tools import corpora, decoded, from_folder, hub, lareqa_files, mewslix_files, write

from xmit.__main__ import main
from xmit.errors import DataError
from xmit.modules.encoders import load_tokenizer
from xmit.study.results import PREDICTIONS, load_results
from xmit.tasks.target import LAReQA, MewsliX


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded:e5-small")


# -- LAReQA ----------------------------------------------------------------------------------------------------


def test_lareqa_candidates_and_targets(tmp_path):
    task = LAReQA(languages=["de", "en"], data_dir=str(lareqa_files(tmp_path)))
    table, candidates = task.table("test"), task.candidates
    assert len(candidates) == 33  # of all languages, whichever are asked
    assert candidates[0] == {"id": "ar_1_0", "text": "ar one.ar one. ar two. ar two."}
    assert list(table["id"]) == ["q1", "q2"] * 2
    assert table[0]["targets"] == [f"{code}_1_0" for code in task.metadata.languages]
    # the sentence occurs twice in the paragraph: both places are right
    assert len(table[1]["targets"]) == 22


def test_lareqa_by_hand(tmp_path):
    task = LAReQA(languages=["de", "en"], data_dir=str(lareqa_files(tmp_path)))
    codes = list(task.metadata.languages)

    def vector(text):
        code, number = codes.index(text[:2]), 1.0 if text[3:6] == "one" else 0.0
        if text.endswith("q1"):
            return [1.0, 0.0, 0.0]
        if text.endswith("q2"):
            return [0.0, 0.0, 1.0] if text.startswith("de") else [0.0, 1.0, 0.0]
        return [number, 1 - number, 1e-4 * code]

    rows = task.predictions(decoded(task, vector), "test")
    ranked = [json.loads(value) for value in rows["prediction"]]
    assert all(len(row) == 20 for row in ranked)
    # q1: the eleven right ones come first, those with the smallest last part best
    assert ranked[0][:11] == [f"{code}_1_0" for code in codes]
    # en q2: twenty of the twenty-two right ones
    assert {name.rsplit("_", 1)[1] for name in ranked[3]} == {"1", "2"}
    # de q2: by the last part alone, from the last language on; one of three is wrong
    hits = [not name.endswith("_0") for name in ranked[1]]
    expected = sum(sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit) / 20
    scores = {(s.language, s.metric): s for s in task.evaluate(rows)}
    assert scores["en", "map@20"].value == pytest.approx(1.0)
    assert scores["de", "map@20"].value == pytest.approx((1 + expected) / 2)
    assert expected < 0.9
    assert scores["de", "map@20"].n == 2
    assert ("all", "consistency/unanimous") in scores
    # RankC of the twenty best in either language, word for word
    weights = np.exp(-np.arange(20.0)) / np.exp(-np.arange(20.0)).sum()
    pairs = [(ranked[2], ranked[0]), (ranked[3], ranked[1])]
    overlaps = [[len(set(a[:j]) & set(b[:j])) / j for j in range(1, 21)] for a, b in pairs]
    assert scores["de", "consistency/rankc"].value == pytest.approx(np.mean(overlaps @ weights), abs=1e-9)
    assert scores["de", "consistency/rankc"].n == 2


def test_lareqa_leaves_out_a_question_without_a_sentence(tmp_path):
    # the only break ends before "two": the question goes, and its German sentence is right for no other language
    files = lareqa_files(tmp_path, de={"sentence_breaks": [[0, 7]]})
    task = LAReQA(languages=["de", "en"], data_dir=str(files))
    table = task.table("test")
    assert list(zip(table["language"], table["id"], strict=True)) == [("de", "q1"), ("en", "q1"), ("en", "q2")]
    assert len(table[2]["targets"]) == 20
    assert len(task.candidates) == 31


def test_lareqa_refuses_xquad(tmp_path):
    lareqa_files(tmp_path, de={"sentence_breaks": None})
    with pytest.raises(DataError, match=r"de\.json: paragraph 1 has no .*XQuAD-R is wanted"):
        LAReQA(languages=["de"], data_dir=str(tmp_path)).table("test")
    (tmp_path / "zh.json").unlink()
    lareqa_files(tmp_path / "other")
    (tmp_path / "other" / "zh.json").unlink()
    with pytest.raises(DataError, match=r"looked for zh\.json"):
        LAReQA(languages=["de"], data_dir=str(tmp_path / "other")).setup("test")


def test_queries_and_candidates_are_cut_apart(tmp_path, tokenizer):
    task = LAReQA(languages=["en"], data_dir=str(lareqa_files(tmp_path)), max_length=9, max_query_length=4)
    task.bind(tokenizer)
    examples = task.examples("test")
    lengths = examples.text["text"].lengths
    assert {int(lengths[i]) for i in examples.extra["query"]} == {4}
    assert {int(lengths[i]) for i in examples.extra["candidate"]} == {9}


# -- Mewsli-X --------------------------------------------------------------------------------------------------


def test_mewslix_texts(tmp_path):
    task = MewsliX(languages=["de"], data_dir=str(mewslix_files(tmp_path)))
    assert list(task.table("test")["query"]) == [
        "Bonn: Gestern (so) in { Bonn } .",
        "Rhein: Der { Rhein } fließt.",
    ]
    assert list(task.candidates["text"]) == ["Köln is here.", "Bonn is here.", "Rhein is here."]
    assert list(task.table("test")["targets"]) == [["Q1"], ["Q2"]]


def test_mewslix_by_hand(tmp_path):
    task = MewsliX(languages=["de", "tr"], data_dir=str(mewslix_files(tmp_path)))

    def vector(text):
        if "is here" in text:
            return {"K": [1.0, 0.0, 0.0], "B": [0.0, 1.0, 0.0], "R": [0.0, 0.0, 1.0]}[text[0]]
        return [0.5, 0.2, 0.1] if text.startswith("Rhein") else [0.5, 1.0, 0.1]

    rows = task.predictions(decoded(task, vector), "test")
    assert [json.loads(p) for p in rows["prediction"]] == [["Q1", "Q0", "Q2"], ["Q0", "Q1", "Q2"], ["Q1", "Q0", "Q2"]]
    scores = {s.language: s.value for s in task.evaluate(rows)}
    assert scores == {"de": pytest.approx((1 + 1 / 3) / 2), "tr": 1.0}


def test_mewslix_blanked_test_is_predicted_only(tmp_path):
    mewslix_files(tmp_path, part="dev")
    mewslix_files(tmp_path, entity="")
    task = MewsliX(languages=["de"], data_dir=str(tmp_path))
    rows = task.predictions(decoded(task, lambda t: [1.0, len(t)]), "test")
    assert rows["target"].isna().all()
    (score,) = task.evaluate(rows)
    assert np.isnan(score.value)
    assert score.reason == "no right candidate is known"
    dev = MewsliX(languages=["de"], data_dir=str(tmp_path), test_split="validation")
    assert list(dev.table("test")["targets"]) == [["Q1"], ["Q2"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mention_span": {"start": 17, "end": 28, "text": "Bonn. Der R"}}, "lies in no sentence"),
        ({"mention_span": {"start": 17}}, "no mentions in context as in Mewsli-X"),
    ],
)
def test_mewslix_damaged(tmp_path, change, message):
    path = mewslix_files(tmp_path) / "wikinews_mentions-test.jsonl"
    first, *rest = path.read_text().splitlines()
    row = json.loads(first)
    row["mentions"][0] |= change
    write(path, "\n".join([rest[0], json.dumps(row), rest[1], ""]))
    with pytest.raises(DataError, match=rf"wikinews_mentions-test\.jsonl:2: .*{message}"):
        MewsliX(languages=["de"], data_dir=str(tmp_path)).table("test")


@pytest.mark.parametrize("nested", [True, False])
def test_mewslix_from_the_hub(tmp_path, monkeypatch, nested):
    local = MewsliX(languages=["de"], data_dir=str(mewslix_files(tmp_path / "files"))).table("test").to_pandas()
    rows = [json.loads(line) for line in (tmp_path / "files" / "wikinews_mentions-test.jsonl").open()][:2]
    flat = {"example_id": ["m1", "m2"], "mention": local["query"].tolist(), "entity_id": ["Q1", "Q2"]}
    hub(tmp_path, "de", "test", {k: [row[k] for row in rows] for k in ("context", "mentions")} if nested else flat)
    entities = [json.loads(line) for line in (tmp_path / "files" / "candidate_set_entities.jsonl").open()]
    hub(tmp_path, "candidate_entities", "test", {k: [e[k] for e in entities] for k in entities[0]})
    from_folder(monkeypatch, MewsliX, tmp_path)
    task = MewsliX(languages=["de"])
    pd.testing.assert_frame_equal(task.table("test").to_pandas(), local)
    assert list(task.candidates["text"]) == ["Köln is here.", "Bonn is here.", "Rhein is here."]


# -- the command line ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["Tatoeba", "BUCC2018", "LAReQA", "MewsliX"])
def test_fit_scores_what_test_predicted(name, tmp_path, tiny_encoder):
    data = tmp_path / "data"
    languages = {"LAReQA": ["de", "en"], "MewsliX": ["de", "tr"]}.get(name, ["de"])
    if name == "Tatoeba":
        for code, lines in (("deu", ["Zwei.", "Eins."]), ("eng", ["Two.", "One."])):
            write(data / f"tatoeba.deu-eng.{code}", "".join(f"{s}\n" for s in lines))
    elif name == "BUCC2018":
        corpora(data, "sample", "abx", "ABY", [(0, 0), (1, 1)])
        corpora(data, "training", "abcx", "ABCD", [(0, 0), (1, 1), (2, 2)])
    else:
        {"LAReQA": lareqa_files, "MewsliX": mewslix_files}[name](data)
    as_it_is = {"train": False} if name in ("LAReQA", "MewsliX") else {}
    settings = {
        "model": {"encoder": tiny_encoder},
        "trainer": {"enable_progress_bar": False, "enable_model_summary": False, "logger": False},
        "data": {
            "class_path": f"xmit.tasks.target.{name}",
            "init_args": {"data_dir": str(data), "languages": languages} | as_it_is,
        },
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
    run = tmp_path / "run"
    assert main(["fit", "--config", str(tmp_path / "c.yaml"), "--output", str(run)]) == 0
    rows = load_results(run)
    assert set(rows[rows.is_main]["language"]) == set(languages)
    assert rows[rows.is_main]["value"].between(0, 1).all()
    assert set(pd.read_parquet(run / PREDICTIONS)["language"]) == set(languages)
