"""Answers by the rules of SQuAD and MLQA."""

import math
import pickle
import random
import string
import unicodedata

import pytest
import torch
from torchmetrics.functional.text import squad

from xmit.errors import MetricError
from xmit.metrics import LanguageAnswerF1, mlqa_scores, squad_best, squad_scores
from xmit.metrics.qa import mlqa_tokens, squad_tokens

# language, predicted, gold answers, and exact match and F1 (percent) by SQuAD's and by MLQA's official script
OFFICIAL = [
    ("en", "“the” € اa", ["“the” € ا"], 0.0, 75.0, 0.0, 50.0),
    ("en", "U.S. \u3000\u200b", ["_ \n there's \x1c ` ", "U.S. \u3000"], 0.0, 66.66666667, 0.0, 66.66666667),
    ("en", "“the” ﬁ ﬁ\u2028 ·_ €", ["50% \u3000", "“the” ﬁ ﬁ\u2028 ·_ "], 0.0, 90.90909091, 0.0, 80.0),
    ("en", "", [""], 100.0, 0.0, 100.0, 0.0),
    ("en", "the", ["a"], 100.0, 0.0, 100.0, 0.0),
    ("en", "$5", ["5"], 100.0, 100.0, 100.0, 100.0),
    ("en", "U.S.", ["us"], 100.0, 100.0, 100.0, 100.0),
    ("de", "İ …STRASSE FI \u3000", ["İ …Straße ﬁ \u3000"], 0.0, 33.33333333, 0.0, 33.33333333),
    ("de", "\t ß ß", ["Haus ein \u3000ß \u3000"], 0.0, 40.0, 0.0, 50.0),
    ("de", "Die Straße", ["straße"], 0.0, 66.66666667, 100.0, 100.0),
    ("es", "¡El Niño!", ["niño"], 0.0, 66.66666667, 100.0, 100.0),
    ("es", "unas ¿qué? el-la", ["unas ¿qué? ", "ا \u3000\n \u3000~ اunas \u2028 "], 0.0, 80.0, 0.0, 66.66666667),
    ("vi", "Của Hà Nội", ["hà nội"], 0.0, 80.0, 100.0, 100.0),
    ("vi", "nhà, \u3000của nhà, chiếc ", ["của Của. \u3000nhà,", "Cái \u3000"], 0.0, 57.14285714, 0.0, 66.66666667),
    ("vi", "𐄀Nội", ["Nội Nộinhững \u3000những Cái \u3000của ", "𐄀"], 0.0, 0.0, 0.0, 66.66666667),
    ("hi", "दिल्ली।", ["दिल्ली"], 0.0, 0.0, 100.0, 100.0),
    ("hi", "क् \u3000⁊ \u3000~ क्", ["क् \u3000⁊ \u3000~ "], 0.0, 80.0, 0.0, 66.66666667),
    ("ar", "قال", ["ال قال", "ق"], 0.0, 66.66666667, 100.0, 100.0),
    ("ar", "السؤال", ["السؤال، ال"], 0.0, 0.0, 100.0, 100.0),
    ("ar", "مقالا", ["مقال"], 0.0, 0.0, 0.0, 66.66666667),
    ("ar", "  \u3000ـال٪", ["قال \u3000Der \u3000ـال ", ""], 0.0, 0.0, 0.0, 50.0),
    ("zh", "北京市", ["北京"], 0.0, 0.0, 0.0, 80.0),
    ("zh", "《论语》", ["论语"], 0.0, 0.0, 100.0, 100.0),
    ("zh", "2008年", ["2008 年"], 0.0, 0.0, 100.0, 100.0),
    ("zh", "龦㐀", ["龦 㐀"], 0.0, 0.0, 0.0, 0.0),
    (
        "zh",
        "ｱ北京 上 海 𠀀 \u3000、、 \u3000上 海",
        ["ｱ北京 上 海 𠀀 \u3000、、 \u3000"],
        0.0,
        83.33333333,
        0.0,
        85.71428571,
    ),
]

