"""LAReQA and Mewsli-X with their training: pairs, validation among them, what they refuse, and that they learn."""

from __future__ import annotations

import json

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from retrieval_tools import (
    decoded,
    from_folder,
    hub,
    lareqa_files,
    mewslix_files,
    pair,
    pair_files,
    squad_files,
    write,
)

from xmit.errors import ConfigError, DataError, LanguageNotFoundError
from xmit.modules.encoders import load_tokenizer
from xmit.modules.module import MAIN_SCORE, MultimodalModule
from xmit.tasks.base import HeadSpec
from xmit.tasks.target import LAReQA, MewsliX


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded:e5-small")


def lareqa(folder, **settings):
    return LAReQA(data_dir=str(squad_files(lareqa_files(folder))), **{"languages": ["de", "en"], **settings})


def mewslix(folder, **settings):
    return MewsliX(data_dir=str(pair_files(mewslix_files(folder))), **{"languages": ["de", "tr"], **settings})


# -- pairs -----------------------------------------------------------------------------------------------------


def test_squad_pairs(tmp_path):
    table = lareqa(tmp_path).table("train")
    assert len(table) == 16
    context = "Town t0 is old. It has 0 towers, e.g. Tall Tom. Nobody knows why."
    assert table[0]["query"] == "What of t0 is old?"
    assert table[0]["candidate"] == "Town t0 is old." + context
    assert table[1]["candidate"] == "It has 0 towers, e.g. Tall Tom." + context
    assert table[0]["targets"] == ["en t0-old"]


def test_questions_without_a_sentence_are_counted(tmp_path):
    task = lareqa(tmp_path)
    path = tmp_path / "squad" / "train-v1.1.json"
    data = json.loads(path.read_text())
    first, second = (data["data"][0]["paragraphs"][i]["qas"][0] for i in (0, 1))
    first["answers"][0] = {"text": " It", "answer_start": 15}  # between two sentences
    second["answers"][0]["text"] = "new"  # not what stands there
    write(path, json.dumps(data))
    with pytest.warns(UserWarning, match="2 questions of 'train' left out"):
        assert len(task.table("train")) == 14


def test_wikipedia_pairs(tmp_path):
    table = mewslix(tmp_path).table("train")
    assert table[0]["query"] == "Town0: They saw { Town0 } there."
    assert table[0]["candidate"] == "Town0 is here."
    assert list(table["id"]) == [f"T{i}" for i in range(8)]
    # two mentions of one entity share its description
    assert [t for (t,) in table["targets"]] == [f"en T{i // 2 * 2}" for i in range(8)]


def test_training_batches_know_equal_candidates(tmp_path, tokenizer):
    task = mewslix(tmp_path, max_length=9, max_query_length=5)
    task.bind(tokenizer)
    examples = task.examples("train")
    assert examples.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    batch = task.collate(examples, [3, 0])
    assert batch["query"]["input_ids"].shape == (2, 5)
    assert batch["candidate"]["input_ids"].shape[1] > 5
    assert batch["labels"].tolist() == [1, 0]
    assert tokenizer.decode(batch["candidate"]["input_ids"][1], skip_special_tokens=True) == "Town0 is here."


def test_validation_ranks_the_candidates_of_all_pairs(tmp_path):
    task = mewslix(tmp_path)

    def vector(text):  # the second entity's mentions lie nearer to the first
        number = int(text[4])
        side = torch.eye(4)[number]
        return side + torch.eye(4)[0] * (2.0 if number == 1 and "{" in text else 0.0)

    rows = task.predictions(decoded(task, vector, "validation"), "validation")
    assert len(task.examples("validation").text["text"]) == 8  # four mentions' texts, four entities
    assert [json.loads(p)[0] for p in rows["prediction"]] == ["en D0"] * 4 + ["en D4"] * 2 + ["en D6"] * 2
    (score,) = task.evaluate(rows)
    assert (score.language, score.metric, score.n) == ("en", "map@20", 8)
    assert score.value == pytest.approx((6 + 2 * 1 / 2) / 8)


def test_scored_mentions_are_apart_from_the_validation(tmp_path):
    mewslix_files(tmp_path, part="dev")
    task = mewslix(tmp_path, test_split="validation")
    assert list(task.table("validation")["id"]) == [f"D{i}" for i in range(8)]
    assert list(task.table("test")["id"]) == ["m1", "m2", "m3"]


def test_own_files(tmp_path):
    task = mewslix(tmp_path, train_file="own/{language}.jsonl", source_language=["en", "de"])
    for code in ("en", "de"):
        write(tmp_path / "own" / f"{code}.jsonl", json.dumps(pair("x", "Bonn", "Q1")) + "\n")
    assert list(task.table("train")["language"]) == ["en", "de"]
    squad_files(tmp_path)
    other = LAReQA(data_dir=str(tmp_path), train_file="squad/dev-v1.1.json")
    assert other.table("train")[0]["id"] == "d0-old"


