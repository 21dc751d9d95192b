"""The visual half of open_clip models: configs, weights and the traps around them. Imports open_clip when used."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from xmit.errors import EncoderError, did_you_mean

if TYPE_CHECKING:
    from xmit.modules.vision import VisionConfig

Transform = Callable[[Any], Tensor]
_QUICK = "-quickgelu"
_OPENAI_KEYS = {"input_resolution", "context_length", "vocab_size"}
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def build_visual(config: VisionConfig) -> tuple[Any, Transform, dict[str, Any]]:
    """Build the visual half only, with its weights.

    Args:
        config: Which tower.

    Returns:
        The module, whose output is ``(pooled, tokens)`` where tokens are asked for; the transform of images;
        and the facts that its features depend on besides the weights.

    Raises:
        EncoderError: If the tower or its weights cannot be used.
    """
    from xmit.modules.vision import EMBEDDED

    path: Path | None = None
    if config.name == EMBEDDED:
        from xmit.tasks.embedded.digits_tower import MODEL, PREPROCESS, ensure_tower

        model, preprocess = json.loads(json.dumps(MODEL)), PREPROCESS
        path = None if config.random else ensure_tower()
    else:
        model, preprocess, path = _from_open_clip(config)
    vision = model["vision_cfg"]
    _check_vision(config, vision)
    visual = _instantiate(model, config)
    if path is not None:
        _load(visual, path, config)
    if config.image_size is not None and hasattr(visual, "set_input_size"):
        visual.set_input_size(config.image_size)  # timm resizes positions itself, after loading
    if config.resize is not None:
        preprocess = {**preprocess, "resize_mode": config.resize}
    transform, facts = _transform(visual, preprocess, model)
    if vision.get("timm_model_name") and config.output == "tokens":
        visual = _TimmTokens(visual)
    return visual, transform, facts


class _TimmTokens(nn.Module):
    """A ViT of timm that gives patch tokens beside the pooled feature, as open_clip's own do.

    Args:
        model: open_clip's ``TimmModel``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.image_size = model, model.image_size

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled feature ``(B, D)``, and tokens ``(B, T, W)`` after the last norm, without class token."""
        trunk = self.model.trunk
        features = trunk.forward_features(pixels)
        pooled: Tensor = self.model.head(trunk.forward_head(features))
        return pooled, features[:, trunk.num_prefix_tokens :]


def _from_open_clip(config: VisionConfig) -> tuple[dict[str, Any], dict[str, Any], Path | None]:
    """Architecture, preprocessing and weights file of a model that open_clip knows."""
    import open_clip
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    model = open_clip.get_model_config(config.name)
    if model is None or ":" in config.name:
        raise EncoderError(f"unknown vision tower {config.name!r}.{did_you_mean(config.name, open_clip.list_models())}")
    if config.weights is None:
        return model, {}, None
    path = Path(config.weights).expanduser()
    if path.is_file():
        preprocess, quick = _local_facts(config.name, path)
        if quick is None:
            warnings.warn(
                f"nothing tells how {path} was trained: {'QuickGELU' if model.get('quick_gelu') else 'plain GELU'} and "
                f"CLIP's mean and std are assumed. Put its open_clip_config.json beside it, or its tag into its name",
                stacklevel=2,
            )
        _check_activation(config, model, quick)
        return model, preprocess, path
    tag = get_pretrained_cfg(config.name, config.weights)
    if not tag:
        sibling = _sibling(config.name)
        if get_pretrained_cfg(sibling, config.weights):  # such as ViT-B-32-quickgelu with a LAION-2B tag
            _check_activation(config, model, not model.get("quick_gelu", False))
        tags = open_clip.list_pretrained_tags_by_model(config.name)
        raise EncoderError(
            f"vision.weights {config.weights!r} is neither a file nor a tag of {config.name}."
            f"{did_you_mean(config.weights, tags)}"
        )
    _check_activation(config, model, tag.get("quick_gelu", False))
    try:
        return model, tag, Path(download_pretrained(tag))
    except Exception as error:  # hub, network and disk errors of several libraries
        raise EncoderError(
            f"the weights {config.weights!r} of {config.name} could not be downloaded ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no message'}): without a network, set vision.weights to "
            f"a local .safetensors or .pt file"
        ) from error


def _sibling(name: str) -> str:
    return name.removesuffix(_QUICK) if name.endswith(_QUICK) else name + _QUICK


def _check_activation(config: VisionConfig, model: dict[str, Any], quick: bool | None) -> None:
    """Refuse weights trained with the other activation: open_clip only warns, for local files not even that."""
    import open_clip

    if quick is None or quick == bool(model.get("quick_gelu", False)):
        return
    right = _sibling(config.name)
    if right not in open_clip.list_models():
        return  # roberta-ViT-B-32: its config is right and only the tag's entry lacks the flag
    raise EncoderError(
        f"the weights {config.weights!r} were trained with {'QuickGELU' if quick else 'plain GELU'}: "
        f"set vision.name to {right!r} instead of {config.name!r}"
    )


def _local_facts(name: str, path: Path) -> tuple[dict[str, Any], bool | None]:
    """What can be known of a local file: its preprocessing and activation, None where nothing tells."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    beside = path.parent / "open_clip_config.json"  # as in a snapshot of a hub repository
    if beside.is_file():
        try:
            card = json.loads(beside.read_text(encoding="utf-8"))
            return card.get("preprocess_cfg", {}), bool(card["model_cfg"].get("quick_gelu", False))
        except (ValueError, KeyError, AttributeError):
            raise EncoderError(f"{beside} beside the weights is not a config of open_clip") from None
    hub = [part for part in path.parts if part.startswith("models--")]  # a repository in the hub's cache
    for text in map(_plain, (path.stem, path.parent.name, *hub)):
        for model in (name, _sibling(name)):  # the longest tag first: laion400m_e32 before laion400m
            for tag in sorted(open_clip.list_pretrained_tags_by_model(model), key=len, reverse=True):
                if _plain(tag) in text:
                    facts = get_pretrained_cfg(model, tag)
                    return facts, facts.get("quick_gelu", False)
        if "quickgelu" in text:
            return {}, True
    return {}, None


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _check_vision(config: VisionConfig, vision: dict[str, Any]) -> None:
    timm = vision.get("timm_model_name")
    resnet = isinstance(vision.get("layers"), list)
    if config.output == "tokens" and not timm:
        if resnet:
            raise EncoderError(_no_tokens(config, "a ResNet"))
        vision["output_tokens"] = True
    if timm:
        vision["timm_model_pretrained"] = False  # else timm downloads weights that ours replace
    if config.image_size is not None:
        patch = vision.get("patch_size", 16)
        if not (timm or resnet) and config.image_size % patch:
            raise EncoderError(f"vision.image_size {config.image_size} is not a multiple of the patch size {patch}")
        vision["image_size"] = config.image_size