WORDS = {
    "en": [
        "the",
        "a",
        "an",
        "house",
        "Red,",
        "U.S.",
        "there's",
        "theory",
        "“the”",
        "THE",
        "(a)",
        "an-the",
        "$5",
        "50%",
        "x+y",
    ],
    "de": ["die", "Der", "das", "Straße", "STRASSE", "ein", "Einem", "Haus", "des", "der-die", "„Das“", "§5", "ß", "İ"],
    "es": ["El", "la", "los", "Niño", "¿qué?", "¡una!", "unos", "unas", "año", "«los»", "el-la", "Él"],
    "vi": ["của", "là", "Cái", "chiếc", "những", "Hà", "Nội", "nhà,", "Của."],
    "hi": ["लाल", "घर।", "दिल्ली॥", "किताब,", "कि", "क्", "१९४७", "का"],
    "ar": ["ال", "البيت", "قال", "السؤال،", "ال.", "كبير؟", "الال", "مال", "٪", "ـال", "مقال", "وال"],
    "zh": [
        *[
            "北京",
            "北京市",
            "。",
            "，",
            "Beijing",
            "2008年",
            "《论语》",
            "龦",
            "㐀",
            "𠀀",
            "、",
            "10.5%",
            "ｱ",
            "，ab",
            "的",
        ],
        "上 海",
        "\u3000",
    ],
}
OTHER = ["", " ", "\xa0", "\u200b", "\u2028", "\x1c", "--", "…", "€", "^", "`", "·", "٫", "「」", "‿", "ﬁ", "\n", "_"]
ARTICLES = {
    "en": {"a", "an", "the"},
    "es": {"un", "una", "unos", "unas", "el", "la", "los", "las"},
    "vi": {"của", "là", "cái", "chiếc", "những"},
    "de": {"ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"},
}


def text(rng, language):
    words = WORDS[language] + (OTHER if rng.random() < 0.5 else [])
    words = words + (WORDS[rng.choice(list(WORDS))] if rng.random() < 0.3 else [])
    return "".join(rng.choice(words) + rng.choice([" ", " ", "", "\u3000"]) for _ in range(rng.choice([0, 1, 2, 3, 5])))


def draw(rng, language):
    gold = [text(rng, language) for _ in range(rng.randint(1, 4))]
    pred = rng.choice(gold)
    return rng.choice([pred, pred + rng.choice(WORDS[language] + OTHER), pred.upper(), text(rng, language)]), gold


def words_of(answer, language=None):
    """The published rules, one character after the other; SQuAD's without a language."""
    kept = ""
    for char in answer.lower():
        if char in string.punctuation or (language and unicodedata.category(char)[0] == "P"):
            continue
        kept += f" {char} " if language == "zh" and "\u4e00" <= char <= "\u9fa5" else char
    if language == "ar":
        return kept.replace("ال", " ").split()
    words, word = [], ""
    # a word in the sense of \b: letters, digits and underscores; combining signs part words
    for char in [*kept, " "]:
        if char.isalnum() or char == "_":
            word += char
            continue
        words += [" " if word in ARTICLES.get(language or "en", ()) else word, char]
        word = ""
    return "".join(words).split()


def slow(pred, gold, language=None):
    best = 0.0
    ours = words_of(pred, language)
    for answer in gold:
        theirs, left = words_of(answer, language), []
        left = list(theirs)
        for word in ours:
            if word in left:
                left.remove(word)
        common = len(theirs) - len(left)
        best = max(best, 2 * common / (len(ours) + len(theirs)) if common else 0.0)
    return float(any(ours == words_of(answer, language) for answer in gold)), best


@pytest.mark.parametrize(("language", "pred", "gold", "em", "f1", "mlqa_em", "mlqa_f1"), OFFICIAL)
def test_equals_the_official_scripts(language, pred, gold, em, f1, mlqa_em, mlqa_f1):
    pred, gold = {"q": pred}, {"q": gold}
    for scores, expected in (
        (squad_scores(pred, gold), (em, f1)),
        (mlqa_scores(pred, gold, language), (mlqa_em, mlqa_f1)),
    ):
        assert (100 * scores["exact_match"], 100 * scores["f1"]) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("language", WORDS)
