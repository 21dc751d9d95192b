"""The vision tower against open_clip's full models, and features from the cache against live ones."""

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
import yaml
from open_clip.pretrained import get_pretrained_cfg
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from xmit.data import survey
from xmit.data.image_spec import ImageSpec
from xmit.data.images import content_key
from xmit.errors import DataError, EncoderError, XmitError
from xmit.modules import open_clip_tower, vision
from xmit.modules.vision import VisionConfig, VisionTower

TEXT = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16}
MODELS = {
    "xmit-tiny": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT},
    "xmit-tiny-quickgelu": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "xmit-wide": {"embed_dim": 24, "vision_cfg": VIT | {"width": 48}, "text_cfg": TEXT},
    **{
        name: {
            "embed_dim": 24,
            "vision_cfg": {"timm_model_name": timm, "timm_pool": pool, "image_size": 224},
            "text_cfg": TEXT,
            "custom_text": True,
        }
        for name, timm, pool in (
            ("xmit-timm", "vit_tiny_patch16_224", "token"),
            ("xmit-timm-gap", "vit_tiny_patch16_224", "avg"),
            ("xmit-timm-eva", "eva02_tiny_patch14_224", "token"),
            ("xmit-timm-convnext", "convnext_atto", "avg"),
        )
    },
}


@pytest.fixture(scope="module", autouse=True)
def tiny_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    for name, config in MODELS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def images():
    rng = torch.Generator().manual_seed(0)
    sizes = [(32, 32), (40, 32), (17, 64), (100, 50), (8, 8)]
    return [
        Image.fromarray(torch.randint(0, 256, (h, w, 3), dtype=torch.uint8, generator=rng).numpy()) for w, h in sizes
    ]


def full_model(name, path):
    """A full model of open_clip with random weights, saved as its trainer saves them."""
    torch.manual_seed(3)
    model = open_clip.create_model(name).eval()
    state = model.state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "name": "x", "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    return model


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "weights.safetensors"
    full_model("xmit-tiny", path)
    return path


@pytest.fixture
def config(checkpoint, tmp_path):
    return VisionConfig("xmit-tiny", weights=str(checkpoint), cache_dir=str(tmp_path / "features"))


# -- the tower is open_clip's visual half ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["xmit-tiny", "xmit-tiny-quickgelu"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_equals_the_full_model(name, suffix, tmp_path, images):
    path = tmp_path / f"weights{suffix}"
    full = full_model(name, path)
    _, _, transform = open_clip.create_model_and_transforms(name, pretrained=str(path))
    tower = VisionTower(VisionConfig(name, weights=str(path)))
    pooler = VisionTower(VisionConfig(name, weights=str(path), output="pooled"))
    pixels = torch.stack([tower.preprocess(image) for image in images])
    assert torch.equal(pixels, torch.stack([transform(image) for image in images]))
    full.visual.output_tokens = True
    with torch.inference_mode():
        pooled, tokens = full.visual(pixels)
    assert torch.equal(tower(pixels), tokens)
    assert torch.equal(pooler(pixels)[:, 0], pooled)
    assert (tower.n_tokens, tower.width) == (16, 32)
    assert (pooler.n_tokens, pooler.width) == (1, 24)
    assert not any("token_embedding" in name for name, _ in tower.named_parameters())
    assert tower.fingerprint != pooler.fingerprint


@pytest.mark.slow
def test_equals_the_full_vit_b_32(tmp_path, images):
    path = tmp_path / "weights.safetensors"
    full = full_model("ViT-B-32", path)
    full.visual.output_tokens = True
    tower = VisionTower(VisionConfig("ViT-B-32", weights=str(path)))
    pixels = torch.stack([tower.preprocess(image) for image in images])
    with torch.inference_mode():
        assert torch.equal(tower(pixels), full.visual(pixels)[1])
    assert (tower.n_tokens, tower.width) == (49, 768)


