"""PAN-X, also called WikiANN: names in Wikipedia."""

from typing import Any, ClassVar

from xmit.data.sources import load_hub
from xmit.data.words import hub_columns, read_xtreme
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.token_classification import TokenClassificationTask, sentences
from xmit.tasks.versions import XtremeVersions

XTREME = """ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh
kk tr et fi hu"""
ADDED = ("qu", "pl", "uk", "az", "lt", "pa", "gu", "ro")  # by XTREME-R, from the same source
ROWS = {**dict.fromkeys(XTREME.split(), 10_000), **dict.fromkeys(("jv", "my", "yo"), 100)}  # to validate and test on
ROWS |= dict.fromkeys(("af", "bn", "hi", "kk", "ml", "mr", "ms", "sw", "ta", "te", "tl", "ur"), 1_000)


@register_task
class PanX(XtremeVersions, TokenClassificationTask):
    """Persons, organisations and places, tagged by Wikipedia's links: noisy where a Wikipedia is small.

    In ``data_dir``: XTREME's ``panx/test-en.tsv``, test files without tags, or WikiANN's own ``en/test``, ``en-test``.

    Args:
        version: The benchmark whose languages are scored by default: 40 in ``xtreme``, 48 in ``xtreme-r``.
        languages: See :class:`~xmit.tasks.base.Task`.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="panx",
        roles=("target",),
        languages=(*XTREME.split(), *ADDED),
        main_score="f1",
        dataset="unimelb-nlp/wikiann",
        license="not stated; Wikipedia's text is CC BY-SA 3.0",
        citation="Pan et al. 2017, P17-1178; splits: Rahimi et al. 2019, Massively Multilingual Transfer, P19-1015",
        description="names in Wikipedia",
        benchmark_version="xtreme, xtreme-r",
        sizes={"train": 20_000, "validation": ROWS["en"], "test": ROWS["en"]},
    )
    label_names = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")

    added = ADDED

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language."""
        if not self.data_dir:
            own, rows = (self.metadata.dataset, language), None if split == "train" else ROWS.get(language)
            source, config = ("google/xtreme", f"PAN-X.{language}") if language in ROWS else own
            return sentences(hub_columns(load_hub(source, config=config, split=split, rows=rows), "ner_tags"))
        part = "dev" if split == "validation" else split
        names = (f"panx/{part}-{language}.tsv", f"{part}-{language}.tsv", f"{language}/{part}", f"{language}-{part}")
        path = self.file(split, language, *names, translations=names)
        columns = read_xtreme(path, self.label_names)
        if ".tsv" not in path.name:  # WikiANN's own
            columns["tokens"] = [[t.removeprefix(f"{language}:") for t in row] for row in columns["tokens"]]
        return sentences(columns)
