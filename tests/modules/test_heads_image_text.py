"""The heads of image-text tasks against torch's own losses, with an encoder that can be seen through."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xmit.modules.heads import Encoded, build_head


class Seen:
    """Stands in for the encoder: one token an item, its embedding, plus the image's first features."""

    def __init__(self, hidden=8):
        torch.manual_seed(0)
        self.words, self.calls = nn.Embedding(50, hidden), []

    def __call__(self, sides, layer=None, first=False):
        return [self.encode(side) for side in sides] if isinstance(sides, list) else self.encode(sides)

    def encode(self, side):
        self.calls.append(side)
        hidden = self.words(side["input_ids"])
        if "image" in side:
            hidden = hidden + side["image"][:, :1]
        return Encoded(hidden, side["attention_mask"])


def side(ids, image=None):
    ids = torch.tensor(ids)[:, None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)} | ({} if image is None else {"image": image})


def test_answers_have_a_binary_loss_each():
    head = build_head("answers", 8, 2, {"num_labels": 3}).eval()
    encode = Seen()
    answers = torch.tensor([[1.0, 0.6, 0.0], [0.0, 0.0, 0.0]])
    outputs = head(encode, {"text": side([1, 2]), "answers": answers})
    expected = F.binary_cross_entropy_with_logits(outputs["logits"], answers) * 3
    assert outputs["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert "loss" not in head(encode, {"text": side([1, 2])})


def test_single_items_get_the_vectors_of_pairs():
    head = build_head("image_text", 8, 2, {})
    encode, image = Seen(), torch.randn(3, 2, 8)
    pairs = head(encode, {"caption": side([4, 5, 6]), "match": side([0, 0, 0], image), "labels": torch.arange(3)})
    assert torch.equal(head(encode, {"text": side([4, 5, 6])})["vector"], pairs["caption"])
    assert torch.equal(head(encode, {"text": side([0, 0, 0], image)})["vector"], pairs["match"])
    logits = head.log_scale.exp() * pairs["caption"] @ pairs["match"].T
    expected = (F.cross_entropy(logits, torch.arange(3)) + F.cross_entropy(logits.T, torch.arange(3))) / 2
    assert pairs["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert head.matching is None


def test_hard_negatives_are_the_nearest_of_another_group():
    plain, hard = (build_head("image_text", 8, 2, {"hard_negatives": value}) for value in (False, True))
    image, labels = torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(3)), torch.tensor([0, 1, 0, 2])
    batch = {"caption": side([4, 5, 6, 7]), "match": side([0] * 4, image), "labels": labels}
    encode = Seen()
    outputs = hard(encode, batch)
    *_, together = encode.calls
    captions, images = together["input_ids"][:, 0].tolist(), together["image"]
    assert captions[:4] == [4, 5, 6, 7]
    assert torch.equal(images[:4], image)
    similar = outputs["caption"] @ outputs["match"].T
    for i in range(4):
        others = [j for j in range(4) if labels[j] != labels[i]]
        assert torch.equal(images[4 + i], image[max(others, key=lambda j, i=i: similar[i, j].item())])
        assert captions[8 + i] == 4 + max(others, key=lambda j, i=i: similar[j, i].item())
        assert torch.equal(images[8 + i], image[i])
    pairs = hard.matching(encode(together).pool("mean"))
    right = torch.tensor([1] * 4 + [0] * 8)
    expected = plain(encode, batch)["loss"] + F.cross_entropy(pairs, right)
    assert outputs["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_batch_of_one_group_has_no_negatives():
    hard = build_head("image_text", 8, 2, {"hard_negatives": True})
    batch = {"caption": side([4, 5]), "match": side([0, 0], torch.randn(2, 1, 8)), "labels": torch.tensor([7, 7])}
    assert hard(Seen(), batch)["loss"].isfinite()
    del batch["match"]["image"]  # the control without images
    assert hard(Seen(), batch)["loss"].isfinite()
