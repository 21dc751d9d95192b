"""What a run is expected to hold in memory, by its settings and perhaps its data: no weights are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from xmit import hardware
from xmit.errors import DataError, EncoderError, MissingDependencyError
from xmit.memory.batches import Layout, described, images_of, largest, longest, pieces, scored
from xmit.memory.formulas import Peak, highest, scoring_peak, training_peak
from xmit.memory.shapes import EncoderShape, FusionShape, HeadShape, Path, Setting, encoder_shape
from xmit.modules.compact_embedding import used_rows
from xmit.modules.encoders import resolve_init_from
from xmit.modules.fusion import FusionConfig
from xmit.modules.vision import EMBEDDED as EMBEDDED_TOWER
from xmit.tasks.answers import AnswerTask
from xmit.tasks.masked_lm import MaskedLMTask
from xmit.tasks.token_classification import TokenClassificationTask

if TYPE_CHECKING:
    from xmit.modules.module import MultimodalModule
    from xmit.modules.vision import VisionConfig
    from xmit.tasks.base import Task, TaskData

ROWS = 50_000
"""Word embeddings that a source language is taken to use where its data are not at hand; MNLI uses 28,000."""
HEADS_THAT_COMPARE = {"contrastive", "dual", "image_text"}
"""Heads whose loss compares the items of a batch, which therefore cannot be cut."""
ANSWERS = 3129
"""Answers that a task is taken to have where its data are not at hand: VQA v2's usual vocabulary."""
LABELS = 1300
"""Labels of a tagging task that counts them in data that are not at hand."""
GPU = torch.device("cuda")
BATCH = 64
"""Images that a tower computes on at once, see :mod:`xmit.data.survey`."""


@dataclass(frozen=True)
class TaskMemory:
    """What one task of a run holds at most.

    Args:
        task: Its name.
        training: The peak of an update; None where nothing is trained.
        scoring: The peak of scoring.
        batch: The largest training batch, for people.
    """

    task: str
    training: Peak | None
    scoring: Peak
    batch: str

    @property
    def peak(self) -> Peak:
        """The higher of both."""
        return self.scoring if self.training is None else highest([self.training, self.scoring])


@dataclass(frozen=True)
class RunMemory:
    """What a run holds at most on a device.

    Args:
        precision: In which it computes.
        device: The kind of device that it was worked out for.
        tasks: Task by task.
        kernel: How batches are attended to, and why.
        unknown: Why nothing can be said; empty where it can.
        notes: What the figures rest on.
        tower: Of computing vision features that are not in the cache, before training; None without a tower.
    """

    precision: str
    device: str
    tasks: tuple[TaskMemory, ...] = ()
    kernel: str = ""
    unknown: str = ""
    notes: tuple[str, ...] = ()
    tower: Peak | None = None

    @property
    def peak(self) -> Peak:
        """Of all its tasks."""
        return highest(task.peak for task in self.tasks)


def run_memory(
    module: MultimodalModule, data: TaskData, trainer: Mapping[str, Any], device: torch.device, at_hand: bool = False
) -> RunMemory:
    """What a run is expected to hold at most on each of its devices.

    Args:
        module: The module as its config makes it, not yet built.
        data: Its task or tasks.
        trainer: The trainer's settings.
        device: The kind of device; ``cuda`` may be asked for where there is none.
        at_hand: Whether the tasks' training data are loaded and tokenised, so that the largest batch is known.
    """
    precision = str(trainer.get("precision") or "auto")
    if precision == "auto":
        precision = "bf16-mixed" if _absent(device) else hardware.fast_precision(device)
    if "fsdp" in str(trainer.get("strategy")).lower():
        return RunMemory(precision, device.type, unknown="FSDP scatters weights and gathers them layer by layer")
    if precision == "64-true":
        return RunMemory(precision, device.type, unknown="there are no formulas for 64-bit")
    try:
        shape = encoder_shape(_source(module), module.hparams["dropout"])
        fusion = None if module.vision is None else fusion_shape(module.vision, module.fusion_config)
        data.compute_on(device)
        heads = {name: planned_head(task, at_hand) for name, task in data.tasks.items()}
    except (EncoderError, DataError, MissingDependencyError) as error:
        return RunMemory(precision, device.type, unknown=" ".join(str(error).split()))
    path, kernel = _kernel(shape, device, precision)
    rows, notes = _rows(module, data, shape, heads, at_hand)
    setting = Setting(
        path,
        half=precision in ("bf16-mixed", "16-mixed"),
        weights_half=precision in ("bf16-true", "16-true"),
        joined=hardware.wants_few_launches(device),
        checkpointing=bool(module.hparams["checkpointing"]),
        rows=rows,
        accumulates=int(trainer.get("accumulate_grad_batches") or 1) > 1,
        processes=processes(trainer, device),
    )
    every = sum(head.parameters(shape) for head in heads.values())
    tasks = []
    for name, task in data.tasks.items():
        run = _Run(device, at_hand, every - heads[name].parameters(shape))
        tasks.append(_task_memory(task, shape, setting, heads[name], fusion, run))
    tower = tower_peak(module.vision) if module.vision is not None else None
    return RunMemory(precision, device.type, tuple(tasks), kernel, notes=notes, tower=tower)


