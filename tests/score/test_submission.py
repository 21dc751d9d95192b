"""`python -m xmit submission`: what it writes, scored, gives what a task's own `test` logs."""

from __future__ import annotations

import json
import random

import pandas as pd
import pytest

import xmit.tasks.target  # registers the targets
from xmit.__main__ import main
from xmit.registry import registered_tasks
from xmit.score.layouts import LAYOUTS, official
from xmit.score.scoring import score_submission
from xmit.score.submission import write_submission

COLUMNS = ["task", "language", "id", "prediction", "scores", "target"]
ROWS = {  # task: language: (predictions, targets)
    "xnli": {
        "en": (["neutral", "entailment", "contradiction"], ["neutral", "neutral", "contradiction"]),
        "sw": (["entailment"] * 3, ["neutral", "neutral", "contradiction"]),
    },
    "pawsx": {"ko": (["0", "1"], ["1", "1"])},
    "xcopa": {"qu": (["0", "1", "1"], ["0", "0", "1"])},
    "udpos": {
        "yo": ([["NOUN", "VERB"], ["SCONJ", "SCONJ", "X"]], [["NOUN", "NOUN"], ["SCONJ", "ADP", "X"]]),
        "wo": ([["NOUN", "VERB"], ["X"]], [["NOUN", "ADP"], ["X"]]),
    },
    "panx": {"my": ([["B-PER", "I-PER", "O"], ["I-LOC"]], [["B-PER", "I-PER", "O"], ["B-LOC"]])},
    "xquad": {
        "th": (["ก ข", "", 'a "quoted" [text]'], ['["ก"]', '["x", "y"]', '["a quoted text"]']),
        "en": (["The end", "1", "a"], ['["end"]', '["2"]', '["a b"]']),
    },
    "mlqa": {"zh": (["北京市", "中国", "x"], ['["北京"]', '["中国"]', '["y"]'])},
    "tydiqa": {"te": (["న", "b", "c"], ['["న"]', '["b c"]', '["d"]'])},
    "bucc2018": {"ru": (["en-2", None, "en-9"], ["en-2", "en-4", None])},
    "tatoeba": {"jv": (["0", "2", "1"], ["0", "1", "1"])},
    "lareqa": {"el": ([["el_1_0", "en_1_0"], ["a", "b"]], [["el_1_0", "en_1_0"], ["b"]])},
    "mewslix": {"uk": ([["Q1", "Q2"], ["Q5", "Q4"]], [["Q1"], ["Q4"]])},
}
EXPECTED = {  # fractions worked out by hand from the published rules
    ("xnli", "en"): {"accuracy": 2 / 3},
    ("xnli", "sw"): {"accuracy": 0},
    ("pawsx", "ko"): {"accuracy": 1 / 2},
    ("xcopa", "qu"): {"accuracy": 2 / 3},
    # NOUN NOUN is one chunk, each SCONJ one of its own
    ("udpos", "yo"): {"f1": 2 * (2 / 5) * (2 / 4) / (2 / 5 + 2 / 4), "precision": 2 / 5, "recall": 2 / 4},
    ("udpos", "wo"): {"f1": 2 / 3, "precision": 2 / 3, "recall": 2 / 3},
    ("panx", "my"): {"f1": 1, "precision": 1, "recall": 1},
    ("xquad", "th"): {"exact_match": 1 / 3, "f1": (2 / 3 + 1) / 3},
    ("xquad", "en"): {"exact_match": 1 / 3, "f1": 1 / 3},
    ("mlqa", "zh"): {"exact_match": 1 / 3, "f1": (2 * (2 / 3) / (5 / 3) + 1) / 3},
    ("tydiqa", "te"): {"exact_match": 1 / 3, "f1": (1 + 2 / 3) / 3},
    ("bucc2018", "ru"): {"f1": 1 / 2, "precision": 1 / 2, "recall": 1 / 2},
    ("tatoeba", "jv"): {"accuracy": 2 / 3},
    ("lareqa", "el"): {"map@20": (1 + 1 / 2) / 2},
    ("mewslix", "uk"): {"map@20": (1 + 1 / 2) / 2},
}


def write_run(folder, name, languages=None, **columns):
    rows = [
        (name, language, f"q{i}", prediction, None, target)
        for language, (predictions, targets) in (languages or ROWS[name]).items()
        for i, (prediction, target) in enumerate(zip(predictions, targets, strict=True))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=COLUMNS).assign(**columns).to_parquet(folder / "predictions.parquet", index=False)
    return folder


