"""XQuAD, MLQA and TyDiQA: miniatures in the hub's columns and the release's layouts, and the real files."""

from __future__ import annotations

import gzip
import json
import warnings

import pandas as pd
import pytest
import torch
from datasets import Dataset
from lightning import Trainer
from mini_hub import Hub
from mini_hub_texts import mlqa, questions, tydiqa, xquad

from xmit.data.readers import read_jsonl
from xmit.errors import DataError
from xmit.modules.encoders import load_tokenizer
from xmit.modules.module import MultimodalModule
from xmit.tasks.qa_sources import load_tydiqa
from xmit.tasks.spans import drop_misaligned
from xmit.tasks.target.mlqa import MLQA
from xmit.tasks.target.tydiqa import TyDiQA
from xmit.tasks.target.xquad import XQuAD

TASKS = {"xquad": XQuAD, "mlqa": MLQA, "tydiqa": TyDiQA}


def squad_json(rows, version="1.1"):
    """Rows in SQuAD's layout."""
    data = []
    for row in rows:
        answers = [
            {"text": t, "answer_start": s}
            for t, s in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
        ]
        qa = {"id": row["id"], "question": row["question"], "answers": answers}
        data.append({"title": row["title"], "paragraphs": [{"context": row["context"], "qas": [qa]}]})
    return json.dumps({"version": version, "data": data}, ensure_ascii=False)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")


TYDI = [row for name in TyDiQA.metadata.language_map.values() for row in questions(name, 20)]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    made = Hub(tmp_path)
    xquad(made, XQuAD.metadata.languages)
    mlqa(made, MLQA.metadata.languages)
    tydiqa(made, TyDiQA.metadata.language_map.values())
    made.install(monkeypatch)
    return made


@pytest.mark.parametrize("name", TASKS)
def test_from_the_hub_to_scores(name, hub, tiny_encoder):
    task = TASKS[name](batch_size=8)
    module = MultimodalModule(tiny_encoder)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_steps=2, accelerator="cpu", enable_checkpointing=False, num_sanity_val_steps=0, **quiet)
    trainer.fit(module, task)
    trainer.test(module, datamodule=task, verbose=False)
    results, predictions = module.results["test"], module.predictions["test"]
    main = results[results.is_main]
    assert set(main.language) == set(task.metadata.languages)
    assert set(main.metric) == {"f1"}
    assert main.value.between(0, 1).all()
    assert {name for name in results.metric if "/" not in name} == {"f1", "exact_match"}
    assert ("consistency/pairwise_mean" in set(results.metric)) == task.metadata.parallel
    n = {"tydiqa": 20}.get(name, 6)
    assert (main.n == n).all()
    assert predictions.groupby("language")["id"].nunique().eq(n).all()
    assert predictions["target"].map(json.loads).map(len).eq(1).all()


def test_the_hub_is_asked_for_the_right_rows(hub):
    XQuAD(languages=["ro"]).setup("fit")
    XQuAD(languages=["ro"]).setup("test")
    MLQA(languages=["zh"]).setup("fit")
    MLQA(languages=["zh"]).setup("test")
    TyDiQA(languages=["sw"]).setup("fit")
    TyDiQA(languages=["sw"]).setup("test")
    assert hub.asked == [
        ("rajpurkar/squad", "plain_text", "train", 87_599),
        ("rajpurkar/squad", "plain_text", "validation", 10_570),
        ("google/xquad", "xquad.ro", "validation", 1190),
        ("rajpurkar/squad", "plain_text", "train", 87_599),
        ("google/xtreme", "MLQA.en.en", "validation", 1148),
        ("google/xtreme", "MLQA.zh.zh", "test", 5137),
        ("google-research-datasets/tydiqa", "secondary_task", "train", 49_881),
        ("google-research-datasets/tydiqa", "secondary_task", "train", 49_881),
        ("google-research-datasets/tydiqa", "secondary_task", "validation", 5077),
    ]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("root", ["xtreme", "alone"])
