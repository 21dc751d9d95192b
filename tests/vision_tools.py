"""Tiny models for open_clip, and files of their weights."""

from __future__ import annotations

import open_clip
import torch
from safetensors.torch import save_file

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
