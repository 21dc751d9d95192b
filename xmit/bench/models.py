"""Random encoders of XLM-R's shape, and batches whose lengths are distributed as real ones."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig, XLMRobertaModel

VOCABULARY = 250_002


def lengths(name: str, n: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Tokens of ``n`` examples.

    ``mnli`` is a log-normal fitted to the pairs of MNLI's dev set under XLM-R's vocabulary (mean 45.4, 95 % up to 82,
    99 % up to 111, cut at 128); ``squad`` one with SQuAD's mean of 170, cut at 384. The ``n`` lengths are evenly spaced
    quantiles in random order, so that a few batches have the padding that many have.
    """
    mean, sigma, longest = {"mnli": (3.73, 0.41, 128), "squad": (5.03, 0.45, 384)}[name]
    quantiles = [NormalDist(mean, sigma).inv_cdf((i + 0.5) / n) for i in range(n)]
    drawn = np.clip(np.rint(np.exp(quantiles)), 8, longest).astype(np.int64)
    return np.random.default_rng(seed).permutation(drawn)


def config(layers: int = 12, vocabulary: int = VOCABULARY, large: bool = False) -> XLMRobertaConfig:
    """The shape of XLM-R base, or large."""
    from transformers import XLMRobertaConfig

    shape = (1024, 16, 4096) if large else (768, 12, 3072)
    return XLMRobertaConfig(
        vocab_size=vocabulary,
        hidden_size=shape[0],
        num_attention_heads=shape[1],
        intermediate_size=shape[2],
        num_hidden_layers=layers,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )


def encoder(layers: int = 2, vocabulary: int = 1000, large: bool = False) -> XLMRobertaModel:
    """A random encoder in training mode."""
    from transformers import XLMRobertaModel

    torch.manual_seed(0)
    model = XLMRobertaModel(config(layers, vocabulary, large), add_pooling_layer=False)
    model.train()
    return model


def padded(sizes: npt.NDArray[np.int64], width: int, vocabulary: int = 1000, seed: int = 0) -> dict[str, Tensor]:
    """A padded batch of random tokens."""
    mask = torch.arange(width)[None, :] < torch.from_numpy(sizes)[:, None]
    ids = torch.randint(3, vocabulary, mask.shape, generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids.masked_fill(~mask, 1), "attention_mask": mask.long()}


def packed(model: XLMRobertaModel, own: list[int], side: dict[str, Tensor], first: bool = False) -> Tensor:
    """This library's hidden states of a padded batch, computed without its padding.

    Args:
        model: The encoder.
        own: Tokens of each sequence.
        side: ``input_ids`` and ``attention_mask``.
        first: Those of the first tokens alone.
    """
    from xmit.data.packing import Packing
    from xmit.hardware import pads_groups
    from xmit.modules import packing

    ids = side["input_ids"]
    place = Packing([own], [ids.shape[1]], groups=pads_groups(ids.device)).to(ids.device)
    return packing.encode(model, [side], place, None, first)[0]
