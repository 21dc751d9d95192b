"""One tiny update and one scoring by the trainer itself, on made-up tokens: what ``doctor`` tries on a machine."""

from __future__ import annotations

import tempfile
import time
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from xmit.data.batching import Ragged
from xmit.errors import XmitError
from xmit.hardware import trainer_device
from xmit.modules.encoders import EMBEDDED, load_text_encoder, resolve_init_from
from xmit.modules.module import MultimodalModule
from xmit.modules.vision import EMBEDDED as DIGITS
from xmit.modules.vision import VisionConfig
from xmit.tasks.base import Examples, TaskMetadata
from xmit.tasks.classification import SequenceClassificationTask
from xmit.trainer import Trainer

if TYPE_CHECKING:
    import datasets
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

_LENGTHS = (24, 7, 16, 5, 11, 7, 19, 9)
"""Tokens of the made-up texts: of different lengths, so that packing and groups have something to do."""
_WORDS, _FIRST = 1000, 5
"""Rows of a random encoder's word embeddings, and the first that is no special token."""
_LAYERS = 2
"""Layers of an encoder whose weights are not at hand: one kind of layer is tried as well by two."""


@dataclass(frozen=True)
class Encoder:
    """The text encoder of a trial.

    Args:
        config: Of its type and shape; None where only the attempt to load it will tell what is wrong.
        source: What loads its own weights; None makes random ones in that shape, with two layers and few words.
        says: What it is, for people.
        remedy: What to do if that is not what a run would use.
    """

    config: PretrainedConfig | None
    source: str | None
    says: str
    remedy: str = ""