def test_another_image_size_resizes_positions_as_open_clip_does(tmp_path):
    path = tmp_path / "weights.pt"
    full_model("xmit-tiny", path)
    full = open_clip.create_model("xmit-tiny", pretrained=str(path), force_image_size=64).eval()
    full.visual.output_tokens = True
    tower = VisionTower(VisionConfig("xmit-tiny", weights=str(path), image_size=64))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(tower(pixels), full.visual(pixels)[1])
    assert tower.n_tokens == 64
    with pytest.raises(EncoderError, match="50 is not a multiple of the patch size 8"):
        VisionTower(VisionConfig("xmit-tiny", weights=str(path), image_size=50))


@pytest.mark.parametrize("name", ["xmit-timm", "xmit-timm-gap", "xmit-timm-eva"])
def test_timm_towers(name, tmp_path):
    """SigLIP, EVA, MobileCLIP-B and others; their tokens are those of timm's own forward_intermediates."""
    path = tmp_path / "weights.pt"
    full_model(name, path)
    for size in (None, 112) if name != "xmit-timm-eva" else (None,):
        full = open_clip.create_model(name, pretrained=str(path), force_image_size=size).eval()
        pixels = torch.randn(1, 3, size or 224, size or 224)
        tower = VisionTower(VisionConfig(name, weights=str(path), output="pooled", image_size=size))
        tokens = VisionTower(VisionConfig(name, weights=str(path), image_size=size))
        with torch.inference_mode():
            assert torch.equal(tower(pixels)[:, 0], full.visual(pixels))
            expected = full.visual.forward_intermediates(
                pixels, indices=1, normalize_intermediates=True, output_fmt="NLC"
            )["image_intermediates"][-1]
            assert torch.equal(tokens(pixels), expected)
            assert torch.equal(tokens.visual(pixels)[0], full.visual(pixels))
        assert tokens.n_tokens == (size or 224) ** 2 // {"xmit-timm-eva": 14}.get(name, 16) ** 2


def test_towers_without_patch_tokens_are_pooled():
    for name in ("xmit-timm-convnext", "RN50"):
        with pytest.raises(EncoderError, match=r"no patch tokens: set vision.output to 'pooled'"):
            VisionTower(VisionConfig(name, random=True))
    assert VisionTower(VisionConfig("xmit-timm-convnext", random=True, output="pooled")).n_tokens == 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tokens"), [("ViT-B-16-SigLIP", 196), ("coca_ViT-B-32", 255), ("MobileCLIP-B", 196)])
def test_real_architectures_give_what_open_clip_gives(name, tokens, tmp_path):
    path = tmp_path / "weights.safetensors"
    full = full_model(name, path)
    tower = VisionTower(VisionConfig(name, weights=str(path)))
    pooler = VisionTower(VisionConfig(name, weights=str(path), output="pooled"))
    pixels = torch.randn(1, 3, *tower.visual.image_size)
    with torch.inference_mode():
        pooled = full.visual(pixels)
    assert torch.equal(pooler(pixels)[:, 0], pooled[0] if isinstance(pooled, tuple) else pooled)
    assert tower(pixels).shape == (1, tokens, tower.width)


def test_weights_of_the_visual_half_alone(checkpoint, config, tmp_path):
    half = VisionTower(config)
    path = tmp_path / "half.safetensors"
    save_file(half.visual.state_dict(), path)
    assert VisionTower(VisionConfig("xmit-tiny", weights=str(path))).fingerprint == half.fingerprint


# -- frozen, and without side effects ----------------------------------------------------------------------


def test_training_on_live_features_leaves_the_tower_bit_identical(config):
    tower = VisionTower(config)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    model = nn.ModuleDict({"tower": tower, "head": nn.Linear(tower.width, 2)}).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.5)
    for _ in range(3):
        model["head"](tower(torch.randn(2, 3, 32, 32))).sum().backward()
        optimizer.step()
    assert all(not module.training for module in tower.modules())
    assert all(p.grad is None and not p.requires_grad for p in tower.parameters())
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())


