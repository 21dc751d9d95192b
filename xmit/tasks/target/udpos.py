"""UD-POS: parts of speech in the treebanks of Universal Dependencies."""

from typing import Any, ClassVar

from xmit.data.treebanks import ADDED, TREEBANKS, UPOS, hub_treebanks, local_treebanks
from xmit.data.words import read_xtreme
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.token_classification import TokenClassificationTask, sentences
from xmit.tasks.versions import XtremeVersions


@register_task
class UDPOS(XtremeVersions, TokenClassificationTask):
    """Parts of speech. ``f1`` is what XTREME reports, often as "accuracy"; ``accuracy`` is the real one.

    From ``data_dir``: every treebank of a language, ``**/en_*-ud-test.conllu``, fused forms as one word; or XTREME's
    ``udpos/test-en.tsv``, whose test files have no tags. From the hub: the same treebanks, but of UD 2.17 and in
    syntactic words, so that their scores are not XTREME's.

    Args:
        treebanks: Test on these only; those of ``[pud]`` are parallel, by ids such as ``pud/n01001011``.
        version: The benchmark whose languages are scored by default: 33 in ``xtreme``, 38 in ``xtreme-r``.
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="udpos",
        roles=("target",),
        languages=tuple(TREEBANKS),
        main_score="f1",
        dataset="commul/universal_dependencies",  # google/xtreme mixes Ancient into Modern Greek, and more such
        revision="2.17",
        license="differs by treebank, mostly CC BY-SA 4.0, some non-commercial",
        citation="Nivre et al. 2020, Universal Dependencies v2, LREC; Zeman et al. 2019, UD 2.5, hdl 11234/1-3105",
        description="part of speech of every word (17 tags)",
        benchmark_version="xtreme, xtreme-r",
        sizes={"train": 21_253, "validation": 3_974},
    )
    label_names = UPOS
    parallel_ids = "pud/"

    added = ADDED

    def __init__(self, treebanks: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.treebanks = treebanks

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language, its treebanks one after the other."""
        only = self.treebanks if split == "test" else None
        if not self.data_dir:
            return sentences(hub_treebanks(self.metadata.dataset, self.metadata.revision, language, split, only))
        part = "dev" if split == "validation" else split
        own = self.own_file(split)
        columns = {"id": []} if own else local_treebanks(self.data_dir, language, part, only)
        if not columns["id"]:
            names = (f"udpos/{part}-{language}.tsv", f"{part}-{language}.tsv", f"**/{language}_*-ud-{part}.conllu")
            columns = read_xtreme(self.file(split, language, *names, translations=names), UPOS)
        return sentences(columns)
