"""What tasks with images make of answers, captions and names: classes, scores and masks."""

from __future__ import annotations

import mini_image_files as mini
import numpy as np
import pytest
import torch
from image_tools import Tower

from xmit.data.images import content_key
from xmit.errors import ConfigError
from xmit.registry import get_task

pytestmark = pytest.mark.filterwarnings("ignore:task .* rows instead of the published")


# -- answers -------------------------------------------------------------------------------------------------


def test_answers_are_classes_and_what_is_no_class_is_wrong(tmp_path, tokenizer):
    task = get_task("gqa")(data_dir=str(mini.gqa_files(tmp_path)), answers=2, batch_size=12)
    task.bind(tokenizer, Tower())
    assert task.vocabulary == ["yes", "no"]
    assert task.head_spec().options["num_labels"] == 2
    batch = task.collate(task.examples("train"), list(range(4)))
    assert batch["answers"].tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]
    rows = task.predictions({"item": torch.arange(5), "prediction": torch.tensor([0, 0, 1, 1, 0])}, "test")
    assert list(rows["target"]) == ["yes", "no", "2", "red", "yes"]
    scores = {score.metric: score.value for score in task.score(rows)}
    assert scores["accuracy"] == pytest.approx(2 / 5)


def test_vqa_has_soft_targets_and_the_official_score(tmp_path, tokenizer):
    task = get_task("vqa_v2")(data_dir=str(mini.vqa_files(tmp_path)))
    task.bind(tokenizer, Tower())
    assert set(task.vocabulary) == {"yes", "no", "2", "red"}
    batch = task.collate(task.examples("train"), [0])
    targets = dict(zip(task.vocabulary, batch["answers"][0].tolist(), strict=True))
    assert targets == pytest.approx({"yes": 1.0, "no": 0.6, "2": 0.0, "red": 0.0})
    places = [task.vocabulary.index(answer) for answer in ("no", "no", "2", "2", "yes", "yes")]
    rows = task.predictions({"item": torch.arange(6), "prediction": torch.tensor(places)}, "validation")
    (score,) = task.score(rows)
    assert (score.metric, score.n) == ("vqa_accuracy", 6)
    assert score.value == pytest.approx((0.6 + 1 + 1 + 0 + 1 + 0) / 6)


def test_classes_do_not_depend_on_the_rows_drawn(tmp_path, tokenizer):
    folder = str(mini.gqa_files(tmp_path))
    few, every = (get_task("gqa")(data_dir=folder, train_examples=n) for n in (2, None))
    assert few.vocabulary == every.vocabulary
    assert len(few.table("train")) == 2


# -- matching ------------------------------------------------------------------------------------------------


def retrieved(tmp_path, tokenizer, vectors):
    """The task, and the prediction rows it makes of vectors by item."""
    task = get_task("xflickrco")(languages=["en", "tr"], data_dir=str(mini.xflickrco_files(tmp_path, ["en", "tr"])))
    task.bind(tokenizer, Tower())
    examples = task.examples("test")
    items = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))
    return task, task.predictions({"item": items, "vector": vectors(len(examples))[items]}, "test")


def test_recall_is_that_of_sorting_everything(tmp_path, tokenizer):
    rng = torch.Generator().manual_seed(1)
    made = {}

    def vectors(n):
        made["v"] = torch.nn.functional.normalize(torch.randn(n, 3, generator=rng), dim=-1)
        return made["v"]

    task, rows = retrieved(tmp_path, tokenizer, vectors)
    assert len(made["v"]) == 5 + 2 * 5  # the images of both languages are the same
    scores = {(s.language, s.metric): s.value for s in task.score(rows)}
    for place, code in enumerate(("en", "tr")):
        captions, images = made["v"][place * 5 : place * 5 + 5], made["v"][10:]
        order = (captions @ images.T).argsort(1, descending=True)
        first = [(row == i).nonzero().item() for i, row in enumerate(order)]
        back = [(row == i).nonzero().item() for i, row in enumerate((images @ captions.T).argsort(1, descending=True))]
        for name, ranks in (("t2i", first), ("i2t", back)):
            for k in (1, 5, 10):
                assert scores[code, f"{name}_recall@{k}"] == pytest.approx(np.mean([r < k for r in ranks]))
        both = np.mean([np.mean([r < 1 for r in ranks]) for ranks in (first, back)])
        assert scores[code, "recall@1"] == pytest.approx(both)
    assert any(score.metric.startswith("consistency/") for score in task.evaluate(rows))


