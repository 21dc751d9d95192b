"""When a module's word embeddings are compact: while it trains, and never in what it saves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from xmit.modules import compact_embedding
from xmit.modules.compact_embedding import CompactEmbedding
from xmit.modules.sharding import ShardedModule

if TYPE_CHECKING:
    from transformers import XLMRobertaModel


class CompactModule(ShardedModule):
    """A module that trains those rows of its word embeddings that are in use, see :class:`CompactEmbedding`.

    Attributes:
        text_encoder: The text encoder, once it is built.
        heads: A head a task.
    """

    text_encoder: XLMRobertaModel | None
    heads: nn.ModuleDict

    def __init__(self) -> None:
        super().__init__()
        self._embedding_state: dict[str, Any] | None = None

    @property
    def _compact(self) -> CompactEmbedding | None:
        """The compact embedding, while there is one."""
        words = None if self.text_encoder is None else self.text_encoder.embeddings.word_embeddings
        return words if isinstance(words, CompactEmbedding) else None

    def _shrink_embedding(self) -> None:
        """Begin to train the rows in use, unless a head needs all of them, or FSDP takes the matrix to pieces."""
        self._embedding_state = None
        assert self.text_encoder is not None
        shared = any(head.shares_words for head in self.heads.values())
        if self.hparams["embedding"] == "compact" and not shared and not self.sharded:
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            rows = compact_embedding.used_rows(data, self.text_encoder.config.vocab_size)
            compact_embedding.shrink(self.text_encoder, rows)
            assert self._compact is not None
            data.check_tokens = self._compact.check

    def _restore_embedding(self) -> None:
        """Put the whole embedding back."""
        if self.text_encoder is not None:
            compact_embedding.restore(self.text_encoder)
        if (data := getattr(self._trainer, "datamodule", None)) is not None:
            data.check_tokens = None

    def on_fit_end(self) -> None:
        """Put the whole embedding back; a checkpoint saved by hand now still needs to know of the compact one."""
        if self._compact is not None:
            self._embedding_state = compact_embedding.state(self._compact)
            self._restore_embedding()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write which rows the optimizer's state belongs to; the weights are always those of the whole matrix."""
        super().on_save_checkpoint(checkpoint)
        if "optimizer_states" in checkpoint:
            checkpoint["embedding"] = compact_embedding.state(self._compact) if self._compact else self._embedding_state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the same rows."""
        super().on_load_checkpoint(checkpoint)
        if self._compact is not None and checkpoint.get("embedding"):
            compact_embedding.take_state(self._compact, checkpoint["embedding"])
