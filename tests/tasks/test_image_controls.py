"""The controls of image-text training: shuffled images and none, on the same rows as with images."""

from __future__ import annotations

import shutil
from collections import Counter

import mini_hub_images
import mini_image_files as mini
import numpy as np
import pytest
import torch
import yaml
from image_tools import Tower
from mini_hub import IMAGE_LANGUAGES, Hub
from mini_hub_images import BUILDERS

from xmit.__main__ import main
from xmit.errors import ConfigError
from xmit.registry import get_task
from xmit.study.leakage import SharedItems, item_keys, name_keys
from xmit.study.results import load_results
from xmit.tasks.with_images import shuffle

pytestmark = pytest.mark.filterwarnings("ignore:task .* rows instead of the published")


def test_shuffling_gives_every_image_another_place():
    rows = [(f"k{i // 2}",) for i in range(40)]
    shuffled = shuffle(rows, 3)
    assert all(a != b for a, b in zip(rows, shuffled, strict=True))
    assert Counter(shuffled) == Counter(rows)
    assert len(set(zip(rows, shuffled, strict=True))) == 20  # the same other image for all rows of one
    assert shuffle(rows, 3) == shuffled != shuffle(rows, 4)


def test_the_controls_change_nothing_but_the_images(tmp_path, tokenizer):
    torch.manual_seed(5)
    folder = str(mini.xvnli_files(tmp_path, ["ar", "en"]))
    real, other, none = (
        get_task("xvnli")(languages=["ar", "en"], data_dir=folder, images=how) for how in ("real", "shuffled", "none")
    )
    for task in (real, other):
        task.bind(tokenizer, Tower())
    none.bind(tokenizer)  # without a tower
    for split in ("train", "test"):
        a, b, c = (task.examples(split) for task in (real, other, none))
        assert a.ids == b.ids == c.ids
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.labels, c.labels)
        assert all(np.array_equal(a.text["text"].flat, x.text["text"].flat) for x in (b, c))
        assert not c.images
        assert all(x != y for x, y in zip(a.images["text"], b.images["text"], strict=True))
        half = len(a.ids) // 2
        if split == "test":  # translations see the same image
            assert b.images["text"][:half] == b.images["text"][half:]
    assert [list(batch) for batch in real.train_batches()] == [list(batch) for batch in none.train_batches()]
    assert "image" not in next(iter(none.train_dataloader()))["text"]
    assert none.split_images("train") == ()
    with pytest.raises(ConfigError, match=r"no vision tower: set model\.vision\.name"):
        real.bind(tokenizer)


def test_without_images_a_caption_is_matched_with_another_of_its_image(tmp_path, tokenizer):
    task = get_task("flickr30k_itm")(data_dir=str(mini.flickr_files(tmp_path)), images="none")
    task.bind(tokenizer)
    table = task.table("train")
    matches = task.matches(table)
    for row, match in zip(table, matches, strict=True):
        assert match != row["caption"]
        assert match[:-1] == row["caption"][:-1]  # the two captions of an image differ in their last sign
    assert set(task.examples("validation").text) == {"text"}


@pytest.mark.parametrize("images", ["shuffled", "none"])
def test_the_controls_run_from_the_command_line(images, tmp_path, tiny_encoder):
    folder = mini.emoji_files(tmp_path / "data")
    config = {
        "model": {"encoder": tiny_encoder},
        "trainer": {"max_steps": 2, "val_check_interval": 2, "check_val_every_n_epoch": None, "logger": False,
                    "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"},
        "data": {"class_path": "xmit.tasks.Emoji",
                 "init_args": {"data_dir": str(folder), "images": images, "batch_size": 8}},
    }  # fmt: skip
    if images != "none":
        config["model"]["vision"] = {"name": "embedded:digits", "random": True}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "r")]) == 0
    rows = load_results(tmp_path / "r")
    assert set(rows[rows.is_main].metric) == {"accuracy"}
    assert (tmp_path / "r" / "encoder" / "model.safetensors").is_file()


# -- the same rows in all arms -------------------------------------------------------------------------------


def arms(name, tests, tokenizer, **settings):
    """The training rows of the three arms, those that share an image with test data left out; and how many."""
    rows, dropped = {}, set()
    for images in ("real", "shuffled", "none"):
        task, shared = get_task(name)(images=images, **settings), SharedItems(tests)
        task.train_filter = shared
        task.bind(tokenizer, None if images == "none" else Tower())
        rows[images] = task.examples("train").ids
        dropped.add(shared.counts[name]["dropped"])
    assert rows["real"] == rows["shuffled"] == rows["none"]
    assert len(dropped) == 1
    return rows["real"], dropped.pop()