def test_equals_the_rules_read_char_by_char(language):
    rng = random.Random(language)
    for _ in range(1000):
        pred, gold = draw(rng, language)
        for scores, rule in (
            (squad_scores({"q": pred}, {"q": gold}), None),
            (mlqa_scores({"q": pred}, {"q": gold}, language), language),
        ):
            assert (scores["exact_match"], scores["f1"]) == pytest.approx(slow(pred, gold, rule)), (pred, gold)


def test_equals_torchmetrics_squad():
    rng, compared = random.Random(2), 0
    while compared < 1000:
        pred, gold = draw(rng, rng.choice(list(WORDS)))
        # torchmetrics gives F1 1 to two answers without words, as SQuAD 2.0 does; the script of 1.1 gives 0
        if not all(map(squad_tokens, [pred, *gold])):
            continue
        compared += 1
        target = {"answers": {"text": gold, "answer_start": [0] * len(gold)}, "id": "q"}
        theirs = squad([{"prediction_text": pred, "id": "q"}], [target])
        ours = squad_scores({"q": pred}, {"q": gold})
        assert 100 * ours["f1"] == pytest.approx(theirs["f1"].item(), abs=1e-4)
        assert 100 * ours["exact_match"] == theirs["exact_match"].item()


def test_missing_and_unknown_questions():
    scores = squad_scores({"a": "red", "zzz": "?"}, {"a": ["red"], "b": ["blue"]})
    assert (scores["exact_match"], scores["f1"]) == (0.5, 0.5)
    assert scores["per_item"] == {"a": {"exact_match": 1.0, "f1": 1.0}, "b": {"exact_match": 0.0, "f1": 0.0}}
    assert math.isnan(squad_scores({}, {})["f1"])


def test_questions_without_answer():
    gold = {"a": ["red house"], "b": [], "c": [], "d": ["blue"]}
    scores = squad_scores({"a": "red", "b": "", "c": "green", "d": ""}, gold, "2.0")
    assert scores["f1"] == pytest.approx((2 / 3 + 1) / 4)
    assert scores["exact_match"] == 0.25
    assert scores["has_answer_f1"] == pytest.approx(1 / 3)
    assert scores["no_answer_f1"] == scores["no_answer_exact_match"] == 0.5
    assert math.isnan(squad_scores({"a": ""}, {"a": ["x"]}, "2.0")["no_answer_f1"])
    # answers without words count as none
    assert squad_scores({"a": "the"}, {"a": ["a"]}, "2.0")["f1"] == 1.0


def test_normalised_words():
    assert squad_tokens("The «house», the U.S.") == ["«house»", "us"]
    assert mlqa_tokens("The «house», the U.S.", "en") == ["house", "us"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: squad_scores({"q": "x"}, {"q": []}), "'q' has no gold answer"),
        (lambda: squad_scores({"q": "x"}, {"q": "x"}), "list of strings"),
        (lambda: squad_scores({"q": None}, {"q": ["x"]}), "must be a string, got None"),
        (lambda: squad_scores({}, {}, "3.0"), "not '3.0'"),
        (lambda: mlqa_scores({}, {}, "fr"), "no rule for 'fr'"),
        (lambda: LanguageAnswerF1(["en", "fr"], "mlqa"), "no rule for 'fr'"),
        (lambda: LanguageAnswerF1(["en"], "f1"), "not 'f1'"),
        (lambda: LanguageAnswerF1("en"), "distinct"),
        (lambda: LanguageAnswerF1(["en"]).update(["x"], [], [0]), "must match"),
        (lambda: LanguageAnswerF1(["en"]).update(["x"], [["x"]], [1]), "0 … 0"),
    ],
)
def test_wrong_input_is_named(function, message):
    with pytest.raises(MetricError, match=message):
        function()


