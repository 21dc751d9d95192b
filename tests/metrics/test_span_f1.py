"""Span F1: the official rule over raw tags, conlleval's, and BIO at its word."""

import math
import pickle
import random
import time

import pytest
import torch

from xmit.errors import MetricError
from xmit.metrics import LanguageSpanF1, span_counts, span_scores, token_accuracy
from xmit.metrics.span_f1 import span_f1

UPOS = [
    "ADJ",
    "ADP",
    "ADV",
    "AUX",
    "CCONJ",
    "DET",
    "INTJ",
    "NOUN",
    "NUM",
    "PART",
    "PRON",
    "PROPN",
    "PUNCT",
    "SCONJ",
    "SYM",
    "VERB",
    "X",
    "_",
]
BIO = ["O", "O", "O", *(f"{p}-{t}" for p in "BI" for t in ("PER", "LOC", "ORG"))]
BIOES = [*BIO, *(f"{p}-{t}" for p in "ES" for t in ("PER", "LOC"))]
STRANGE = [
    "O",
    "B",
    "I",
    "E",
    "S",
    ".",
    ",",
    "''",
    "B-",
    "I-",
    "O-X",
    "X-O",
    "N-X",
    "E-X",
    "S-X",
    "I-X",
    "B-X",
    "B-X-Y",
    "I-Z-Y",
    ".-X",
    "E-.",
    ".a",
    "-",
    "--",
    "名詞",
    "動詞",
    "I-名",
    "O-",
    "B_X",
]
SCHEMES = {"upos": UPOS, "bio": BIO, "bioes": BIOES, "strange": STRANGE}

# predicted, gold, and F1, precision and recall that seqeval 0.0.12 returns
SEQEVAL = [
    ("PART _ CCONJ ADP VERB", "NUM NUM CCONJ NUM NUM", 0.25, 0.2, 1 / 3),
    ("SCONJ SCONJ | INTJ DET INTJ INTJ INTJ SYM PUNCT PRON _", "SCONJ SCONJ | INTJ INTJ INTJ INTJ INTJ SYM VERB VERB _", 0.5333333333, 0.4444444444, 0.6666666667),  # noqa: E501
    ("PRON PRON X INTJ INTJ INTJ ADJ DET CCONJ DET", "PRON PRON PRON INTJ INTJ INTJ ADJ DET CCONJ DET", 0.7692307692, 0.7142857143, 0.8333333333),  # noqa: E501
    ("PRON ADV SCONJ ADV ADV CCONJ SCONJ SCONJ SCONJ", "PRON PRON SCONJ SCONJ CCONJ ADV ADV PART PART", 0.1428571429, 0.125, 0.1666666667),  # noqa: E501
    ("O I-LOC O I-PER O I-ORG B-LOC B-ORG O B-DATE", "B-PER I-LOC O I-PER O I-ORG O B-DATE B-DATE B-DATE", 0.6153846154, 0.6666666667, 0.5714285714),  # noqa: E501
    ("B-ORG I-PER | B-DATE B-ORG I-LOC I-ORG I-LOC I-DATE", "B-DATE B-DATE | B-PER B-ORG O O I-LOC O", 0.3076923077, 0.25, 0.4),  # noqa: E501
    ("O O O | O B-LOC I-LOC I-PER B-DATE", "I-DATE I-LOC B-PER | B-DATE O B-PER B-PER B-DATE", 0.4, 0.6666666667, 0.2857142857),  # noqa: E501
    ("E-LOC O | B-PER I-PER O S-LOC E-LOC O O O", "E-LOC O | B-PER I-PER S-LOC S-LOC E-LOC O O O", 8 / 9, 1.0, 0.8),
    ("S-PER I-LOC S-LOC B-PER I-PER E-PER S-PER E-LOC O", "I-DATE I-DATE B-PER O B-LOC B-ORG B-ORG E-LOC E-LOC", 0.1538461538, 0.1666666667, 0.1428571429),  # noqa: E501
    ("名詞 | B-X B- B-", "名詞 | B- B- B-", 0.75, 0.75, 0.75),
    (" | B- O-X O-X B-", " | B- O-X O-X O-X", 2 / 3, 0.5, 1.0),
    ("E-. , , O-X -- -- .a X-O N-X", "E-. , , I-Z-Y -- -- .a N-X N-X", 0.6, 0.6, 0.6),
    (".-X '' . S - .-X 動詞 --", "X-O E E-. E-. E-. -- X-O B-", 0.1538461538, 0.2, 0.125),
]  # fmt: skip


