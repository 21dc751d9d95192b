"""Memory of a device before anything runs on it, by formulas: what training and scoring hold at most, part by part.

:func:`training_peak` follows an update from its forward pass through the backward pass to AdamW and takes the moment at
which most is held. Counted are bytes of live tensors; apart from them, and named so, are what the allocator holds
beside them and what the process takes before its first tensor.

In the code ``h`` is the encoder's width, ``e`` bytes of a number that products are computed in, ``r`` of one that
states are added in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from xmit.memory.shapes import FULL, EncoderShape, FusionShape, HeadShape, Pass, Path, Setting

PROCESS = 0.5e9
"""Bytes that a CUDA context, its kernels and cuBLAS take before the first tensor; by driver and GPU 0.3 to 0.8 GB."""
ALLOCATOR = 0.1
"""Share of the live bytes that torch's allocator holds beside them: blocks are rounded up and do not fit each other."""
INDEX = 8
"""Bytes of an int64."""


@dataclass(frozen=True)
class Peak:
    """The most that is held at a time.

    Args:
        parts: Bytes by part.
        moment: When.
    """

    parts: Mapping[str, float] = field(default_factory=dict)
    moment: str = ""

    @property
    def live(self) -> float:
        """Bytes of all live tensors."""
        return sum(self.parts.values())

    @property
    def allocator(self) -> float:
        """Bytes that the allocator is expected to hold beside them."""
        return ALLOCATOR * self.live

    @property
    def total(self) -> float:
        """Bytes of the device in use, process and allocator included."""
        return self.live + self.allocator + PROCESS


def highest(peaks: Iterable[Peak]) -> Peak:
    """The one with most live bytes."""
    return max(peaks, key=lambda peak: peak.live)


@dataclass(frozen=True)
class _Static:
    """What is there throughout: parameters and what belongs to them.

    Args:
        weights: Bytes of all weights and tables on the device.
        layer: Bytes of a layer's gradients.
        rest: Bytes of the gradients of embeddings, fusion and head.
        moments: Bytes of AdamW's two moments.
    """

    weights: int
    layer: int
    rest: int
    words: int
    moments: int
    used: int

    @property
    def gradients(self) -> int:
        """Bytes of all gradients."""
        return self.used * self.layer + self.rest + self.words


def _static(shape: EncoderShape, setting: Setting, head: HeadShape, others: int, fusion: FusionShape | None) -> _Static:
    """Weights, gradients and moments; ``others`` are the parameters of the heads that are not this batch's."""
    s, own = setting.state, head.parameters(shape)
    on_device = shape.vocabulary if setting.rows in (None, 0) else int(setting.rows or 0)
    trained = shape.vocabulary if setting.rows is None else setting.rows
    fused = fusion.parameters(shape) if fusion else 0
    used = shape.layers if head.layer is None else head.layer  # layers above the one that is read get no gradient
    weights = on_device * shape.hidden + shape.other_embeddings + shape.layers * shape.layer + fused + own + others
    tables = 2 * INDEX * shape.positions + (
        4 * shape.vocabulary if setting.rows else 0
    )  # the compact one's row numbers
    rest = shape.other_embeddings + fused + own
    learned = used * shape.layer + rest + others + trained * shape.hidden
    return _Static(weights * s + tables, shape.layer * s, rest * s, trained * shape.hidden * s, 2 * learned * s, used)


def layer_activations(shape: EncoderShape, setting: Setting, batch: Pass, asked: int | None = None) -> int:
    """Bytes that a layer keeps for its backward pass, without weights.

    Args:
        shape: The encoder.
        setting: How it computes.
        batch: What it is called with.
        asked: Tokens whose output is wanted; all by default.
    """
    h, e, r, tokens = shape.hidden, setting.compute, setting.state, batch.tokens
    n = tokens if asked is None else asked
    joined = setting.joined and batch.packed
    if setting.casts:  # the layer's input, cast: once, or by each of query, key and value
        size = (1 if joined else 3) * tokens * h * e + (n * h * e if asked is not None and joined else 0)
    else:  # the layer's input as it is, the norm's output before
        size = tokens * h * r
    if not (joined and setting.path == "groups"):  # query, key and value; where they are scattered, that copy alone
        size += (2 * tokens + n) * h * e
    size += attention_activations(shape, setting, batch, asked)
    drop = n * h * setting.dropped if shape.dropout else 0  # which values were dropped
    size += drop + n * h * r + 2 * n * r  # input of the first layer norm, its means and deviations
    size += n * h * e  # its output, cast or as it is, that the wide layer reads
    size += 2 * n * shape.wide * e  # input and output of GELU
    size += drop + n * h * r + 2 * n * r  # input of the second layer norm
    return size


