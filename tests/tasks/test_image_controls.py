"""The controls of image-text training: shuffled images and none, on the same rows as with images."""

from __future__ import annotations

from collections import Counter

import mini_image_files as mini
import numpy as np
import pytest
import torch
import yaml
from image_tools import Tower

from xmit.__main__ import main
from xmit.errors import ConfigError
from xmit.registry import get_task
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
