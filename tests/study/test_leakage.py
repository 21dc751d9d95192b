"""What training data share with test data: found whatever the writing, dropped and counted."""

from __future__ import annotations

from typing import ClassVar

import datasets
import pytest
from my_tasks import MyTask
from PIL import Image

from xmit.errors import DataError
from xmit.study.leakage import SharedItems, held_out, item_keys, overlap
from xmit.tasks import MNLI, XNLI, DigitsImage, DigitsText, TaskMetadata, Tatoeba
from xmit.tasks.base import Task

LONG = "The committee, which had met in secret for years, finally published its report."


class Fixed(Task):
    """Rows given by a test."""

    metadata = TaskMetadata(
        name="fixed", roles=("target", "intermediate"), languages=("en", "de"), main_score="accuracy", dataset="x",
        license="x", citation="x", description="x",
    )  # fmt: skip
    rows: ClassVar[dict] = {}
    head_spec = encode = decode = predictions = score = None
    __abstractmethods__ = frozenset()

    def load_split(self, split, language):
        return datasets.Dataset.from_list(self.rows[split, language])


def fixed(name, **rows):
    kind = type(name, (Fixed,), {"rows": {tuple(k.split("_")): v for k, v in rows.items()}, "__abstractmethods__": ()})
    task = kind()
    task.name = name
    return task


def texts(*values, **more):
    return [{"id": str(i), "premise": value, "label": 0, **more} for i, value in enumerate(values)]


def test_items_are_the_same_whatever_the_writing():
    test = fixed("t", test_en=texts("Where is it?", "Hello, WORLD!"), test_de=texts("Wo ist es?", "Hallo"))
    train = texts("hello world", "hello", "Ｗhere  is it", "wo IST es", "something else")
    task = fixed("mine", train_en=train)
    shared = SharedItems([test])
    task.train_filter = shared
    assert task.table("train")["premise"] == ["hello", "something else"]
    assert shared.counts == {"mine": {"examples": 5, "dropped": 3, "shared_with": {"t": 3}}}


def test_all_texts_of_an_item_count_together_but_long_sentences_alone():
    test = fixed("t", test_en=[{"id": "1", "premise": f"Short. {LONG}", "hypothesis": "It met."}], test_de=texts("x"))
    rows = [
        {"id": "1", "premise": "Other", "hypothesis": "It met."},  # one short text of two
        {"id": "2", "premise": f"New beginning. {LONG.upper()} And on.", "hypothesis": "No"},
        {"id": "3", "premise": "It met", "hypothesis": f"Short. {LONG}"},  # the same, sides changed
    ]
    task = fixed("mine", train_en=rows)
    task.train_filter = SharedItems([test])
    assert task.table("train")["id"] == ["1"]


def test_shared_rows_may_be_refused():
    test = fixed("t", test_en=texts("a"), test_de=texts("b"))
    for refuse, rows, remedy in ((True, texts("a", "c"), "leakage: drop"), (False, texts("a"), "leakage: ignore")):
        task = fixed("mine", train_en=rows)
        task.train_filter = SharedItems([test], refuse)
        with pytest.raises(DataError, match=rf"1 of {len(rows)} training examples share .*1 with t.*{remedy}"):
            task.table("train")


def test_images_by_their_bytes_and_by_names_that_name_one_image(tmp_path):
    for n in range(3):
        Image.new("RGB", (4, 4), (n, 0, 0)).save(tmp_path / f"{n}.png")
    features = datasets.Features({"id": datasets.Value("string"), "image": datasets.Image()})

    def table(*names):
        rows = {"id": [str(i) for i in range(len(names))], "image": [str(tmp_path / name) for name in names]}
        return datasets.Dataset.from_dict(rows, features=features)

    (tmp_path / "copy.png").write_bytes((tmp_path / "1.png").read_bytes())
    zero, one, two, copy = (next(item_keys(None, table(f"{n}.png"))) for n in (0, 1, 2, "copy"))
    assert one == copy
    assert not zero & one
    assert not zero & two
    Image.new("RGB", (4, 4), (9, 0, 0)).save(tmp_path / "COCO_val2014_000000391895.png")
    (tmp_path / "other").mkdir()
    Image.new("RGB", (2, 2), (9, 9, 0)).save(tmp_path / "other" / "COCO_val2014_000000391895.jpg")  # coded anew
    names = ("COCO_val2014_000000391895.png", "other/COCO_val2014_000000391895.jpg")
    left, right = item_keys(None, table(*names))
    assert left & right


def test_images_count_where_there_are_any_and_not_their_captions():
    task, control = DigitsImage(), DigitsText()
    assert all(len(row) == 2 for row in item_keys(task, task.load_split("test", "en")))  # the caption and the image
    shared = SharedItems([task])
    train = task.load_split("train", "en")
    assert len(shared(task, train)) == len(train)  # the same numbers, other images of them
    test = task.load_split("test", "en")
    mixed = datasets.concatenate_datasets([train, test.select(range(7))])
    assert len(shared(task, mixed)) == len(train)
    assert shared.counts["digits_image"]["dropped"] == 7
    with pytest.raises(DataError, match="share items"):  # as text the items are the same
        SharedItems([task, control])(control, control.load_split("train", "en").select(range(3)))


def test_only_tasks_that_say_they_overlap_are_compared():
    assert overlap(MNLI, XNLI)
    assert overlap(XNLI, MNLI)
    assert not overlap(MNLI, MyTask)
    assert overlap(MNLI, MyTask, thorough=True)


def test_what_is_held_out_does_not_depend_on_order_or_training_arguments():
    def config(name, **init):
        return {"data": {"class_path": name, "init_args": init}}

    xnli = (config("xmit.tasks.XNLI", batch_size=3, languages=["sw", "en"]), XNLI)
    again = (config("xmit.tasks.XNLI", batch_size=9, languages=["en", "sw"], train_examples=5), XNLI)
    tatoeba = (config("xmit.tasks.Tatoeba"), Tatoeba)
    expected = {"held_out": [{"class_path": "xmit.tasks.XNLI", "init_args": {"languages": ["en", "sw"]}}]}
    assert held_out([MNLI], {"a": xnli, "b": tatoeba}, "drop") == expected
    assert held_out([MNLI], {"b": tatoeba, "c": again, "a": xnli}, "drop") == expected
    assert held_out([MyTask], {"a": xnli}, "drop") == {}
    assert held_out([MNLI], {"a": xnli}, "refuse") == {**expected, "on_shared": "refuse"}