def test_vectors_that_collapse_find_nothing(tmp_path, tokenizer):
    task, rows = retrieved(tmp_path, tokenizer, lambda n: torch.ones(n, 3))
    assert {s.value for s in task.score(rows) if s.metric == "recall@1"} == {0.2}


def test_batches_for_scoring_are_of_captions_or_of_images(tmp_path, tokenizer):
    task = get_task("xm3600")(languages=["en", "qu"], data_dir=str(mini.xm3600_files(tmp_path, ["en", "quz"])))
    task.bind(tokenizer, Tower())
    seen, images = [], 0
    for batch in task.test_dataloader():
        seen += batch["item"].tolist()
        images += len(batch["item"]) if "image" in batch["text"] else 0
    assert sorted(seen) == list(range(5 + 2 * 5 * 3))
    assert images == 5
    with pytest.raises(ConfigError, match="only scored"):
        task.load_split("train", "en")


def test_masked_captions_stand_beside_their_own_image(tmp_path, tokenizer):
    task = get_task("image_mlm")(data_dir=str(mini.flickr_files(tmp_path)), batch_size=4)
    task.bind(tokenizer, Tower())
    splits = {split: {row["group"] for row in task.table(split)} for split in mini.N}
    assert len(set().union(*splits.values())) == sum(map(len, splits.values()))
    table, examples = task.table("train"), task.examples("train")
    assert len(examples) == len(table) == 24
    for i, row in enumerate(table):
        ids = examples.text["text"].flat[examples.text["text"].offsets[i] : examples.text["text"].offsets[i + 1]]
        assert tokenizer.decode(ids, skip_special_tokens=True) == row["text"]
        assert examples.images["text"][i] == (content_key(mini.image(row["group"].partition("-")[2])),)
    batch = next(iter(task.train_dataloader()))
    assert ((batch["labels"] != -100).sum(1) > 0).all()
    emoji = get_task("image_mlm")(source="emoji", data_dir=str(mini.emoji_files(tmp_path / "e")))
    assert emoji.table("train")[0]["text"].startswith("emoji ")


# -- emoji ---------------------------------------------------------------------------------------------------


def test_names_are_masked_as_asked_and_alike_for_every_run(tmp_path):
    folder = str(mini.emoji_files(tmp_path))
    shares = {}
    for masked in (0.0, 0.5, 1.0):
        words = " ".join(get_task("emoji")(data_dir=folder, masked=masked).table("train")["text"]).split()
        shares[masked] = words.count("<mask>") / len(words)
    assert (shares[0.0], shares[1.0]) == (0, 1)
    assert 0.3 < shares[0.5] < 0.7
    with pytest.raises(ConfigError, match="from 0 to 1"):
        get_task("emoji")(data_dir=folder, masked=2.0)


def test_no_emoji_is_in_two_splits(tmp_path):
    task = get_task("emoji")(data_dir=str(mini.emoji_files(tmp_path)))
    ids = [set(task.table(split)["id"]) for split in mini.N]
    assert len(set().union(*ids)) == sum(map(len, ids)) == 60
    names = get_task("emoji_names")(data_dir=str(tmp_path), languages=["nb", "sw"])
    assert set(names.table("test")["id"]) == ids[2]
    with pytest.raises(ConfigError, match="on no hub: pass data_dir"):
        get_task("emoji")().table("train")