def attention_activations(shape: EncoderShape, setting: Setting, batch: Pass, asked: int | None = None) -> int:
    """Bytes that attention keeps beside query, key and value of each token.

    Args:
        shape: The encoder.
        setting: How it computes.
        batch: What it is called with.
        asked: Tokens that ask; all by default.
    """
    h, e, tokens = shape.hidden, setting.compute, batch.tokens
    n = tokens if asked is None else asked
    path: Path = setting.path if batch.packed else "padded"
    if path == "flash":  # its output, and the logarithm of each row's sum in fp32
        return n * h * e + shape.heads * n * FULL
    if path == "groups":  # query, key and value scattered to groups; output and sums there; the output gathered again
        places, _ = batch.grouped_tokens()
        queries = places if asked is None else n
        gathered = n * h * e if asked is None else 0
        return (2 * places + queries) * h * e + queries * h * e + shape.heads * queries * FULL + gathered
    if path == "padded":  # output and sums, and the mask that a call makes of truth values, one number a pair
        mask = sum(
            len(own) * width * 8 * ceil(width / 8) for own, width in zip(batch.lengths, batch.widths, strict=True)
        )
        return n * h * e + shape.heads * n * FULL + mask * e
    if (
        shape.attention_dropout
    ):  # by hand: the scaled query; what the softmax gives, what is dropped of it, what is left
        return 2 * n * h * e + shape.heads * batch.squares * (FULL + 1 + (e if setting.casts else FULL))
    return n * h * e + shape.heads * n * FULL


def _cast_weights(shape: EncoderShape, setting: Setting) -> int:
    """Bytes of a layer's weights as its products read them: cast, or where they are right already three joined."""
    if setting.casts:
        return shape.products * setting.compute
    return 3 * shape.hidden * (shape.hidden + 1) * setting.compute if setting.joined else 0


@dataclass(frozen=True)
class _Encoded:
    """A pass through the encoder as its backward pass finds it, bytes.

    Args:
        batch: The pass.
        layers: Activations of each layer, from the first.
        again: Of the largest layer while it is computed again, with checkpointing.
        cast: Cast weights of a layer.
        below: Of the embeddings and the fusion.
        above: Of what is made of the last layer.
        entered: Of what the encoder is called with, until it returns.
        state: A hidden state of all tokens.
    """

    batch: Pass
    layers: tuple[int, ...]
    again: int
    cast: int
    below: int
    above: int
    entered: int
    state: int


def _encoded(
    shape: EncoderShape, setting: Setting, batch: Pass, head: HeadShape, fusion: FusionShape | None
) -> _Encoded:
    h, r, tokens = shape.hidden, setting.state, batch.tokens
    depth = shape.layers if head.layer is None else head.layer
    state = tokens * h * r
    whole = layer_activations(shape, setting, batch)
    layers = [whole] * depth
    narrow = head.firsts and batch.packed
    if narrow and depth == shape.layers and depth:  # the last layer is computed for the first tokens alone
        layers[-1] = layer_activations(shape, setting, batch, batch.sequences)
    cast = _cast_weights(shape, setting)
    looks = 0
    if batch.images and fusion is not None:
        looks = _look_activations(shape, setting, batch, fusion)
    if setting.checkpointing:  # each layer's input is all that stays
        layers, whole = [state] * depth, max(layers, default=0)
    below = (
        state + 2 * tokens * r + (tokens * h * setting.dropped if shape.dropout else 0) + 3 * tokens * INDEX
    )  # norm, dropout, indices
    if batch.images and fusion is not None:
        below += _fusion_activations(shape, setting, batch, fusion) + fusion.looks(shape) * looks
    above = 0
    if not narrow:  # the last state, padded
        above = batch.padded_tokens * h * r
    entered = 0
    if batch.images and fusion is not None and fusion.config.kind == "prefix":  # embeddings as put together, and packed
        entered = (batch.padded_tokens + batch.images * fusion.tokens) * h * r + (state if batch.packed else 0)
    return _Encoded(batch, tuple(layers), whole, cast, below, above, entered, state)


