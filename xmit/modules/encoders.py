"""Text encoders: the embedded one, Hugging Face names and local folders, all as stock transformers models."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from xmit.errors import ConfigError, DataError, EncoderError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, XLMRobertaModel

EMBEDDED = "embedded:"


def load_text_encoder(name: str) -> XLMRobertaModel:
    """Load a text encoder without pooler, in fp32.

    Args:
        name: ``embedded:e5-small``, a Hugging Face name such as ``FacebookAI/xlm-roberta-base``, or a folder
            that ``save_pretrained`` wrote.

    Returns:
        A model of one's own: the embedded encoder is read once a process and copied.

    Raises:
        EncoderError: If it cannot be found or is not XLM-R shaped.
    """
    if name.startswith(EMBEDDED):
        return copy.deepcopy(_embedded_model(name.removeprefix(EMBEDDED)))
    from transformers import AutoConfig, XLMRobertaModel

    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise EncoderError(_not_found(name, error)) from error
    if config.model_type != "xlm-roberta":
        raise EncoderError(
            f"the encoder {name!r} is of type {config.model_type!r}; xmit takes XLM-R shaped encoders (xlm-roberta)"
        )
    try:
        # safetensors only: a pickled checkpoint is code
        model = XLMRobertaModel.from_pretrained(
            name, config=config, add_pooling_layer=False, use_safetensors=True, dtype="float32"
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise EncoderError(_not_found(name, error)) from error
    return model


def check_positions(encoder: XLMRobertaModel, lengths: Mapping[str, int]) -> None:
    """Refuse texts that may become longer than an encoder has positions.

    Args:
        encoder: The encoder.
        lengths: The most tokens of a text, by task.

    Raises:
        ConfigError: For the first task that allows more.
    """
    room = encoder.config.max_position_embeddings - int(encoder.config.pad_token_id or 0) - 1
    for name, length in lengths.items():
        if length > room:
            raise ConfigError(f"task {name!r}: max_length is {length}, but the encoder has {room} positions: lower it")


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer that belongs to a text encoder, once a process.

    Args:
        name: As for :func:`load_text_encoder`.

    Raises:
        EncoderError: If there is none.
    """
    if name.startswith(EMBEDDED):
        return _embedded_tokenizer(name.removeprefix(EMBEDDED))
    folder = Path(name)
    return _tokenizer(name, folder.stat().st_mtime_ns if folder.is_dir() else 0)


@lru_cache(maxsize=2)
def _tokenizer(name: str, _modified: int) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise EncoderError(_not_found(name, error)) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers makes an empty one where there are no files
        raise EncoderError(
            f"the encoder {name!r} has no tokenizer: copy tokenizer.json or sentencepiece.bpe.model there, of the "
            f"model that it comes from"
        )
    return tokenizer


@lru_cache(maxsize=1)
def _embedded_model(name: str) -> XLMRobertaModel:
    from xmit.modules.embedded import load_embedded_model

    return load_embedded_model(name)


@lru_cache(maxsize=1)
def _embedded_tokenizer(name: str) -> PreTrainedTokenizerBase:
    from xmit.modules.embedded import load_embedded_tokenizer

    return load_embedded_tokenizer(name)


def resolve_init_from(path: str) -> str:
    """The encoder folder behind ``init_from``: the folder itself, or the ``encoder`` folder of a finished run.

    Raises:
        DataError: If neither is there; a checkpoint file is refused with the right way named.
    """
    folder = Path(path)
    if folder.is_file():
        raise DataError(
            f"init_from takes an encoder folder or a run's folder, not the file {path}: "
            f"write the encoder with 'python -m xmit export RUN --output DIR' and give DIR"
        )
    for candidate in (folder / "encoder", folder):
        if (candidate / "config.json").is_file():
            return str(candidate)
    if folder.is_dir():
        raise DataError(
            f"init_from: no encoder in {path} (looked for config.json there and in {path}/encoder). A run with "
            f"checkpoints/ is exported with 'python -m xmit export'; a study keeps encoders of intermediates alone"
        )
    raise DataError(f"init_from: there is no folder {path}")


def _not_found(name: str, error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    reason = " ".join(lines[:4]) if lines[0].endswith(":") else lines[0]
    return (
        f"the encoder {name!r} could not be loaded ({reason}). Give a folder written by save_pretrained with "
        f"safetensors, a Hugging Face name that can be reached, or 'embedded:e5-small', which needs no network"
    )
