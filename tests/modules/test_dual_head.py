"""The head of dual encoders against numpy: vectors, and the softmax over the candidates of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from encode_tools import one_or_several

from xmit.errors import ConfigError
from xmit.modules.heads import DualHead, Encoded

N, LENGTH, WIDTH = 5, 4, 6


@pytest.fixture
def sides():
    """Hidden states by side; the last token of the first item is padding."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(N, LENGTH, WIDTH)).astype(np.float32) for name in ("query", "candidate")}


def encoder(sides):
    mask = torch.ones(N, LENGTH)
    mask[0, -1] = 0
    return one_or_several(lambda side, layer, first: Encoded(torch.from_numpy(sides[side]), mask))


def pooled(hidden, head):
    """One vector an item, by numpy."""
    if head.pooling == "mean":
        vectors = hidden.mean(1)
        vectors[0] = hidden[0, :-1].mean(0)
        return vectors
    if head.pooling == "cls":
        return hidden[:, 0]
    return np.tanh(hidden[:, 0] @ head.dense.weight.detach().numpy().T + head.dense.bias.detach().numpy())


def expected_loss(sides, head, labels):
    """The mean of -log softmax at the own candidate, those of the same label left out."""
    query, candidate = (pooled(sides[name], head) for name in ("query", "candidate"))
    losses = []
    for i, q in enumerate(query):
        cosines = [q @ c / np.linalg.norm(q) / np.linalg.norm(c) for c in candidate]
        scores = {j: head.scale * s for j, s in enumerate(cosines) if j == i or labels[j] != labels[i]}
        losses.append(np.log(sum(np.exp(s - scores[i]) for s in scores.values())))
    return np.mean(losses)


@pytest.mark.parametrize("pooling", ["pooler", "cls", "mean"])
@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4], [0, 1, 0, 2, 0]])
def test_loss(sides, pooling, labels):
    head = DualHead(WIDTH, 2, pooling=pooling, scale=20.0)
    if head.dense is not None:
        torch.nn.init.normal_(head.dense.bias)
    batch = {"query": "query", "candidate": "candidate", "labels": torch.tensor(labels)}
    loss = head(encoder(sides), batch)["loss"]
    assert loss.item() == pytest.approx(expected_loss(sides, head, labels), rel=1e-5)
    vector = head(encoder(sides), {"text": "query"})["vector"]
    np.testing.assert_allclose(vector.detach(), pooled(sides["query"], head), rtol=1e-5, atol=1e-6)


def test_a_candidate_that_occurs_twice_is_no_wrong_one(sides):
    sides["candidate"][1] = sides["candidate"][0]
    head = DualHead(WIDTH, 2)
    batch = {"query": "query", "candidate": "candidate"}
    told, untold = (
        head(encoder(sides), batch | {"labels": torch.tensor(labels)})["loss"].item()
        for labels in ([0, 0, 2, 3, 4], [0, 1, 2, 3, 4])
    )
    assert untold > told  # where nothing is known of it the two take probability from each other


def test_one_pair_alone_has_nothing_to_tell_apart(sides):
    one = {name: hidden[:1] for name, hidden in sides.items()}
    head = DualHead(WIDTH, 2)
    encode = one_or_several(lambda side, *_: Encoded(torch.from_numpy(one[side]), torch.ones(1, LENGTH)))
    assert head(encode, {"query": "query", "candidate": "candidate", "labels": torch.tensor([7])})["loss"].item() == 0


def test_layer():
    asked = []

    def encode(side, layer, first):
        asked.append(layer)
        return Encoded(torch.zeros(1, LENGTH, WIDTH), torch.ones(1, LENGTH))

    for layer in (None, 1):
        DualHead(WIDTH, 2, layer=layer)(encode, {"text": {}})
    assert asked == [None, 1]
    with pytest.raises(ConfigError, match="hidden layers 0 to 2"):
        DualHead(WIDTH, 2, layer=3)