def scored(tmp_path):
    """Fractions by task and language, of both benchmarks, and what was said about them."""
    found, said = {}, []
    for benchmark in ("xtreme", "xtreme-r"):
        if not any((tmp_path / "p" / name).is_dir() for name in official(benchmark)):
            continue
        report = score_submission(tmp_path / "p", tmp_path / "l", benchmark)
        said += [finding for finding in report.findings if finding.kind not in ("missing", "extra")]
        for name, task in report.scores["tasks"].items():
            for language, values in task["languages"].items():
                found[name, language] = {metric: value / 100 for metric, value in values.items()}
    return found, said


def test_written_and_scored_every_task(tmp_path, capsys):
    runs = [write_run(tmp_path / "runs" / name, name) for name in ROWS]
    words = ["--output", str(tmp_path / "p"), "--labels", str(tmp_path / "l")]
    assert main(["submission", *map(str, runs), *words]) == 0
    assert "30 files in" in capsys.readouterr().out
    found, said = scored(tmp_path)
    assert said == []
    assert found == {key: pytest.approx(values) for key, values in EXPECTED.items()}


def random_rows(name, rng):
    """Predictions and targets of some examples in every form that the task's own `predictions` gives."""
    layout = LAYOUTS[name]
    n = rng.randint(1, 12)
    words = ["the", "北京", "قال", "Ärger!", "«x»", "1,000", "ไทย", "", "a"]
    pick = {
        "lines": lambda: rng.choices(layout.labels or ("0", "1", "11"), k=2),
        "choices": lambda: (rng.choice("01"), rng.choice("01")),
        "tags": lambda: [[rng.choice(layout.labels) for _ in range(k)] for k in [rng.randint(1, 7)] for _ in "pt"],
        "pairs": lambda: rng.choice([("en-1", "en-1"), ("en-1", None), (None, "en-2"), ("en-1", "en-2")]),
        "answers": lambda: (
            " ".join(rng.choices(words, k=3)),
            json.dumps([" ".join(rng.choices(words, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 3))]),
        ),
        "rankings": lambda: (
            json.dumps(rng.sample("abcdefghijklmnopqrstuvwxyz", 22)),
            json.dumps(rng.sample("abcxyz", 1)),
        ),
    }[layout.format]
    drawn = [pick() for _ in range(n)]
    return [list(side) for side in zip(*drawn, strict=True)]


@pytest.mark.parametrize("name", sorted(ROWS))
@pytest.mark.parametrize("seed", range(8))
def test_scores_are_those_that_the_task_logs(tmp_path, name, seed):
    assert xmit.tasks.target
    tasks = registered_tasks()
    rng = random.Random(f"{name} {seed}")
    rows = {code: random_rows(name, rng) for code in rng.sample(LAYOUTS[name].all_languages, 3)}
    if LAYOUTS[name].format == "pairs":  # a file without any pair is none
        rows = {code: (["en-7", *pred], ["en-7", *gold]) for code, (pred, gold) in rows.items()}
    run = write_run(tmp_path / "run", name, rows)
    write_submission([run], tmp_path / "p", tmp_path / "l")
    logged = {
        (score.language, score.metric): score.value
        for score in tasks[name]().score(pd.read_parquet(run / "predictions.parquet"))
    }
    found, _ = scored(tmp_path)
    assert {code for _, code in found} == set(rows)
    for (_, code), values in found.items():
        assert {metric: logged[code, metric] for metric in values} == pytest.approx(values, abs=1e-12)


def test_official_forms(tmp_path):
    for name in ROWS:
        write_run(tmp_path / "runs" / name, name)
    files = write_submission([tmp_path / "runs"], tmp_path / "p")  # a folder of runs
    assert {file.relative_to(tmp_path / "p").as_posix() for file in files} == {
        f"{name}/test-{language}.{LAYOUTS[name].suffix}" for name, rows in ROWS.items() for language in rows
    }
    text = {name: (tmp_path / "p" / name).joinpath(file).read_text(encoding="utf-8") for name, file in [
        ("xnli", "test-en.tsv"), ("udpos", "test-yo.tsv"), ("bucc2018", "test-ru.tsv"), ("xcopa", "test-qu.jsonl"),
        ("tatoeba", "test-jv.tsv"),
    ]}  # fmt: skip
    assert text == {
        "xnli": "neutral\nentailment\ncontradiction\n",
        "udpos": "NOUN\nVERB\n\nSCONJ\nSCONJ\nX\n",
        "bucc2018": "q0\ten-2\nq2\ten-9\n",
        "xcopa": '{"label": 0}\n{"label": 1}\n{"label": 1}\n',
        "tatoeba": "0\n2\n1\n",
    }
    answers = json.loads((tmp_path / "p/xquad/test-th.json").read_text())
    assert answers == {"q0": "ก ข", "q1": "", "q2": 'a "quoted" [text]'}
    assert json.loads((tmp_path / "p/mewslix/test-uk.json").read_text()) == {"q0": ["Q1", "Q2"], "q1": ["Q5", "Q4"]}


