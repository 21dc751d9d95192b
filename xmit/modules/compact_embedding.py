"""Word embeddings of the vocabulary in use: exact training at a fraction of the optimizer's work.

A row of the embedding matrix that no example uses has no gradient, ever; AdamW then only scales it by
``1 - lr * weight_decay`` at every update. So only the rows in use are trained, as a small matrix, and the others get
the product of those factors when the whole matrix is put together again. Of XLM-R's 250,002 rows MNLI uses some 28,000.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xmit.errors import DataError, EncoderError

if TYPE_CHECKING:
    from xmit.tasks.datamodule import TaskData


class CompactEmbedding(nn.Module):
    """Stands in for ``nn.Embedding`` while a run trains; its state dict is that of the whole matrix.

    Args:
        whole: The embedding that it stands in for.
        rows: The rows in use, rising ``(n,)``.

    Inputs:
        ``ids (…)`` of the whole vocabulary, all of them among ``rows``, see :meth:`check`.
    """

    remap: Tensor

    def __init__(self, whole: nn.Embedding, rows: npt.NDArray[np.int64]) -> None:
        super().__init__()
        self.rows = torch.from_numpy(rows)
        self._known = np.zeros(whole.num_embeddings, dtype=bool)
        self._known[rows] = True
        self.rest = whole.weight.detach().cpu()
        """The whole matrix; of its rows those not in use are valid, up to :attr:`decay`."""
        self.decay = 1.0
        """What the weight decay has made of the rows not in use so far, as a factor."""
        self._spent: Tensor | None = None
        self.num_embeddings, self.embedding_dim = whole.num_embeddings, whole.embedding_dim
        self.whole_padding_idx = whole.padding_idx
        remap = torch.full((whole.num_embeddings,), -1, dtype=torch.int32)
        remap[self.rows] = torch.arange(len(rows), dtype=torch.int32)
        self.register_buffer("remap", remap.to(whole.weight.device), persistent=False)
        place = None if whole.padding_idx is None else int(remap[whole.padding_idx])
        self.padding_idx = place if place is not None and place >= 0 else None
        self.weight = nn.Parameter(whole.weight.detach()[self.rows.to(whole.weight.device)].clone())

    def forward(self, ids: Tensor) -> Tensor:
        """Embed ``(…)`` to ``(…, H)``."""
        places = self.remap[ids]
        if places.is_cuda or not torch.is_grad_enabled():
            return F.embedding(places, self.weight, self.padding_idx)
        embedded: Tensor = _Lookup.apply(places, self.weight, self)
        return embedded

    def check(self, ids: Tensor) -> None:
        """Refuse a token that has no row here, while the batch is still on the host: a GPU would only abort.

        Args:
            ids: Token ids of the whole vocabulary, on the host.

        Raises:
            DataError: If a row of one of them is not trained.
        """
        known = self._known[ids.numpy()]
        if not known.all():
            token = int(ids.numpy()[~known][0])
            raise DataError(
                f"token {token} is in a batch but in no example of training or validation, so the compact word "
                f"embeddings do not train its row: set model.embedding to full"
            )

    def keep_gradient(self) -> None:
        """Let the next backward pass use this one's memory, once the optimizer has read it and lets it go.

        On the CPU alone, where new memory is dear; elsewhere it would only be held back from other uses.
        """
        self._spent = self.weight.grad if self.weight.device.type == "cpu" else None

    def take_gradient(self) -> Tensor:
        """A gradient of zeros for the weight ``(n, H)``, in the last one's memory if nobody uses that any more."""
        spent, self._spent = self._spent, None
        if spent is None or self.weight.grad is not None:
            return torch.zeros_like(self.weight)
        return spent.zero_()

    @property
    def unused(self) -> Tensor:
        """True for rows not in use ``(vocabulary,)``."""
        return self.remap.cpu() < 0

    def decayed(self, rate: float, weight_decay: float) -> None:
        """Take note of an update of AdamW."""
        self.decay *= 1 - rate * weight_decay

    def table(self) -> Tensor:
        """The whole matrix as it stands, ``(vocabulary, H)``, on the CPU."""
        table = self.rest.clone() if self.decay == 1 else self.rest * self.decay
        table[self.rows] = self.weight.detach().to("cpu", table.dtype)
        return table

    def whole(self) -> nn.Embedding:
        """An ordinary embedding with the whole matrix, where this one is."""
        weight = self.table().to(self.weight.device)
        whole: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
            weight, freeze=False, padding_idx=self.whole_padding_idx
        )
        return whole

    def fingerprint(self) -> str:
        """Which rows are in use, as a hash."""
        return hashlib.sha256(self.rows.numpy().tobytes()).hexdigest()[:16]

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.table()

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        table = state_dict.get(f"{prefix}weight")
        if table is None:
            missing_keys.append(f"{prefix}weight")
            return
        if table.shape != self.rest.shape:
            error_msgs.append(f"{prefix}weight is {tuple(table.shape)}, not {tuple(self.rest.shape)}")
            return
        with torch.no_grad():
            self.weight.copy_(table[self.rows.to(table.device)])
        unused = self.unused
        # of a run that goes on, the factor is known and the rows before it are at hand: that way nothing is rounded
        # twice, and the run equals one that was not interrupted to the last bit
        if not torch.equal((self.rest if self.decay == 1 else self.rest * self.decay)[unused], table[unused].cpu()):
            self.rest, self.decay = table.detach().cpu().clone(), 1.0


