"""Tasks whose batches loader workers build: such as new processes can import."""

from __future__ import annotations

import numpy as np
from datasets import Dataset, Features, Image, Value
from mix_tasks import Vowels, facts
from PIL import Image as Pillow

from xmit.errors import DataError
from xmit.tasks import MaskedLM, MaskedLMTask, SequenceClassificationTask
from xmit.tasks.with_images import WithImages

TOWER = {"name": "embedded:digits", "random": True}


class ManyVowels(Vowels):
    """Enough texts for their tokens to lie in a file."""

    def load_split(self, split, language):
        few = super().load_split(split, language)
        rows = [i % len(few) for i in range(3000 if split == "train" else 1200)]
        return few.select(rows).remove_columns("id").add_column("id", [str(i) for i in range(len(rows))])


class Shades(WithImages, SequenceClassificationTask):
    """Is an image dark or light?"""

    metadata = facts("shades", "dark and light images")
    label_names = ("dark", "light")

    def load_split(self, split, language):
        first, n = {"train": (0, 24), "validation": (24, 10), "test": (34, 10)}[split]
        shades = [first + i + 100 * (i % 2) for i in range(n)]
        columns = {
            "id": [str(i) for i in range(n)],
            "text": [f"what shade {i}" for i in range(n)],
            "label": [i % 2 for i in range(n)],
            "image": [Pillow.fromarray(np.full((16, 16, 3), shade, np.uint8)) for shade in shades],
        }
        kinds = {"id": Value("string"), "text": Value("string"), "label": Value("int64"), "image": Image()}
        return Dataset.from_dict(columns, features=Features(kinds))


class Prose(MaskedLMTask):
    """Random words in two languages."""

    metadata = MaskedLM.metadata

    def __init__(self, **kwargs):
        super().__init__(**{"languages": ["en", "sw"], "max_length": 32, "held_out": 0.2, **kwargs})

    def load_documents(self, language):
        rng = np.random.default_rng(len(language) + ord(language[0]))
        texts = [" ".join(map(str, rng.integers(0, 999, rng.integers(5, 60)))) for _ in range(30)]
        return Dataset.from_dict({"text": texts})


class Broken(Vowels):
    """One batch cannot be built."""

    def collate(self, examples, items):
        if 7 in items:
            raise DataError("the image shades/7.png is damaged: get the file again")
        return super().collate(examples, items)


class ReadsIds(Vowels):
    """Uses what workers do not get."""

    def collate(self, examples, items):
        return {**super().collate(examples, items), "ids": [examples.ids[i] for i in items]}


class Tokenises(Vowels):
    """Tokenises again and again."""

    def collate(self, examples, items):
        return {**super().collate(examples, items), "width": len(self.tokenizer("a word")["input_ids"])}


class KeepsIds(ReadsIds):
    """Says what it needs."""

    def for_workers(self, split):
        sent = super().for_workers(split)
        sent._examples[split].ids = self.examples(split).ids
        return sent
