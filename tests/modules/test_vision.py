"""The vision tower against open_clip's full models: equal, frozen, and without side effects."""

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from vision_tools import full_model

from xmit.errors import EncoderError
from xmit.modules.vision import VisionConfig, VisionTower

pytestmark = pytest.mark.usefixtures("tiny_models")


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


def test_a_wide_image_is_seen_whole_where_that_is_asked_for(checkpoint):
    wide = Image.fromarray(torch.randint(0, 256, (20, 80, 3), dtype=torch.uint8).numpy())
    plain = VisionTower(VisionConfig("xmit-tiny", weights=str(checkpoint)))
    for resize in ("shortest", "longest", "squash"):
        tower = VisionTower(VisionConfig("xmit-tiny", weights=str(checkpoint), resize=resize))
        _, _, transform = open_clip.create_model_and_transforms("xmit-tiny", image_resize_mode=resize)
        assert torch.equal(tower.preprocess(wide), transform(wide))
        assert (tower.fingerprint == plain.fingerprint) == (resize == "shortest")
    with pytest.raises(EncoderError, match=r"vision\.resize is 'shortest', 'longest' or 'squash', not 'crop'"):
        VisionConfig("xmit-tiny", random=True, resize="crop")


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


def test_weights_of_the_visual_half_alone(checkpoint, tower_config, tmp_path):
    half = VisionTower(tower_config)
    path = tmp_path / "half.safetensors"
    save_file(half.visual.state_dict(), path)
    assert VisionTower(VisionConfig("xmit-tiny", weights=str(path))).fingerprint == half.fingerprint


# -- frozen, and without side effects ----------------------------------------------------------------------


def test_training_on_live_features_leaves_the_tower_bit_identical(tower_config):
    tower = VisionTower(tower_config)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    model = nn.ModuleDict({"tower": tower, "head": nn.Linear(tower.width, 2)}).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.5)
    for _ in range(3):
        model["head"](tower(torch.randn(2, 3, 32, 32))).sum().backward()
        optimizer.step()
    assert all(not module.training for module in tower.modules())
    assert all(p.grad is None and not p.requires_grad for p in tower.parameters())
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())


def test_building_touches_no_global_state(tower_config):
    random = VisionConfig("xmit-tiny", random=True)
    state = torch.random.get_rng_state()
    torch.set_default_dtype(torch.float64)  # as under a Lightning precision plug-in
    try:
        with torch.inference_mode(), torch.device("meta"):
            towers = [VisionTower(tower_config), VisionTower(random), VisionTower(random)]
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(state, torch.random.get_rng_state())
    for tower in towers:
        assert all(p.dtype == torch.float32 and not p.is_inference() for p in tower.parameters())
    assert towers[1].fingerprint == towers[2].fingerprint != towers[0].fingerprint


def test_autocast_does_not_change_live_features(tower_config):
    tower, pixels = VisionTower(tower_config), torch.randn(2, 3, 32, 32)
    expected = tower(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tower(pixels), expected)