def test_tags_may_be_one_text(tmp_path):
    rows = {code: tuple([" ".join(tags) for tags in side] for side in sides) for code, sides in ROWS["udpos"].items()}
    lists, texts = write_run(tmp_path / "lists", "udpos"), write_run(tmp_path / "texts", "udpos", rows)
    pairs = zip(write_submission([lists], tmp_path / "a"), write_submission([texts], tmp_path / "b"), strict=True)
    assert all(one.read_text() == other.read_text() for one, other in pairs)


def test_writing_twice_is_fine_but_nothing_is_overwritten(tmp_path):
    run = write_run(tmp_path / "a", "xnli")
    write_submission([run], tmp_path / "p")
    write_submission([run], tmp_path / "p")
    other = write_run(tmp_path / "b", "xnli", {"en": (["entailment"] * 3, ["neutral"] * 3)})
    with pytest.raises(Exception, match=r"xnli/test-en.tsv is already there and says something else"):
        write_submission([other], tmp_path / "p")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "sib200"}, "unknown XTREME task 'sib200'"),
        ({"language": "lg"}, "'lg' is no language of xnli"),
        ({"prediction": None}, "example 'q0' has no prediction"),
        ({"prediction": "maybe"}, "'maybe' of example 'q0' is no official label"),
        ({"id": "q0"}, "the id 'q0' occurs twice"),
    ],
)
def test_what_cannot_be_written(tmp_path, capsys, change, words):
    run = write_run(tmp_path / "run", "xnli", {"en": ROWS["xnli"]["en"]}, **change)
    assert main(["submission", str(run), "--output", str(tmp_path / "p")]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "p").exists()


def test_runs_that_are_none(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "predictions.parquet").write_bytes(b"PAR1 and nothing more")
    (tmp_path / "columns").mkdir()
    pd.DataFrame({"task": ["xnli"]}).to_parquet(tmp_path / "columns" / "predictions.parquet")
    for name, words in [("empty", "has no predictions.parquet"), ("broken", "no readable parquet"),
                        ("columns", "column 'language' is missing")]:  # fmt: skip
        assert main(["submission", str(tmp_path / name), "--output", str(tmp_path / "p")]) == 1
        assert words in capsys.readouterr().err
    first, second = (write_run(tmp_path / name, "xnli") for name in "ab")
    assert main(["submission", str(first), str(second), "--output", str(tmp_path / "p")]) == 1
    assert "both predict xnli in en" in capsys.readouterr().err


def test_every_official_task_is_tried_here():
    assert set(ROWS) == set(official("xtreme")) | set(official("xtreme-r")) == set(LAYOUTS)


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore")
def test_a_real_run_scores_what_it_logged(real_data, tiny_encoder, tmp_path):
    words = ["--data", "xcopa", "--data.data_dir", str(real_data / "xcopa"), "--data.languages", "[id, sw]"]
    words += ["--model.encoder", tiny_encoder, "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    words += ["--trainer.max_steps", "1", "--trainer.enable_model_summary", "false"]
    assert main(["fit", *words, "--output", str(tmp_path / "run")]) == 0
    write_submission([tmp_path / "run"], tmp_path / "p", tmp_path / "l")
    logged = pd.read_parquet(tmp_path / "run" / "results.parquet").query("is_main and split == 'test'")
    found, said = scored(tmp_path)
    assert said == []
    for language in ("id", "sw"):
        assert found["xcopa", language]["accuracy"] == pytest.approx(
            logged[logged.language == language].value.item(), abs=1e-12
        )
    own = LAYOUTS["xcopa"].file(tmp_path / "l", "sw").read_text().splitlines()
    official_file = (real_data / "xcopa/data/sw/test.sw.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in own] == [json.loads(line)["label"] for line in official_file]