@pytest.mark.parametrize("rule", ["squad", "squad2", "mlqa"])
def test_class_equals_the_functions_in_each_language_in_any_batches(rule):
    rng, codes = random.Random(5), ["en", "ar", "zh", "vi"]
    language = torch.tensor([rng.randrange(3) for _ in range(300)])
    rows = [draw(rng, codes[i]) for i in language.tolist()]
    whole, parts = LanguageAnswerF1(codes, rule), LanguageAnswerF1(codes, rule)
    whole.update(*zip(*rows, strict=True), language)
    for index in torch.randperm(300, generator=torch.Generator().manual_seed(0)).split(7):
        parts.update(*zip(*[rows[i] for i in index.tolist()], strict=True), language[index])
        parts = pickle.loads(pickle.dumps(parts))
    result, again = whole.compute(), parts.compute()
    for number, code in enumerate(codes[:3]):
        here = [i for i, value in enumerate(language.tolist()) if value == number]
        pred, gold = {str(i): rows[i][0] for i in here}, {str(i): rows[i][1] for i in here}
        if rule == "mlqa":
            scores = mlqa_scores(pred, gold, code)
        else:
            scores = squad_scores(pred, gold, "2.0" if rule == "squad2" else "1.1")
        for name in ("exact_match", "f1"):
            assert result[code][name] == pytest.approx(scores[name], abs=1e-12)
            assert again[code][name] == pytest.approx(scores[name], abs=1e-12)
    assert math.isnan(result["vi"]["f1"])


FEW_WORDS = ["the", "a", "Red", "red,", "house", "U.S.", "of", "1931", "Graz", "-"]
# best_exact, best_f1 (percent) and their thresholds of draw_unanswerable(seed) by evaluate-v2.0.py's find_best_thresh
OFFICIAL_BEST = [
    (53.33333333, 53.33333333, -8.94182219, -8.94182219),
    (46.66666667, 46.94444444, 0.0, -6.25908457),
    (41.66666667, 41.66666667, 0.0, 0.0),
    (48.33333333, 49.44444444, -8.45456935, -8.45456935),
]


def draw_unanswerable(seed, n=60):
    """Answers, gold answers (none for some), and values of no answer, many of them equal."""
    rng = random.Random(seed)

    def few():
        return " ".join(rng.choice(FEW_WORDS) for _ in range(rng.randint(1, 4)))

    pred, gold, no_answer = {}, {}, {}
    for i in range(n):
        gold[str(i)] = [] if rng.random() < 0.4 else [few() for _ in range(rng.randint(1, 3))]
        pred[str(i)] = rng.choice([*gold[str(i)], few(), few(), "" if i % 7 == 0 else few()])
        no_answer[str(i)] = rng.choice([rng.uniform(-9, 9), float(rng.randint(-3, 3))])
    return pred, gold, no_answer


@pytest.mark.parametrize("seed", range(len(OFFICIAL_BEST)))
def test_best_thresholds_are_those_of_the_official_script(seed):
    best = squad_best(*draw_unanswerable(seed))
    found = (100 * best["best_exact"], 100 * best["best_f1"], best["best_exact_threshold"], best["best_f1_threshold"])
    assert found == pytest.approx(OFFICIAL_BEST[seed], abs=1e-7)


@pytest.mark.parametrize("seed", range(20))
def test_best_thresholds_against_trying_all(seed):
    rng = random.Random(seed)
    pred, gold, _ = draw_unanswerable(seed, 30)
    gold = {key: [f"x {text}" for text in texts] for key, texts in gold.items()}  # none without words
    pred = {key: f"x {text}" for key, text in pred.items()}
    no_answer = {key: rng.uniform(-9, 9) + (3 if not texts else -3) for key, texts in gold.items()}
    best = squad_best(pred, gold, no_answer)
    for name, metric in (("best_exact", "exact_match"), ("best_f1", "f1")):
        tried = {}
        for threshold in [-math.inf, *no_answer.values()]:
            answers = {key: text if no_answer[key] <= threshold else "" for key, text in pred.items()}
            tried[threshold] = squad_scores(answers, gold, "2.0")[metric]
        assert best[name] == pytest.approx(max(tried.values()))
        assert best[f"{name}_threshold"] == 0.0 or tried[best[f"{name}_threshold"]] == pytest.approx(best[name])


def test_best_thresholds_need_an_answer_to_every_question():
    with pytest.raises(MetricError, match="question 'b' lacks a prediction or a value of no_answer"):
        squad_best({"a": "x", "b": "y"}, {"a": ["x"], "b": []}, {"a": 0.0})
    assert math.isnan(squad_best({}, {}, {})["best_f1"])
