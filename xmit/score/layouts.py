"""The official tasks of XTREME and XTREME-R: their languages, their files and what stands in them.

A submission, and likewise the folder of labels, is ``<task>/test-<language>.<suffix>``, each file plain or ``.gz``:

=============  ==========  ====================================================================================
format         suffix      what it holds
=============  ==========  ====================================================================================
``lines``      ``tsv``     one label a line, in the order of the data
``tags``       ``tsv``     one tag a line, a blank line between sentences
``pairs``      ``tsv``     source id, tab, target id: a set
``choices``    ``jsonl``   ``{"label": 0}`` or ``{"label": 1}`` a line; other fields are ignored
``answers``    ``json``    ``{question id: text}``; the labels are SQuAD files
``rankings``   ``json``    ``{question id: [candidate id, …]}``, best first; the labels list the right ones
=============  ==========  ====================================================================================

Sources: google-research/xtreme, ``evaluate.py`` (languages, metrics, files) and its README (layout of a submission).
LAReQA has no official submission file: here it has Mewsli-X's form, one file a *question* language, its candidates
being the 13,014 sentences of all languages; it is so that the XTREME-R paper reports it by language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from xmit.errors import TaskNotFoundError

Benchmark = Literal["xtreme", "xtreme-r"]
Format = Literal["lines", "tags", "pairs", "choices", "answers", "rankings"]

SUFFIXES: Mapping[Format, str] = MappingProxyType(
    {"lines": "tsv", "tags": "tsv", "pairs": "tsv", "choices": "jsonl", "answers": "json", "rankings": "json"}
)


@dataclass(frozen=True)
class Layout:
    """One official task.

    Args:
        name: Its official name, which is also its folder's and its name in the registry.
        format: What its files look like.
        metric: A scorer of :data:`xmit.score.scorers.SCORERS`.
        main: The metrics whose mean is the task's score.
        languages: The languages of each benchmark that has the task.
        labels: The labels there are, or none where they are no closed set.
        parallel: Whether examples with the same id (in files of lines: the same number) mean the same.
    """

    name: str
    format: Format
    metric: str
    main: tuple[str, ...]
    languages: Mapping[Benchmark, tuple[str, ...]] = field(hash=False)
    labels: tuple[str, ...] = ()
    parallel: bool = False

    @property
    def suffix(self) -> str:
        """The end of a file's name, without the dot."""
        return SUFFIXES[self.format]

    @property
    def all_languages(self) -> tuple[str, ...]:
        """The languages of both benchmarks."""
        return tuple(sorted({code for codes in self.languages.values() for code in codes}))

    def file(self, folder: Path, language: str) -> Path:
        """The file of a language; the gzipped one where only that exists."""
        plain = folder / self.name / f"test-{language}.{self.suffix}"
        packed = plain.with_name(plain.name + ".gz")
        return packed if packed.is_file() and not plain.is_file() else plain


def _both(codes: str, added: str = "") -> dict[Benchmark, tuple[str, ...]]:
    """Languages of XTREME, and those that XTREME-R adds."""
    return {"xtreme": tuple(sorted(codes.split())), "xtreme-r": tuple(sorted([*codes.split(), *added.split()]))}


def _xtreme(codes: str) -> dict[Benchmark, tuple[str, ...]]:
    return {"xtreme": tuple(sorted(codes.split()))}


def _xtreme_r(codes: str) -> dict[Benchmark, tuple[str, ...]]:
    return {"xtreme-r": tuple(sorted(codes.split()))}


_NLI = ("entailment", "neutral", "contradiction")
_UPOS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM",
    "VERB", "X",
)  # fmt: skip
_NER = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
_TATOEBA = "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh"
_XQUAD = "ar de el en es hi ru th tr vi zh"
_SPANS, _ANSWER = ("f1",), ("exact_match", "f1")

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            Layout(
                "xnli", "lines", "accuracy", ("accuracy",), _both("ar bg de el en es fr hi ru sw th tr ur vi zh"), _NLI,
                parallel=True,
            ),
            Layout(
                "pawsx", "lines", "accuracy", ("accuracy",), _xtreme("de en es fr ja ko zh"), ("0", "1"), parallel=True
            ),
            Layout(
                "xcopa", "choices", "accuracy", ("accuracy",), _xtreme_r("et ht id it qu sw ta th tr vi zh"),
                ("0", "1"), parallel=True,
            ),
            Layout(
                "udpos", "tags", "spans", _SPANS,
                _both("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi "
                      "yo zh", "lt pl ro uk wo"),
                _UPOS,
            ),
            Layout(
                "panx", "tags", "spans", _SPANS,
                _both("af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta "
                      "te th tl tr ur vi yo zh", "az gu lt pa pl qu ro uk"),
                _NER,
            ),
            Layout("xquad", "answers", "squad", _ANSWER, _both(_XQUAD, "ro"), parallel=True),
            Layout("mlqa", "answers", "mlqa", _ANSWER, _both("ar de en es hi vi zh"), parallel=True),
            Layout("tydiqa", "answers", "squad", _ANSWER, _both("ar bn en fi id ko ru sw te")),
            Layout("bucc2018", "pairs", "pairs", _SPANS, _xtreme("de fr ru zh")),
            Layout("tatoeba", "lines", "accuracy", ("accuracy",), _both(_TATOEBA, "az lt pl ro uk")),
            Layout("lareqa", "rankings", "map", ("map@20",), _xtreme_r(_XQUAD), parallel=True),
            Layout("mewslix", "rankings", "mrr", ("map@20",), _xtreme_r("ar de en es fa ja pl ro ta tr uk")),
        )
    }
)  # fmt: skip
"""The twelve official tasks by name."""


def official(benchmark: Benchmark) -> dict[str, Layout]:
    """The tasks of a benchmark: nine of XTREME, ten of XTREME-R."""
    return {name: layout for name, layout in LAYOUTS.items() if benchmark in layout.languages}


def get_layout(name: str) -> Layout:
    """Look up an official task.

    Raises:
        TaskNotFoundError: The task is in neither benchmark, so that no submission format exists for it.
    """
    if name not in LAYOUTS:
        raise TaskNotFoundError("XTREME task", name, LAYOUTS, hint="Only official tasks have submission files.")
    return LAYOUTS[name]
