"""VQA's accuracy against the definition taken literally: every choice of nine of ten people, one after the other."""

import itertools
import random

import pytest

from xmit.metrics.vqa import normalise_answer, soft_scores, strip_punctuation, vqa_accuracy

WORDS = ["yes", "no", "2", "red", "blue", "10", "left"]


def literally(answer, people):
    """min(matches / 3, 1) of each nine, averaged; for words without anything to normalise."""
    subsets = list(itertools.combinations(range(len(people)), len(people) - 1))
    return sum(min(sum(people[i] == answer for i in subset) / 3, 1.0) for subset in subsets) / len(subsets)


def test_every_count_of_ten():
    for n in range(11):
        people = ["yes"] * n + ["no"] * (10 - n)
        assert vqa_accuracy("yes", people) == pytest.approx(literally("yes", people))
    assert [round(vqa_accuracy("yes", ["yes"] * n + ["no"] * (10 - n)), 3) for n in range(5)] == [0, 0.3, 0.6, 0.9, 1]


def test_random_answers():
    rng = random.Random(0)
    for _ in range(300):
        people = [rng.choice(WORDS) for _ in range(10)]
        answer = rng.choice(WORDS)
        assert vqa_accuracy(answer, people) == pytest.approx(literally(answer, people))
        for given, value in soft_scores(people).items():
            assert value == pytest.approx(literally(given, people))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("The Two dogs", "2 dogs"),
        ("a an the", ""),
        ("None", "0"),
        ("dont know", "don't know"),
        ("hadntve", "hadntve"),
        ("couldnt've", "couldn't've"),
        ("yes, it is", "yes it is"),  # beside a blank punctuation vanishes
        ("black/white", "black white"),  # elsewhere it becomes one
        ("1,000 people", "1000 people"),
        ("3.5", "3.5"),
        ("st. louis.", "st louis"),
        ("its well", "its well"),
        ("line\nbreak\tand tab", "line break and tab"),
        ("5:30", "5:30"),
    ],
)
def test_answers_are_written_the_official_way(text, written):
    assert normalise_answer(text) == written
    assert normalise_answer(written) == written


def test_people_are_normalised_only_where_they_differ_and_only_in_punctuation():
    assert vqa_accuracy("black/white", ["black/white"] * 10) == 0  # the official rule: only the answer is normalised
    assert vqa_accuracy("black/white", ["black/white"] * 9 + ["grey"]) == 1
    assert vqa_accuracy("two", ["2"] * 10) == 1
    assert vqa_accuracy("two", ["two"] * 10) == 0
    assert strip_punctuation("[a]") == " a "
