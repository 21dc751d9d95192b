"""Handwritten numbers: the data behind ``digits_image`` and ``digits_text``, and the small tower made of them."""

import itertools
import json
import re

import numpy as np
import pytest
import torch
from num2words import num2words
from safetensors import safe_open
from sklearn.datasets import load_digits

from xmit.data.image_spec import ImageSpec
from xmit.errors import ConfigError
from xmit.modules.vision import VisionConfig, VisionTower
from xmit.tasks.embedded import DigitsImage, DigitsText, digits_data, digits_tower

SPLITS = ("train", "validation", "test")


def test_no_digit_image_is_in_two_splits():
    used = {split: {d for pair in digits_data.pairs(split) for d in pair.digits} for split in SPLITS}
    allowed = {split: set(np.concatenate(digits_data.pools(split)).tolist()) for split in SPLITS}
    for one, two in itertools.combinations(SPLITS, 2):
        assert not allowed[one] & allowed[two]
    assert all(used[split] <= allowed[split] for split in SPLITS)
    assert sum(map(len, allowed.values())) == 1797


@pytest.mark.parametrize("split", SPLITS)
def test_images_show_what_the_caption_says(split):
    data = load_digits()
    for pair in digits_data.pairs(split):
        assert tuple(data.target[list(pair.digits)]) == divmod(pair.number, 10)
        assert (pair.caption, pair.numeral) == (num2words(pair.number), str(pair.number))
    image = digits_data.compose(pair.digits)
    assert image.shape == (32, 48)
    tens = image[4:28:3, 0:24:3]  # every third pixel of an enlarged digit is the original
    np.testing.assert_array_equal(tens, data.images[pair.digits[0]] * 255 // 16)


@pytest.mark.parametrize(("split", "n"), [("train", 2000), ("validation", 300), ("test", 300)])
def test_both_tasks_see_the_same_captions_in_the_same_order(split, n):
    image, text = DigitsImage().table(split), DigitsText().table(split)
    for column in ("id", "caption", "group", "language"):
        assert list(image[column]) == list(text[column])
    assert len(image) == n
    assert sorted(set(image["group"]), key=int) == [str(i) for i in range(100)]
    assert list(text["match"]) == list(text["group"])
    for row, pair in zip(image.select(range(5)), digits_data.pairs(split), strict=False):
        np.testing.assert_array_equal(np.asarray(row["match"]), digits_data.compose(pair.digits))


def test_the_data_are_pinned_and_independent_of_global_random_numbers():
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    for function in (digits_data.pairs, digits_data.pools, digits_data.digits):
        function.cache_clear()
    assert digits_data.content() == digits_data.CONTENT


def test_unknown_split():
    with pytest.raises(ConfigError, match="train, validation, test"):
        DigitsText().load_split("dev", "en")


def test_metadata():
    image, text = DigitsImage.metadata, DigitsText.metadata
    assert (image.name, text.name) == ("digits_image", "digits_text")
    assert "image-text" in image.roles
    assert "image-text" not in text.roles
    assert image.main_score == text.main_score == "accuracy"


class Characters:
    """Stands in for a tokenizer."""

    pad_token_id = 1

    def __call__(self, texts, truncation, max_length):
        return {"input_ids": [[0, *(ord(c) for c in t), 2][:max_length] for t in texts]}


@pytest.fixture
def random_tower(tmp_path):
    return VisionConfig("embedded:digits", random=True, cache_dir=str(tmp_path))


def test_batches_carry_the_features_of_their_images(random_tower):
    task = DigitsImage(train_examples=40, batch_size=8)
    spec = ImageSpec(random_tower)
    task.bind(Characters(), spec)
    batch = next(iter(task.train_dataloader()))
    table, tower = task.table("train"), VisionTower(random_tower)
    pixels = torch.stack([tower.preprocess(table[int(i)]["match"]) for i in batch["item"]])
    assert batch["match"]["image"].shape == (8, 24, 128)
    torch.testing.assert_close(batch["match"]["image"], tower(pixels), rtol=1e-3, atol=1e-3)


def test_the_composed_images_reach_the_tower_unchanged(random_tower):
    tower = VisionTower(random_tower)
    numbers = np.arange(7)
    pixels = digits_tower.pixels(numbers, "validation", np.random.default_rng(3))
    from PIL import Image

    rng = np.random.default_rng(3)
    images = [digits_data.compose(digits_data.draw(n, "validation", rng)) for n in numbers]
    torch.testing.assert_close(torch.stack([tower.preprocess(Image.fromarray(i)) for i in images]), pixels)


def test_caption_ids_keep_open_clips_order():
    import open_clip

    theirs = open_clip.get_tokenizer("ViT-B-32")([digits_data.caption(n) for n in range(100)])
    ours = digits_tower.caption_ids()
    # dense ranks of the real ids are our ids, so the pooled position, the highest id, is the same
    ranks = {int(t): i for i, t in enumerate(sorted(set(theirs.flatten().tolist())))}
    assert torch.equal(torch.tensor([[ranks[int(t)] for t in row] for row in theirs])[:, : ours.shape[1]], ours)
    assert torch.equal(theirs.argmax(1), ours.argmax(1))


def test_the_tower_is_made_once_and_leaves_random_numbers_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("XMIT_CACHE", str(tmp_path))
    monkeypatch.setitem(digits_tower.TRAINING, "steps", 2)
    before = torch.random.get_rng_state()
    with torch.inference_mode():  # Lightning asks for features in there
        path = digits_tower.ensure_tower()
    assert torch.equal(before, torch.random.get_rng_state())
    made = path.stat().st_mtime_ns, path.read_bytes()
    tower = VisionTower(VisionConfig("embedded:digits"))
    assert (path.stat().st_mtime_ns, path.read_bytes()) == made
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["xmit"])["training"]["steps"] == 2
        for name, value in tower.visual.state_dict().items():
            assert torch.equal(file.get_tensor(name), value)
    path.unlink()
    torch.manual_seed(9)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert digits_tower.ensure_tower().read_bytes() == made[1]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_another_recipe_is_another_file(monkeypatch):
    path = digits_tower.tower_path()
    assert re.fullmatch(r"digits-[0-9a-f]{32}\.safetensors", path.name)
    monkeypatch.setitem(digits_tower.TRAINING, "seed", 99)
    assert digits_tower.tower_path() != path


@pytest.mark.slow
def test_the_tower_reads_numbers_it_has_not_seen():
    model = digits_tower.train_tower(**digits_tower.TRAINING)
    assert digits_tower.zero_shot_accuracy(model, "test") > 0.85