@dataclass(frozen=True)
class _Run:
    """What is the same for all of a task's batches.

    Args:
        device: The kind of device.
        at_hand: Whether the data are.
        others: Parameters of the other tasks' heads.
    """

    device: torch.device
    at_hand: bool
    others: int


def planned_device(trainer: Mapping[str, Any], elsewhere: bool = False) -> torch.device:
    """The kind of device that a plan is for: what a run here would take, or a GPU if one is asked for and not here.

    Args:
        trainer: The trainer's settings.
        elsewhere: Whether runs are taken to be on a GPU unless they ask for something else: a study is often planned
            on a machine without one.
    """
    asked, strategy = trainer.get("accelerator"), trainer.get("strategy")
    if asked in ("gpu", "cuda") or (elsewhere and asked in (None, "auto") and strategy in (None, "auto")):
        here = hardware.best_device()
        return here if here.type != "cpu" else GPU
    return hardware.chosen_device(asked, strategy)


def card(device: torch.device) -> float | None:
    """The memory of a device in bytes; None where there is no such device here, or it is the host."""
    if device.type != "cuda" or _absent(device):
        return None
    return float(torch.cuda.get_device_properties(device).total_memory)


def processes(trainer: Mapping[str, Any], device: torch.device) -> int:
    """How many devices hold the same weights."""
    given = trainer.get("devices", 1)
    here = torch.cuda.device_count() if device.type == "cuda" and not _absent(device) else 1
    if given in (None, "auto", -1, "-1"):
        n = here
    elif isinstance(given, list | tuple):
        n = len(given)
    else:
        n = len([part for part in str(given).split(",") if part]) if "," in str(given) else int(given)
    return max(1, n) * int(trainer.get("num_nodes") or 1)


def described_device(device: torch.device) -> str:
    """A device for people.

    Args:
        device: The kind of device; ``cuda`` may be asked for where there is none.
    """
    return "a GPU with bf16 (none is here, where fit would refuse)" if _absent(device) else hardware.describe(device)


def _absent(device: torch.device) -> bool:
    return device.type == "cuda" and not torch.cuda.is_available()


def _source(module: MultimodalModule) -> str:
    """The encoder's name; that of the public one where a study's intermediate is not there yet."""
    init_from = module.hparams["init_from"]
    if init_from:
        try:
            return resolve_init_from(init_from)
        except DataError:
            return str(module.hparams["encoder"])
    return str(module.hparams["encoder"])


