"""Images to features: what is decoded and when, who shares the work, and what a killed run leaves."""

import multiprocessing
import random
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xmit.data import survey
from xmit.data.features import FeatureCache
from xmit.data.image_spec import ImageSpec
from xmit.data.images import content_key, open_image
from xmit.data.survey import Survey
from xmit.errors import ConfigError, DataError
from xmit.modules import vision
from xmit.modules.vision import VisionConfig

N = 6


class Pixels(torch.nn.Module):
    """Stands in for a tower: an image's first pixels are its features."""

    n_tokens, width, fingerprint = 3, 100, "f" * 64

    def __init__(self, config):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def preprocess(self, image):
        return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).float()

    def forward(self, pixels):
        return pixels[:, :300].reshape(len(pixels), 3, 100) * self.scale


@pytest.fixture(autouse=True)
def quick_tower(monkeypatch):
    monkeypatch.setattr(vision, "VisionTower", Pixels)


@pytest.fixture
def config(tmp_path):
    return VisionConfig("pixels", random=True, cache_dir=str(tmp_path / "features"))


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    paths = []
    for n in range(N):
        noise = np.random.default_rng(n).integers(0, 256, (32, 48, 3), dtype=np.uint8)
        paths.append(str(folder / f"{n}.png"))
        Image.fromarray(noise).save(paths[-1])
    return paths


@pytest.fixture
def decoded(monkeypatch):
    """The names of what is decoded."""
    names: list[str] = []

    def decode(content, name="image"):
        names.append(name)
        return open_image(content)

    monkeypatch.setattr(survey, "decode", decode)
    return names


class Lazy:
    """A sequence that counts who asks."""

    def __init__(self, items):
        self.items, self.asked = items, 0

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        self.asked += 1
        return self.items[number]


def test_a_file_seen_before_is_not_decoded_again(config, files, decoded):
    rows = files * 3  # as questions about images are: many rows an image
    keys = ImageSpec(config).encode(rows)
    assert keys == [content_key(open_image(path)) for path in files] * 3
    assert len(decoded) == N
    images = Lazy(rows)
    assert ImageSpec(config).encode(images) == keys
    assert len(decoded) == N
    assert images.asked == len(rows) + 1  # the end of the sequence


def test_bytes_and_open_images_are_known_too(config, files, decoded):
    contents = [{"bytes": Path(path).read_bytes(), "path": None} for path in files]
    keys = ImageSpec(config).encode(files)
    assert len(decoded) == N
    assert ImageSpec(config).encode(contents) == keys  # their files have been seen
    assert ImageSpec(config).encode([Image.open(path) for path in files]) == keys
    assert ImageSpec(config).encode([Image.open(path) for path in files]) == keys
    assert len(decoded) == 2 * N  # an open image tells no file: its pixels are looked at, once


def test_files_that_were_copied_are_told_by_their_bytes(config, files, decoded, tmp_path):
    keys = ImageSpec(config).encode(files)
    copies = []
    for path in files:
        copies.append(str(tmp_path / f"copy-{Path(path).name}"))
        Path(copies[-1]).write_bytes(Path(path).read_bytes())
    assert ImageSpec(config).encode(copies) == keys
    assert len(decoded) == N


def test_a_file_that_changed_is_another_image(config, files):
    before = ImageSpec(config).encode(files)
    Image.new("RGB", (48, 32), "red").save(files[2])
    after = ImageSpec(config).encode(files)
    assert [a == b for a, b in zip(after, before, strict=True)] == [n != 2 for n in range(N)]


def test_equal_pixels_are_computed_once(config, files, tmp_path):
    Image.open(files[0]).save(tmp_path / "same.bmp")
    spec = ImageSpec(config)
    keys = spec.encode([files[0], str(tmp_path / "same.bmp"), files[1]])
    assert keys[0] == keys[1] != keys[2]
    assert len(spec.cache) == 2


def test_two_images_an_item(config, files):
    spec = ImageSpec(config)
    keys = spec.encode(files)
    pairs = spec.batch([(keys[0], keys[1]), (keys[2], keys[0])])
    single = spec.batch([(key,) for key in keys])
    assert pairs.shape == (2, 2 * spec.n_tokens, spec.width)
    assert torch.equal(pairs[1], torch.cat([single[2], single[0]]))


