"""The tagging family: subwords and tags, splitting and joining, scores."""

from __future__ import annotations

from typing import ClassVar

import datasets
import numpy as np
import pandas as pd
import pytest
import torch

from xmit.data.words import check_tags, hub_columns, read_xtreme
from xmit.errors import ConfigError, DataError
from xmit.modules.encoders import load_tokenizer
from xmit.modules.heads import Encoded, TokenHead
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.token_classification import TokenClassificationTask, sentences

FACTS = {"main_score": "f1", "dataset": "-", "license": "-", "citation": "-", "description": "-"}
TEXTS = [
    ["The", "Bundesverfassungsgericht", "of", "Germany", "."],
    ["北京市", "是", "中国", "的", "首都"],
    ["x"],
    ["\u200c", "می\u200cخواهم", "", "1 000", "</s>", "Ǎ́", "🦙", "<mask>", "\u200b", "ไม่รู้"],
]
TAGS = [["O", "B-ORG", "I-ORG", "I-ORG", "O"], ["B-LOC", "O", "B-LOC", "O", "O"], ["O"], ["O"] * 9 + ["B-LOC"]]


class Names(TokenClassificationTask):
    """Four sentences."""

    metadata = TaskMetadata(name="names", roles=("target",), languages=("en", "de"), parallel=True, **FACTS)
    label_names = ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG")
    rows: ClassVar = {"id": ["a", "b", "c", "d"], "tokens": TEXTS, "tags": TAGS}

    def load_split(self, split, language):
        return sentences(self.rows)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded:e5-small")


def make(tokenizer, rows=None, **arguments):
    task = type("Task", (Names,), {"rows": rows or Names.rows})(**({"languages": ["en"]} | arguments))
    task.bind(tokenizer)
    return task


