"""The one LightningModule: a text encoder, perhaps with a vision tower fused in, and a head per task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from xmit.data.image_spec import ImageSpec
from xmit.data.packing import Packing
from xmit.errors import ConfigError, EncoderError, TrainingError, check_choice, check_number
from xmit.hardware import CPU, pads_groups, trainer_device
from xmit.metrics.store import PredictionStore
from xmit.modules import packing as packing_
from xmit.modules.compact_embedding import follow_decay
from xmit.modules.compact_module import CompactModule
from xmit.modules.dropout import set_dropout
from xmit.modules.encoders import check_positions, load_text_encoder, load_tokenizer, resolve_init_from
from xmit.modules.fusion import Fusion, FusionConfig
from xmit.modules.fusion_files import load_fusion, save_fusion
from xmit.modules.heads import Encoded, Head, Side, build_head
from xmit.modules.micro_batches import check_cuts, summed_loss
from xmit.modules.optimizer import adamw
from xmit.modules.scoring import filled, prediction_rows, result_row, source_score
from xmit.modules.vision import VisionConfig
from xmit.tasks.base import Batch, HeadSpec, Task

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

MAIN_SCORE = "main_score"
"""What checkpoints are chosen by: the mean over tasks of the source language's main score."""


class MultimodalModule(CompactModule):
    """Trains and scores any tasks on one text encoder.

    It never asks which data set it sees: the datamodule's tasks name their heads, decode and score.

    Args:
        encoder: Text encoder, see :func:`~xmit.modules.encoders.load_text_encoder`.
        init_from: An encoder folder or a finished run whose text encoder is taken instead; heads are new. With a
            tower, the fusion of such a run is taken along too, unless ``fusion.new``.
        vision: The frozen tower, for tasks with images.
        fusion: How visual tokens enter the text encoder; by default as in the run of ``init_from``, else a prefix.
        learning_rate: Peak learning rate of the encoder.
        head_learning_rate: Peak learning rate of heads and fusion; that of the encoder by default.
        weight_decay: AdamW's, not for biases and layer norms.
        warmup: Share of the updates in which the learning rate rises.
        schedule: How it goes on from there.
        embedding: ``compact`` trains the rows of the word embeddings that training and source validation use, the
            others only decay: the same outcome as ``full``, which is taken instead where a head shares the matrix
            (masked LM) and under FSDP. ``frozen`` leaves it as it is.
        dropout: Dropout in the encoder; its config's by default.
        checkpointing: Keep no activations within the encoder's layers but compute them again in the backward pass:
            a third more time for a fraction of the memory.
        compile: Compile the encoder's layers (``torch.compile``); on CUDA only, on the CPU it is slower.
    """

    def __init__(
        self,
        encoder: str = "FacebookAI/xlm-roberta-base",
        init_from: str | None = None,
        vision: VisionConfig | None = None,
        fusion: FusionConfig | None = None,
        learning_rate: float = 1e-5,
        head_learning_rate: float | None = None,
        weight_decay: float = 0.0,
        warmup: float = 0.1,
        schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear",
        embedding: Literal["full", "compact", "frozen"] = "compact",
        dropout: float | None = None,
        checkpointing: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__()
        check_choice("model.embedding", embedding, ("full", "compact", "frozen"))
        check_choice("model.schedule", schedule, ("linear", "cosine", "constant_with_warmup"))
        check_number("model.learning_rate", learning_rate)
        check_number("model.weight_decay", weight_decay)
        check_number("model.warmup", warmup, most=1)
        if head_learning_rate is not None:
            check_number("model.head_learning_rate", head_learning_rate)
        if dropout is not None:
            check_number("model.dropout", dropout, most=1)
        self.save_hyperparameters(ignore=["vision", "fusion"])
        vision = VisionConfig(**vision) if isinstance(vision, Mapping) else vision
        fusion = FusionConfig(**fusion) if isinstance(fusion, Mapping) else fusion
        # plain dicts and no instantiator, so that a checkpoint is read with weights_only and without the CLI
        self.hparams.pop("_instantiator", None)
        self.hparams["vision"] = asdict(vision) if vision else None
        self.hparams["fusion"] = asdict(fusion) if fusion else None
        self.vision, self.fusion_config = vision, fusion
        self.image_spec = ImageSpec(vision) if vision else None
        self.text_encoder = None
        self.fusion: Fusion | None = None
        self.heads, self.stores = nn.ModuleDict(), nn.ModuleDict()
        self.results: dict[str, pd.DataFrame] = {}
        self.predictions: dict[str, pd.DataFrame] = {}
        self._specs: dict[str, HeadSpec] = {}
        self._not_finite = torch.zeros((), dtype=torch.int64)

    # -- building ------------------------------------------------------------------------------------------

    @property
    def encoder_source(self) -> str:
        """Where the text encoder comes from: the folder behind ``init_from``, or ``encoder``."""
        init_from = self.hparams["init_from"]
        return resolve_init_from(init_from) if init_from else str(self.hparams["encoder"])

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The encoder's tokenizer."""
        return load_tokenizer(self.encoder_source)

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks of the datamodule that is being run."""
        datamodule = getattr(self.trainer, "datamodule", None)
        if datamodule is None:
            raise ConfigError("give the trainer a task: trainer.fit(module, task), not dataloaders")
        return datamodule.tasks  # type: ignore[no-any-return]

    def setup(self, stage: str) -> None:
        """Hand the tokenizer and the image spec to the tasks."""
        super().setup(stage)
        tasks, strategy, data = self.tasks, self.trainer.strategy, self.trainer.datamodule  # type: ignore[attr-defined]
        if self.vision and {task.images for task in tasks.values()} - {None} == {"none"}:
            raise ConfigError(f"{data.name!r} has no images (images: none), so no tower: set model.vision to null")
        if self.image_spec is not None:
            self.image_spec.device = trainer_device(self.trainer)
        data.bind(self.tokenizer, self.image_spec)
        data.compute_on(trainer_device(self.trainer))
        if isinstance(strategy, DDPStrategy) and data.trains:
            # no gradient: heads of other tasks than the batch's, the fusion without images, layers above the one read
            lower = any(spec.options.get("layer") is not None for spec in data.head_specs().values())
            if len(tasks) > 1 or self.vision is not None or lower:
                strategy._ddp_kwargs.setdefault("find_unused_parameters", True)

    def configure_model(self) -> None:
        """Build the encoder, and the heads that the tasks ask for; only once, but anew from what FSDP has scattered.

        Always on the CPU, from where Lightning moves the whole: it calls this with the GPU as torch's default device,
        where weights would be read into the wrong memory, and row numbers and random numbers of the host made there.
        """
        with CPU:
            self._configure_model()

    def _configure_model(self) -> None:
        if self.sharded and self.text_encoder is not None:
            self.text_encoder, self._specs, self.in_pieces = None, {}, not self.trainer.training
        if self.text_encoder is None:
            self._build_encoder()
        if self._trainer is None:
            return  # load_from_checkpoint: the heads come with the checkpoint
        check_positions(self.text_encoder, {name: task.max_length for name, task in self.tasks.items()})  # type: ignore[arg-type]
        specs = self.trainer.datamodule.head_specs()  # type: ignore[attr-defined]
        self._restore_embedding()
        if specs != self._specs:
            self._build_heads(specs)
        if self.trainer.state.fn == TrainerFn.FITTING:
            check_cuts(self)
            self._shrink_embedding()
        self.note_matrices()

    def _build_encoder(self) -> None:
        encoder = load_text_encoder(self.encoder_source)
        set_dropout(encoder, self.hparams["dropout"])
        encoder.train().requires_grad_(True)  # from_pretrained gives eval mode, that is no dropout
        if self.hparams["embedding"] == "frozen":
            encoder.embeddings.word_embeddings.requires_grad_(False)
        if self.hparams["checkpointing"]:
            encoder.activation_checkpointing_enable({"use_reentrant": False})
        packing_.prepare(encoder)
        if self.hparams["compile"] and trainer_device(self._trainer).type == "cuda":
            for block in encoder.encoder.layer:
                block.compile(dynamic=True)
        self.text_encoder = encoder
        if self.image_spec is not None:
            self.fusion = load_fusion(self.fusion_config, self.image_spec, encoder, self.hparams["init_from"])
            self.image_spec.prefix_places = self.fusion.prefix_places

    def _build_heads(self, specs: dict[str, HeadSpec]) -> None:
        assert self.text_encoder is not None
        config = self.text_encoder.config
        self.heads, self.stores = nn.ModuleDict(), nn.ModuleDict()
        for name, spec in specs.items():
            head = build_head(spec.kind, config.hidden_size, config.num_hidden_layers, spec.options)
            head.attach(self.text_encoder, self.encoder_source)
            self.heads[name] = head
        self._specs = dict(specs)

    # -- forward -------------------------------------------------------------------------------------------

    @overload
    def encode(
        self, sides: Side, layer: int | None = None, first: bool = False, packing: Packing | None = None
    ) -> Encoded: ...

    @overload
    def encode(
        self, sides: Sequence[Side], layer: int | None = None, first: bool = False, packing: Packing | None = None
    ) -> list[Encoded]: ...

    def encode(
        self,
        sides: Side | Sequence[Side],
        layer: int | None = None,
        first: bool = False,
        packing: Packing | None = None,
    ) -> Encoded | list[Encoded]:
        """Encode one side of a batch, or several in one pass through the encoder.

        Args:
            sides: ``input_ids`` and ``attention_mask`` ``(B, L)``, perhaps ``image`` ``(B, V, W)``, and ``lengths``,
                tokens on the host, if padding is not to be computed on.
            layer: Which hidden state, 0 being the embeddings; the last by default.
            first: Give that of the first text token alone, which saves most of the last layer.
            packing: Where the tokens of all packed sides of the batch lie, if the loader has worked it out.

        Returns:
            For each side the hidden states ``(B, N + L, H)``, after ``N`` visual tokens where the fusion puts them
            before the text; ``(B, 1, H)`` with ``first``.
        """
        assert self.text_encoder is not None
        several = [sides] if isinstance(sides, dict) else list(sides)
        given = [self.encoder_inputs(side) for side in several]
        before = [
            inputs["attention_mask"].shape[1] - side["input_ids"].shape[1]
            for side, (inputs, _) in zip(several, given, strict=True)
        ]
        lengths = [packing_.lengths_of(self.text_encoder, side, first, layer) for side in several]
        # layers that look at images want their text item by item
        packed = [k for k, own in enumerate(lengths) if own and "encoder_hidden_states" not in given[k][0]]
        states: dict[int, Tensor] = {}
        if packed:
            inputs = [given[k][0] for k in packed]
            shapes = tuple(tuple(side["attention_mask"].shape) for side in inputs)
            parts = [several[k].get("part") for k in packed]
            if packing is None or packing.shapes != shapes or parts != list(range(len(shapes))):
                sizes = [np.asarray(lengths[k]) + before[k] for k in packed]
                ahead, device = [before[k] for k in packed], inputs[0]["attention_mask"].device
                packing = Packing(sizes, [width for _, width in shapes], ahead, pads_groups(device)).to(device)
            found = packing_.encode(self.text_encoder, inputs, packing, layer, first)
            states = dict(zip(packed, found, strict=True))
        encoded = []
        for k, (inputs_, visual) in enumerate(given):
            if k not in states:
                hidden = packing_.encode_padded(self.text_encoder, layer, **inputs_)
                states[k] = hidden[:, before[k] : before[k] + 1] if first else hidden
            hidden, mask = states[k], inputs_["attention_mask"]
            if visual is not None and self.fusion is not None:
                hidden = self.fusion.join(hidden, visual)
            encoded.append(Encoded(hidden, mask[:, :1], 0) if first else Encoded(hidden, mask, before[k]))
        return encoded[0] if isinstance(sides, dict) else encoded

    def encoder_inputs(self, side: Side) -> tuple[dict[str, Tensor], Tensor | None]:
        """What the text encoder is called with for one side of a batch, and its visual tokens if it has images.

        Raises:
            ConfigError: If the side has images but the module has no vision tower.
        """
        inputs = {name: side[name] for name in ("input_ids", "attention_mask")}
        if "image" not in side:
            return inputs, None
        if self.fusion is None or self.text_encoder is None:
            raise ConfigError("the batch has images but the module has no vision tower: set model.vision.name")
        visual: Tensor = self.fusion(side["image"])
        return self.fusion.enter(self.text_encoder, inputs, visual), visual

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The outputs of the head of the batch's task."""
        head: Head = self.heads[batch["task"]]  # type: ignore[assignment]
        outputs: dict[str, Tensor] = head(partial(self.encode, packing=batch.get("packing")), batch)
        return outputs

    # -- training ------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        loss: Tensor = summed_loss(self, batch) if "cuts" in batch else self(batch)["loss"]
        # summed on the device: looking at every loss would make the host wait for every update
        self._not_finite += ~torch.isfinite(loss.detach())
        # Lightning's log() costs as much as all else that it does in an update: call it only where it is written
        if self.trainer._logger_connector.should_update_logs or self.trainer.is_last_batch:
            self._check_finite()
            # on the host: the progress bar reads it at every update, and would wait for the device each time
            shown = loss.detach().float().cpu()
            self.log(f"{batch['task']}/loss", shown, batch_size=len(batch["item"]), prog_bar=True)
        return loss

    def _check_finite(self) -> None:
        """Stop when a loss was no number.

        Raises:
            TrainingError: If so.
        """
        if self._not_finite.item():
            raise TrainingError(
                f"the loss of {', '.join(self._specs)} was not a number at or before update {self.global_step}: "
                f"lower model.learning_rate (now {self.hparams['learning_rate']:g}) or use trainer.precision 32-true"
            )

    def on_fit_start(self) -> None:
        """Nothing went wrong yet."""
        self._not_finite = torch.zeros((), dtype=torch.int64, device=self.device)

    def on_train_end(self) -> None:
        """Look at the last losses."""
        self._check_finite()

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule, see :func:`~xmit.modules.optimizer.adamw`."""
        steps = self.trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise ConfigError(
                "the schedule needs an end: set trainer.max_steps or trainer.max_epochs, also with max_time"
            )
        optimizer, scheduler = adamw(self.parameters_by_name(), self.hparams, int(steps), self.matrices)
        if self._compact is not None:
            follow_decay(self._compact, optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    # -- scoring -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.check_at_hand()
        self.stores = nn.ModuleDict({name: PredictionStore(t.decoded_fields) for name, t in self.tasks.items()})

    def _step(self, batch: Batch) -> None:
        decoded = self.tasks[batch["task"]].decode(self(batch), batch)
        self.stores[batch["task"]].update(decoded)  # type: ignore[operator]

    def _finish(self, split: str) -> None:
        """Decode, score and log a split, every task and language apart."""
        import pandas as pd

        rows, frames, main = [], [], []
        for name, decoded in filled(self.stores):
            task = self.tasks[name]
            predictions = prediction_rows(task, decoded, split)
            frames.append(predictions)
            scores = task.evaluate(predictions)
            rows += [result_row(task, split, score) for score in scores]
            self.log_dict({f"{name}/{s.language}/{s.metric}": s.value for s in scores}, add_dataloader_idx=False)
            main.append(source_score(task, scores))
        self.results[split] = pd.DataFrame(rows)
        self.predictions[split] = pd.concat(frames, ignore_index=True)
        if split == "validation":
            self.log(MAIN_SCORE, sum(main) / len(main), prog_bar=True)
        self.stores = nn.ModuleDict()

    def on_validation_epoch_start(self) -> None:
        """Begin a new store."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self._check_finite()
        self._start()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Decode a batch of the validation split."""
        self._step(batch)

    def on_validation_epoch_end(self) -> None:
        """Score the validation split."""
        if not self.trainer.sanity_checking:
            self._finish("validation")

    def on_test_epoch_start(self) -> None:
        """Begin a new store."""
        self._start()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Decode a batch of the test split."""
        self._step(batch)

    def on_test_epoch_end(self) -> None:
        """Score the test split in all languages."""
        self._finish("test")

    def on_predict_epoch_start(self) -> None:
        """Begin a new store."""
        self._start()

    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        """Decode a batch of the test split."""
        self._step(batch)

    def on_predict_epoch_end(self) -> None:
        """Keep the prediction rows, without scoring them."""
        import pandas as pd

        frames = [prediction_rows(self.tasks[name], decoded, "test") for name, decoded in filled(self.stores)]
        self.predictions["test"] = pd.concat(frames, ignore_index=True)
        self.stores = nn.ModuleDict()

    # -- checkpoints and encoders ----------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the head specs into the checkpoint."""
        checkpoint["head_specs"] = {name: spec.to_dict() for name, spec in self._specs.items()}
        super().on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of other tasks; build what is needed to take its weights."""
        specs = {name: HeadSpec(**spec) for name, spec in checkpoint.get("head_specs", {}).items()}
        if self.text_encoder is None:
            self._build_encoder()
        if not self._specs:
            self._build_heads(specs)
        elif specs != self._specs:
            raise EncoderError(
                f"the checkpoint was trained on {', '.join(specs) or 'something else'}, this run is on "
                f"{', '.join(self._specs)}: --ckpt_path only resumes or scores the same run. To start from another "
                f"run's encoder use --model.init_from RUN"
            )
        super().on_load_checkpoint(checkpoint)

    def save_pretrained(self, folder: str) -> None:
        """Write the text encoder and its tokenizer as transformers does (safetensors), nothing else.

        ``AutoModel`` adds a pooler of its own and says that it is new: hidden states do not depend on it.

        Args:
            folder: Where to; ``AutoModel.from_pretrained(folder)`` gives the same hidden states.
        """
        if self.text_encoder is None:
            self._build_encoder()
        assert self.text_encoder is not None
        self.text_encoder.save_pretrained(folder, safe_serialization=True)
        tokenizer: Any = self.tokenizer
        tokenizer.backend_tokenizer.no_truncation()  # a task's max_length is no property of the encoder
        tokenizer.save_pretrained(folder)
        for file in Path(folder).glob("*.safetensors"):
            file.chmod(0o644)  # safetensors writes for the owner alone, which is a nuisance on shared machines

    def save_fusion(self, folder: str) -> None:
        """Write the fusion, if there is one, so that ``init_from`` takes it along to a target with images.

        Args:
            folder: Where to; ``fusion`` beside the folder ``encoder`` of :meth:`save_pretrained`.
        """
        if self.fusion is not None and self.image_spec is not None:
            save_fusion(self.fusion, self.image_spec, folder)
