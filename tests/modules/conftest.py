"""Fixtures of the tests of the vision tower."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from xmit.modules.vision import VisionConfig


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """Tiny models that open_clip then knows by name."""
    import open_clip
    from vision_tools import MODELS

    folder = tmp_path_factory.mktemp("configs")
    for name, config in MODELS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="session")
def images():
    rng = torch.Generator().manual_seed(0)
    sizes = [(32, 32), (40, 32), (17, 64), (100, 50), (8, 8)]
    return [
        Image.fromarray(torch.randint(0, 256, (h, w, 3), dtype=torch.uint8, generator=rng).numpy()) for w, h in sizes
    ]


@pytest.fixture
def checkpoint(tiny_models, tmp_path):
    from vision_tools import full_model

    path = tmp_path / "weights.safetensors"
    full_model("xmit-tiny", path)
    return path


@pytest.fixture
def tower_config(checkpoint, tmp_path):
    return VisionConfig("xmit-tiny", weights=str(checkpoint), cache_dir=str(tmp_path / "features"))
