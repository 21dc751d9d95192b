"""Answers side by side: agreement, the worst items and what each language said, by hand."""

import numpy as np
import pandas as pd
import pytest

from xmit.report.examples import Answer, Example, Question, agreement_matrix, examples, lay_out, worst_items

# by item: the right label, then the answers in sw (class 2), de and en (class 5)
LABELS = {
    "1": ("yes", {"en": "yes", "de": "yes", "sw": "yes"}),
    "2": ("no", {"en": "no", "de": "yes", "sw": "yes"}),
    "3": ("no", {"en": "yes", "de": "no", "sw": "no"}),  # wrong in English: not among the worst
    "4": ("no", {"en": "no", "de": "no", "sw": "maybe"}),
    "5": ("yes", {"en": "yes", "sw": "no"}),  # no German
}


def frame(table):
    return pd.DataFrame(
        [
            {"language": code, "id": key, "prediction": said, "target": target}
            for key, (target, answers) in table.items()
            for code, said in answers.items()
        ]
    )


@pytest.fixture(scope="module")
def answers():
    return lay_out(frame(LABELS))


def test_agreement(answers):
    matrix = agreement_matrix(answers)
    assert list(matrix.index) == ["sw", "en", "de"]  # the poorest first, then by name
    # en and de share 4 items and agree on 1 and 4; en and sw agree on 1 of 5; de and sw on 1, 2, 3 of 4
    assert matrix.loc["en", "de"] == 0.5
    assert matrix.loc["en", "sw"] == pytest.approx(0.2)
    assert matrix.loc["de", "sw"] == 0.75


def test_worst_items(answers):
    # right in English and alike in 0 of 2, 0 of 1, 1 of 2 other languages
    assert worst_items(answers, "en") == ["2", "5", "4"]
    assert worst_items(answers, "en", 1) == ["2"]
    # without targets item 3 counts, too
    unknown = lay_out(frame({k: (None, v[1]) for k, v in LABELS.items()}))
    assert worst_items(unknown, "en") == ["2", "3", "5", "4"]
    # without the source the language with the most items stands for it
    assert worst_items(lay_out(frame(LABELS)), "fr") == worst_items(answers, "sw")


def test_examples_group_the_languages_by_answer(answers):
    found = examples(answers, "en", ["2", "4", "not there"])
    assert found == [
        Example("2", "no", "en", (Answer("no", ("en",), True), Answer("yes", ("sw", "de"), False)), 0, 2),
        Example("4", "no", "en", (Answer("no", ("en", "de"), True), Answer("maybe", ("sw",), False)), 1, 2),
    ]
    unknown = examples(lay_out(frame({k: (None, v[1]) for k, v in LABELS.items()})), "en", ["2"])[0]
    assert (unknown.expected, unknown.answers[0].right) == ("", None)


def test_questions_and_options_are_shown():
    rows = [
        ("1", "en", "0", "1", "Ice melts. Why?", ["cold", "heat"]),
        ("1", "sw", "1", "1", None, None),
        ("2", "en", "7", "1", None, None),
        ("2", "sw", "1", "1", None, None),
    ]
    table = pd.DataFrame(rows, columns=["id", "language", "prediction", "target", "text", "options"])
    first, second = examples(lay_out(table), "en", ["1", "2"])
    assert first.question == Question("Ice melts. Why?", "en", ("cold", "heat"))
    assert first.expected == "heat"
    assert [a.text for a in first.answers] == ["cold", "heat"]
    # without options a number is what it is, and of an earlier version's rows the question is not known
    assert (second.expected, second.question) == ("1", None)
    assert examples(lay_out(table[["id", "language", "prediction", "target"]]), "en", ["1"])[0].question is None
    # a ranking is shown by its first, and where that is the same languages stand together
    ranked = pd.DataFrame(
        [("1", "en", '["s1", "s2"]', '["s1"]', 1.0), ("1", "sw", '["s1", "s3"]', '["s1"]', 0.9)],
        columns=["id", "language", "prediction", "target", "item_score"],
    )
    assert examples(lay_out(ranked), "en", ["1"])[0].answers == (Answer("s1", ("en", "sw"), True),)


def test_found_items_are_shown_by_their_text():
    rows = [
        ("1", "de", "1", "1", "dog"),
        ("1", "sw", "2", "1", None),
        ("2", "de", "2", "2", "cat"),
        ("2", "sw", "2", "2", None),
    ]
    table = pd.DataFrame(rows, columns=["id", "language", "prediction", "target", "text"]).assign(options=None)
    (example,) = examples(lay_out(table), "de", ["1"])
    assert example.question == Question("dog", "")
    assert example.expected_in == ""
    assert example.expected == "dog"
    assert example.answers == (Answer("dog", ("de",), True), Answer("cat", ("sw",), False))
    # labels that look like ids are none
    labels = table.assign(target=["2", "2", "1", "1"])
    assert examples(lay_out(labels), "de", ["1"])[0].expected == "2"


def test_texts_are_compared_by_their_scores():
    rows = [
        ("1", "en", "Cairo", '["Cairo", "al-Qahira"]', 1.0),
        ("1", "ar", "القاهرة", '["القاهرة"]', 1.0),
        ("1", "sw", "Kairo mji", '["Kairo"]', 0.4),
        ("2", "en", "1969", '["1969"]', 1.0),
        ("2", "ar", "", '["١٩٦٩"]', 0.0),
        ("2", "sw", "mwaka 1969", '["1969"]', 0.8),
        ("3", "en", "", "[]", 1.0),
        ("3", "sw", "x" * 500, "[]", 0.0),
    ]
    table = pd.DataFrame(rows, columns=["id", "language", "prediction", "target", "item_score"])
    answers = lay_out(table)
    assert answers.free_text
    matrix = agreement_matrix(answers)
    # one minus the mean difference of scores: en and sw differ by 0.6, 0.2 and 1
    assert matrix.loc["en", "sw"] == pytest.approx(1 - 1.8 / 3)
    assert matrix.loc["en", "ar"] == pytest.approx(0.5)
    # item 3: none of one alike; 1: Arabic alone of two; 2: Swahili alone of two
    assert worst_items(answers, "en") == ["3", "1", "2"]
    first = examples(answers, "en", ["1"])[0]
    assert first.answers == (
        Answer("Cairo", ("en",), True),
        Answer("Kairo mji", ("sw",), False),
        Answer("القاهرة", ("ar",), True),
    )
    assert first.same == 1
    long = examples(answers, "en", ["3"])[0].answers[1].text
    assert len(long) == 160
    assert long.endswith("…")
    # without scores an answer is right if it is one of the right ones
    plain = lay_out(table.drop(columns="item_score"))
    np.testing.assert_array_equal(plain.right[0], [0, 1, 1])
