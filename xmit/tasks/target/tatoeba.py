"""Tatoeba: the translation of an English sentence among up to 1,000, as XTREME has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xmit.data.readers import read_parallel
from xmit.data.sources import find_file, load_hub
from xmit.errors import ConfigError
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.retrieval import RetrievalTask
from xmit.tasks.versions import XtremeVersions

if TYPE_CHECKING:
    import datasets

XTREME = "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh"
ADDED = ("az", "lt", "pl", "ro", "uk")
ISO = "afr ara bul ben deu ell spa est eus pes fin fra heb hin hun ind ita jpn jav kat kaz kor mal mar nld por rus swh"
ISO += " tam tel tha tgl tur urd vie cmn aze lit pol ron ukr"
LANGUAGES = (*XTREME.split(), *ADDED)
ROWS = {"jv": 205, "sw": 390, "ta": 307, "te": 234, "ka": 746, "kk": 575, "ml": 687, "th": 548}
"""The languages with fewer than 1,000 pairs."""
MTEB = "mteb/tatoeba-bitext-mining"


@register_task
class Tatoeba(XtremeVersions, RetrievalTask):
    """English queries, foreign candidates, nearest by cosine; nothing is trained.

    As in XTREME (``utils_preprocess.py``, ``evaluate_retrieval.py``) the English sentences are sorted, and an answer
    is the line of a foreign sentence, counted from 0, also where the same sentence stands in an earlier line.
    XTREME's own download keeps the sorted side alone, without the answers: it is predicted, not scored.

    Args:
        version: XTREME's 36 languages, or XTREME-R's 41.
        languages: See :class:`~xmit.tasks.retrieval.RetrievalTask`, as for all further arguments.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="tatoeba",
        roles=("target",),
        languages=LANGUAGES,
        main_score="accuracy",
        dataset="google/xtreme",
        license="CC BY 2.0 FR",
        citation="Artetxe and Schwenk (2019), Massively Multilingual Sentence Embeddings, TACL",
        description="the translation of an English sentence among up to 1,000",
        language_map=dict(zip(LANGUAGES, ISO.split(), strict=True)),
        benchmark_version="xtreme, xtreme-r",
        sizes={"test": 1_000},
    )

    added = ADDED

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load the only split, ``test`` (``validation`` on the hub), of one language."""
        import datasets

        if split not in ("test", "validation"):
            raise ConfigError(f"task {self.name!r} has no split {split!r}: it is only scored, on 'test'")
        foreign, english, known = self._sides(language)
        order = sorted(range(len(english)), key=english.__getitem__) if known else range(len(english))
        return datasets.Dataset.from_dict(
            {
                "id": [str(line) for line in range(len(english))],
                "query": [english[line] for line in order],
                "candidate": foreign,
                "answer": [str(line) if known else None for line in order],
            }
        )

    def _sides(self, language: str) -> tuple[list[str], list[str], bool]:
        """Foreign and English sentences, and whether line n of one translates line n of the other."""
        code = self.native(language)
        if self.data_dir:
            laser, xtreme = f"tatoeba.{code}-eng.", f"{language}-en."
            names = [f"{folder}{laser}{code}" for folder in ("", "v1/", "tatoeba/v1/", "tatoeba/")]
            names += [f"{folder}{xtreme}{language}" for folder in ("", "tatoeba/")]
            hub = self.metadata.dataset
            first = find_file(self.data_dir, *names, task=self.name, hub=hub)
            known = first.name.startswith(laser)
            second = find_file(first.parent, laser + "eng" if known else xtreme + "en", task=self.name, hub=hub)
            pairs = read_parallel(first, second)
            sides = pairs["first"], pairs["second"]
        else:
            rows, known = ROWS.get(language, 1000), True
            if language not in ADDED:
                pairs = load_hub(self.metadata.dataset, split="validation", config=f"tatoeba.{code}", rows=rows)
                sides = list(pairs["source_sentence"]), list(pairs["target_sentence"])
            else:
                pairs = load_hub(MTEB, split="test", config=f"{code}-eng", rows=rows)
                sides = list(pairs["sentence1"]), list(pairs["sentence2"])
        return [text.strip() for text in sides[0]], [text.strip() for text in sides[1]], known
