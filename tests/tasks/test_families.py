"""The families: what they feed the encoder, and what they make of its answers."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from my_tasks import MyTask
from sklearn.neighbors import NearestNeighbors

from xmit import registry
from xmit.errors import ConfigError, DataError
from xmit.metrics.store import PredictionStore
from xmit.modules.encoders import load_tokenizer
from xmit.registry import get_task, registered_tasks
from xmit.tasks import DigitsImage, RetrievalTask, SequenceClassificationTask, TaskMetadata
from xmit.tasks.scoring import accuracy_scores, consistency_scores, majority_scores, rankings

FACTS = {"main_score": "accuracy", "dataset": "-", "license": "-", "citation": "-", "description": "-"}
PAIRS = [("Ein Hund schläft.", "Ein Tier ruht."), ("A cat", "no cat at all, ever, anywhere"), ("x", "y")]


class Pairs(SequenceClassificationTask):
    """Two segments."""

    metadata = TaskMetadata(name="pairs", roles=("target",), languages=("en", "de"), **FACTS)
    label_names = ("no", "yes")
    text_columns = ("premise", "hypothesis")
    rows: ClassVar = {
        "id": ["a", "b", "c"],
        "premise": [p for p, _ in PAIRS],
        "hypothesis": [h for _, h in PAIRS],
        "label": [0, 1, 1],
    }

    def load_split(self, split, language):
        return Dataset.from_dict(self.rows)


@pytest.mark.parametrize("name", ["cldr_geo", "digits_text", "my_task"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_file_that_a_task_would_not_read_is_refused(name, split, tmp_path):
    task = get_task(name)(data_dir=str(tmp_path), **{f"{split}_file": "own.csv"})
    with pytest.raises(ConfigError, match=rf"task '{name}' takes no {split}_file: leave own\.csv out"):
        task.table(split)


def test_contributing_s_example_works_as_written(tmp_path):
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    code = textwrap.dedent(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    scope = {"__name__": "contributed"}
    exec(compile(code, "CONTRIBUTING.md", "exec"), scope)
    try:
        rows = "id,text,label\n1,bagus,positive\n2,buruk,negative\n"
        for language in ("id", "ace"):
            (tmp_path / language).mkdir()
            (tmp_path / language / "test.csv").write_text(rows)
        (tmp_path / "id" / "train.csv").write_text(rows)
        (tmp_path / "own.csv").write_text("id,text,label\n9,biasa,neutral\n")
        task = get_task("sentiment")(data_dir=str(tmp_path), languages=["id", "ace"])
        assert task.table("test")["label"][:] == [2, 0, 2, 0]
        assert task.table("train")["id"][:] == ["1", "2"]
        own = get_task("sentiment")(data_dir=str(tmp_path), train_file="own.csv")
        assert own.table("train")["label"][:] == [1]
    finally:
        registry._TASKS.pop("sentiment", None)


def test_no_languages_are_not_all_of_them():
    with pytest.raises(ConfigError, match=r"data\.languages is empty: name some"):
        MyTask(languages=[])


class Names(RetrievalTask):
    """Four queries a language, two of which have the same answer."""

    metadata = TaskMetadata(name="names", roles=("target",), languages=("de", "sw"), parallel=True, **FACTS)

    def load_split(self, split, language):
        return Dataset.from_dict(
            {"id": list("abcd"), "query": [f"{language} {i}" for i in range(4)], "candidate": ["A", "B", "B", "C"]}
        )


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded:e5-small")


def bound(task, tokenizer):
    task.bind(tokenizer)
    return task


@pytest.mark.parametrize("max_length", [128, 9])
def test_pairs_are_tokenised_as_transformers_does(tokenizer, max_length):
    task = bound(Pairs(languages=["en"], max_length=max_length), tokenizer)
    (batch,) = task.test_dataloader()
    order = batch["item"].tolist()
    texts = [[PAIRS[i][side] for i in order] for side in (0, 1)]
    expected = tokenizer(*texts, truncation=True, max_length=max_length, padding=True, return_tensors="pt")
    assert torch.equal(batch["text"]["input_ids"], expected["input_ids"])
    assert torch.equal(batch["text"]["attention_mask"], expected["attention_mask"])
    assert batch["labels"].tolist() == [Pairs.rows["label"][i] for i in order]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [0, 1, 2]}, "the label of example 'c' is 2, not one of 0 to 1"),
        ({"label": [0, -1, 1]}, "the label of example 'b' is -1"),
        ({"id": ["a", "b", "a"]}, "the id 'a' occurs twice"),
        ({"hypothesis": None}, "column 'hypothesis' is missing"),
        ({key: [] for key in Pairs.rows}, "no rows"),
    ],
)
def test_bad_rows_are_one_clear_error(tokenizer, monkeypatch, change, message):
    rows = {k: v for k, v in {**Pairs.rows, **change}.items() if v is not None}
    monkeypatch.setattr(Pairs, "rows", rows)
    with pytest.raises(DataError, match=message) as error:
        Pairs().setup("test")
    assert "task 'pairs', split 'test', language 'en'" in str(error.value)


def test_retrieval_encodes_every_text_once_and_answers_by_candidate(tokenizer):
    task = bound(Names(), tokenizer)
    examples = task.examples("test")
    assert len(examples) == 8 + 3
    vectors = torch.eye(11, 16)
    queries, candidates = examples.extra["query"], examples.extra["candidate"]
    # every query points at its own candidate, but sw's first at C
    for query, candidate in zip(queries, candidates, strict=True):
        vectors[query] = vectors[candidate]
    vectors[queries[4]] = vectors[candidates[3]]
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    predictions = task.predictions({"item": order, "vector": vectors[order]}, "test")
    assert predictions[predictions.language == "de"]["prediction"].tolist() == ["a", "b", "b", "d"]
    assert predictions["target"].tolist() == ["a", "b", "b", "d"] * 2
    scores = {s.language: s.value for s in task.score(predictions)}
    assert scores == {"de": 1.0, "sw": 0.75}


@pytest.mark.parametrize("centre", [False, True])
def test_nearest_neighbour_against_sklearn(tokenizer, centre):
    task = bound(Names(languages=["de"], centre=centre), tokenizer)
    n = 40
    names = {"query": [f"q{i}" for i in range(n)], "candidate": [f"c{i}" for i in range(n)]}
    rows = {"id": [f"{i:02}" for i in range(n)], **names, "language": ["de"] * n}
    task._examples["test"] = examples = task.encode(Dataset.from_dict(rows))
    vectors = torch.randn(2 * n, 6, generator=torch.Generator().manual_seed(1)) + torch.tensor([9.0, 0, 0, 0, 0, 0])
    predictions = task.predictions({"item": torch.arange(2 * n), "vector": vectors}, "test")
    queries, candidates = (vectors[examples.extra[side]].numpy() for side in ("query", "candidate"))
    if centre:
        queries, candidates = queries - queries.mean(0), candidates - candidates.mean(0)
    oracle = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(candidates)
    nearest = oracle.kneighbors(queries, return_distance=False)[:, 0]
    assert predictions["prediction"].tolist() == [f"{i:02}" for i in nearest]
    assert predictions["prediction"].nunique() > 1


def test_images_need_a_tower(tokenizer):
    with pytest.raises(ConfigError, match=r"set model\.vision\.name"):
        bound(DigitsImage(), tokenizer).train_dataloader()


def test_preview_decodes_images():
    shown = DigitsImage().preview(n=2, split="validation")
    assert shown["match"].iloc[0].size == (48, 32)
    assert len(MyTask().preview("sw", n=2)) == 2


def test_train_examples_are_drawn_by_the_seed(tokenizer):
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(MyTask(train_examples=10).table("train")["id"])
    assert len(drawn[0]) == 10
    assert list(drawn[0]) == list(drawn[1]) != list(drawn[2])


def test_scores_against_pandas():
    rng = np.random.default_rng(0)
    n, languages = 60, ["en", "de", "sw"]
    rows = pd.DataFrame(
        {
            "language": np.repeat(languages, n),
            "id": np.tile([f"q{i}" for i in range(n)], 3),
            "prediction": rng.choice(["x", "y", "z"], 3 * n),
            "target": np.tile(rng.choice(["x", "y", "z"], n), 3),
        }
    )
    right = (rows.prediction == rows.target).groupby(rows.language).mean()
    assert {s.language: s.value for s in accuracy_scores(rows)} == pytest.approx(right.to_dict(), abs=1e-6)
    majority = rows.groupby("language")["target"].agg(lambda t: t.value_counts().iloc[0] / len(t))
    assert {s.language: s.value for s in majority_scores(rows)} == pytest.approx(majority.to_dict())
    wide = rows.pivot(index="id", columns="language", values="prediction")
    scores = {(s.language, s.metric): s for s in consistency_scores(rows, "en")}
    assert scores["de", "consistency/agreement"].value == pytest.approx((wide.en == wide.de).mean())
    assert scores["all", "consistency/unanimous"].value == pytest.approx((wide.nunique(axis=1) == 1).mean())
    assert scores["all", "consistency/fleiss_kappa"].n == n


def test_rankings_are_of_rows_with_three_candidates_or_more():
    rows = pd.Series([[0.1, 0.7, 0.2], None, [0.5, 0.5], [0.2, 0.2, 0.1, 0.5], [0.1, np.nan, 0.9]])
    assert rankings(rows).tolist() == [[1, 2, 0, -1], [-1] * 4, [-1] * 4, [3, 0, 1, 2], [-1] * 4]
    assert rankings(rows[[1, 2]]) is None
    # where there is no score at all, RankC is not absent but says why
    assert rankings(rows[[1, 4]]).tolist() == [[-1] * 3] * 2
    nothing = pd.DataFrame(
        {"language": ["en", "de"], "id": "a", "prediction": 0, "target": 0, "scores": [[np.nan] * 3] * 2}
    )
    scored = {(s.language, s.metric): s for s in consistency_scores(nothing, "en", rankings(nothing["scores"]))}
    rankc = scored["de", "consistency/rankc"]
    assert np.isnan(rankc.value)
    assert rankc.reason == "no item has scores in both 'en' and 'de'"
    many = np.random.default_rng(0).random((3, 200))
    np.testing.assert_array_equal(rankings(pd.Series(list(many))), np.argsort(-many, axis=1)[:, :64])


def test_missing_targets_are_not_scored():
    rows = pd.DataFrame({"language": ["en"] * 3 + ["de"], "id": list("abcd"), "prediction": ["x"] * 4})
    rows["target"] = ["x", None, "y", None]
    english, german = accuracy_scores(rows)
    assert (english.value, english.n) == (0.5, 2)
    assert np.isnan(german.value)
    assert german.reason == "no example has a target"


def test_files_with_another_number_of_rows_than_published_are_warned_about(tmp_path, recwarn):
    class Sized(Pairs):
        metadata = replace(Pairs.metadata, name="sized", sizes={"train": 3, "validation": 5, "test": 7})

        def load_split(self, split, language):
            assert self.own_file(split) in (None, "own.tsv")
            return super().load_split(split, language)

    Sized().table("validation")  # from the hub, where the count is asserted
    Sized(data_dir=str(tmp_path), validation_file="own.tsv").table("validation")  # not what was published
    task = Sized(data_dir=str(tmp_path))
    task.table("train")
    assert not recwarn.list
    with pytest.warns(
        UserWarning, match="'sized', split 'validation': 3 rows instead of the published 5: a part"
    ) as caught:
        task.table("validation")
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="split 'test': 3 rows instead of the published 7") as caught:
        task.table("test")
    assert len(caught) == 1  # of English alone: other languages may have another number
    with pytest.warns(UserWarning, match="split 'validation': 3 rows"):
        Sized(data_dir=str(tmp_path), test_split="validation").table("test")


def test_every_target_knows_its_published_sizes():
    tasks = {name: cls for name, cls in registered_tasks().items() if ".target." in cls.__module__}
    assert len(tasks) == 25
    # xm3600's captions an image differ, and the emoji names are not published as a data set
    without_english = {"bucc2018", "mewslix", "udpos", "masakhaner2", "xm3600", "emoji_names"}
    assert {name for name, cls in tasks.items() if "test" not in cls.metadata.sizes} == without_english
    for name, cls in tasks.items():
        if cls.trains and name != "mewslix":  # whose sizes are not known
            assert {"train", "validation"} <= cls.metadata.sizes.keys(), name
    assert tasks["xcopa"](train_from="siqa+copa").sizes["train"] == 33_410 + 400
    assert tasks["mlqa"](train_from="tydiqa").sizes == {"train": 3_333, "validation": 1_148, "test": 11_590}
    assert tasks["tydiqa"](train_from="squad").sizes == {"train": 87_599, "validation": 10_570, "test": 440}
    assert "test" not in tasks["pawsx"]().sizes
    assert tasks["pawsx"](keep_untranslated=True).sizes["test"] == 2_000


def test_a_split_of_one_item_keeps_its_shape():
    store = PredictionStore(["item", "scores"])
    store.update({"item": torch.tensor([0]), "scores": torch.tensor([[0.25, 0.75]])})
    assert store.rows()["item"].tolist() == [0]
    assert store.rows()["scores"].shape == (1, 2)


def test_own_files_need_a_folder():
    with pytest.raises(ConfigError, match="data_dir"):
        registered_tasks()["panx"](train_file="own.tsv").table("train")


def test_own_files_are_read(tmp_path):
    (tmp_path / "own.tsv").write_text("a\tO\nb\tB-LOC\n\n")
    table = registered_tasks()["panx"](data_dir=str(tmp_path), train_file="own.tsv").table("train")
    assert table["tokens"][:] == [["a", "b"]]
