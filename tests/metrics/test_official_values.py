"""The functions on XTREME's own mock submission: the values that its evaluate_test.py expects."""

import json

import pytest

from xmit.metrics import bucc_f1, mlqa_scores, mrr, squad_scores, tatoeba_accuracy
from xmit.metrics.span_f1 import span_f1

EXPECTED = {
    "pawsx": {"accuracy": 51.42857142857143},
    "xnli": {"accuracy": 30.666666666666668},
    "panx": {"f1": 57.50793650793652, "precision": 54.729166666666664, "recall": 62.750000000000014},
    "udpos": {"f1": 70.21746048354693, "precision": 71.02232625883823, "recall": 69.54982073976082},
    "bucc2018": {"f1": 55.0, "precision": 55.0, "recall": 55.0},
    "tatoeba": {"accuracy": 53.611111111111114},
    "xquad": {"exact_match": 77.27272727272727, "f1": 79.9586776859504},
    "mlqa": {"exact_match": 57.142857142857146, "f1": 81.76870748299321},
    "tydiqa": {"exact_match": 88.88888888888889, "f1": 97.22222222222223},
    "mewslix": {"map@20": 14.39025156130419},
}


def sentences(path):
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    return [[line.strip() for line in block.strip().split("\n")] for block in blocks]


def answers(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    questions = (qa for article in content["data"] for part in article["paragraphs"] for qa in part["qas"])
    return {qa["id"]: [answer["text"] for answer in qa["answers"]] for qa in questions}


def score(task, pred, gold, language):
    if task in ("panx", "udpos"):
        return span_f1(sentences(pred), sentences(gold))
    if task in ("xquad", "tydiqa"):
        return squad_scores(json.loads(pred.read_text(encoding="utf-8")), answers(gold))
    if task == "mlqa":
        return mlqa_scores(json.loads(pred.read_text(encoding="utf-8")), answers(gold), language)
    if task == "mewslix":
        return {"map@20": mrr(*(json.loads(path.read_text(encoding="utf-8")) for path in (pred, gold)))}
    lines = [path.read_text(encoding="utf-8").split("\n") for path in (pred, gold)]
    lines = [[line.strip() for line in side if line.strip()] for side in lines]
    if task == "bucc2018":
        return bucc_f1(*({tuple(line.split("\t")) for line in side} for side in lines))
    return {"accuracy": tatoeba_accuracy(*lines)}


@pytest.mark.realdata
@pytest.mark.parametrize("task", EXPECTED)
def test_mock_submission(task, real_data):
    folder = real_data / "xtreme_mock_test_data"
    golds = sorted((folder / "labels" / task).iterdir())
    assert golds
    scores = [
        score(task, folder / "predictions" / task / path.name, path, path.stem.removeprefix("test-")) for path in golds
    ]
    for name, value in EXPECTED[task].items():
        assert 100 * sum(s[name] for s in scores) / len(scores) == pytest.approx(value, abs=1e-6)
