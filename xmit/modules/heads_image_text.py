"""The heads of image-text tasks: answers to questions, and images matched with their captions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xmit.modules.heads import ClassificationHead, ContrastiveHead, Encode, Encoded, full_precision, initialise
from xmit.tasks.examples import IGNORED


class AnswerHead(ClassificationHead):
    """A score for each of many answers, several of which may be right in part.

    The loss is the binary cross-entropy of every answer with its soft target, summed over answers and averaged over
    questions (Teney et al. 2018, arXiv 1708.02711, §3.8).
    """

    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``logits (B, num_labels)``, and ``loss`` if the batch has ``answers (B, num_labels)``, 0 to 1."""
        outputs = super().forward(encode, {"text": batch["text"]})
        if "answers" in batch:
            each = F.binary_cross_entropy_with_logits(outputs["logits"].float(), batch["answers"], reduction="none")
            outputs["loss"] = each.sum(1).mean()
        return outputs


class ImageTextHead(ContrastiveHead):
    """Captions and images in one space, see :class:`~xmit.modules.heads.ContrastiveHead`; single items too.

    With hard negatives, caption and image are also encoded together and classified as a pair or none (image-text
    matching): each caption with its image, with the image of another group that is nearest to it in the batch, and each
    image with the caption of another group that is nearest to it (as Li et al. 2021, arXiv 2107.07651, §3.2, who draw
    negatives by similarity instead of taking the nearest). The two losses are added.

    Args:
        hidden_size: Width of the encoder.
        n_layers: Depth of the encoder.
        hard_negatives: Whether to.
        temperature: Where the learned temperature starts.
    """

    def __init__(
        self, hidden_size: int, n_layers: int, hard_negatives: bool = False, temperature: float = 0.05
    ) -> None:
        super().__init__(hidden_size, n_layers, temperature)
        self.matching = nn.Linear(hidden_size, 2) if hard_negatives else None
        if self.matching is not None:
            initialise(self.matching)

    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Unit ``vector (B, H)`` of the side ``text``; or ``caption``, ``match`` and ``loss`` of pairs."""
        if "text" in batch:
            return {"vector": self.vectors(encode(batch["text"]))}
        outputs = super().forward(encode, batch)
        if self.matching is not None and "image" in batch["match"]:
            outputs["loss"] = outputs["loss"] + self._matching_loss(encode, batch, outputs)
        return outputs

    def vectors(self, encoded: Encoded) -> Tensor:
        """One unit vector an item ``(B, H)``."""
        return F.normalize(encoded.pool("mean").float(), dim=-1)

    def _matching_loss(self, encode: Encode, batch: dict[str, Any], outputs: dict[str, Tensor]) -> Tensor:
        assert self.matching is not None
        labels, image = batch["labels"], batch["match"]["image"]
        same = labels[:, None] == labels[None, :]
        with full_precision(outputs["caption"]):
            similar = (outputs["caption"] @ outputs["match"].T).detach().masked_fill(same, -torch.inf)
        own = torch.arange(len(labels), device=labels.device)
        captions = torch.cat([own, own, similar.argmax(0)])
        images = torch.cat([own, similar.argmax(1), own])
        caption = {name: batch["caption"][name][captions] for name in ("input_ids", "attention_mask")}
        pairs = encode({**caption, "image": image[images]})
        # an item whose group fills the batch has no negative: its pairs are left out of the loss rather than of the
        # batch, whose size would then be known only once the device has come so far
        wrong = torch.where(same.all(1), IGNORED, 0)
        right = torch.cat([torch.ones_like(own), wrong, wrong])
        return F.cross_entropy(self.matching(pairs.pool("mean")).float(), right, ignore_index=IGNORED)