def draw(rng, tags):
    """Sentences with many adjacent equal tags, and predictions that differ here and there."""
    if rng.random() < 0.4:
        tags = rng.sample(tags, min(len(tags), rng.randint(2, 5)))
    gold = []
    for _ in range(rng.randint(1, 5)):
        sentence = []
        for _ in range(rng.randint(0, 12)):
            sentence.append(sentence[-1] if sentence and rng.random() < 0.35 else rng.choice(tags))
        gold.append(sentence)
    noise = rng.choice([0, 0.1, 0.3, 1])
    return [[rng.choice(tags) if rng.random() < noise else tag for tag in s] for s in gold], gold


def chunks_of(sentences, mode):
    """The published rules, one tag after the other."""
    found, start = set(), 0
    before, kind_before, place = "O", "" if mode == "official" else None, 0
    for tag in (t for s in sentences for t in [*s, "O"]):
        letter = tag[0]
        kind = tag.split("-")[-1] if mode == "official" else tag[2:]
        changed = kind != kind_before
        if mode == "strict":
            inside = letter == "I" and before in ("B", "I") and not changed
            ends, starts = before in ("B", "I") and not inside, letter == "B"
            letter = "X" if letter == "I" and not inside else letter  # an I- of nothing is nothing
        else:
            ends = before in ("E", "S") or (before in ("B", "I") and letter in ("B", "S", "O"))
            ends |= before not in ("O", ".") and changed
            starts = letter in ("B", "S") or (before in ("E", "S", "O") and letter in ("E", "I"))
            starts |= letter not in ("O", ".") and changed
        if ends:
            found.add((kind_before, start, place - 1))
        if starts:
            start = place
        before, kind_before, place = letter, kind, place + 1
    return found


def slow(pred, gold, mode):
    ours, theirs = chunks_of(pred, mode), chunks_of(gold, mode)
    right = len(ours & theirs)
    return (
        2 * right / (len(ours) + len(theirs)) if right else 0,
        *(right / len(s) if s else 0 for s in (ours, theirs)),
    )


@pytest.mark.parametrize(("pred", "gold", "f1", "precision", "recall"), SEQEVAL)
def test_official_is_what_seqeval_0_0_12_gives(pred, gold, f1, precision, recall):
    scores = span_f1(*([sentence.split() for sentence in side.split("|")] for side in (pred, gold)))
    assert [scores[name] for name in ("f1", "precision", "recall")] == pytest.approx([f1, precision, recall], abs=1e-9)


@pytest.mark.parametrize(
    ("mode", "scheme"), [*(("official", scheme) for scheme in SCHEMES), ("lenient", "bioes"), ("strict", "bio")]
)
def test_equals_the_rules_read_tag_by_tag(mode, scheme):
    rng = random.Random(mode + scheme)
    for _ in range(1000):
        pred, gold = draw(rng, SCHEMES[scheme])
        scores = span_f1(pred, gold, mode)
        assert [scores[n] for n in ("f1", "precision", "recall")] == pytest.approx(slow(pred, gold, mode), abs=1e-12)
        pairs = [(a, b) for p, g in zip(pred, gold, strict=True) for a, b in zip(p, g, strict=True)]
        assert scores["accuracy"] == (sum(a == b for a, b in pairs) / len(pairs) if pairs else 0)
        assert span_scores(span_counts(pred, gold, mode).sum(0)) == scores


def test_official_and_lenient_agree_on_ner_tags():
    rng = random.Random(0)
    for _ in range(200):
        pred, gold = draw(rng, BIO)
        assert span_f1(pred, gold) == span_f1(pred, gold, "lenient")


def test_pos_f1_is_not_accuracy():
    gold = [["NOUN", "NOUN", "VERB", "SCONJ", "SCONJ"]]
    pred = [["NOUN", "VERB", "VERB", "SCONJ", "SYM"]]
    scores = span_f1(pred, gold)
    # gold: NOUN NOUN, VERB, SCONJ, SCONJ; predicted: NOUN, VERB VERB, SCONJ, SYM
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0.25, 0.25, 0.25)
    assert scores["accuracy"] == token_accuracy(pred, gold) == 0.6


def test_nothing_scores_nothing():
    assert span_f1([], []) == span_f1([[]], [[]]) == dict.fromkeys(("f1", "precision", "recall", "accuracy"), 0.0)
    assert span_f1([["O"]], [["O"]]) == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 1.0}