def _kernel(shape: EncoderShape, device: torch.device, precision: str) -> tuple[Path, str]:
    """How packed batches are attended to."""
    if not hardware.runs_packed(device):
        return "padded", f"padded: {device.type} computes on padding"
    dtype = {"bf16": torch.bfloat16, "16": torch.float16}.get(precision.partition("-")[0], torch.float32)
    if _absent(device):  # as a GPU of today would
        missing = hardware.flash_attn_missing()
        if dtype != torch.float32 and (missing is None or (not shape.attention_dropout and hardware.torch_varlen())):
            return "flash", "flash attention"
        return "groups", f"groups: {missing}"
    chosen = hardware.attention(device, dtype, shape.attention_dropout, shape.hidden // shape.heads)
    path: Path = "flash" if chosen.kernel != "groups" else "groups" if hardware.pads_groups(device) else "lengths"
    return path, f"{chosen.kernel}: {chosen.why}"


# -- what a task puts on the encoder -------------------------------------------------------------------------


def planned_head(task: Task, at_hand: bool) -> HeadShape:
    """The head of a task; that of answers not yet counted with as many as is usual."""
    if isinstance(task, AnswerTask) and not at_hand:
        return HeadShape("answers", task.n_answers or ANSWERS, task.pooling)
    try:
        spec = task.head_spec()
    except DataError:  # labels that are counted in the data, such as CCGbank's 1,285 supertags
        if at_hand or not isinstance(task, TokenClassificationTask):
            raise
        return HeadShape("token", LABELS)
    options = spec.options
    outputs = options.get("num_labels") or options.get("num_choices") or 2
    usual = {"dual": "pooler", "image_text": "mean", "contrastive": "mean", "embedding": "mean"}.get(spec.kind, "cls")
    pooling = str(options.get("pooling", usual))
    return HeadShape(spec.kind, int(outputs), pooling, options.get("layer"), bool(options.get("hard_negatives")))


def _rows(
    module: MultimodalModule, data: TaskData, shape: EncoderShape, heads: Mapping[str, HeadShape], at_hand: bool
) -> tuple[int | None, tuple[str, ...]]:
    """Word embeddings that are trained, as :class:`~xmit.memory.Setting` has it, and what that rests on."""
    kind = module.hparams["embedding"]
    if kind == "frozen" or not data.trains:
        return 0, ()
    if kind == "full" or any(head.shares_words for head in heads.values()):
        return None, ()
    if at_hand:
        n = len(used_rows(data, shape.vocabulary))
        return n, (f"{n:,} word embeddings are in use and trained",)
    languages = {code for task in data.tasks.values() for code in task.source_languages}
    n = min(shape.vocabulary, ROWS * len(languages))
    return n, (f"{n:,} word embeddings are taken to be in use; the data are not read",)


def fusion_shape(vision: VisionConfig, config: FusionConfig | None) -> FusionShape:
    """A fusion by the settings of its tower, which is not built.

    Args:
        vision: The tower.
        config: The fusion's settings; the defaults where there are none.

    Raises:
        EncoderError: If the tower's features are only known once it is built.
    """
    width, features = tower_features(vision)
    return FusionShape(config or FusionConfig(), width, features)


def tower_features(vision: VisionConfig) -> tuple[int, int]:
    """Width of a tower's features, and how many it gives an image.

    Args:
        vision: The tower.

    Raises:
        EncoderError: If that is only known once it is built.
    """
    model = _tower(vision)
    if vision.output == "pooled":
        return int(model["embed_dim"]), 1
    return int(model["vision_cfg"]["width"]), _patches(vision, model["vision_cfg"])


def tower_peak(vision: VisionConfig) -> Peak:
    """The most that computing features holds, where they are not all in the cache: before training, never beside it.

    Args:
        vision: The tower, computed on in fp32 and in batches of 64 images.

    Raises:
        EncoderError: If its sizes are only known once it is built.
    """
    tower = _tower(vision)["vision_cfg"]
    width, wide, depth = int(tower["width"]), int(tower["width"] * tower.get("mlp_ratio", 4.0)), int(tower["layers"])
    tokens, pixels = _patches(vision, tower) + 1, _pixels(vision, tower)
    layer = 4 * width * width + 2 * width * wide + 9 * width + wide
    weights = 4 * (depth * layer + 3 * int(tower["patch_size"]) ** 2 * width + tokens * width)
    # a batch's pixels; of the widest layer the state, the normed one, and the feed-forward layer before and after GELU
    passing = BATCH * 4 * (3 * pixels + tokens * (2 * width + 2 * wide))
    return Peak({"tower": weights, "activations": passing}, "vision features")


def _tower(vision: VisionConfig) -> dict[str, Any]:
    """The sizes of a vision transformer, as open_clip lists them."""
    if vision.name == EMBEDDED_TOWER:
        from xmit.tasks.embedded.digits_tower import MODEL

        return MODEL
    import open_clip

    model: dict[str, Any] = open_clip.get_model_config(vision.name) or {}
    if {"patch_size", "width", "layers"} <= set(model.get("vision_cfg", {})) and type(
        model["vision_cfg"]["layers"]
    ) is int:
        return model
    raise EncoderError(f"the sizes of vision tower {vision.name!r} are only known once it is built")


def _pixels(vision: VisionConfig, tower: Mapping[str, Any]) -> int:
    """Of an image."""
    side = vision.image_size or tower["image_size"]
    return int(side[0] * side[1]) if isinstance(side, list | tuple) else int(side) ** 2


def _patches(vision: VisionConfig, tower: Mapping[str, Any]) -> int:
    """Of an image."""
    return _pixels(vision, tower) // int(tower["patch_size"]) ** 2


# -- peaks ---------------------------------------------------------------------------------------------------


def _task_memory(
    task: Task, shape: EncoderShape, setting: Setting, head: HeadShape, fusion: FusionShape | None, run: _Run
) -> TaskMemory:
    """The peaks of a task."""
    seen = fusion if images_of(task) else None
    places: int | None = 0
    if seen is not None:
        places = {"prefix": seen.tokens, "late": 0, "cross_attention": None}[seen.config.kind]
    layout = Layout(
        task.batching == "packed" and hardware.runs_packed(run.device),
        places,
        task.mask_rate if isinstance(task, MaskedLMTask) else 0.0,
        head.hard and seen is not None,
    )
    training, batch = None, "nothing is trained"
    if task.trains:
        sides = largest(task, layout) if run.at_hand else longest(task, task.batch_size)
        parts = pieces(sides, task.train_tokens, layout.packed)
        cut = replace(setting, micro_batches=len(parts))
        training = highest(training_peak(shape, cut, layout.passes(own), head, fusion, run.others) for own in parts)
        batch = described(sides, len(parts), run.at_hand)
    scoring = replace(layout, packed=layout.packed and hardware.packs_scoring(run.device), hard=False)
    passes = [own for sides in scored(task, places) for own in scoring.passes(sides)]
    # within training the moments are there; afterwards they are not, but the whole embedding is
    after = replace(setting, rows=setting.rows and None)
    peaks = [scoring_peak(shape, after, own, head, fusion, run.others, trained=False) for own in passes]
    if task.trains:
        peaks += [scoring_peak(shape, setting, own, head, fusion, run.others) for own in passes]
    return TaskMemory(task.name, training, highest(peaks), batch)
