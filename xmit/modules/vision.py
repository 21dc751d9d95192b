"""The frozen vision tower: the visual half of an open_clip model, and its features out of a cache."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from xmit.data.features import FeatureCache, cache_root
from xmit.errors import EncoderError, did_you_mean
from xmit.files import write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

EMBEDDED = "embedded:digits"
_BATCH = 32
_SHARD_ROWS, _SHARD_BYTES = 256, 64 * 2**20
_RANDOM_SEED = 20_261_122
_PATIENCE = 3.0  # seconds before a progress bar shows


@dataclass
class VisionConfig:
    """Which tower.

    Args:
        name: An open_clip model, such as ``ViT-B-32``, or ``embedded:digits``, which needs no hub.
        weights: A tag of open_clip, such as ``laion2b_s34b_b79k``, or a ``.pt`` or ``.safetensors`` file.
        random: Random weights, always the same ones, for controls.
        output: ``tokens``: one feature a patch. ``pooled``: one an image, in the space of the captions.
        image_size: Side of the input in pixels where it differs from the model's.
        cache_dir: Folder of the feature cache; ``~/.cache/xmit/features`` or ``$XMIT_CACHE/features`` by default.

    Raises:
        EncoderError: If neither weights nor random ones are asked for, or both.
    """

    name: str
    weights: str | None = None
    random: bool = False
    output: Literal["tokens", "pooled"] = "tokens"
    image_size: int | None = None
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        embedded = self.name.startswith("embedded:")
        if embedded and self.name != EMBEDDED:
            raise EncoderError(f"unknown vision tower {self.name!r}.{did_you_mean(self.name, [EMBEDDED])}")
        if embedded and (self.weights is not None or self.image_size is not None):
            raise EncoderError(f"vision tower {EMBEDDED!r} has its own weights and image_size: leave both out")
        if self.output not in ("tokens", "pooled"):
            raise EncoderError(f"vision.output is 'tokens' or 'pooled', not {self.output!r}")
        if self.random and self.weights is not None:
            raise EncoderError(f"vision tower {self.name!r}: 'random: true' and weights contradict each other")
        if not (embedded or self.random or self.weights):
            raise EncoderError(
                f"vision tower {self.name!r} has no weights: set vision.weights to an open_clip tag or a local file, "
                f"or ask for random ones with 'random: true'"
            )


class VisionTower(nn.Module):
    """The visual half of an open_clip model, frozen for good: eval mode, no gradients, float32.

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
            torch.default_generator.manual_seed(_RANDOM_SEED)  # of the CPU alone
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
        pixels: Tensor = self._transform(_rgb(image))
        return pixels

    def forward(self, pixels: Tensor) -> Tensor:
        """Features ``(B, T, D)`` of preprocessed images ``(B, 3, H, W)``."""
        with torch.inference_mode(), torch.autocast(pixels.device.type, enabled=False):
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