def test_many_distinct_tags():
    gold = [[f"B-{i}" for i in range(700)]]
    pred = [[f"B-{i % 600}" for i in range(700)]]
    assert span_f1(pred, gold)["f1"] == pytest.approx(6 / 7)


@pytest.mark.parametrize(
    ("pred", "gold", "mode", "message"),
    [
        ([["O"]], [], "official", "1 predicted sentences for 0"),
        ([["O"], ["O"]], [["O"], ["O", "O"]], "official", "sentence 2 has 1 predicted tags for 2"),
        (["OO"], ["OO"], "official", "one list of tags a sentence"),
        ([[""]], [["O"]], "official", "not empty"),
        ([[7]], [["O"]], "official", "got 7"),
        ([[["O"]]], [["O"]], "official", "must be strings"),
        ([["NOUN"]], [["NOUN"]], "lenient", "mode='official'"),
        ([["S-X"]], [["O"]], "strict", "B-TYPE, I-TYPE or O"),
        ([["O"]], [["O"]], "loose", "not 'loose'"),
    ],
)
def test_wrong_input_is_named(pred, gold, mode, message):
    with pytest.raises(MetricError, match=message):
        span_f1(pred, gold, mode)


def many(n=600, seed=4):
    rng = random.Random(seed)
    gold = [[rng.choice(UPOS) for _ in range(rng.randint(0, 9))] for _ in range(n)]
    pred = [[rng.choice(UPOS) if rng.random() < 0.3 else tag for tag in s] for s in gold]
    return pred, gold, torch.tensor([rng.randrange(3) for _ in range(n)])


def test_class_equals_the_function_in_each_language_in_any_batches():
    pred, gold, language = many()
    whole, parts = (LanguageSpanF1(["en", "sw", "zh", "yo"]) for _ in range(2))
    whole.update(pred, gold, language)
    for index in torch.randperm(600, generator=torch.Generator().manual_seed(0)).split(7):
        rows = index.tolist()
        parts.update([pred[i] for i in rows], [gold[i] for i in rows], language[index])
        parts = pickle.loads(pickle.dumps(parts))
    result = whole.compute()
    assert repr(result) == repr(parts.compute())
    for i, code in enumerate(("en", "sw", "zh")):
        rows = (language == i).nonzero().flatten().tolist()
        assert result[code] == span_f1([pred[i] for i in rows], [gold[i] for i in rows])
    assert all(math.isnan(value) for value in result["yo"].values())


def test_tensors_say_the_same_as_strings():
    pred, gold, language = many()
    strings, numbers = (LanguageSpanF1(["en", "sw", "zh"], labels=UPOS) for _ in range(2))
    strings.update(pred, gold, language)
    padded = []
    for side, fill in ((pred, 0), (gold, -100)):
        padded.append(torch.tensor([[UPOS.index(t) for t in s] + [fill] * (9 - len(s)) for s in side]))
    numbers.update(*padded, language)
    assert strings.compute() == numbers.compute()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([["O"]], [["O"]], [2]), "0 … 1"),
        (([["O"]], [["O"]], [0, 1]), r"shape \(1,\)"),
        ((torch.tensor([[0]]), [["O"]], [0]), "both"),
        ((torch.tensor([[0]]), torch.tensor([[0]]), [0]), "labels="),
    ],
)
def test_wrong_updates_are_named(args, message):
    with pytest.raises(MetricError, match=message):
        LanguageSpanF1(["en", "sw"]).update(*args)


def test_wrong_tensors_are_named():
    metric = LanguageSpanF1(["en"], labels=["O", "X"])
    with pytest.raises(MetricError, match="one shape"):
        metric.update(torch.tensor([[0]]), torch.tensor([[0, 1]]), [0])
    with pytest.raises(MetricError, match="0 … 1"):
        metric.update(torch.tensor([[2]]), torch.tensor([[0]]), [0])
    with pytest.raises(MetricError, match="distinct"):
        LanguageSpanF1(["en", "en"])


def test_is_much_faster_than_a_loop_over_tags():
    rng = random.Random(1)
    gold = [[rng.choice(UPOS) for _ in range(25)] for _ in range(2000)]
    spent = []
    for function in (span_f1, slow):
        start = time.process_time()
        function(gold, gold, "official")
        spent.append(time.process_time() - start)
    assert spent[0] < spent[1] / 4  # 50 times faster than seqeval's four scores; here with room for a busy machine