def _look_activations(shape: EncoderShape, setting: Setting, batch: Pass, fusion: FusionShape) -> int:
    """Of a gated layer, in which the text looks at visual tokens."""
    h, e, r, n = shape.hidden, setting.compute, setting.state, batch.tokens
    context = batch.images * fusion.tokens
    size = n * h * 2 * r  # inputs of two layer norms: the text, and the text that has looked
    size += n * h * (5 * e + 9 * e)  # query, attention and its output; the feed-forward layer, four times as wide
    return size + context * h * 3 * e + shape.heads * n * FULL  # the normed context, its keys and values


def _fusion_activations(shape: EncoderShape, setting: Setting, batch: Pass, fusion: FusionShape) -> int:
    """Of what makes visual tokens of features, and the features, which came with the batch."""
    h, e, r = shape.hidden, setting.compute, setting.state
    features = batch.images * fusion.features
    if fusion.config.kind == "late":
        return features * fusion.width * FULL + batch.images * (fusion.width + 2 * h) * e
    size = features * fusion.width * (FULL + e)  # features as they came, normed and cast
    if fusion.config.tokens:  # keys and values of all features, and the layer of the few queries
        n = batch.images * fusion.config.tokens
        size += features * h * (r + 3 * e) + n * h * (4 * r + 14 * e)
    return size


def _head_bytes(shape: EncoderShape, setting: Setting, head: HeadShape, batch: Pass) -> tuple[int, int, int]:
    """What a head holds: kept for its backward pass, the most in its forward pass, the most in its backward pass."""
    h, e, r = shape.hidden, setting.compute, setting.state
    n, padded = batch.sequences, batch.padded_tokens
    if head.kind == "mlm":
        m, v = batch.masked, shape.vocabulary
        decoder = v * h * e if setting.casts else 0  # the cast copy of the word embeddings
        kept = decoder + m * (v * FULL + h * (3 * e + r))  # logarithms of probabilities, in fp32
        # logits, the same in fp32, and their logarithms; backward: these, and two gradients of the size
        return kept, kept + m * v * (e + (FULL if setting.compute != FULL else 0)), kept + 2 * m * v * FULL
    if head.kind in ("token", "span"):  # the dropped states, cast; and a few scores a token
        drop = padded * h * (1 + r) if head.kind == "token" and shape.dropout else 0
        outputs = head.outputs if head.kind == "token" else 2
        kept = padded * (h * e if setting.casts else 0) + drop - (padded * h * r if drop else 0)
        kept += padded * outputs * (FULL + e)
        return kept, kept + (padded * h * r if drop else 0), kept + 2 * padded * outputs * FULL
    if head.firsts:
        size = n * (h * (3 * e + 2 * r) + head.outputs * 3 * FULL)
        return size, size, size
    size = padded * h * r  # the product of states and mask
    return n * h * 3 * FULL, size, size


def training_peak(
    shape: EncoderShape,
    setting: Setting,
    passes: Sequence[Pass],
    head: HeadShape,
    fusion: FusionShape | None = None,
    others: int = 0,
) -> Peak:
    """The most that an update holds, from its forward pass to AdamW.

    Args:
        shape: The encoder.
        setting: How the run computes.
        passes: What the encoder is called with in the batch, or in its largest micro-batch: once, or several times.
        head: The head of the batch's task.
        fusion: The fusion, if the module has one.
        others: Parameters of other tasks' heads.
    """
    static = _static(shape, setting, head, others, fusion)
    return highest(_moments(shape, setting, [_encoded(shape, setting, p, head, fusion) for p in passes], head, static))


