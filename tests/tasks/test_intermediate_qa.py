"""SQuAD 1.1 and 2.0 as intermediate tasks, and the source languages of the targets that train on questions."""

from __future__ import annotations

import json
import math

import pytest
import torch
from mini_hub import Hub
from mini_hub_texts import questions, squad, squad_v2
from torchmetrics.functional.text import squad as torchmetrics_squad

from xmit.errors import ConfigError, DataError
from xmit.modules.encoders import load_tokenizer
from xmit.tasks import MLQA, SQuAD, SQuADv2, TyDiQA, XQuAD


def squad_json(rows):
    """Rows in SQuAD's layout; one without an answer is said to be impossible, as 2.0 does."""
    data = []
    for row in rows:
        texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
        answers = [{"text": t, "answer_start": s} for t, s in zip(texts, starts, strict=True)]
        qa = {"id": row["id"], "question": row["question"], "answers": answers, "is_impossible": not answers}
        data.append({"title": row["title"], "paragraphs": [{"context": row["context"], "qas": [qa]}]})
    return json.dumps({"data": data}, ensure_ascii=False)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(squad_json(rows), encoding="utf-8")


def unanswerable(rows, every=3):
    """Rows every third of which has no answer."""
    none = {"text": [], "answer_start": []}
    return [{**row, "answers": none} if i % every == 0 else row for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded:e5-small")


def predicted(task, seed=0, right=0.0, null=0.0):
    """Prediction rows of random scores, the right places raised by ``right``, the first token by ``null``."""
    generator, parts = torch.Generator().manual_seed(seed), []
    for batch in task.test_dataloader():
        scores = torch.randn(2, *batch["text"]["input_ids"].shape, generator=generator)
        rows = torch.arange(len(batch["item"]))
        for side in (0, 1):
            scores[side][rows, batch["labels"][:, side]] += right
            scores[side][:, 0] += null
        parts.append(task.decode({"start": scores[0], "end": scores[1]}, batch))
    return task.predictions({k: torch.cat([p[k] for p in parts]) for k in task.decoded_fields}, "test")


def values(task, predictions):
    return {score.metric: score for score in task.evaluate(predictions)}


def test_the_hub_is_asked_for_the_right_rows(tmp_path, monkeypatch):
    hub = Hub(tmp_path)
    squad(hub)
    squad_v2(hub)
    hub.install(monkeypatch)
    for kind in (SQuAD, SQuADv2):
        kind().setup("fit")
        with pytest.raises(ConfigError, match="no split 'test' with public labels, only train and validation"):
            kind().setup("test")
        assert kind().metadata.sizes == {split: rows for _, _, split, rows in hub.asked[-2:]}
    assert hub.asked == [
        ("rajpurkar/squad", "plain_text", "train", 87_599),
        ("rajpurkar/squad", "plain_text", "validation", 10_570),
        ("rajpurkar/squad_v2", "squad_v2", "train", 130_319),
        ("rajpurkar/squad_v2", "squad_v2", "validation", 11_873),
    ]
    assert SQuADv2().table("train")["is_impossible"] == [i % 3 == 0 for i in range(20)]


@pytest.mark.parametrize("folder", ["", "squad"])
def test_questions_without_an_answer_train_towards_the_first_token(tmp_path, tokenizer, folder):
    for part in ("train", "dev"):
        write(tmp_path / folder / f"{part}-v2.0.json", unanswerable(questions(part)))
    task = SQuADv2(data_dir=str(tmp_path))
    task.bind(tokenizer)
    assert len(task.table("train")) == 6  # none is dropped as misplaced
    labels = task.examples("train").labels
    assert [bool((label == 0).all()) for label in labels] == [i % 3 == 0 for i in range(6)]
    assert (labels >= 0).all()


def test_scores_of_squad_v2(tmp_path, tokenizer):
    rows = unanswerable(questions("dev", 30))
    write(tmp_path / "dev-v2.0.json", rows)
    task = SQuADv2(data_dir=str(tmp_path), test_split="validation")
    task.bind(tokenizer)
    assert task.null_threshold == 0.0
    perfect = values(task, predicted(task, right=50))
    assert [perfect[name].value for name in task.metrics] == [1.0] * 6
    # the first token is far below: every question is answered at 0, yet the best threshold parts the two kinds
    low = values(task, predicted(task, right=50, null=-200))
    assert low["no_answer_f1"].value == 0
    assert low["has_answer_f1"].value == 1
    assert low["f1"].value == pytest.approx(2 / 3)
    assert low["best_f1"].value == low["best_exact"].value == 1
    # and far above: nothing is answered, which an answer kept beside the prediction makes up for
    high = values(task, predicted(task, right=50, null=200))
    assert (high["has_answer_f1"].value, high["no_answer_f1"].value) == (0, 1)
    assert high["best_f1"].value == 1
    assert high["f1"].n == 30


@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_squad_v2_is_that_of_all_thresholds(tmp_path, tokenizer, seed):
    write(tmp_path / "dev-v2.0.json", unanswerable(questions("dev", 24)))
    task = SQuADv2(data_dir=str(tmp_path), test_split="validation")
    task.bind(tokenizer)
    predictions = predicted(task, seed, right=3.0, null=2.0)
    best = values(task, predictions)
    margins = [float(null - span) for span, null in predictions["scores"]]
    tried = []
    for threshold in [-math.inf, *margins]:
        answers = [a if m <= threshold else "" for a, m in zip(predictions["answer"], margins, strict=True)]
        f1 = 0.0
        for answer, target in zip(answers, map(json.loads, predictions["target"]), strict=True):
            if not target or not answer:
                f1 += not target and not answer
                continue
            given = {"prediction_text": answer, "id": "q"}
            wanted = {"answers": {"text": target, "answer_start": [0] * len(target)}, "id": "q"}
            f1 += float(torchmetrics_squad(given, wanted)["f1"]) / 100
        tried.append(f1 / len(answers))
    assert best["best_f1"].value == pytest.approx(max(tried))
    at_zero = [a if m <= 0 else "" for a, m in zip(predictions["answer"], margins, strict=True)]
    assert predictions["prediction"].tolist() == at_zero


def test_one_kind_of_question_only_has_a_reason(tmp_path, tokenizer):
    write(tmp_path / "dev-v2.0.json", questions("dev"))
    task = SQuADv2(data_dir=str(tmp_path), test_split="validation")
    task.bind(tokenizer)
    scores = values(task, predicted(task, right=50))
    assert math.isnan(scores["no_answer_f1"].value)
    assert scores["no_answer_f1"].reason == "no example is of this kind"
    assert scores["f1"].reason == ""


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (
            "SQuAD/translate-train/squad.translate.train.en-de.json",
            "SQuAD/translate-dev/squad.translate.dev.en-de.json",
        ),
        (
            "squad/translate-train/squad.translate.train.en-de.json",
            "squad/translate-dev/squad.translate.dev.en-de.json",
        ),
        (
            "mlqa-translate-train/de_squad-translate-train-train-v1.1.json",
            "mlqa-translate-train/de_squad-translate-train-dev-v1.1.json",
        ),
        ("translate-train/de/train-v1.1.json", "translate-train/de/squad/dev-v1.1.json"),
    ],
)
def test_translations_of_squad(tmp_path, train, validation):
    rows = questions("de-train")
    rows[1]["answers"]["answer_start"] = [0]  # as machine translation leaves many
    write(tmp_path / train, rows)
    write(tmp_path / validation, questions("de-dev"))
    for kind in (SQuAD, XQuAD):
        task = kind(data_dir=str(tmp_path), source_language="de")
        with pytest.warns(UserWarning, match="1 training rows dropped, whose answers are not where the data say"):
            assert len(task.table("train")) == 5
        assert task.table("validation")["id"][0] == "de-dev-0"
        assert set(task.table("train")["language"]) == {"de"}


