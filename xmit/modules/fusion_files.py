"""A trained fusion on disk, beside the text encoder of its run, so that a target with images goes on with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmit.errors import EncoderError
from xmit.files import write_json
from xmit.modules.encoders import resolve_init_from
from xmit.modules.fusion import Fusion, FusionConfig, build_fusion

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

    from xmit.data.image_spec import ImageSpec

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


def save_fusion(fusion: Fusion, spec: ImageSpec, folder: str | Path) -> None:
    """Write a fusion: its weights as safetensors, and as JSON its settings and the tower that it was trained with.

    Args:
        fusion: The fusion.
        spec: Its tower.
        folder: Where to.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous().cpu() for name, value in fusion.state_dict().items()}, folder / _WEIGHTS)
    (folder / _WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone
    vision = asdict(spec.config) | {"cache_dir": None}
    write_json(folder / _CONFIG, {"fusion": asdict(fusion.config), "vision": vision, "fingerprint": spec.fingerprint})


def find_fusion(init_from: str | None) -> Path | None:
    """The folder of the fusion that was trained with the encoder behind ``init_from``; None where there is none.

    Args:
        init_from: A run, or an encoder's folder, as the module takes it.
    """
    if init_from is None:
        return None
    encoder = Path(resolve_init_from(init_from))
    folder = encoder.parent / "fusion"
    return folder if encoder.name == "encoder" and (folder / _CONFIG).is_file() else None


def load_fusion(
    config: FusionConfig | None, spec: ImageSpec, encoder: XLMRobertaModel, init_from: str | None
) -> Fusion:
    """Build the fusion, with the weights of ``init_from`` where it has one.

    Args:
        config: The settings; by default those of the fusion in ``init_from``, or the defaults.
        spec: The tower.
        encoder: The text encoder.
        init_from: A run, or an encoder's folder.

    Raises:
        EncoderError: If the fusion there is damaged, or of other settings or another tower than this run's.
        ConfigError: If settings, tower and encoder do not fit.
    """
    folder = None if config is not None and config.new else find_fusion(init_from)
    if folder is None:
        return build_fusion(config or FusionConfig(), spec.width, spec.n_tokens, encoder)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        facts: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        saved, vision, fingerprint = FusionConfig(**facts["fusion"]), facts["vision"], facts["fingerprint"]
        weights = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise EncoderError(f"the fusion in {folder} is damaged ({error}): {_REMEDY}") from error
    if fingerprint != spec.fingerprint:
        raise EncoderError(
            f"the fusion in {folder} was trained with vision tower {_tower(vision)}, this run's is "
            f"{_tower(asdict(spec.config))}: set model.vision as there, or {_REMEDY}"
        )
    config = config or saved
    other = [
        f"{name} {value!r} instead of {getattr(config, name)!r}"
        for name, value in asdict(saved).items()
        if name not in ("new", "dropout") and value != getattr(config, name)
    ]
    if other:
        raise EncoderError(
            f"the fusion in {folder} has {', '.join(other)}: leave model.fusion out to go on with it, or {_REMEDY}"
        )
    fusion = build_fusion(config, spec.width, spec.n_tokens, encoder)
    try:
        fusion.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(f"the fusion in {folder} does not fit the encoder ({reason}): {_REMEDY}") from error
    return fusion


_REMEDY = "begin with a new one by --model.fusion.new true"


def _tower(vision: dict[str, Any]) -> str:
    """A tower in a few words."""
    weights = "random" if vision.get("random") else vision.get("weights") or "its own weights"
    others = [f"{name} {vision[name]}" for name in ("image_size", "resize") if vision.get(name)]
    return f"{vision.get('name')} ({', '.join([str(weights), str(vision.get('output')), *others])})"
