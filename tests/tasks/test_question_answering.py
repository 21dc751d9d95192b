"""Question answering: windows as transformers lays them, spans as a search over all finds them, verbatim answers."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from lightning import Trainer

from xmit.data.batching import TrainingBatches
from xmit.errors import ConfigError, DataError
from xmit.modules.encoders import load_tokenizer
from xmit.modules.module import MultimodalModule
from xmit.tasks import TaskMetadata
from xmit.tasks.examples import IGNORED
from xmit.tasks.question_answering import QuestionAnsweringTask
from xmit.tasks.spans import answer_tokens, best_spans, cut, drop_misaligned, qa_table, spans_of, tokenize

CONTEXTS = [
    "The Hague lies in the west of the country, and it is where the government sits; Amsterdam is the capital.",
    "北京是中国的首都，上海是中国最大的城市。北京有两千多万人口，上海有更多。",
    "Ferdinand Porsche founded it in 1931 ( Stuttgart ).",
    "ก" * 3 + " สวัสดีครับ ประเทศไทยมีเมืองหลวงชื่อกรุงเทพมหานคร",
]
ANSWERS = ["Amsterdam", "上海", "1931", "กรุงเทพมหานคร"]
QUESTIONS = [
    "What is the capital?",
    "中国最大的城市是哪里？",
    "When was it founded, " + "and where and why, " * 20,
    "?",
]


def rows(**change):
    columns = {
        "id": list("abcd"),
        "question": QUESTIONS,
        "context": CONTEXTS,
        "answers": [{"text": [a], "answer_start": [c.index(a)]} for a, c in zip(ANSWERS, CONTEXTS, strict=True)],
    }
    return {k: v for k, v in (columns | change).items() if v is not None}


class Capitals(QuestionAnsweringTask):
    """Four questions."""

    metadata = TaskMetadata(
        name="capitals",
        roles=("target",),
        languages=("en", "de"),
        main_score="f1",
        dataset="-",
        license="-",
        citation="-",
        description="-",
    )
    columns_given: dict = rows()

    def load_split(self, split, language):
        return qa_table(self.columns_given)

    def score_answers(self, language, answers, gold):
        hits = [answers[k] in (gold[k] or [""]) for k in gold]
        return {"exact_match": sum(hits) / len(hits), "f1": sum(hits) / len(hits)}


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded:e5-small")


def make(tokenizer, columns=None, **kwargs):
    task = Capitals(**{"languages": ["en"], **kwargs})
    task.columns_given = columns or rows()
    task.bind(tokenizer)
    return task


@pytest.mark.parametrize(("max_length", "stride", "max_query"), [(384, 128, 64), (40, 8, 16), (24, 0, 9), (23, 6, 12)])
def test_windows_are_those_of_transformers(tokenizer, max_length, stride, max_query):
    task = make(tokenizer, max_length=max_length, stride=stride, max_query=max_query)
    examples = task.examples("test")
    # transformers cannot cut a question beside a context that overflows: it gets the shortened text
    queries = [tokenizer(q, add_special_tokens=False)["input_ids"][:max_query] for q in QUESTIONS]
    expected, offsets, owners = [], [], []
    for number, (query, context) in enumerate(zip(queries, CONTEXTS, strict=True)):
        text = QUESTIONS[number]
        while len(tokenizer(text, add_special_tokens=False)["input_ids"]) > max_query:
            text = text[:-1]
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == query
        encoded = tokenizer(
            text,
            context,
            truncation="only_second",
            max_length=max_length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        expected += encoded["input_ids"]
        for window, places in enumerate(encoded["offset_mapping"]):
            sides = encoded.sequence_ids(window)
            offsets.append([tuple(p) for p, side in zip(places, sides, strict=True) if side == 1])
            owners.append(number)
    assert len(examples) == len(expected)
    text, extra = examples.text["text"], examples.extra
    for item in range(len(examples)):
        assert text.flat[text.offsets[item] : text.offsets[item + 1]].tolist() == expected[item]
        example, begin, first, stop = (int(extra[k][item]) for k in ("example", "begin", "first", "stop"))
        assert example == owners[item]
        places = extra["offsets"][extra["context"][example]][begin : begin + stop - first]
        assert [tuple(p) for p in places.tolist()] == offsets[item]
    if max_length < 30:
        assert len(examples) > len(CONTEXTS)


def test_windows_cover_everything_and_share_the_stride():
    for length, room in itertools.product(range(40), range(1, 12)):
        for stride in range(room):
            windows = spans_of(length, room, stride)
            assert [windows[0][0], windows[-1][1]] == [0, length]
            assert all(before[1] - after[0] == stride for before, after in itertools.pairwise(windows))
            assert all(stop - begin == room for begin, stop in windows[:-1])


def test_labels_stand_for_the_answers(tokenizer):
    task = make(tokenizer, max_length=30, stride=10, max_query=10)
    examples = task.examples("train")
    extra, found = examples.extra, set()
    for item, (start, end) in enumerate(examples.labels.tolist()):
        example, begin, first, stop = (int(extra[k][item]) for k in ("example", "begin", "first", "stop"))
        places = extra["offsets"][example]
        if start == end == 0:
            # no answer: some token of it lies outside of the window
            span = answer_tokens(CONTEXTS[example], rows()["answers"][example], places)
            assert span[0] < begin or span[1] >= begin + stop - first
        else:
            assert cut(CONTEXTS[example], places, start - first + begin, end - first + begin) == ANSWERS[example]
            found.add(example)
    assert found == {0, 1, 2, 3}


def test_labels_are_the_least_tokens_that_cover_an_answer(tokenizer):
    rng = np.random.default_rng(0)
    for context in CONTEXTS:
        (_,), (places,) = tokenize(tokenizer, [context])
        for _ in range(100):
            start, stop = np.sort(rng.choice(len(context) + 1, 2, replace=False))
            text = context[start:stop]
            span = answer_tokens(context, {"text": [text], "answer_start": [int(start)]}, places)
            if not text.strip():
                assert span is None
                continue
            first, last = span
            covered = cut(context, places, first, last)
            assert text.strip() in covered
            for smaller in ((first + 1, last), (first, last - 1)):
                if smaller[0] <= smaller[1]:
                    inner = (places[smaller[0], 0], places[smaller[1], 1])
                    lead = start + len(text) - len(text.lstrip())
                    assert inner[0] > lead or inner[1] < start + len(text.rstrip()) or inner[0] == places[first, 0]


def brute(start, end, first, stop, n, longest):
    spans = [(float(start[i] + end[j]), i, j) for i in range(first, stop) for j in range(i, min(stop, i + longest))]
    return sorted(spans, reverse=True)[:n]


@pytest.mark.parametrize(("length", "n_best", "longest"), [(37, 20, 5), (37, 7, 64), (6, 20, 30), (5, 1, 1)])
def test_best_spans_against_a_search_over_all(length, n_best, longest):
    generator = torch.Generator().manual_seed(length + n_best)
    start, end = torch.randn(2, 9, length, generator=generator)
    lowest = torch.finfo(torch.float32).min
    start[:, -1] = end[:, -1] = lowest  # a padded place
    context = torch.tensor([[min(i // 2, 3), length - 1 - i % 2] for i in range(9)])
    first, last, scores = best_spans(start, end, context, n_best, longest)
    assert first.shape == last.shape == scores.shape == (9, n_best)
    for b in range(9):
        expected = brute(start[b], end[b], *context[b].tolist(), n_best, longest)
        n = len(expected)
        assert scores[b, :n].tolist() == pytest.approx([s for s, _, _ in expected])
        assert list(zip(first[b, :n].tolist(), last[b, :n].tolist(), strict=True)) == [(i, j) for _, i, j in expected]
        assert bool((scores[b, n:] == -torch.inf).all())


def decoded(task, split="test", seed=0):
    """What a head of random scores gives, batch by batch, in the loader's order."""
    generator = torch.Generator().manual_seed(seed)
    parts, logits = [], {}
    for batch in task.test_dataloader():
        start, end = torch.randn(2, *batch["text"]["input_ids"].shape, generator=generator)
        logits |= {int(item): (start[i], end[i]) for i, item in enumerate(batch["item"])}
        parts.append(task.decode({"start": start, "end": end}, batch))
    return {name: torch.cat([p[name] for p in parts]) for name in task.decoded_fields}, logits


