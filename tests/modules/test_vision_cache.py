"""Features from the cache against live ones, and that nothing is computed twice."""

import json
import pickle
import subprocess
import sys

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from xmit.data import survey
from xmit.data.image_spec import ImageSpec
from xmit.data.images import content_key
from xmit.errors import DataError
from xmit.modules import vision
from xmit.modules.vision import VisionConfig, VisionTower

pytestmark = pytest.mark.usefixtures("tiny_models")


def test_cached_features_equal_live_ones_to_half_precision(tower_config, images):
    spec, tower = ImageSpec(tower_config), VisionTower(tower_config)
    keys = spec.encode([*images, images[0]])
    assert len(set(keys)) == len(images)
    assert keys[0] == keys[-1]
    live = torch.cat([tower(tower.preprocess(image)[None]) for image in images])
    cached = spec.batch([(key,) for key in keys[:-1]])
    assert cached.dtype == torch.float32
    torch.testing.assert_close(cached, live, rtol=2**-10, atol=1e-5)
    assert torch.equal(spec.batch([(key,) for key in keys[1:4]]), cached[1:4])
    assert (spec.width, spec.n_tokens, spec.fingerprint) == (tower.width, tower.n_tokens, tower.fingerprint)


def test_nothing_is_computed_twice(tower_config, images, monkeypatch):
    first = ImageSpec(tower_config)
    keys = first.encode(images[:3])
    files = sorted(first.cache.folder.iterdir())

    def never(*args):
        raise AssertionError("the tower was built")

    monkeypatch.setattr(vision, "VisionTower", never)
    again = ImageSpec(tower_config)
    assert again.encode(images[:3]) == keys
    assert torch.equal(again.batch([(key,) for key in keys]), first.batch([(key,) for key in keys]))
    assert sorted(first.cache.folder.iterdir()) == files
    with pytest.raises(AssertionError, match="the tower was built"):
        again.encode(images)


def test_an_interrupted_run_keeps_its_work(tower_config, images, monkeypatch):
    monkeypatch.setattr(survey, "_BATCH", 2)

    class Interrupted(list):
        def __getitem__(self, number):
            if number == 3:
                raise KeyboardInterrupt
            return super().__getitem__(number)

    with pytest.raises(KeyboardInterrupt):
        ImageSpec(tower_config).encode(Interrupted(images))
    spec = ImageSpec(tower_config)
    assert [content_key(image) in spec.cache for image in images[:3]] == [True, True, False]


def test_a_damaged_shard_is_computed_again(tower_config, images):
    spec = ImageSpec(tower_config)
    keys = spec.encode(images)
    expected = spec.batch([(key,) for key in keys])
    path = next(spec.cache.folder.glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    again = ImageSpec(tower_config)
    with pytest.raises(DataError, match="damaged: delete it"):
        again.batch([(key,) for key in again.encode(images)])
    path.write_bytes(content[:-1] + b"?")  # in the index, which is read when the cache is opened
    again = ImageSpec(tower_config)
    with pytest.warns(UserWarning, match="damaged"):
        assert again.encode(images) == keys
    assert torch.equal(again.batch([(key,) for key in keys]), expected)


def test_other_weights_are_another_cache(tower_config, checkpoint, images):
    spec = ImageSpec(tower_config)
    fingerprint = spec.fingerprint
    state = {k: v + 0.01 for k, v in open_clip.create_model("xmit-tiny").state_dict().items()}
    save_file(state, checkpoint)
    other = ImageSpec(tower_config)
    assert other.fingerprint != fingerprint
    other.encode(images)
    assert other.cache.folder != spec.cache.folder


def test_keys_follow_pixels_not_files(images, tmp_path):
    grey = images[0].convert("L")
    grey.save(tmp_path / "grey.png")
    assert content_key(Image.open(tmp_path / "grey.png")) == content_key(grey.convert("RGB")) != content_key(images[0])
    assert content_key(Image.new("RGB", (4, 2))) != content_key(Image.new("RGB", (2, 4)))


def test_a_spec_goes_to_worker_processes(tower_config, images):
    spec = ImageSpec(tower_config)
    keys = spec.encode(images)
    packed = pickle.dumps(spec)
    assert len(packed) < 2000
    assert torch.equal(pickle.loads(packed).batch([(key,) for key in keys]), spec.batch([(key,) for key in keys]))


CACHED_RUN = """
import json, sys
from PIL import Image
from xmit.data.image_spec import ImageSpec
from xmit.modules.vision import VisionConfig
spec = ImageSpec(VisionConfig(**json.loads(sys.argv[1])))
keys = spec.encode([Image.new("L", (48, 32), n) for n in range(3)])
print(spec.width, spec.n_tokens, tuple(spec.batch([(key,) for key in keys]).shape), spec._tower)
heavy = {"open_clip", "timm", "torchvision", "sklearn"} & set(sys.modules)
"""


@pytest.mark.parametrize("named", ["embedded:digits", "xmit-tiny"])
def test_training_from_the_cache_imports_no_open_clip(named, tmp_path, checkpoint):
    arguments = {"name": named, "cache_dir": str(tmp_path / "features")}
    arguments |= {"random": True} if named == "embedded:digits" else {"weights": str(checkpoint)}
    ImageSpec(VisionConfig(**arguments)).encode([Image.new("L", (48, 32), n) for n in range(3)])
    # torchvision may be there: transformers and torchmetrics import it by themselves
    check = CACHED_RUN + "assert not heavy & {'open_clip', 'timm', 'sklearn'}, heavy"
    run = subprocess.run([sys.executable, "-c", check, json.dumps(arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[-1] == "None"