def test_release_files(tmp_path, root, suffix):
    below = {"xtreme": lambda name: tmp_path / name, "alone": lambda name: tmp_path}[root]
    for split in ("train", "dev"):
        write(below("squad") / f"{split}-v1.1.json{suffix}", squad_json(questions(split)))
    write(below("xquad") / f"xquad.ro.json{suffix}", squad_json(questions("ro")))
    mlqa = below("mlqa") / "MLQA_V1"
    write(mlqa / f"dev/dev-context-en-question-en.json{suffix}", squad_json(questions("en")))
    write(mlqa / f"dev/dev-context-hi-question-hi.json{suffix}", squad_json(questions("hi-dev")))
    write(mlqa / f"test/test-context-hi-question-hi.json{suffix}", squad_json(questions("hi")))
    given = {"data_dir": str(tmp_path)}
    task = XQuAD(languages=["ro"], **given)
    assert [task.table(s)["id"][0] for s in ("train", "validation", "test")] == ["train-0", "dev-0", "ro-0"]
    task = MLQA(languages=["hi"], **given)
    assert [task.table(s)["id"][0] for s in ("train", "validation", "test")] == ["train-0", "en-0", "hi-0"]
    assert MLQA(languages=["hi"], test_split="validation", **given).table("test")["id"][0] == "hi-dev-0"
    with pytest.raises(DataError, match=r"task 'mlqa': looked for .*context-zh-question-zh.*data_dir.*google/xtreme"):
        MLQA(languages=["zh"], **given).setup("test")
    with pytest.raises(
        DataError, match=r"translate-dev/squad\.translate\.dev\.en-ro\.json or .*translate-train/ro/.*dev-v1"
    ):
        XQuAD(languages=["ro"], test_split="validation", **given).setup("test")