@pytest.mark.parametrize("null_threshold", [None, -4.0])
def test_predictions_against_a_search_over_windows(tokenizer, null_threshold):
    task = make(tokenizer, max_length=30, stride=10, max_query=10, max_answer_length=6, null_threshold=null_threshold)
    extra = task.examples("test").extra
    answers = set()
    for seed in range(5):
        given, logits = decoded(task, seed=seed)
        predictions = task.predictions(given, "test")
        assert predictions["id"].tolist() == list("abcd")
        for example in range(4):
            best, null = (-math.inf, ""), math.inf
            for item in np.flatnonzero(extra["example"] == example):
                begin, first, stop = (int(extra[k][item]) for k in ("begin", "first", "stop"))
                start, end = logits[int(item)]
                null = min(null, float(start[0] + end[0]))
                for score, i, j in brute(start, end, first, stop, 10**6, 6):
                    text = cut(CONTEXTS[example], extra["offsets"][example], i - first + begin, j - first + begin)
                    if text:
                        best = max(best, (score, text))
                        break
            row = predictions.iloc[example]
            silent = null_threshold is not None and null - best[0] > null_threshold
            assert row["prediction"] == ("" if silent else best[1])
            assert row["scores"].tolist() == pytest.approx([best[0], null])
            assert row["prediction"] in CONTEXTS[example]
            answers.add(row["prediction"])
    assert (null_threshold is None) == ("" not in answers)


