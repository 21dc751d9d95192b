"""Towers and weights that do not go together, and files that are no weights: refused, in one line."""

import json
import pickle
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
import yaml
from open_clip.pretrained import get_pretrained_cfg
from PIL import Image
from torch import nn

from xmit.errors import EncoderError, XmitError
from xmit.modules import open_clip_tower
from xmit.modules.vision import VisionConfig, VisionTower

pytestmark = pytest.mark.usefixtures("tiny_models")


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


def test_quickgelu_of_local_files_by_content_and_config(checkpoint, tmp_path, tower_config):
    model = open_clip.create_model("xmit-tiny")
    path = tmp_path / "saved.pt"  # OpenAI's state dicts carry three sizes beside the weights
    torch.save(model.state_dict() | {"input_resolution": torch.tensor(32), "vocab_size": torch.tensor(50)}, path)
    with pytest.raises(EncoderError, match=r"QuickGELU: set vision.name to 'xmit-tiny-quickgelu'"):
        VisionTower(VisionConfig("xmit-tiny", weights=str(path)))
    card = {"model_cfg": {"quick_gelu": True}, "preprocess_cfg": {"mean": [0.1] * 3, "resize_mode": "squash"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(card))
    with pytest.raises(EncoderError, match="QuickGELU"):
        VisionTower(tower_config)
    card["model_cfg"] = {}
    plain = VisionTower(VisionConfig("xmit-tiny", random=True))
    (tmp_path / "open_clip_config.json").write_text(json.dumps(card))
    tower = VisionTower(tower_config)
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


def test_a_local_file_of_which_nothing_is_known_is_said_so(tower_config, tmp_path):
    with pytest.warns(UserWarning, match=r"weights\.safetensors was trained: plain GELU and CLIP's mean and std"):
        VisionTower(tower_config)
    card = {"model_cfg": {}, "preprocess_cfg": {"mean": [0.5] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(card))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        VisionTower(tower_config)


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


def test_all_errors_are_the_users():
    assert issubclass(EncoderError, XmitError)