def _no_tokens(config: VisionConfig, what: str) -> str:
    return f"vision tower {config.name!r} ({what}) gives no patch tokens: set vision.output to 'pooled'"


def _instantiate(model: dict[str, Any], config: VisionConfig) -> Any:
    from open_clip.model import _build_vision_tower

    try:
        visual: Any = _build_vision_tower(
            model["embed_dim"], model["vision_cfg"], quick_gelu=model.get("quick_gelu", False)
        )
    except Exception as error:  # whatever timm and open_clip find wrong with a config
        raise EncoderError(f"vision tower {config.name!r} cannot be built: {error}") from error
    timm = model["vision_cfg"].get("timm_model_name")
    if timm and config.output == "tokens" and not hasattr(visual.trunk, "num_prefix_tokens"):
        raise EncoderError(_no_tokens(config, timm))
    size = visual.image_size
    visual.image_size = (size, size) if isinstance(size, int) else tuple(size)
    return visual


def _load(visual: Any, path: Path, config: VisionConfig) -> None:
    """Load the visual half of a checkpoint, or a checkpoint that holds nothing else."""
    from open_clip.model import resize_pos_embed

    names, state = _read(path)
    if _OPENAI_KEYS & names and not config.name.endswith(_QUICK):
        _check_activation(config, {}, True)
    half = {name: value for name, value in state.items() if name.startswith("visual.")}
    half = half or {f"visual.{name}": value for name, value in state.items()}
    resize_pos_embed(half, SimpleNamespace(visual=visual))  # where image_size is not the checkpoint's
    try:
        visual.load_state_dict({name.removeprefix("visual."): value.float() for name, value in half.items()})
    except RuntimeError as error:
        details = " ".join(line.strip() for line in str(error).splitlines()[1:3])[:300]
        raise EncoderError(f"the weights {path} are not those of vision tower {config.name!r}: {details}") from None


def _read(path: Path) -> tuple[set[str], dict[str, Tensor]]:
    """All names in a file, and at least its visual tensors; never runs code of the file."""
    if path.suffix not in _SUFFIXES:
        raise EncoderError(f"vision.weights {path} must end in {', '.join(_SUFFIXES)}")
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as file:
                names = set(file.keys())
                wanted = {name for name in names if name.startswith("visual.")} or names
                return names, {name: file.get_tensor(name) for name in wanted}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about an archive that is refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
        content = content.get("state_dict", content)
        state = {name.removeprefix("module."): value for name, value in content.items()}
        return set(state), {name: value for name, value in state.items() if isinstance(value, Tensor)}
    except Exception as error:  # pickle, zip and safetensors errors have no common base
        if "TorchScript" in str(error):
            raise EncoderError(
                f"{path} is a TorchScript archive, as OpenAI released them, and would run code: use the tag 'openai' "
                f"with a '{_QUICK}' model, or save its state_dict as .safetensors"
            ) from None
        raise EncoderError(
            f"the weights {path} cannot be read ({type(error).__name__}): the file is damaged or holds more than "
            f"tensors. Download it again, or save its state_dict as .safetensors"
        ) from None


def _transform(visual: Any, preprocess: dict[str, Any], model: dict[str, Any]) -> tuple[Transform, dict[str, Any]]:
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    merged = merge_preprocess_dict(PreprocessCfg(), preprocess) | {"size": visual.image_size}
    facts = {"vision": model["vision_cfg"], "quick_gelu": model.get("quick_gelu", False), "preprocess": merged}
    transform: Transform = image_transform_v2(PreprocessCfg(**merged), is_train=False)
    return transform, json.loads(json.dumps(facts))