def test_several_source_languages(tmp_path):
    write(tmp_path / "squad/train-v1.1.json", questions("train"))
    write(tmp_path / "squad/dev-v1.1.json", questions("dev"))
    write(tmp_path / "SQuAD/translate-train/squad.translate.train.en-el.json", questions("train", 4))
    write(tmp_path / "mlqa/MLQA_V1/dev/dev-context-en-question-en.json", questions("mlqa"))
    task = MLQA(data_dir=str(tmp_path), source_language=["en", "el"])
    assert list(task.table("train")["language"]) == ["en"] * 6 + ["el"] * 4
    with pytest.raises(DataError, match=r"looked for dev/dev-context-el-question-el\.json"):
        task.table("validation")  # MLQA has none in Greek
    assert MLQA(data_dir=str(tmp_path)).table("validation")["id"][0] == "mlqa-0"
    own = MLQA(data_dir=str(tmp_path), source_language="el", validation_file="squad/dev-v1.1.json")
    assert own.table("validation")["id"][0] == "dev-0"


def test_translations_are_not_on_the_hub():
    with pytest.raises(ConfigError, match=r"SQuAD 1\.1 is in English only, not in 'de'; pass data_dir"):
        XQuAD(source_language="de").table("train")
    with pytest.raises(ConfigError, match=r"no training questions in 'de', only in ar, bn"):
        XQuAD(source_language="de", train_from="tydiqa").table("train")