def answer(task, gold=True, split="test", drop=0):
    """Decode logits that are the gold labels, or noise, as the module would; subwords other than first say noise."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for batch in task.evaluation_loader(split):
        shape = batch["text"]["input_ids"].shape
        logits = torch.randn(*shape, len(task.label_names), generator=generator)
        known = batch["labels"] >= 0
        if gold:
            logits[known] = 10 * torch.nn.functional.one_hot(batch["labels"][known], len(task.label_names)).float()
        parts.append(task.decode({"logits": logits}, batch))
    decoded = {key: torch.cat([part[key] for part in parts]) for key in task.decoded_fields}
    order = decoded["item"].argsort()[: len(decoded["item"]) - drop]
    return task.predictions({key: value[order] for key, value in decoded.items()}, split)


def test_subwords_and_places_as_transformers_has_them(tokenizer):
    rng = np.random.default_rng(0)
    pool = [word for text in TEXTS[:3] for word in text] + ["می\u200cخواهم", "1 000", "don't", "ไม่รู้", "e\u0301té"]
    texts = [[pool[i] for i in rng.integers(0, len(pool), rng.integers(1, 20))] for _ in range(60)]
    rows = {"id": range(60), "tokens": texts, "tags": [["O"] * len(text) for text in texts]}
    examples = make(tokenizer, rows, max_length=512).examples("test")
    theirs = tokenizer(texts, is_split_into_words=True)
    windows = examples.extra["windows"]
    for i in range(60):
        part = slice(*windows.text.offsets[i : i + 2])
        assert windows.text.flat[part].tolist() == theirs["input_ids"][i]
        word_ids = theirs.encodings[i].word_ids
        first = [at for at, word in enumerate(word_ids) if word is not None and word != word_ids[at - 1]]
        assert windows.places.flat[slice(*windows.places.offsets[i : i + 2])].tolist() == first
        labels = examples.extra["labels"].flat[part]
        assert np.flatnonzero(labels != -100).tolist() == first


def test_words_without_subwords_are_unknown(tokenizer):
    task = make(tokenizer)
    (batch,) = task.test_dataloader()
    row = batch["item"].tolist().index(3)
    ids = batch["text"]["input_ids"][row]
    first = batch["first"][row]
    assert (first >= 0).sum() == len(TEXTS[3])
    assert ids[first[TEXTS[3].index("")]] == tokenizer.unk_token_id
    assert batch["labels"][row, first].tolist() == [0] * 9 + [1]
    assert answer(task)["prediction"].tolist() == TAGS


def test_word_longer_than_a_window_is_unknown(tokenizer):
    rows = {"id": ["a"], "tokens": [["a", "Donaudampfschifffahrtsgesellschaftskapitän", "b"]], "tags": [["O"] * 3]}
    (batch,) = make(tokenizer, rows, max_length=7).test_dataloader()
    assert batch["text"]["input_ids"].shape == (1, 5)
    assert batch["text"]["input_ids"][0, 2] == tokenizer.unk_token_id


@pytest.mark.parametrize("max_length", [4, 16, 128])
def test_long_sentence_is_split_and_joined_without_loss(tokenizer, max_length):
    rng = np.random.default_rng(max_length)
    names = Names.label_names
    texts = [[f"w{i}" for i in range(400)], ["kurz"], [TEXTS[0][i % 5] for i in range(400)]]
    tags = [[names[i] for i in rng.integers(0, 5, len(text))] for text in texts]
    task = make(tokenizer, {"id": ["long", "short", "more"], "tokens": texts, "tags": tags}, max_length=max_length)
    examples = task.examples("test")
    windows = examples.extra["windows"]
    assert len(examples) == len(windows.text) > 5
    assert examples.lengths.max() <= max_length - 1
    assert windows.places.lengths.sum() == 801
    # greedy, as XTREME's script: no window could have taken the next word of its sentence
    sizes = {word: len(ids) for word, ids in _sizes(tokenizer, texts).items()}
    for start, end in zip(windows.sentences[:-1], windows.sentences[1:], strict=True):
        words = [word for text in texts for word in text][start:end]
        used, cuts = 0, []
        for i, word in enumerate(words):
            size = sizes[word] if sizes[word] <= max_length - 3 else 1
            if used + size > max_length - 3:
                cuts.append(start + i)
                used = 0
            used += size
        bounds = windows.places.offsets
        assert [b for b in bounds.tolist() if start < b < end] == cuts
    rows = answer(task)
    assert rows["id"].tolist() == ["long", "short", "more"]
    assert rows["prediction"].tolist() == tags
    assert rows["target"].tolist() == tags
    # a sentence of which a window is missing is left out
    assert answer(task, drop=1)["id"].tolist() == ["long", "short"]


def _sizes(tokenizer, texts):
    words = {word for text in texts for word in text}
    return {word: tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"] for word in words}


def test_head_trains_on_first_subwords_only(tokenizer):
    (batch,) = make(tokenizer).test_dataloader()
    torch.manual_seed(0)
    hidden = torch.randn(*batch["labels"].shape, 8, requires_grad=True)
    head = TokenHead(8, 1, num_labels=5).eval()
    outputs = head(lambda side: Encoded(hidden, side["attention_mask"]), batch)
    outputs["loss"].backward()
    assert ((hidden.grad != 0).any(-1) == (batch["labels"] != -100)).all()


def test_scores(tokenizer):
    rows = answer(make(tokenizer, languages=None), gold=False)
    task = make(tokenizer)
    scores = {(s.language, s.metric): s for s in task.evaluate(rows)}
    for language in ("en", "de"):
        part = rows[rows.language == language]
        words = [pair for p, t in zip(part.prediction, part.target, strict=True) for pair in zip(p, t, strict=True)]
        accuracy = scores[language, "accuracy"]
        assert accuracy.value == pytest.approx(np.mean([p == t for p, t in words]))
        assert accuracy.n == 4
        assert scores[language, "strict_f1"].value > 0
        assert scores[language, "f1"].value > 0
        assert scores[language, "majority"].value == pytest.approx(15 / 21)
    perfect = {s.metric: s.value for s in task.score(answer(task))}
    assert perfect == {"f1": 1, "precision": 1, "recall": 1, "accuracy": 1, "strict_f1": 1, "majority": 15 / 21}


def test_sentences_without_tags_are_predicted_but_not_scored(tokenizer, tmp_path):
    rows = {"id": ["a", "b"], "tokens": TEXTS[:2], "tags": [None, TAGS[1]]}
    task = make(tokenizer, rows)
    predictions = answer(task)
    assert [len(p) for p in predictions["prediction"]] == [5, 5]
    assert predictions["target"].tolist() == [None, TAGS[1]]
    assert {(s.metric, s.n) for s in task.score(predictions) if s.metric == "f1"} == {("f1", 1)}
    none = make(tokenizer, rows | {"tags": [None, None]})
    predictions = answer(none)
    (f1,) = [s for s in none.score(predictions) if s.metric == "f1"]
    assert np.isnan(f1.value)
    assert f1.reason == "no example has a target"
    # the score survives a round through parquet
    file = tmp_path / "p.parquet"
    answer(task).to_parquet(file)
    again = task.score(pd.read_parquet(file))
    assert [s.value for s in again] == [s.value for s in task.score(answer(task))]
    with pytest.raises(DataError, match="split 'train', language 'en': sentences without tags"):
        none.setup("fit")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tags": [*TAGS[:2], ["B-PER"], TAGS[3]]}, "sentence 'c' has the tag 'B-PER', not one of O, B-LOC"),
        ({"tags": [TAGS[0], TAGS[1][:3], *TAGS[2:]]}, "sentence 'b' has 3 tags for 5 words"),
        ({"tokens": [*TEXTS[:2], [], TEXTS[3]]}, "sentence 'c' has no words"),
        ({"tokens": [TEXTS[0], [None] * 5, *TEXTS[2:]]}, "sentence 'b' has a word that is null"),
        ({"tags": [None, None, [None], None]}, "sentence 'c' has a tag that is null"),
        ({"id": list("abca")}, "the id 'a' occurs twice"),
    ],
)
def test_bad_rows_are_one_clear_error(tokenizer, change, message):
    with pytest.raises(DataError, match=f"task 'names', split 'test', language 'en': {message}"):
        make(tokenizer, Names.rows | change).setup("test")


def test_no_room_for_words(tokenizer):
    with pytest.raises(ConfigError, match="max_length 3 leaves no room"):
        make(tokenizer, max_length=3)


def test_hub_columns_by_name():
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "t": datasets.List(datasets.ClassLabel(names=["_", "B", "O"])),
        }
    )
    rows = {"tokens": [["au", "\u00e0", "le"], ["x"]], "t": [[0, 1, 2], [2]]}
    table = datasets.Dataset.from_dict(rows, features=features)
    columns = {"id": ["0", "1"], "tokens": [["\u00e0", "le"], ["x"]], "tags": [["B", "O"], ["O"]]}
    assert hub_columns(table, "t") == columns
    assert hub_columns(table.add_column("sent_id", ["a", "b"]), "t")["id"] == ["a", "b"]
    with pytest.raises(DataError, match="column 't' has numbers without names"):
        hub_columns(datasets.Dataset.from_dict(rows), "t")
    with pytest.raises(DataError, match="column 'u' is missing among tokens, t"):
        hub_columns(table, "u")


def test_xtreme_files(tmp_path):
    file, names = tmp_path / "dev-en.tsv", ["O", "B-LOC"]
    file.write_text("a\tO\nb\tB-LOC\n\nc\tO\n\n")
    tagged = {"id": ["0", "1"], "tokens": [["a", "b"], ["c"]], "tags": [["O", "B-LOC"], ["O"]]}
    assert read_xtreme(file, names) == tagged
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert read_xtreme(file, names) == tagged
    file.write_text("a\nb\n\nc\n\n")
    assert read_xtreme(file, names) == {"id": ["0", "1"], "tokens": [["a", "b"], ["c"]], "tags": [None, None]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("B-X\tO\n\nb\tB-X\n\n", ":3: the tag 'B-X' is none of O, B-LOC; mend it"),
        ("a\tO\nb\t\n\n", ":2: the tag '' is none of"),
        ("a\tO\nb\n\n", ":2: 1 tab-separated columns instead of 2"),
    ],
)
def test_damaged_files_are_named_with_line(tmp_path, text, message):
    file = tmp_path / "dev-en.tsv"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_xtreme(file, ["O", "B-LOC"])
    assert str(error.value).startswith(str(file))


def test_comments_are_no_tags(tmp_path):
    file = tmp_path / "en.iob2"
    file.write_text("# a B-X\n1\tword\tB-X\t-\n\n")
    with pytest.raises(DataError, match=":2: the tag 'B-X'"):
        check_tags(file, [["B-X"]], ["O"], column=2)