def test_building_touches_no_global_state(config):
    random = VisionConfig("xmit-tiny", random=True)
    state = torch.random.get_rng_state()
    torch.set_default_dtype(torch.float64)  # as under a Lightning precision plug-in
    try:
        with torch.inference_mode(), torch.device("meta"):
            towers = [VisionTower(config), VisionTower(random), VisionTower(random)]
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(state, torch.random.get_rng_state())
    for tower in towers:
        assert all(p.dtype == torch.float32 and not p.is_inference() for p in tower.parameters())
    assert towers[1].fingerprint == towers[2].fingerprint != towers[0].fingerprint


def test_autocast_does_not_change_live_features(config):
    tower, pixels = VisionTower(config), torch.randn(2, 3, 32, 32)
    expected = tower(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tower(pixels), expected)


# -- what is refused ---------------------------------------------------------------------------------------


def test_random_weights_only_when_asked_for_by_name():
    with pytest.raises(EncoderError, match=r"no weights.*random: true"):
        VisionConfig("ViT-B-32")
    with pytest.raises(EncoderError, match="contradict"):
        VisionConfig("ViT-B-32", weights="openai", random=True)
    with pytest.raises(EncoderError, match="embedded:digits"):
        VisionConfig("embedded:digit")
    with pytest.raises(EncoderError, match="own weights"):
        VisionConfig("embedded:digits", image_size=64)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("ViT-B-33", "openai", "unknown vision tower 'ViT-B-33'. Did you mean .*ViT-B-32"),
        ("ViT-B-32", "laion2b_s34b_b79", "neither a file nor a tag of ViT-B-32. Did you mean laion2b_s34b_b79k"),
        ("ViT-B-32", "/no/such/file.pt", "neither a file nor a tag"),
        ("ViT-B-32-quickgelu", "laion2b_s34b_b79k", "plain GELU: set vision.name to 'ViT-B-32' instead"),
    ],
)
def test_names_that_do_not_exist(name, weights, message):
    with pytest.raises(EncoderError, match=message):
        VisionTower(VisionConfig(name, weights=weights))


def test_every_quickgelu_tag_is_refused_under_the_plain_name(monkeypatch):
    """The oracle is open_clip's own table of tags; nothing may be downloaded before the check."""

    def offline(*args, **kwargs):
        raise OSError("no network here")

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", offline)
    names, wrong = set(open_clip.list_models()), 0
    for name, tag in open_clip.list_pretrained():
        if not name.startswith("ViT-"):
            continue
        quick = get_pretrained_cfg(name, tag).get("quick_gelu", False)
        mismatch = quick != open_clip.get_model_config(name).get("quick_gelu", False)
        wrong += mismatch
        expected = f"set vision.name to '{name}-quickgelu'" if mismatch else "no network here"
        with pytest.raises(EncoderError, match=expected):
            VisionTower(VisionConfig(name, weights=tag, output="pooled"))
        assert not mismatch or f"{name}-quickgelu" in names
    assert wrong > 15


@pytest.mark.parametrize(
    "file",
    [
        "vit_b_32-quickgelu-laion400m_e32-46683a32.pt",
        "OpenAI.pt",
        "metaclip-400m.pt",
        "openai/model.safetensors",
        "models--timm--vit_base_patch32_clip_224.openai/snapshots/a3f1/open_clip_model.safetensors",
    ],
)
def test_quickgelu_of_local_files_by_name(file, tmp_path):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(EncoderError, match=r"QuickGELU: set vision.name to 'ViT-B-32-quickgelu'"):
        VisionTower(VisionConfig("ViT-B-32", weights=str(tmp_path / file)))


def test_plain_gelu_of_local_files_by_name(tmp_path):
    (tmp_path / "CLIP-ViT-B-32-laion2B-s34B-b79K.pt").write_bytes(b"")
    with pytest.raises(EncoderError, match=r"plain GELU: set vision.name to 'ViT-B-32'"):
        VisionTower(VisionConfig("ViT-B-32-quickgelu", weights=str(next(tmp_path.iterdir()))))