@pytest.mark.parametrize("ids", ["english-{}", "swahili-{}", "{}"])
def test_translations_of_tydiqa_go_before_its_own_questions(tmp_path, ids):
    own = [row for name in ("english", "swahili", "telugu") for row in questions(name, 20)]
    write(tmp_path / "tydiqa-goldp-v1.1-train.json", own)
    task = TyDiQA(data_dir=str(tmp_path), source_language="sw")
    both = [*task.table("train")["id"], *task.table("validation")["id"]]
    assert sorted(both) == sorted(f"swahili-{i}" for i in range(20))
    assert XQuAD(data_dir=str(tmp_path), train_from="tydiqa").table("train")["id"][0].startswith("english-")
    rows = [{**row, "id": ids.format(i)} for i, row in enumerate(questions("Habari", 20))]
    write(tmp_path / "TyDiQA-GoldP/translate-train/tydiqa.translate.train.en-sw.json", rows)
    task = TyDiQA(data_dir=str(tmp_path), source_language="sw")
    parts = [set(task.table(split)["context"]) for split in ("train", "validation")]
    assert parts[0] | parts[1] == {row["context"] for row in rows}
    assert not parts[0] & parts[1]


def test_a_validation_file_leaves_all_of_tydiqa_to_training(tmp_path):
    write(tmp_path / "mine.json", questions("english", 20))
    write(tmp_path / "other.json", questions("english", 3, start=30))
    files = {"train_file": "mine.json", "validation_file": "other.json"}
    task = TyDiQA(data_dir=str(tmp_path), **files)
    assert (len(task.table("train")), len(task.table("validation"))) == (20, 3)


@pytest.mark.realdata
def test_real_tydiqa_trains_squad(real_data, tokenizer):
    folder = "tydiqa_goldp/{0}/{0}_tydiqa_{1}.json"
    files = {"train_file": folder.format("english", "train"), "validation_file": folder.format("english", "dev")}
    for kind in (SQuAD, SQuADv2):
        task = kind(data_dir=str(real_data), test_split="validation", **files)
        assert len(task.table("train")) == 3696
        assert len(task.table("validation")) == 440
    assert not any(task.table("train")["is_impossible"])
    task = SQuAD(data_dir=str(real_data), test_split="validation", **files)
    task.bind(tokenizer)
    assert values(task, predicted(task, right=50))["f1"].value > 0.97
