"""Tokens on disk: each text is tokenised once for a tokenizer and its settings, by whichever run comes first.

A file is named after the hash of all that goes in: the tokenizer, the settings, and the texts themselves. It holds flat
ids, where each sequence begins, and which rows of the vocabulary are in use, and is mapped into memory, so that
processes share it. It appears whole or not at all, and its bytes are checked before they are used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xmit.data.batching import Ragged
from xmit.data.features import cache_root
from xmit.files import atomic_write

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MAGIC = b"xmit tokens 1\n"
_NAMES = ("flat", "offsets", "rows")
_ALIGN = 64
_CHUNK = 10_000
"""Texts a call of the tokenizer, so that its lists of Python numbers never fill the memory."""
_LEAST = 1000
"""Fewer texts are tokenised in less time than a file takes."""


def tokenised(
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str] | tuple[Iterable[str], ...],
    make: Callable[..., Sequence[Sequence[int] | npt.NDArray[np.int32]]] | None = None,
    **settings: Any,
) -> Ragged:
    """Token ids of texts, or of pairs of texts, from the cache if they are there.

    Args:
        tokenizer: The tokenizer.
        texts: The texts; or a tuple of as many first and second segments.
        make: What tokenises, given the segments; by default the tokenizer itself. The settings must tell it apart.
        **settings: What the tokenizer is called with.

    Returns:
        One sequence a text.
    """
    segments = [list(part) for part in (texts if isinstance(texts, tuple) else (texts,))]

    def compute() -> Ragged:
        if make is not None:
            return Ragged.from_lists(make(*segments))
        parts = [
            Ragged.from_lists(tokenizer(*(part[i : i + _CHUNK] for part in segments), **settings)["input_ids"])
            for i in range(0, max(1, len(segments[0])), _CHUNK)
        ]
        offsets = np.cumsum(np.concatenate([[0], *(part.lengths for part in parts)]))
        return Ragged(np.concatenate([part.flat for part in parts]), offsets)

    if len(segments[0]) < _LEAST:
        return compute()
    path = cache_root() / "tokens" / f"{_key(fingerprint(tokenizer, len(tokenizer)), segments, settings)}.tokens"
    found = _read(path)
    if found is None:
        ragged = compute()
        arrays: dict[str, npt.NDArray[Any]] = {"flat": ragged.flat, "offsets": ragged.offsets, "rows": ragged.rows}
        atomic_write(path, lambda draft: _write(draft, arrays))
        found = _read(path) or ragged
    return found


def _key(tokenizer: str, segments: list[list[str]], settings: Mapping[str, Any]) -> str:
    """Hash of everything that token ids depend on."""
    digest = hashlib.sha256(_MAGIC + tokenizer.encode())
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for part in segments:
        sizes = np.fromiter(map(len, part), dtype=np.int64, count=len(part))
        digest.update(sizes.tobytes())  # so that no two lists of texts join to the same
        digest.update("".join(part).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:40]


@lru_cache(maxsize=4)
def fingerprint(tokenizer: PreTrainedTokenizerBase, size: int) -> str:
    """Hash of a tokenizer's whole definition, and of the library's version that carries it out.

    Args:
        tokenizer: The tokenizer.
        size: How many tokens it knows; it is hashed anew where some were added.
    """
    import tokenizers

    # what comes before is the truncation and padding of the last call
    definition = tokenizer.backend_tokenizer.to_str().partition('"added_tokens"')[2]
    special = json.dumps(tokenizer.special_tokens_map, sort_keys=True, default=str)
    text = f"{tokenizers.__version__}\n{tokenizer.padding_side}{tokenizer.truncation_side}\n{special}\n{definition}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _write(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Magic, the length of a JSON header, the header, and the arrays, each aligned."""
    layout: dict[str, Any] = {}
    at = 0
    for name in _NAMES:
        array = arrays[name]
        layout[name] = {"dtype": array.dtype.str, "size": int(array.size), "at": at}
        at += -(-array.nbytes // _ALIGN) * _ALIGN
    body = bytearray(at)
    for name in _NAMES:
        data = np.ascontiguousarray(arrays[name]).tobytes()
        body[layout[name]["at"] : layout[name]["at"] + len(data)] = data
    header = json.dumps({"arrays": layout, "sha256": hashlib.sha256(body).hexdigest()}).encode()
    start = len(_MAGIC) + 8 + len(header)
    header += b" " * (-start % _ALIGN)
    path.write_bytes(_MAGIC + len(header).to_bytes(8, "little") + header + body)


def _read(path: Path) -> Ragged | None:
    """The sequences of a file, mapped into memory; None where there is none that is whole."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, path.stat().st_size)))
            start = len(_MAGIC) + 8 + length
            if hashlib.file_digest(file, "sha256").hexdigest() != header["sha256"]:
                return None  # it is made again, and put in its place
        whole = np.memmap(path, np.uint8, "r")
        arrays = []
        for name in _NAMES:
            layout = header["arrays"][name]
            dtype = np.dtype(layout["dtype"])
            begin = start + layout["at"]
            arrays.append(whole[begin : begin + layout["size"] * dtype.itemsize].view(np.ndarray).view(dtype))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    flat, offsets, rows = arrays
    return Ragged(flat, offsets, used=rows)