def test_accents_that_the_tokenizer_composed_belong_to_the_answer(tokenizer):
    context = "a cafe\u0301 de\u0301 \u200b x"
    (_,), (places,) = tokenize(tokenizer, [context])
    span = answer_tokens(context, {"text": ["cafe\u0301"], "answer_start": [2]}, places)
    assert cut(context, places, *span) == "cafe\u0301"


def test_targets_and_scores(tokenizer, tmp_path):
    answers = rows()["answers"]
    answers[0] = {"text": ["Amsterdam", 'the "Amsterdam"\n'], "answer_start": [80, -1]}
    answers[1] = {"text": [""], "answer_start": [0]}  # as XTREME blanks its test files
    answers[2] = {"text": [], "answer_start": []}
    columns = rows(answers=answers, is_impossible=[False, False, True, False])
    task = make(tokenizer, columns, languages=["en", "de"])
    predictions = task.predictions(decoded(task)[0], "test")
    assert [None if pd.isna(t) else json.loads(t) for t in predictions["target"][:4]] == [
        ["Amsterdam", 'the "Amsterdam"\n'],
        None,
        [],
        [ANSWERS[3]],
    ]
    predictions.loc[0, "prediction"] = "Amsterdam"
    predictions.loc[predictions.language == "de", "target"] = None
    predictions.to_parquet(tmp_path / "p.parquet")
    scores = {(s.language, s.metric): s for s in task.evaluate(predictions)}
    assert set(scores) == {(lg, m) for lg in ("en", "de") for m in ("f1", "exact_match")}
    assert scores["en", "f1"].value == pytest.approx(1 / 3)
    assert scores["en", "f1"].n == 3
    assert math.isnan(scores["de", "exact_match"].value)
    assert scores["de", "exact_match"].reason == "no example has a target"


def test_an_empty_context_has_an_empty_answer(tokenizer):
    task = make(tokenizer, rows(context=[" ", *CONTEXTS[1:]], answers=[{"text": ["x"], "answer_start": [0]}] * 4))
    with pytest.warns(UserWarning, match="answers of 4 of 4 examples are not in the context"):
        predictions = task.predictions(decoded(task)[0], "test")
    assert predictions["prediction"][0] == ""
    assert predictions["scores"][0][0] == -np.inf
    assert set(task.examples("test").labels.flatten().tolist()) == {IGNORED}


def test_misaligned_answers_are_dropped_and_counted():
    context = "Born in 1931 in Graz"
    answers = [("1931", 8), ("1931", 7), ("1931", -1), ("graz", 16), ("Graz", 16), (" ", 4)]
    columns = {
        "id": list("abcdefg"),
        "context": [context] * 6 + [None],
        "answers": [{"text": [t], "answer_start": [s]} for t, s in [*answers, ("Graz", 16)]],
    }
    kept, dropped = drop_misaligned(columns)
    assert (kept["id"], dropped) == (["a", "e"], 5)
    kept, dropped = drop_misaligned(columns | {"is_impossible": [False] * 5 + [True, False]})
    assert (kept["id"], kept["is_impossible"], dropped) == (["a", "e", "f"], [False, False, True], 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": None}, "column 'question' is missing"),
        ({"answers": [{"text": ["x", "y"], "answer_start": [1]}] * 4}, "'a' has not one answer_start for each"),
        ({"answers": ["Amsterdam"] * 4}, "example 'a' needs a context and answers as"),
        ({"context": [CONTEXTS[0], None, *CONTEXTS[2:]]}, "example 'b' needs a context"),
    ],
)
def test_bad_rows_are_one_clear_error(change, message, monkeypatch):
    from datasets import Dataset

    monkeypatch.setattr(Capitals, "load_split", lambda *_: Dataset.from_dict(rows(**change)))
    with pytest.raises(DataError, match=message) as error:
        Capitals().setup("test")
    assert "task 'capitals', split 'test', language 'en'" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": -1}, "stride is -1, it must be at least 0"),
        ({"n_best": 0}, "n_best is 0, it must be at least 1"),
        ({"max_length": 30, "stride": 20}, "leaves .* tokens for the context .* no more than the stride of 20"),
    ],
)
def test_impossible_settings_are_one_clear_error(tokenizer, settings, message):
    with pytest.raises(ConfigError, match=message):
        make(tokenizer, **settings).examples("test")


def test_a_tiny_encoder_learns_a_tiny_set_by_heart(tokenizer, tiny_encoder):
    torch.manual_seed(0)
    task = make(tokenizer, rows(question=["one", "two", "three", "four"]), max_length=32, stride=8, batch_size=8)
    module = MultimodalModule(tiny_encoder, learning_rate=1e-2, dropout=0.0, schedule="constant_with_warmup")
    trainer = Trainer(
        max_steps=150,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    assert isinstance(task.train_dataloader().sampler, TrainingBatches)
    trainer.fit(module, task)
    trainer.test(module, datamodule=task, verbose=False)
    predictions = module.predictions["test"]
    assert predictions["prediction"].tolist() == ANSWERS
    results = module.results["test"]
    assert results[results.metric == "exact_match"]["value"].tolist() == [1.0]