def test_quickgelu_of_local_files_by_content_and_config(checkpoint, tmp_path, config):
    model = open_clip.create_model("xmit-tiny")
    path = tmp_path / "saved.pt"  # OpenAI's state dicts carry three sizes beside the weights
    torch.save(model.state_dict() | {"input_resolution": torch.tensor(32), "vocab_size": torch.tensor(50)}, path)
    with pytest.raises(EncoderError, match=r"QuickGELU: set vision.name to 'xmit-tiny-quickgelu'"):
        VisionTower(VisionConfig("xmit-tiny", weights=str(path)))
    card = {"model_cfg": {"quick_gelu": True}, "preprocess_cfg": {"mean": [0.1] * 3, "resize_mode": "squash"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(card))
    with pytest.raises(EncoderError, match="QuickGELU"):
        VisionTower(config)
    card["model_cfg"] = {}
    plain = VisionTower(VisionConfig("xmit-tiny", random=True))
    (tmp_path / "open_clip_config.json").write_text(json.dumps(card))
    tower = VisionTower(config)
    black = Image.new("RGB", (32, 32))
    assert tower.preprocess(black)[0, 0, 0] == pytest.approx(-0.1 / open_clip.OPENAI_DATASET_STD[0])
    assert plain.preprocess(black)[0, 0, 0] != tower.preprocess(black)[0, 0, 0]


def test_mean_and_std_of_local_files_by_name(tmp_path):
    """LAION's ViT-L/14 has others than CLIP; here a tiny model under that name, so that it loads."""
    right = get_pretrained_cfg("ViT-L-14", "laion2b_s32b_b82k")
    assert tuple(right["mean"]) != open_clip.OPENAI_DATASET_MEAN
    for file in ("CLIP-ViT-L-14-laion2B-s32B-b82K.pt", "models--laion--CLIP-ViT-L-14-laion2B-s32B-b82K/x/model.pt"):
        facts, quick = open_clip_tower._local_facts("ViT-L-14", tmp_path / file)
        assert (facts["mean"], facts["std"], quick) == (right["mean"], right["std"], False)


def test_a_local_file_of_which_nothing_is_known_is_said_so(config, tmp_path):
    with pytest.warns(UserWarning, match=r"weights\.safetensors was trained: plain GELU and CLIP's mean and std"):
        VisionTower(config)
    card = {"model_cfg": {}, "preprocess_cfg": {"mean": [0.5] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(card))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        VisionTower(config)


def test_shipped_configs_name_weights_that_open_clip_has():
    towers = set()
    for path in (Path(__file__).parents[2] / "configs").rglob("*.yaml"):
        vision = (yaml.safe_load(path.read_text()).get("model") or {}).get("vision") or {}
        if vision.get("weights"):
            towers.add((vision["name"], vision["weights"]))
    assert {("ViT-B-32", "laion2b_s34b_b79k"), ("ViT-L-14", "laion2b_s32b_b82k")} <= towers
    for name, tag in towers:
        facts = get_pretrained_cfg(name, tag)
        assert facts, (name, tag)
        assert facts.get("quick_gelu", False) == open_clip.get_model_config(name).get("quick_gelu", False)


class Evil:
    def __reduce__(self):
        return open, ("/tmp/xmit-was-here", "w")


def test_files_that_are_no_weights(tmp_path):
    cases = {"a.pt": b"no zip", "b.safetensors": b"\xff" * 40, "c.npz": b"", "d.pt": pickle.dumps(Evil())}
    for file, content in cases.items():
        (tmp_path / file).write_bytes(content)
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "e.pt")
    torch.save({"state_dict": Evil()}, tmp_path / "f.pt")
    messages = {"c.npz": "must end in", "e.pt": "TorchScript archive"}
    for file in [*cases, "e.pt", "f.pt"]:
        with pytest.raises(EncoderError, match=messages.get(file, "cannot be read")):
            VisionTower(VisionConfig("xmit-tiny", weights=str(tmp_path / file)))


def test_weights_of_another_model(checkpoint):
    with pytest.raises(EncoderError, match=r"not those of vision tower 'xmit-wide'.*size mismatch"):
        VisionTower(VisionConfig("xmit-wide", weights=str(checkpoint)))


# -- features out of the cache -----------------------------------------------------------------------------


def test_cached_features_equal_live_ones_to_half_precision(config, images):
    spec, tower = ImageSpec(config), VisionTower(config)
    keys = spec.encode([*images, images[0]])
    assert len(set(keys)) == len(images)
    assert keys[0] == keys[-1]
    live = torch.cat([tower(tower.preprocess(image)[None]) for image in images])
    cached = spec.batch([(key,) for key in keys[:-1]])
    assert cached.dtype == torch.float32
    torch.testing.assert_close(cached, live, rtol=2**-10, atol=1e-5)
    assert torch.equal(spec.batch([(key,) for key in keys[1:4]]), cached[1:4])
    assert (spec.width, spec.n_tokens, spec.fingerprint) == (tower.width, tower.n_tokens, tower.fingerprint)


def test_nothing_is_computed_twice(config, images, monkeypatch):
    first = ImageSpec(config)
    keys = first.encode(images[:3])
    files = sorted(first.cache.folder.iterdir())

    def never(*args):
        raise AssertionError("the tower was built")

    monkeypatch.setattr(vision, "VisionTower", never)
    again = ImageSpec(config)
    assert again.encode(images[:3]) == keys
    assert torch.equal(again.batch([(key,) for key in keys]), first.batch([(key,) for key in keys]))
    assert sorted(first.cache.folder.iterdir()) == files
    with pytest.raises(AssertionError, match="the tower was built"):
        again.encode(images)


def test_an_interrupted_run_keeps_its_work(config, images, monkeypatch):
    monkeypatch.setattr(survey, "_BATCH", 2)

    class Interrupted(list):
        def __getitem__(self, number):
            if number == 3:
                raise KeyboardInterrupt
            return super().__getitem__(number)

    with pytest.raises(KeyboardInterrupt):
        ImageSpec(config).encode(Interrupted(images))
    spec = ImageSpec(config)
    assert [content_key(image) in spec.cache for image in images[:3]] == [True, True, False]


def test_a_damaged_shard_is_computed_again(config, images):
    spec = ImageSpec(config)
    keys = spec.encode(images)
    expected = spec.batch([(key,) for key in keys])
    path = next(spec.cache.folder.glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    again = ImageSpec(config)
    with pytest.raises(DataError, match="damaged: delete it"):
        again.batch([(key,) for key in again.encode(images)])
    path.write_bytes(content[:-1] + b"?")  # in the index, which is read when the cache is opened
    again = ImageSpec(config)
    with pytest.warns(UserWarning, match="damaged"):
        assert again.encode(images) == keys
    assert torch.equal(again.batch([(key,) for key in keys]), expected)


def test_other_weights_are_another_cache(config, checkpoint, images):
    spec = ImageSpec(config)
    fingerprint = spec.fingerprint
    state = {k: v + 0.01 for k, v in open_clip.create_model("xmit-tiny").state_dict().items()}
    save_file(state, checkpoint)
    other = ImageSpec(config)
    assert other.fingerprint != fingerprint
    other.encode(images)
    assert other.cache.folder != spec.cache.folder


def test_keys_follow_pixels_not_files(images, tmp_path):
    grey = images[0].convert("L")
    grey.save(tmp_path / "grey.png")
    assert content_key(Image.open(tmp_path / "grey.png")) == content_key(grey.convert("RGB")) != content_key(images[0])
    assert content_key(Image.new("RGB", (4, 2))) != content_key(Image.new("RGB", (2, 4)))


def test_a_spec_goes_to_worker_processes(config, images):
    spec = ImageSpec(config)
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


def test_all_errors_are_the_users():
    assert issubclass(EncoderError, XmitError)