@pytest.mark.parametrize("layout", ["release", "xtreme", "by language"])
def test_layouts_of_tydiqa(tmp_path, layout):
    def part(name, ids=str):
        return [{**row, "id": ids(row["id"])} for row in TYDI if row["id"].startswith(name)]

    train, dev = tmp_path / "tydiqa/tydiqa-goldp-v1.1-train", tmp_path / "tydiqa/tydiqa-goldp-v1.1-dev"
    if layout == "release":
        write(train / "tydiqa-goldp-v1.1-train.json", squad_json(TYDI))
        write(dev / "tydiqa-goldp-dev-korean.json", squad_json(part("korean")))
    elif layout == "xtreme":  # ids are cut down to a number there, which several questions share
        write(train / "tydiqa.goldp.en.train.json", squad_json(part("english", lambda key: str(int(key[-1]) // 2))))
        write(dev / "tydiqa.goldp.ko.dev.json", squad_json(part("korean")))
    else:
        write(tmp_path / "english/english_tydiqa_train.json", squad_json(part("english")))
        write(tmp_path / "korean/korean_tydiqa_dev.json", squad_json(part("korean")))
    task = TyDiQA(languages=["ko"], data_dir=str(tmp_path))
    contexts = {split: set(task.table(split)["context"]) for split in ("train", "validation", "test")}
    assert not contexts["train"] & contexts["validation"]
    assert contexts["train"] | contexts["validation"] == {row["context"] for row in part("english")}
    assert list(task.table("test")["id"]) == [f"korean-{i}" for i in range(20)]


def test_misaligned_training_rows_are_dropped_and_counted(tmp_path):
    rows = questions("train")
    rows[2]["answers"]["answer_start"] = [0]
    write(tmp_path / "train-v1.1.json", squad_json(rows))
    write(tmp_path / "dev-v1.1.json", squad_json(rows))
    task = XQuAD(data_dir=str(tmp_path))
    with pytest.warns(UserWarning, match="task 'xquad': 1 training rows dropped"):
        assert len(task.table("train")) == 5
    assert len(task.table("validation")) == 6


def test_versions():
    assert "ro" in XQuAD().languages
    assert "ro" not in XQuAD(version="xtreme").languages
    assert [XQuAD(version=v).benchmark_version for v in ("xtreme", "xtreme-r")] == ["xtreme", "xtreme-r"]
    assert len(XQuAD(version="xtreme").languages) == 11
    assert XQuAD(version="xtreme", languages=["ro"]).languages == ["ro"]
    assert XQuAD().train_from == MLQA().train_from == "squad"
    assert TyDiQA().train_from == "tydiqa"


@pytest.mark.realdata
def test_real_xquad(real_data):
    languages = ["ar", "de", "en", "es", "hi", "ro", "ru", "th", "tr", "zh"]
    table = XQuAD(languages=languages, data_dir=str(real_data)).table("test")
    assert len(table) == 1190 * len(languages)
    assert len(set(table["id"])) == 1190
    assert_aligned(table, 0)


@pytest.mark.realdata
def test_real_mlqa(real_data):
    languages = {"de": 512, "en": 1148, "es": 500, "zh": 504}
    task = MLQA(languages=list(languages), data_dir=str(real_data), test_split="validation")
    assert pd.Series(list(task.table("test")["language"])).value_counts().to_dict() == languages
    assert len(task.table("validation")) == 1148
    assert_aligned(task.table("test"), 0)


@pytest.mark.realdata
def test_perfect_scores_give_the_real_answers(real_data):
    task = MLQA(languages=["de", "en", "es", "zh"], data_dir=str(real_data), test_split="validation")
    task.bind(load_tokenizer("embedded:e5-small"))
    generator, parts = torch.Generator().manual_seed(0), []
    for batch in task.test_dataloader():
        scores = torch.randn(2, *batch["text"]["input_ids"].shape, generator=generator)
        for side in (0, 1):  # far above all others where the answer is, or on the first token in other windows
            scores[side][torch.arange(len(batch["item"])), batch["labels"][:, side]] += 50
        parts.append(task.decode({"start": scores[0], "end": scores[1]}, batch))
    predictions = task.predictions({k: torch.cat([p[k] for p in parts]) for k in task.decoded_fields}, "test")
    # the rest: answers that end within a token, or are longer than 30 tokens
    assert min(score.value for score in task.evaluate(predictions) if score.metric == "f1") > 0.97
    for context, answer in zip(task.table("test")["context"], predictions["prediction"], strict=True):
        assert answer in context


@pytest.mark.realdata
def test_real_tydiqa(real_data):
    languages = {"en": 440, "bn": 113, "fi": 782, "id": 565, "ko": 276}
    task = TyDiQA(languages=list(languages), data_dir=str(real_data))
    assert pd.Series(list(task.table("test")["language"])).value_counts().to_dict() == languages
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, validation = task.table("train"), task.table("validation")
    assert len(train) + len(validation) == 3696
    assert 0.08 < len(validation) / 3696 < 0.12
    assert not set(train["context"]) & set(validation["context"])
    assert not set(train["id"]) & set(validation["id"])
    assert_aligned(task.table("test"), 0)
    assert len(load_tydiqa(XQuAD(data_dir=str(real_data)), "train", "en")["id"]) == len(train)


@pytest.mark.realdata
def test_real_afriqa_has_the_known_defects(real_data):
    files = sorted(real_data.glob("afriqa/gold_passages/*/*.json"))
    rows = total = 0
    for path in files:
        columns = read_jsonl(path, ("id", "context", "answer_pivot"))
        columns["answers"] = columns.pop("answer_pivot")
        kept, dropped = drop_misaligned(columns)
        rows, total = rows + len(kept["id"]), total + dropped
        for context, answers in zip(kept["context"], kept["answers"], strict=True):
            assert any(context.startswith(t, s) for t, s in zip(answers["text"], answers["answer_start"], strict=True))
    assert len(files) > 10
    assert (rows, total) == (4441, 124 + 315 + 50 + 2)  # the last two have no answer at all


def assert_aligned(table: Dataset, wrong: int) -> None:
    columns = {name: list(table[name]) for name in ("context", "answers")}
    assert drop_misaligned(columns)[1] == wrong