def test_from_the_hub(tmp_path, monkeypatch):
    local = mewslix(tmp_path / "files").table("train")
    rows = [json.loads(line) for line in (tmp_path / "files" / "wikipedia_pairs-train.jsonl").open()]
    hub(tmp_path, "wikipedia_pairs", "train", {key: [row[key] for row in rows] for key in rows[0]})
    from_folder(monkeypatch, MewsliX, tmp_path)
    assert MewsliX().table("train").to_dict() == local.to_dict()
    with pytest.raises(ConfigError, match="only in 'en'"):
        MewsliX(source_language="de").table("train")
    hub(tmp_path / "other", "wikipedia_pairs", "train", {"mention": ["a"], "entity": ["b"]})
    from_folder(monkeypatch, MewsliX, tmp_path / "other")
    with pytest.raises(DataError, match=r"wikipedia_pairs.*'train': no column 'contextual_mention'"):
        MewsliX().table("train")


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda row: row["entity"].pop("description"), "no mention with its entity as in Mewsli-X .*description"),
        (lambda row: row["contextual_mention"]["mention"]["mention_span"].update(end=99), "lies in no sentence"),
        (lambda row: row.update(entity=None), "no mention with its entity"),
    ],
)
def test_damaged_pairs(tmp_path, damage, message):
    task = mewslix(tmp_path)
    path = tmp_path / "wikipedia_pairs-train.jsonl"
    rows = [json.loads(line) for line in path.open()]
    damage(rows[2])
    write(path, "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=rf"wikipedia_pairs-train\.jsonl:3: .*{message}"):
        task.table("train")


def test_an_empty_text_is_refused(tmp_path):
    task = mewslix(tmp_path)
    row = pair("T9", "Bonn", "Q9")
    row["entity"] |= {"description": " ", "sentence_spans": []}
    write(tmp_path / "wikipedia_pairs-train.jsonl", json.dumps(row) + "\n")
    with pytest.raises(DataError, match="the candidate of 'T9' is empty"):
        task.table("train")


def test_missing_and_impossible(tmp_path):
    task = LAReQA(data_dir=str(lareqa_files(tmp_path)))
    with pytest.raises(DataError, match=r"looked for train-v1\.1\.json or squad/train-v1\.1\.json"):
        task.setup("fit")
    with pytest.raises(ConfigError, match="'train' in language 'de', only in 'en'"):
        lareqa(tmp_path, source_language="de").table("train")
    with pytest.raises(ConfigError, match="'pooler' must be trained"):
        LAReQA(train=False, pooling="pooler")
    with pytest.raises(ConfigError, match=r"data\.pooling must be one of pooler, cls, mean"):
        LAReQA(pooling="max")
    with pytest.raises(LanguageNotFoundError):
        LAReQA(source_language="fi")


# -- the encoder as it is --------------------------------------------------------------------------------------


def test_nothing_is_trained_with_train_false(tmp_path):
    task = lareqa(tmp_path, train=False)
    (tmp_path / "squad" / "train-v1.1.json").unlink()
    task.setup("fit")
    assert not task.trains
    assert task.head_spec() == HeadSpec("embedding", {"layer": None, "pooling": "mean"})
    assert list(task.table("validation")["query"]) == ["en q1", "en q2"]
    with pytest.raises(ConfigError, match="no split 'train' with train: false"):
        task.table("train")
    assert LAReQA.trains
    assert lareqa(tmp_path).head_spec() == HeadSpec("dual", {"layer": None, "pooling": "pooler", "scale": 100.0})


# -- learning --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_training_lowers_the_loss_and_lifts_retrieval(tmp_path, tiny_encoder):
    # mentions and descriptions that share no word: only training tells which belong together
    words = ["cat", "dog", "sun", "sea", "hat", "pen", "map", "ice", "cup", "key", "box", "fan"]
    other = ["bird", "tree", "moon", "lake", "shoe", "book", "star", "fire", "door", "wall", "road", "hill"]
    rows = []
    for i, (word, name) in enumerate(zip(words, other, strict=True)):
        row = pair(f"m{i}", word, f"Q{i}")
        row["entity"] |= {"description": name, "sentence_spans": [{"start": 0, "end": len(name)}]}
        rows.append(json.dumps(row) + "\n")
    for part in ("train", "dev"):
        write(tmp_path / f"wikipedia_pairs-{part}.jsonl", "".join(rows))
    seed_everything(0)
    task = MewsliX(data_dir=str(tmp_path), languages=["de"], batch_size=12, scale=20.0, pooling="mean")
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=3e-3, dropout=0.0, warmup=0.1)
    losses = []

    class Losses(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            losses.append(outputs["loss"].item())

    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = Trainer(
        max_steps=60, callbacks=[Losses()], num_sanity_val_steps=0, check_val_every_n_epoch=60,
        enable_model_summary=False, **quiet,
    )  # fmt: skip
    before = Trainer(**quiet).validate(module, task, verbose=False)
    trainer.fit(module, task)
    after = trainer.callback_metrics[MAIN_SCORE].item()
    assert before[0][MAIN_SCORE] < 0.6
    assert losses[-1] < losses[0] / 4
    assert after > 0.9
