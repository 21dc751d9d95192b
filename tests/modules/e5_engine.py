"""The engine that ships with the embedded encoder, compiled from its C source: the oracle of test_embedded."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np

from xmit.modules.embedded import EMBEDDED_ENCODERS

ORACLE = r"""
#include "e5.c"
int oracle_tokens(e5_model *m, const char *text, int *out, int cap) {
    return tok_content(&m->tok, text, out, cap);
}
int oracle_map(e5_model *m, uint32_t cp, uint32_t *out) {
    int i = norm_find(&m->tok, cp);
    if (i < 0) { out[0] = cp; return 1; }
    int n = 0;
    for (uint32_t k = m->tok.norm_off[i]; k < m->tok.norm_off[i + 1]; k++) out[n++] = m->tok.norm_out[k];
    return n;
}
void oracle_word(e5_model *m, int id, float *out) { deq_row(m->word + (size_t)id * m->nb_word, m->H, out); }
"""


class Oracle:
    """The package's engine, compiled from its source so that its tokenizer can be reached."""

    def __init__(self, folder: Path, compiler: str) -> None:
        path = EMBEDDED_ENCODERS["e5-small"].path()
        source, library = folder / "oracle.c", folder / "oracle.so"
        source.write_text(ORACLE, encoding="utf-8")
        base = [
            compiler,
            "-O2",
            "-shared",
            "-fPIC",
            f"-I{path.parent}",
            str(source),
            "-o",
            str(library),
            "-lm",
        ]
        # Not every compiler knows its own machine; the portable build is slower and gives the same.
        if subprocess.run([*base, "-march=native"], capture_output=True, check=False).returncode:
            subprocess.run(base, check=True, capture_output=True)
        self.lib = ctypes.CDLL(str(library))
        self.lib.e5_load.restype = ctypes.c_void_p
        self.lib.e5_load.argtypes = [ctypes.c_char_p]
        ints, floats = ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_float)
        self.lib.oracle_tokens.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ints, ctypes.c_int]
        self.lib.oracle_map.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)]
        self.lib.oracle_word.argtypes = [ctypes.c_void_p, ctypes.c_int, floats]
        self.lib.e5_embed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, floats]
        self.lib.e5_free.argtypes = [ctypes.c_void_p]
        self.model = self.lib.e5_load(str(path).encode())
        assert self.model
        self._ids = (ctypes.c_int * 100_000)()
        self._map = (ctypes.c_uint32 * 64)()

    def tokens(self, text: str) -> list[int]:
        """Token ids with <s> and </s>, which the engine adds outside its tokenizer."""
        count = self.lib.oracle_tokens(self.model, text.encode(), self._ids, len(self._ids))
        return [0, *self._ids[:count], 2]

    def map(self, text: str) -> str:
        """The file's normalisation, code point by code point."""
        out: list[str] = []
        for char in text:
            count = self.lib.oracle_map(self.model, ord(char), self._map)
            out += map(chr, self._map[:count])
        return "".join(out)

    def word(self, index: int) -> np.ndarray:
        """One dequantised row of the word embeddings."""
        row = np.empty(384, np.float32)
        self.lib.oracle_word(self.model, index, row.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
        return row

    def embed(self, text: str) -> np.ndarray:
        """The engine's sentence embedding of ``query: <text>``: mean over all tokens, then L2."""
        out = np.empty(384, np.float32)
        self.lib.e5_embed(self.model, text.encode(), 1, out.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
        return out
