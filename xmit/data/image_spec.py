"""How a task's images become features: content keys first, then batches out of the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from xmit.data.digests import Sources
from xmit.data.features import FeatureCache, cache_root
from xmit.data.survey import OnBad, Survey
from xmit.errors import EncoderError
from xmit.files import write_json

if TYPE_CHECKING:
    from xmit.modules.vision import VisionConfig, VisionTower


class ImageSpec:
    """What a task gets to turn images into features: keys first, then batches out of the cache.

    The tower is built only when a feature is missing, so training from the cache never loads it.

    Args:
        config: Which tower.
    """

    prefix_places: int | None = 0
    """How many places an image takes before the text in the encoder's input, by the module's fusion; None where layers
    look at it instead."""

    device: torch.device | None = None
    """Where missing features are computed: the run's device; without a run the best that there is."""

    def __init__(self, config: VisionConfig) -> None:
        self.config = config
        self._known: dict[str, Any] | None = None
        self._cache: FeatureCache | None = None
        self._sources: Sources | None = None
        self._tower: VisionTower | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {
            "_tower": None,
            "_sources": None,
        }  # worker processes read features, they never compute any

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
            self._cache = FeatureCache(features_folder(self.config), self.fingerprint)
        return self._cache

    @property
    def tower(self) -> VisionTower:
        """The tower, built when first asked for.

        Raises:
            EncoderError: If it is not the tower whose features the cache holds.
        """
        if self._tower is None:
            from xmit.modules.vision import VisionTower

            self._tower = VisionTower(self.config)
            known = self._read_facts()
            if known and known["fingerprint"] != self._tower.fingerprint:
                raise EncoderError(
                    f"the weights of vision tower {self.config.name!r} have changed since their features were cached: "
                    f"delete {self._facts_path()} and run again"
                )
        return self._tower

    @property
    def sources(self) -> Sources:
        """Which image is behind a file that was seen before."""
        if self._sources is None:
            self._sources = Sources(features_folder(self.config) / "sources")
        return self._sources

    @property
    def row_bytes(self) -> int:
        """What an image's features take on disk, with its key and checksum."""
        return 2 * self.width * self.n_tokens + 20

    def encode(self, images: Sequence[Any], on_bad: OnBad = "refuse", workers: int = 0) -> list[str | None]:
        """Compute the features of images that are not in the cache yet.

        A file that was encoded before is told by its path, size and time of change (or its bytes), and not decoded.

        Args:
            images: What :func:`~xmit.data.images.open_image` opens, a lazy sequence: gone through once, and then
                what is new is asked for by number.
            on_bad: Whether an image that cannot be decoded is refused, or left out with one warning for all.
            workers: Processes that decode; 0 decodes in this one.

        Returns:
            One content key an image: equal pixels, equal key. None where a bad image is left out.

        Raises:
            DataError: If an image is refused.
        """
        survey = Survey(self, images, on_bad)
        survey.compute(workers)
        return survey.keys()

    def batch(self, keys: Sequence[Sequence[str]]) -> Tensor:
        """Features of encoded images out of the cache, those of an item one behind the other.

        Args:
            keys: The images of each item, equally many.

        Returns:
            ``(B, V, W)`` in float32, V being images times tokens.
        """
        rows = self.cache.read([key for item in keys for key in item])
        return torch.from_numpy(rows.astype(np.float32).reshape(len(keys), -1, rows.shape[-1]))

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
        from xmit.modules.vision import EMBEDDED, RANDOM_SEED

        config = replace(self.config, cache_dir=None)
        identity: list[Any] = [asdict(config), version("open_clip_torch")]
        weights: str | Path | None = config.weights
        if config.name == EMBEDDED:
            from xmit.tasks.embedded.digits_tower import RECIPE, tower_path

            identity.append(RECIPE)
            weights = None if config.random else tower_path()
        if config.random:
            identity.append([RANDOM_SEED, version("torch")])
        if weights and (path := Path(weights).expanduser()).is_file():
            identity.append([str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns])
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        return features_folder(self.config) / f"tower-{name}.json"


def features_folder(config: VisionConfig) -> Path:
    """Where the features of all towers are."""
    return Path(config.cache_dir).expanduser() if config.cache_dir else cache_root() / "features"
