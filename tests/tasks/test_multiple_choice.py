"""Multiple choice: the logits of transformers' own head, rows with fewer choices, and stages of training."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from datasets import Dataset
from encode_tools import one_or_several
from lightning import Trainer
from transformers import XLMRobertaForMultipleChoice

from xmit.errors import ConfigError, DataError
from xmit.metrics import rankc
from xmit.modules.encoders import load_tokenizer
from xmit.modules.heads import Encoded, build_head
from xmit.modules.module import MultimodalModule
from xmit.modules.scoring import prediction_rows
from xmit.tasks import TaskMetadata
from xmit.tasks.asked import asked, cut
from xmit.tasks.choice_sources import copa_table
from xmit.tasks.multiple_choice import MultipleChoiceTask, choice_table, numbered
from xmit.tasks.target.staged_choice import StagedChoiceTask, Stages

FACTS = {"main_score": "accuracy", "dataset": "-", "license": "-", "citation": "-", "description": "-"}
CONTEXTS = ["Der Hund bellt. Was war die Ursache?", "She opened the tap. What was the effect?", "Maji. " * 30]
CHOICES = [
    ["Es klingelt.", "Er schläft.", "Es regnet nicht mehr."],
    ["Water flowed.", "It rained."],
    ["a", "b", "c d e"],
]


class Causes(MultipleChoiceTask):
    """Three items, one with two choices only."""

    metadata = TaskMetadata(name="causes", roles=("target",), languages=("en", "de"), parallel=True, **FACTS)
    num_choices = 3
    rows: ClassVar = {"id": ["a", "b", "c"], "context": CONTEXTS, "choices": CHOICES, "label": [2, 1, 0]}

    def load_split(self, split, language):
        return Dataset.from_dict(self.rows)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded:e5-small")


@pytest.fixture(scope="module")
def peer(tiny_encoder):
    torch.manual_seed(0)
    return XLMRobertaForMultipleChoice.from_pretrained(tiny_encoder).eval()


def make(tokenizer, **kwargs):
    task = Causes(languages=["en"], **kwargs)
    task.bind(tokenizer)
    return task


def ours(task, peer, batch):
    """Our head's outputs with the peer's weights."""
    spec = task.head_spec()
    head = build_head(spec.kind, peer.config.hidden_size, peer.config.num_hidden_layers, spec.options).eval()
    head.dense.load_state_dict(peer.roberta.pooler.dense.state_dict())
    head.projection.load_state_dict(peer.classifier.state_dict())

    @one_or_several
    def encode(side, layer=None, first=False):
        hidden = peer.roberta(side["input_ids"], attention_mask=side["attention_mask"]).last_hidden_state
        return Encoded(hidden, side["attention_mask"])

    with torch.no_grad():
        return head(encode, batch)


@pytest.mark.parametrize("max_length", [128, 16])
def test_logits_and_loss_are_those_of_transformers(tokenizer, peer, max_length):
    task = make(tokenizer, max_length=max_length)
    outputs = ours(task, peer, task.collate(task.examples("test"), [0, 1, 2]))
    losses = []
    for row, (context, choices) in enumerate(zip(CONTEXTS, CHOICES, strict=True)):
        inputs = tokenizer(
            [context] * len(choices), choices, truncation=True, max_length=max_length, padding=True, return_tensors="pt"
        )
        with torch.no_grad():
            expected = peer(**{k: v[None] for k, v in inputs.items()}, labels=torch.tensor([Causes.rows["label"][row]]))
        torch.testing.assert_close(outputs["logits"][row, : len(choices)], expected.logits[0], atol=1e-6, rtol=1e-5)
        losses.append(expected.loss)
    torch.testing.assert_close(outputs["loss"], torch.stack(losses).mean(), atol=1e-6, rtol=1e-5)


def test_a_choice_that_is_not_there_gets_no_probability(tokenizer, peer):
    task = make(tokenizer)
    batch = task.collate(task.examples("test"), [1, 0])
    assert batch["n_choices"].tolist() == [2, 3]
    decoded = task.decode(ours(task, peer, batch), batch)
    assert decoded["scores"][0, 2] == 0
    assert (decoded["scores"][1] > 0).all()
    assert "n_choices" not in task.collate(task.examples("test"), [0, 2])


def test_predictions_and_scores(tokenizer):
    task = Causes()
    task.bind(tokenizer)
    scores = torch.eye(3)[[2, 0, 0, 2, 1, 0]]
    order = torch.tensor([5, 0, 1, 2, 3, 4])
    decoded = {"item": order, "scores": scores[order], "prediction": scores[order].argmax(-1)}
    predictions = task.predictions(decoded, "test").sort_values(["language", "id"])
    assert predictions["prediction"].tolist() == ["2", "1", "0", "2", "0", "0"]
    assert predictions["target"].tolist() == ["2", "1", "0"] * 2
    rows = {(s.language, s.metric): s.value for s in task.evaluate(predictions)}
    assert rows["de", "accuracy"] == 1
    assert rows["en", "accuracy"] == pytest.approx(2 / 3)
    assert rows["en", "majority"] == pytest.approx(1 / 3)
    assert rows["de", "consistency/agreement"] == pytest.approx(2 / 3)


def test_rankc_of_choices_reaches_the_rows(tokenizer):
    task = Causes()
    task.bind(tokenizer)
    scores = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)).softmax(-1)
    scores[[1, 4], 2] = 0  # item b has two choices
    predictions = task.predictions({"item": torch.arange(6), "scores": scores, "prediction": scores.argmax(-1)}, "test")
    assert [len(own) for own in predictions["scores"]] == [3, 2, 3] * 2
    (row,) = [s for s in task.evaluate(predictions) if s.metric == "consistency/rankc"]
    assert row.language == "de"
    assert row.value == pytest.approx(rankc(scores[[0, 2]], scores[[3, 5]]), abs=1e-9)
    # of two choices each RankC says no more than agreement
    two = predictions[predictions["id"] == "b"]
    assert not any(s.metric == "consistency/rankc" for s in task.evaluate(two))


def test_what_is_asked_stands_beside_the_predictions(tokenizer):
    task = Causes()
    task.bind(tokenizer)
    scores = torch.eye(3)[[2, 0, 0, 2, 1, 0]]
    rows = prediction_rows(task, {"item": torch.arange(6), "scores": scores, "prediction": scores.argmax(-1)}, "test")
    english, german = rows[rows["language"] == "en"], rows[rows["language"] == "de"]
    assert german["text"].isna().all()
    assert german["options"].isna().all()
    assert english["text"].tolist() == [text.strip() for text in CONTEXTS]
    assert cut("Maji. " * 100, 300) == "Maji. " * 24 + "Maji. … aji. " + "Maji. " * 23 + "Maji."
    assert english["options"].tolist() == CHOICES
    # an item that the source language lacks is shown in another
    less = rows[(rows["language"] != "en") | (rows["id"] != "a")][["language", "id"]]
    kept = dict(zip(zip(less["language"], less["id"], strict=True), asked(task, less, "test")["text"], strict=True))
    assert {key for key, text in kept.items() if text} == {("de", "a"), ("en", "b"), ("en", "c")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [2, 2, 0]}, "the label of example 'b' is 2, not one of 0 to 1"),
        ({"label": [2, -1, 0]}, "the label of example 'b' is -1"),
        ({"choices": [["x"], *CHOICES[1:]]}, "example 'a' has 1 choices, not 2 to 3"),
        ({"choices": [list("wxyz"), *CHOICES[1:]]}, "example 'a' has 4 choices"),
        ({"context": None}, "column 'context' is missing"),
    ],
)
def test_bad_rows_are_one_clear_error(monkeypatch, change, message):
    rows = {k: v for k, v in {**Causes.rows, **change}.items() if v is not None}
    monkeypatch.setattr(Causes, "rows", rows)
    with pytest.raises(DataError, match=message):
        Causes().setup("test")


def test_what_is_no_text_or_question_is_refused():
    with pytest.raises(DataError, match="example 'q' has None where text belongs"):
        choice_table(["q"], (["x"],), (["a"], [None]), [0])
    rows = {"idx": [0], "premise": ["x"], "question": ["why"], "choice1": ["a"], "choice2": ["b"], "label": [0]}
    with pytest.raises(DataError, match="the question of row 1 is 'why', not cause or effect"):
        copa_table(rows, "train", "train.en.jsonl")
    with pytest.raises(DataError, match="the answer of row 1 is 2, not 0 to 1"):
        copa_table({**rows, "question": ["cause"], "label": [2]}, "train", "train.en.jsonl")


def test_ids_of_several_columns_stay_apart():
    assert numbered(["u", "u", "u", "v"], [1, 2, 1, 1]) == ["u#1", "u#2", "u#1#2", "v#1"]


def test_stages_follow_each_other():
    lengths, stage = np.arange(1, 24), np.array([1, 0] * 11 + [0])
    batches = list(loader := Stages(lengths, stage, rounds=3, batch_size=4, seed=0))
    assert len(batches) == len(loader) == 3 * (3 + 3)
    first, second = batches[:9], batches[9:]
    assert {int(stage[i]) for batch in first for i in batch} == {0}
    assert {int(stage[i]) for batch in second for i in batch} == {1}
    for part, value in ((first, 0), (second, 1)):
        seen = np.bincount([i for batch in part for i in batch], minlength=len(stage))
        assert (seen[stage == value] == 3).all()
    assert batches[:3] != batches[3:6]


COPA = choice_table(range(6), (["Ice. What was the effect?"] * 6,), (["a"] * 6, ["b"] * 6), [0, 1] * 3)


class Mini(StagedChoiceTask):
    """COPA with Social IQa before it."""

    metadata = TaskMetadata(name="mini_copa", roles=("target",), languages=("en",), **FACTS)

    def load_split(self, split, language):
        return self.training_rows(language) if split == "train" else COPA


def test_stages_train_and_score(tokenizer, tiny_encoder, monkeypatch, tmp_path):
    siqa = choice_table([f"siqa-{i}" for i in range(8)], (["Q"] * 8,), (["a"] * 8, ["b"] * 8, ["c"] * 8), [0, 2] * 4)
    monkeypatch.setattr("xmit.tasks.target.staged_choice.load_social_iqa", lambda *args: siqa)
    monkeypatch.setattr("xmit.tasks.target.staged_choice.load_copa", lambda *args: COPA)
    task = Mini(train_from="siqa+copa", rounds=2, batch_size=4)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    module = MultimodalModule(encoder=tiny_encoder)
    trainer.fit(module, task)
    assert trainer.global_step == 2 * (2 + 2)
    (results,) = trainer.test(module, task, verbose=False)
    assert 0 <= results["mini_copa/en/accuracy"] <= 1
    assert len(Mini(train_from="siqa").table("train")) == 8
    assert Mini(train_from="siqa").head_spec().options == {"num_choices": 3}
    assert Mini().head_spec().options == {"num_choices": 2}
    with pytest.raises(ConfigError, match="train_file is one file and train_from 'siqa\\+copa' reads two"):
        Mini(train_from="siqa+copa", train_file="x.jsonl", data_dir=".")
