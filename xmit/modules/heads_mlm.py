"""The head of masked language modelling, which shares the encoder's word embeddings."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xmit.errors import EncoderError
from xmit.modules.encoders import EMBEDDED
from xmit.modules.heads import Encode, Head, initialise, labelled
from xmit.tasks.examples import IGNORED

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

_PREFIX = "lm_head."
_NAMES = ("dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias", "bias")


class MaskedLMHead(Head):
    """XLM-R's language-model head: dense, gelu, layer norm, and the word embeddings as decoder, plus a bias.

    Where other heads are new in each run, this one starts from the ``lm_head`` in the encoder's own files if it is
    there, as in ``FacebookAI/xlm-roberta-base``: continued pre-training goes on from where it stopped. Folders that
    ``save_pretrained`` wrote and embedded encoders have none; it then starts at random, with a warning.

    The decoder *is* the encoder's embedding matrix: not among this head's parameters, so neither saved nor updated
    twice. Logits are made at masked tokens only, since XLM-R's vocabulary has 250,002 of them.

    Args:
        hidden_size: Width of the encoder.
        n_layers: Depth of the encoder.
    """

    shares_words = True

    def __init__(self, hidden_size: int, n_layers: int) -> None:
        super().__init__(hidden_size, n_layers)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.layer_norm = nn.LayerNorm(hidden_size)
        self.bias = nn.Parameter(torch.empty(0))  # one for each entry of the vocabulary, once that is known
        self._words: list[nn.Embedding] = []  # in a list, which hides the encoder's matrix from this head's parameters
        initialise(self.dense)

    def attach(self, encoder: XLMRobertaModel, source: str) -> None:
        """Take the encoder's word embeddings as decoder, and the pretrained weights that lie beside the encoder.

        Args:
            encoder: The text encoder.
            source: Where it was loaded from.

        Raises:
            EncoderError: If pretrained weights are there but do not fit.
        """
        words: nn.Embedding = encoder.embeddings.word_embeddings
        self._words = [words]
        self.bias = nn.Parameter(torch.zeros(words.num_embeddings, device=words.weight.device))
        self.layer_norm.eps = float(encoder.config.layer_norm_eps)
        weights = pretrained_head(source)
        if not weights:
            text = f"the masked-LM head starts at random: {source} has no {_PREFIX}* weights in safetensors beside it"
            warnings.warn(text, stacklevel=2)
            return
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise EncoderError(f"the {_PREFIX}* weights of {source} do not fit its encoder ({reason})") from error

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary ``(…, vocabulary)`` for hidden states ``(…, H)``."""
        features = self.layer_norm(F.gelu(self.dense(hidden)))
        return F.linear(features, self._words[0].weight, self.bias)

    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The mean cross-entropy over masked tokens in nats as ``loss``; sums an item where nothing is trained.

        The sums are ``masked``, ``right`` (how many tokens the best guess hits) and ``nats`` (summed cross-entropy),
        each ``(B,)``.
        """
        encoded = encode(batch["text"])
        row, column = _masked(batch)
        labels = batch["labels"][row, column]
        logits = self.logits(encoded.hidden[row, column + encoded.n_visual])
        nats = F.cross_entropy(logits.float(), labels, reduction="none")
        outputs = {"loss": nats.sum() / max(len(labels), 1)}
        if not self.training:  # the best guess is of no use to training, and takes another pass over the vocabulary
            none = nats.new_zeros(len(batch["labels"]))
            outputs["masked"] = (batch["labels"] != IGNORED).sum(1)
            outputs["right"] = none.index_add(0, row, (logits.argmax(-1) == labels).to(none.dtype)).long()
            outputs["nats"] = none.index_add(0, row, nats)
        return outputs

    def terms(self, batch: dict[str, Any]) -> Tensor:
        """The masked tokens."""
        return labelled(batch["labels"])


def _masked(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Rows and columns of the masked tokens; their number comes with the batch, or the host would wait to learn it."""
    chosen = batch["labels"] != IGNORED
    if "n_masked" not in batch:
        rows, columns = chosen.nonzero(as_tuple=True)
        return rows, columns
    places = torch.nonzero_static(chosen, size=sum(batch["n_masked"]))
    return places[:, 0], places[:, 1]


def pretrained_head(source: str) -> dict[str, Tensor]:
    """Read the language-model head that lies beside an encoder, and nothing else, from safetensors.

    Args:
        source: A Hugging Face name or a folder, as for :func:`~xmit.modules.encoders.load_text_encoder`.

    Returns:
        The weights by their names in :class:`MaskedLMHead`; empty where the files have no such head.
    """
    if source.startswith(EMBEDDED):
        return {}
    from safetensors import safe_open
    from transformers.utils.hub import cached_file

    def find(name: str) -> str | None:
        path: str | None = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
        return path

    shards = ["model.safetensors"]
    index = None if find(shards[0]) else find("model.safetensors.index.json")
    if index:
        places = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
        shards = sorted({places[_PREFIX + name] for name in _NAMES if _PREFIX + name in places})
    weights: dict[str, Tensor] = {}
    for shard in shards:
        path = find(shard)
        if path:
            with safe_open(path, framework="pt") as tensors:
                there = set(tensors.keys())
                weights |= {n: tensors.get_tensor(_PREFIX + n).float() for n in _NAMES if _PREFIX + n in there}
    return weights