def plan_encoder(name: str | None, init_from: str | None, online: bool) -> Encoder:
    """Say which encoder a trial can use; weights are never downloaded for it.

    Args:
        name: The run's encoder; None for the default's shape.
        init_from: What it starts from instead.
        online: Whether its config.json may be asked for at the hub.

    Raises:
        DataError: If there is nothing at ``init_from``.
        XmitError: If the embedded encoder cannot be loaded.
    """
    from transformers import AutoConfig, XLMRobertaConfig

    base = XLMRobertaConfig(
        vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    if name is None and init_from is None:
        return Encoder(base, None, f"XLM-R base's shape, {_LAYERS} of its 12 layers, random weights")
    source = resolve_init_from(init_from) if init_from else str(name)
    if source.startswith(EMBEDDED):
        return Encoder(load_text_encoder(source).config, source, f"{source}, its own weights")
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=not online)
    except (OSError, ValueError) as error:
        if Path(source).is_dir() or online:
            return Encoder(None, source, f"{source}, whose config.json cannot be read ({_line(error)})")
        shape, large = base, "large" in source
        if large:
            shape.update({"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096})
        says = f"{source} is not at hand: XLM-R {'large' if large else 'base'}'s shape instead, random weights"
        return Encoder(shape, None, says, "connect to the hub once, or give a folder as model.encoder")
    if Path(source).is_dir() or _cached(source, "model.safetensors", "model.safetensors.index.json"):
        return Encoder(config, source, f"{source}, its own weights")
    layers = getattr(config, "num_hidden_layers", None)
    says = f"{source} ({config.model_type}), {_LAYERS} of its {layers} layers, random weights: its own are not here yet"
    return Encoder(config, None, says, "" if online else "connect to the hub once, or give a folder as model.encoder")


def plan_tower(vision: VisionConfig) -> tuple[VisionConfig, str]:
    """The tower of a trial and what it is: with its own weights if they are at hand, else with random ones."""
    if vision.random:
        return vision, f"{vision.name}, random weights as asked for"
    if vision.name == DIGITS:
        from xmit.tasks.embedded.digits_tower import tower_path

        at_hand = tower_path().is_file()
    else:
        at_hand = _tower_at_hand(vision)
    if at_hand:
        return vision, f"{vision.name}, its own weights"
    changed = replace(vision, weights=None, random=True)
    return changed, f"{vision.name}, random weights: its own are not here yet"


def _tower_at_hand(vision: VisionConfig) -> bool:
    from open_clip.pretrained import get_pretrained_cfg

    weights = str(vision.weights)
    if Path(weights).expanduser().is_file():
        return True
    tag = get_pretrained_cfg(vision.name, weights)
    if not tag:
        return True  # wrong: building it says how
    repository, _, file = tag.get("hf_hub", "").rpartition("/")
    if repository:
        usual = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
        return _cached(repository, *usual, *([file] if file else ()))
    return (Path("~/.cache/clip").expanduser() / Path(tag.get("url", "")).name).is_file()


def _cached(repository: str, *files: str) -> bool:
    """Whether one of these files of a repository lies in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return any(isinstance(try_to_load_from_cache(repository, file), str) for file in files)
    except HFValidationError:  # a path that is not there
        return False


# -- the trial ---------------------------------------------------------------------------------------------------


class TrialTask(SequenceClassificationTask):
    """Classes of made-up token sequences, perhaps with made-up images; needs neither tokenizer nor data."""

    metadata = TaskMetadata(
        name="doctor", roles=("target",), languages=("en",), main_score="accuracy", dataset="made up", license="-",
        citation="-", description="made-up tokens",
    )  # fmt: skip
    label_names = ("a", "b", "c")
    words: int = _WORDS
    """How many token ids there are."""
    visual: bool = False
    """Whether there are images."""

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """As many rows as there are lengths."""
        import datasets

        n = len(_LENGTHS)
        rows = {"id": [str(i) for i in range(n)], "text": ["-"] * n, "label": [i % 3 for i in range(n)]}
        return datasets.Dataset.from_dict(rows)

    def encode(self, table: datasets.Dataset) -> Examples:
        """Random token ids, and images of random pixels."""
        rng = np.random.default_rng(0)
        ids = [np.array([0, *rng.integers(_FIRST, self.words, n - 2), 2], dtype=np.int32) for n in _LENGTHS]
        examples = Examples(
            ids=table["id"][:],
            languages=table["language"][:],
            text={"text": Ragged.from_lists(ids)},
            labels=torch.tensor(table["label"][:]),
        )
        if self.visual:
            from PIL import Image

            assert self.image_spec is not None
            images = [Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in ids]
            examples.images = {"text": [(str(key),) for key in self.image_spec.encode(images)]}
        return examples


class TrialModule(MultimodalModule):
    """A run's module; its made-up tokens need no tokenizer."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """What pads, and no more."""
        return _pads()


_PADS = SimpleNamespace(pad_token_id=1, all_special_ids=[0, 1, 2])


def _pads() -> PreTrainedTokenizerBase:
    return cast("PreTrainedTokenizerBase", _PADS)


@dataclass
class Trial:
    """What came of it.

    Args:
        device: Where it ran; None if it did not come so far.
        tower: What the tower is; empty without one.
        precision: As the trainer had it.
        seconds: Of the update and of the scoring.
        peak: Most bytes of tensors on a GPU.
        failed: What failed: ``update`` or ``scoring``; empty if nothing.
        error: With what.
    """

    device: torch.device | None = None
    tower: str = ""
    precision: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    peak: int | None = None
    failed: str = ""
    error: Exception | None = None


def run_trial(encoder: Encoder, model: dict[str, Any], trainer: dict[str, Any]) -> Trial:
    """Do one update and score one batch.

    Args:
        encoder: The text encoder, see :func:`plan_encoder`.
        model: Further arguments of the module.
        trainer: Arguments of the trainer: accelerator, precision and the like.
    """
    trial = Trial(failed="update")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _run(trial, Path(folder), encoder, model, trainer)
        except Exception as error:  # whatever goes wrong is what doctor is for: it is reported, with its kind
            trial.error = error
    return trial


def _run(trial: Trial, folder: Path, encoder: Encoder, model: dict[str, Any], arguments: dict[str, Any]) -> None:
    vision: VisionConfig | None = model.pop("vision", None)
    if vision is not None:
        vision, trial.tower = plan_tower(replace(vision, cache_dir=str(folder / "features")))
    options: dict[str, Any] = {"num_workers": 0, "batch_size": len(_LENGTHS)}
    task = TrialTask(**options)
    task.visual = vision is not None
    source = encoder.source or _random_encoder(encoder, folder / "encoder")
    if encoder.config is not None and encoder.source is not None:
        task.words = int(encoder.config.vocab_size)
    module = TrialModule(**{**model, "encoder": source, "vision": vision})
    runner = Trainer(
        max_steps=1, limit_val_batches=0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=str(folder), log_every_n_steps=1, **arguments,
    )  # fmt: skip
    trial.device, trial.precision = trainer_device(runner), str(runner.precision)
    cuda = trial.device.type == "cuda"
    started = time.monotonic()
    runner.fit(module, datamodule=task)
    if runner.global_step != 1:
        raise XmitError("no update was made")
    trial.seconds["update"], trial.failed = time.monotonic() - started, "scoring"
    started = time.monotonic()
    runner.test(module, datamodule=task, verbose=False)
    scores = np.stack(list(module.predictions["test"]["scores"]))
    if scores.shape != (len(_LENGTHS), len(task.label_names)) or not np.isfinite(scores).all():
        raise XmitError("the probabilities of some texts are missing or no numbers")
    trial.seconds["scoring"], trial.failed = time.monotonic() - started, ""
    trial.peak = int(torch.cuda.max_memory_allocated(trial.device)) if cuda else None


def _random_encoder(encoder: Encoder, folder: Path) -> str:
    """Write an encoder of that type and shape with two layers, few words and random weights."""
    from transformers import AutoModel

    assert encoder.config is not None  # only what was read is made up
    config = type(encoder.config).from_dict(encoder.config.to_dict())
    config.update({"num_hidden_layers": _LAYERS, "vocab_size": _WORDS})
    model: Any = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    if hasattr(model, "pooler"):
        model.pooler = None  # no run has one, and loading would say so
    model.save_pretrained(folder)
    return str(folder)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