class _Lookup(torch.autograd.Function):
    """``F.embedding`` on the CPU, whose gradient is written where the last one was.

    New memory of that size costs more than the optimizer's update: the kernel hands it out page by page.
    """

    @staticmethod
    def forward(ctx: Any, places: Tensor, weight: Tensor, owner: CompactEmbedding) -> Tensor:
        ctx.save_for_backward(places)
        ctx.owner = owner
        return F.embedding(places, weight)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor, None]:
        places, owner = ctx.saved_tensors[0].flatten(), ctx.owner
        rows = upstream.reshape(len(places), -1).to(owner.weight.dtype)
        if owner.padding_idx is not None:
            rows = rows.masked_fill((places == owner.padding_idx)[:, None], 0)
        return None, owner.take_gradient().index_add_(0, places, rows), None


def used_rows(
    data: TaskData, vocabulary: int, splits: Iterable[str] = ("train", "validation")
) -> npt.NDArray[np.int64]:
    """The vocabulary rows that a training run can meet: those of its splits, and the special tokens.

    Args:
        data: The task or mixture.
        vocabulary: How many rows there are.
        splits: Training, and the source languages' validation that is scored between.

    Returns:
        Rising row numbers ``(n,)``.
    """
    used = np.zeros(vocabulary, dtype=np.bool_)
    for task in data.tasks.values():
        assert task.tokenizer is not None
        used[[i for i in task.tokenizer.all_special_ids if i < vocabulary]] = True
        for split in splits:
            for side in task.examples(split).text.values():
                used[side.rows] = True
    return np.flatnonzero(used)


def shrink(encoder: nn.Module, rows: npt.NDArray[np.int64]) -> CompactEmbedding:
    """Put a compact embedding in the place of the encoder's own."""
    compact = CompactEmbedding(encoder.embeddings.word_embeddings, rows)  # type: ignore[union-attr, arg-type]
    encoder.embeddings.word_embeddings = compact  # type: ignore[union-attr]
    return compact


def restore(encoder: nn.Module) -> None:
    """Put the whole embedding back, if it was compact."""
    words = encoder.embeddings.word_embeddings  # type: ignore[union-attr]
    if isinstance(words, CompactEmbedding):
        whole = words.whole()
        encoder.embeddings.word_embeddings = whole  # type: ignore[union-attr]


def follow_decay(compact: CompactEmbedding, optimizer: torch.optim.Optimizer) -> None:
    """Let the rows not in use take part in the optimizer's weight decay, and gradients share their memory."""

    def after_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            if any(p is compact.weight for p in group["params"]):
                compact.decayed(float(group["lr"]), float(group["weight_decay"]))
        compact.keep_gradient()

    optimizer.register_step_post_hook(after_step)


def state(compact: CompactEmbedding) -> dict[str, Any]:
    """What a checkpoint must know beside the whole matrix."""
    return {"rows": compact.fingerprint(), "decay": compact.decay}


def take_state(compact: CompactEmbedding, saved: dict[str, Any]) -> None:
    """Go on from a checkpoint's.

    Raises:
        EncoderError: If other rows are in use now: the optimizer's state would belong to others.
    """
    if saved["rows"] != compact.fingerprint():
        raise EncoderError(
            "the checkpoint's run used other rows of the vocabulary: the training or validation data have changed. "
            "Give the data it was begun with, or begin a new run from its encoder with --model.init_from RUN"
        )
    compact.decay = float(saved["decay"])