def _moments(
    shape: EncoderShape, setting: Setting, encoded: Sequence[_Encoded], head: HeadShape, static: _Static
) -> Iterator[Peak]:
    """The moments of an update at which much is held."""
    always = {"weights": static.weights, "AdamW's moments": static.moments}
    cut = setting.micro_batches > 1
    held = (setting.accumulates + cut) * static.gradients  # those of batches before, and of pieces before
    buckets = static.gradients if setting.processes > 1 else 0

    def moment(name: str, made: int, activations: int, cast: int, head_bytes: int, passing: int) -> Peak:
        added = setting.accumulates and not cut  # at once, to those of the batches before
        gradients = held + buckets + (min(made, static.layer) if added else made)
        return Peak(
            {
                **always,
                "gradients": gradients,
                "cast weights": cast,
                "activations": activations,
                "head": head_bytes,
                "passing": passing,
            },
            name,
        )

    _, forward, backward = _head_bytes(shape, setting, head, encoded[0].batch)
    again = setting.checkpointing
    kept_by_pass = [(sum(own.layers) + own.below, 0 if again else own.cast * len(own.layers)) for own in encoded]
    # autocast keeps its copies of all weights until the forward pass ends; the joined path casts layer by layer
    stock = any(not (setting.joined and own.batch.packed) for own in encoded) and setting.casts
    cached = encoded[0].cast * max(len(own.layers) for own in encoded) if stock and again else 0
    activations, cast = sum(a for a, _ in kept_by_pass), sum(c for _, c in kept_by_pass)
    if stock and not again and len(encoded) > 1:
        cast = max(c for _, c in kept_by_pass)  # one cache serves all passes
    above = sum(own.above for own in encoded)
    last = encoded[-1]
    yield moment("forward pass", 0, activations + above, cast + cached, forward, last.entered + last.state)
    yield moment("head's backward pass", 0, activations + above, cast, backward, 0)
    words_early = static.words if head.shares_words else 0  # the decoder's gradient waits for the embeddings' own
    made = head.parameters(shape) * setting.state + words_early
    for place, own in reversed(list(enumerate(encoded))):
        first_time = place == len(encoded) - 1
        left_a = sum(a for a, _ in kept_by_pass[:place]) + own.below
        left_c = sum(c for _, c in kept_by_pass[:place])
        for number in reversed(range(len(own.layers))):
            below_a, below_c = sum(own.layers[: number + 1]), 0 if again else own.cast * (number + 1)
            size = own.again + own.cast if again else 0
            # two gradients of a hidden state, where a layer norm hands one on
            yield moment("backward pass", made, left_a + below_a + size, left_c + below_c, 0, 2 * own.state)
            grown = static.layer if first_time else 0
            half = own.cast if setting.casts else 0  # the layer's gradients before they are cast
            left = left_a + sum(own.layers[:number]) + (0 if not again else own.layers[number])
            casts = left_c + (0 if again else own.cast * (number + 1)) + (own.cast if again else 0)
            yield moment("backward pass", made + grown + half, left, casts, 0, own.state)
            made += grown
        yield moment(
            "embeddings' backward pass",
            made + (static.rest - head.parameters(shape) * setting.state if first_time else 0) + static.words,
            left_a,
            left_c,
            0,
            2 * own.state,
        )
    whole = static.gradients
    if cut:  # the sum of all micro-batches' gradients, and what AdamW is given
        yield moment("sum of gradients", whole, 0, 0, 0, 0)
    alone = {**always, "gradients": whole + buckets}
    yield Peak(alone, "AdamW")


def scoring_peak(
    shape: EncoderShape,
    setting: Setting,
    batch: Pass,
    head: HeadShape,
    fusion: FusionShape | None = None,
    others: int = 0,
    trained: bool = True,
) -> Peak:
    """The most that scoring a batch holds; AdamW's moments are still there where it is a validation within training.

    Args:
        shape: The encoder.
        setting: How the run computes.
        batch: The largest batch that is scored.
        head: Its head.
        fusion: The fusion, if the module has one.
        others: Parameters of other tasks' heads.
        trained: Whether training goes on.
    """
    static = _static(shape, setting, head, others, fusion)
    h, e, r, tokens = shape.hidden, setting.compute, setting.state, batch.tokens
    joined = setting.joined and batch.packed
    # within a layer: its input and that before the wide layer, and GELU's input and output
    within = tokens * (2 * h * r + 2 * shape.wide * e)
    if joined:  # the layer's input, and either attention's inputs and output or what the wide layer reads and makes
        attention = h * e * (5 if setting.casts else 4)
        within = tokens * (h * r + max(attention, h * r + max(2 * shape.wide * e, shape.wide * e + h * (e + 2 * r))))
    cast = _cast_weights(shape, setting) * (1 if joined or not setting.casts else shape.layers)
    entered = 0
    if batch.images and fusion is not None:
        entered = _fusion_activations(shape, setting, batch, fusion)
    always = {"weights": static.weights, "AdamW's moments": static.moments if trained else 0, "cast weights": cast}
    _, forward, _ = _head_bytes(shape, setting, head, batch)
    padded = 0 if head.firsts and batch.packed else batch.padded_tokens * h * r
    return highest(
        [
            Peak({**always, "activations": within + entered}, "scoring"),
            Peak(
                {
                    **always,
                    "cast weights": 0 if joined else cast,
                    "activations": padded + tokens * h * r + entered,
                    "head": forward,
                },
                "scoring, head",
            ),
        ]
    )
