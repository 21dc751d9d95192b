"""Shared fixtures: a tiny encoder, and a mini task that needs no data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

# one thread a process: tests run beside each other on few cores, and results stay the same
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the caches of tests out of the user's."""
    os.environ.setdefault("XMIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real published data that ../shared/data/unpack makes; tests on it are marked realdata."""
    folder = Path(os.environ.get("XMIT_REAL_DATA", "~/.cache/xmit/real-data")).expanduser()
    if not folder.is_dir():
        pytest.skip(f"needs real data in {folder} (../shared/data/unpack, or set XMIT_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a random XLM-R of two narrow layers and the real tokenizer."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    from xmit.modules.encoders import load_tokenizer

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=250002,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    load_tokenizer("embedded:e5-small").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """XLM-R's tokenizer as the embedded encoder has it."""
    from xmit.modules.encoders import load_tokenizer

    return load_tokenizer("embedded:e5-small")
