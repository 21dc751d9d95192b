"""The frozen vision tower: the visual half of an open_clip model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from xmit.data.images import to_rgb
from xmit.errors import EncoderError, did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

EMBEDDED = "embedded:digits"
RANDOM_SEED = 20_261_122


@dataclass
class VisionConfig:
    """Which tower.

    Args:
        name: An open_clip model, such as ``ViT-B-32``, or ``embedded:digits``, which needs no hub.
        weights: A tag of open_clip, such as ``laion2b_s34b_b79k``, or a ``.pt`` or ``.safetensors`` file.
        random: Random weights, always the same ones, for controls.
        output: ``tokens``: one feature a patch. ``pooled``: one an image, in the space of the captions.
        image_size: Side of the input in pixels where it differs from the model's.
        resize: How an image becomes a square, where it shall differ from how the weights were trained: ``shortest``
            cuts off what juts out, ``longest`` pads, ``squash`` distorts.
        cache_dir: Folder of the feature cache; ``~/.cache/xmit/features`` or ``$XMIT_CACHE/features`` by default.

    Raises:
        EncoderError: If neither weights nor random ones are asked for, or both.
    """

    name: str
    weights: str | None = None
    random: bool = False
    output: Literal["tokens", "pooled"] = "tokens"
    image_size: int | None = None
    resize: Literal["shortest", "longest", "squash"] | None = None
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        embedded = self.name.startswith("embedded:")
        if embedded and self.name != EMBEDDED:
            raise EncoderError(f"unknown vision tower {self.name!r}.{did_you_mean(self.name, [EMBEDDED])}")
        if embedded and (self.weights is not None or self.image_size is not None):
            raise EncoderError(f"vision tower {EMBEDDED!r} has its own weights and image_size: leave both out")
        if self.output not in ("tokens", "pooled"):
            raise EncoderError(f"vision.output is 'tokens' or 'pooled', not {self.output!r}")
        if self.resize not in (None, "shortest", "longest", "squash"):
            raise EncoderError(f"vision.resize is 'shortest', 'longest' or 'squash', not {self.resize!r}")
        if self.random and self.weights is not None:
            raise EncoderError(f"vision tower {self.name!r}: 'random: true' and weights contradict each other")
        if not (embedded or self.random or self.weights):
            raise EncoderError(
                f"vision tower {self.name!r} has no weights: set vision.weights to an open_clip tag or a local file, "
                f"or ask for random ones with 'random: true'"
            )


class VisionTower(nn.Module):
    """The visual half of an open_clip model, frozen for good: eval mode, no gradients, float32 (TF32 on a GPU).

    Building it leaves the global random numbers as they are.

    Args:
        config: Which tower.

    Attributes:
        width: Width of a feature.
        n_tokens: Features an image.
        fingerprint: Hash of weights, architecture and preprocessing: equal features, equal fingerprint.

    Raises:
        EncoderError: If the tower or its weights cannot be used.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        from xmit.modules.open_clip_tower import build_visual

        self.config = config
        with untouched_globals():
            torch.default_generator.manual_seed(RANDOM_SEED)  # of the CPU alone
            self.visual, self._transform, facts = build_visual(config)
            self.requires_grad_(False).eval()
            height, width = self.visual.image_size
            probe = self._features(torch.zeros(1, 3, height, width))
        self.n_tokens, self.width = probe.shape[1:]
        digest = hashlib.sha256(json.dumps([facts, config.output], sort_keys=True).encode())
        for name, value in sorted(self.visual.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.numpy().tobytes())
        self.fingerprint = digest.hexdigest()

    def preprocess(self, image: Image) -> Tensor:
        """Resize, crop and normalise an image as the tower's training did, ``(3, H, W)``."""
        pixels: Tensor = self._transform(to_rgb(image))
        return pixels

    def forward(self, pixels: Tensor) -> Tensor:
        """Features ``(B, T, D)`` of preprocessed images ``(B, 3, H, W)``."""
        with torch.inference_mode(), torch.autocast(pixels.device.type, enabled=False), _tensor_cores(pixels.device):
            features = self._features(pixels.float())
        return features.clone()  # an inference tensor could not be saved for somebody's backward

    def train(self, mode: bool = True) -> VisionTower:
        """Stay in eval mode, whatever the trainer asks for."""
        return super().train(False)

    def _features(self, pixels: Tensor) -> Tensor:
        output = self.visual(pixels)
        if self.config.output == "pooled":
            pooled: Tensor = output[0] if isinstance(output, tuple) else output
            return pooled[:, None]
        tokens: Tensor = output[1]
        return tokens


@contextmanager
def _tensor_cores(device: torch.device) -> Iterator[None]:
    """Within it a GPU multiplies matrices in TF32, several times as fast as in fp32 and with its range.

    Products keep eleven bits, as the features do that are kept in half precision.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def untouched_globals() -> Iterator[None]:
    """Build or train something on the side: in float32 on the CPU, with gradients, random state restored."""
    dtype = torch.get_default_dtype()
    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.device("cpu"),
    ):
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