@pytest.mark.parametrize(
    ("name", "test"),
    [("gqa", "xgqa"), ("snli_ve", "xvnli"), ("vqa_v2", "vqa_v2"), ("flickr30k_itm", "xflickrco")],
)
def test_arms_train_on_the_same_rows_of_the_hub(name, test, tmp_path, tokenizer, monkeypatch):
    """Their file names tell nothing here, so the images themselves must be looked at."""
    hub = Hub(tmp_path)
    hub.install(monkeypatch)
    if name == "flickr30k_itm":  # one of its training images is a test image
        every = mini_hub_images.captioned

        def captioned(*args, **kwargs):
            return [row | {"file": "shared.jpg"} if i == 3 else row for i, row in enumerate(every(*args, **kwargs))]

        monkeypatch.setattr(mini_hub_images, "captioned", captioned)
    hub.fill({each: BUILDERS[each] for each in {name, test}})
    settings = {"test_split": "validation"} if test == "vqa_v2" else {"languages": IMAGE_LANGUAGES[test]}
    ids, dropped = arms(name, [get_task(test)(**settings)], tokenizer)
    assert len(ids) > 0
    assert (dropped > 0) == (name != "vqa_v2")  # whose two splits have no image in common


def test_arms_train_on_the_same_rows_of_files(tmp_path, tokenizer):
    mini.marvl_files(tmp_path, ["sw"])
    copied = next((tmp_path / "zero_shot").rglob("3-1.jpg")).read_bytes()  # under another name
    (tmp_path / "images" / "train" / "1" / "train-4-0-img0.png").write_bytes(copied)
    ids, dropped = arms("nlvr2", [get_task("marvl")(data_dir=str(tmp_path), languages=["sw"])], tokenizer,
                        data_dir=str(tmp_path))  # fmt: skip
    assert (len(ids), dropped) == (11, 1)
    assert "train-4-0-0" not in ids


def test_bad_images_leave_the_same_rows_out_of_all_arms(tmp_path, tokenizer):
    folder = mini.snli_ve_files(tmp_path)
    (folder / "flickr30k-images" / "1001.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with pytest.warns(UserWarning, match=r"^\d+ of \d+ rows are left out for their bad images"):  # of the control
        ids, dropped = arms("snli_ve", [], tokenizer, data_dir=str(folder), on_bad_image="skip")
    assert dropped == 0
    assert len(ids) == 11 - 2  # one of its three pairs has no label


def test_the_control_without_images_takes_no_tower(tiny_encoder, capsys, tmp_path):
    fit = ["fit", "--data", "snli_ve", "--data.data_dir", str(mini.snli_ve_files(tmp_path / "data"))]
    fit += ["--data.images", "none", "--model.encoder", tiny_encoder, "--trainer.max_steps", "1"]
    fit += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    tower = ["--model.vision.name", "embedded:digits", "--model.vision.random", "true"]
    assert main([*fit, *tower, "--output", str(tmp_path / "with")]) == 1
    assert "no images (images: none), so no tower: set model.vision to null" in capsys.readouterr().err
    assert main([*fit, *tower, "--model.vision", "null", "--output", str(tmp_path / "without")]) == 0
    assert not (tmp_path / "without" / "fusion").exists()


def test_without_any_image_at_hand_the_control_says_what_it_cannot_see(tmp_path, tokenizer):
    folder = mini.snli_ve_files(tmp_path)
    shutil.rmtree(folder / "flickr30k-images")
    task = get_task("snli_ve")(data_dir=str(folder), images="none")
    assert len(task.table("train")) == 11  # nothing to say where nothing is left out
    for settings, test in (({}, []), ({"on_bad_image": "skip"}, None)):
        task = get_task("snli_ve")(data_dir=str(folder), images="none", **settings)
        task.train_filter = SharedItems(test) if test is not None else None
        task.bind(tokenizer)
        with pytest.warns(UserWarning, match=r"may use fewer rows than this one.* by file names alone: .*none of its"):
            assert len(task.examples("train")) == 11


def test_names_tell_images_that_the_hub_has_coded_anew(tmp_path, monkeypatch):
    """The hub's copies of a photograph differ from each other in their bytes, not in whose they are."""
    hub = Hub(tmp_path)
    hub.install(monkeypatch)
    pairs = mini_hub_images.entailment
    monkeypatch.setattr(mini_hub_images, "entailment", lambda *a: [r | {"photo": f"47{r['photo']}"} for r in pairs(*a)])
    hub.fill({"xvnli": BUILDERS["xvnli"]})
    mine, theirs = get_task("snli_ve")(), get_task("xvnli")(languages=["en"])
    sides = ((mine, mine.load_split("train", "en")), (theirs, theirs.load_split("test", "en")))
    one, other = (set().union(*item_keys(task, table.remove_columns("image"), True)) for task, table in sides)
    assert one & other == {*name_keys("471000.jpg"), *name_keys("471001.jpg")}