def test_bad_images_are_refused_or_left_out_with_one_warning(config, files, tmp_path):
    Path(files[1]).write_bytes(b"no image")
    rows = [*files, str(tmp_path / "gone.png"), files[1]]
    with pytest.raises(DataError, match=rf"{files[1]} cannot be decoded.*\(image 2\)"):
        ImageSpec(config).encode(rows[:N])
    with pytest.raises(DataError, match=r"gone.png cannot be read.*\(image 7\)"):
        ImageSpec(config).encode(rows)
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match=f"3 of 8 images are bad.*number 2: image {files[1]} cannot") as caught:
            keys = ImageSpec(config).encode(rows, on_bad="skip")
        assert len(caught) == 1
        assert [key is None for key in keys] == [n in (1, 6, 7) for n in range(8)]
    assert len(ImageSpec(config).cache) == N - 1
    with pytest.raises(ConfigError, match="on_bad_image must be one of refuse, skip"):
        ImageSpec(config).encode(rows, on_bad="drop")


def test_workers_and_random_numbers(config, files):
    alone = ImageSpec(config)
    alone.encode(files)
    other = VisionConfig("pixels", random=True, cache_dir=f"{config.cache_dir}-2")
    state = torch.random.get_rng_state()
    spec = ImageSpec(other)
    keys = spec.encode(Lazy(files), workers=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(spec.batch([keys]), alone.batch([keys]))
    assert [p.name for p in sorted(spec.cache.folder.iterdir())] == [
        p.name for p in sorted(alone.cache.folder.iterdir())
    ]


def test_parts_share_the_work(config, files):
    specs = [ImageSpec(config) for _ in range(3)]
    surveys = [Survey(spec, files) for spec in specs]  # all begin before one has ended
    for number, part in enumerate(surveys):
        part.compute(part=(number, 3))
    specs[0].cache.refresh()
    assert len(specs[0].cache) == N
    assert sum(len(shard.keys) for shard in specs[0].cache._shards) == N  # nothing twice
    late = Survey(specs[0], files)
    assert late.missing == {}
    late.compute()
    assert late.keys() == ImageSpec(config).encode(files)


def test_a_survey_leaves_out_what_others_have_computed_meanwhile(config, files, decoded):
    spec = ImageSpec(config)
    first, second = Survey(spec, files[:4]), Survey(spec, files[2:])
    assert (len(first.missing), len(second.missing)) == (4, N - 2)
    first.compute()
    second.compute()
    assert len(decoded) == N


def test_long_work_is_written_every_minute(config, files, monkeypatch):
    monkeypatch.setattr(survey, "_BATCH", 1)
    monkeypatch.setattr(survey, "_SHARD_SECONDS", 0.0)
    spec = ImageSpec(config)
    spec.encode(files)
    assert len(spec.cache._shards) == N
    small = ImageSpec(VisionConfig("pixels", random=True, cache_dir=f"{config.cache_dir}-2"))
    monkeypatch.setattr(survey, "_SHARD_SECONDS", 1e9)
    monkeypatch.setattr(survey, "_SHARD_BYTES", 2 * small.row_bytes)
    small.encode(files)
    assert [len(shard.keys) for shard in small.cache._shards] == [2] * (N // 2)


# -- killed, and gone on -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_twenty_random_points(config, tmp_path, monkeypatch):
    """After every kill all there is is sound, and nothing that was written is computed again."""
    paths, n = [], 1200
    for number in range(n):
        paths.append(tmp_path / f"{number:04d}.png")
        noise = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(paths[-1], compress_level=0)
    monkeypatch.setattr(survey, "_BATCH", 4)
    monkeypatch.setattr(survey, "_SHARD_SECONDS", 0.0)
    fork, chance = multiprocessing.get_context("fork"), random.Random(0)
    folder = FeatureCache(config.cache_dir, Pixels.fingerprint).folder
    there = 0
    for _ in range(20):
        run = fork.Process(target=lambda: ImageSpec(config).encode(paths))
        run.start()
        wanted = len(list(folder.glob("*.safetensors"))) + chance.randint(1, 8)
        while len(list(folder.glob("*.safetensors"))) < wanted:
            assert run.is_alive()
        time.sleep(chance.uniform(0, 0.02))  # anywhere in the work on the next shard
        run.kill()
        run.join()
        assert run.exitcode == -signal.SIGKILL
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a damaged shard is a warning
            cache = FeatureCache(config.cache_dir, Pixels.fingerprint)
            assert cache.check() == len(cache) > there
        assert sum(len(shard.keys) for shard in cache._shards) == len(cache)  # no key is there twice
        there = len(cache)
    assert there < n
    keys = ImageSpec(config).encode(paths)
    assert keys == [content_key(open_image(path)) for path in paths]
    cache = FeatureCache(config.cache_dir, Pixels.fingerprint)
    assert len(cache) == sum(len(shard.keys) for shard in cache._shards) == cache.check() == n
    pixels = np.stack([np.asarray(Image.open(path)).reshape(-1)[:300].reshape(3, 100) for path in paths])
    np.testing.assert_array_equal(cache.read(keys), pixels.astype(np.float16))