class ImageSpec:
    """What a task gets to turn images into features: keys first, then batches out of the cache.

    The tower is built only when a feature is missing, so training from the cache never loads it.

    Args:
        config: Which tower.
    """

    def __init__(self, config: VisionConfig) -> None:
        self.config = config
        self._known: dict[str, Any] | None = None
        self._cache: FeatureCache | None = None
        self._tower: VisionTower | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tower": None}  # worker processes read features, they never compute any

    @property
    def width(self) -> int:
        """Width of a feature."""
        return int(self._facts["width"])

    @property
    def n_tokens(self) -> int:
        """Features an image."""
        return int(self._facts["n_tokens"])

    @property
    def fingerprint(self) -> str:
        """Hash of weights, architecture and preprocessing."""
        return str(self._facts["fingerprint"])

    @property
    def cache(self) -> FeatureCache:
        """The features on disk."""
        if self._cache is None:
            self._cache = FeatureCache(_features_folder(self.config), self.fingerprint)
        return self._cache

    @property
    def tower(self) -> VisionTower:
        """The tower, built when first asked for.

        Raises:
            EncoderError: If it is not the tower whose features the cache holds.
        """
        if self._tower is None:
            self._tower = VisionTower(self.config)
            known = self._read_facts()
            if known and known["fingerprint"] != self._tower.fingerprint:
                raise EncoderError(
                    f"the weights of vision tower {self.config.name!r} have changed since their features were cached: "
                    f"delete {self._facts_path()} and run again"
                )
        return self._tower

    def encode(self, images: Sequence[Image]) -> list[str]:
        """Compute the features of images that are not in the cache yet.

        Args:
            images: Decoded images; a lazy sequence is read once, from the first to the last.

        Returns:
            One content key an image: equal pixels, equal key.
        """
        cache = self.cache
        cache.refresh()
        keys: list[str] = []
        waiting: dict[str, Image] = {}
        shard: dict[str, np.ndarray[Any, np.dtype[np.float16]]] = {}
        with progress(f"vision features ({self.config.name})", len(images)) as advance:
            try:
                for image in images:
                    rgb = _rgb(image)
                    keys.append(content_key(rgb))
                    if keys[-1] not in shard and keys[-1] not in cache:
                        waiting[keys[-1]] = rgb
                    if len(waiting) == _BATCH or (waiting and len(keys) == len(images)):
                        shard |= self._compute(waiting)
                        waiting.clear()
                        advance(len(keys))
                    if len(shard) >= _SHARD_ROWS or sum(rows.nbytes for rows in shard.values()) >= _SHARD_BYTES:
                        cache.append(list(shard), np.stack(list(shard.values())))
                        shard.clear()
            finally:  # an interrupted run keeps what it has computed
                if shard:
                    cache.append(list(shard), np.stack(list(shard.values())))
        return keys

    def batch(self, keys: Sequence[str]) -> Tensor:
        """Features of encoded images out of the cache, ``(B, T, D)`` in float32."""
        return torch.from_numpy(self.cache.read(keys).astype(np.float32))

    def _compute(self, images: dict[str, Image]) -> dict[str, np.ndarray[Any, np.dtype[np.float16]]]:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        tower = self.tower.to(device)
        pixels = torch.stack([tower.preprocess(image) for image in images.values()])
        features = tower(pixels.to(device)).half().cpu().numpy()
        return dict(zip(images, features, strict=True))

    @property
    def _facts(self) -> dict[str, Any]:
        if self._known is None:
            self._known = self._read_facts()
        if self._known is None:
            tower = self.tower
            self._known = {"width": tower.width, "n_tokens": tower.n_tokens, "fingerprint": tower.fingerprint}
            facts = self._known | {"config": asdict(self.config)}
            write_json(self._facts_path(), facts)
        return self._known

    def _read_facts(self) -> dict[str, Any] | None:
        try:
            facts = json.loads(self._facts_path().read_text(encoding="utf-8"))
            return {name: facts[name] for name in ("width", "n_tokens", "fingerprint")}
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there yet, or damaged: the tower tells

    def _facts_path(self) -> Path:
        """Where the tower's facts are kept; the name changes with whatever may change its weights."""
        config = replace(self.config, cache_dir=None)
        identity: list[Any] = [asdict(config), version("open_clip_torch")]
        weights: str | Path | None = config.weights
        if config.name == EMBEDDED:
            from xmit.tasks.embedded.digits_tower import RECIPE, tower_path

            identity.append(RECIPE)
            weights = None if config.random else tower_path()
        if config.random:
            identity.append([_RANDOM_SEED, version("torch")])
        if weights and (path := Path(weights).expanduser()).is_file():
            identity.append([str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns])
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        return _features_folder(self.config) / f"tower-{name}.json"


def content_key(image: Image) -> str:
    """Hash of an image's size and RGB pixels."""
    digest = hashlib.sha256(f"{image.width} {image.height} ".encode())
    digest.update(_rgb(image).tobytes())
    return digest.hexdigest()[:32]


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


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr for work that takes longer than a moment; yields ``advance(done)``."""
    from rich.console import Console
    from rich.errors import LiveError
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(console=console, transient=True)
    task, started = bar.add_task(description, total=total), time.monotonic()

    def advance(done: int) -> None:
        bar.update(task, completed=done)
        if console.is_terminal and not bar.live.is_started and time.monotonic() - started > _PATIENCE:
            with suppress(LiveError):  # the trainer's own bar is on
                bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


def _features_folder(config: VisionConfig) -> Path:
    return Path(config.cache_dir).expanduser() if config.cache_dir else cache_root() / "features"


def _rgb(image: Image) -> Image:
    return image if image.mode == "RGB" else image.convert("RGB")
