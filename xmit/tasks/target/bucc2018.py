"""BUCC 2018: the translations among two monolingual corpora, as XTREME has it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from xmit.data.readers import read_tsv
from xmit.data.sources import find_file, load_hub
from xmit.data.text import AGAIN, fail
from xmit.errors import ConfigError, DataError, MissingDataError
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.mining import BitextMiningTask

if TYPE_CHECKING:
    import datasets

RELEASE = {"validation": ("dev", "sample"), "test": ("test", "training")}
"""The names of the splits in XTREME, and in the release that they come from."""


@register_task
class BUCC2018(BitextMiningTask):
    """Mine the German, French, Russian or Chinese corpus against the English one.

    XTREME's test is the release's *training* corpora, whose gold pairs are public (its download deletes them: take
    the release's); its development corpora are the release's *sample*. The hub has the former alone, as one row of
    lists, so that ``threshold_on: test`` must be asked for there.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="bucc2018",
        roles=("target",),
        languages=("de", "fr", "ru", "zh"),
        main_score="f1",
        dataset="mteb/BUCC",
        license="BUCC 2018 shared task terms (research)",
        citation="Zweigenbaum, Sharoff and Rapp (2018), Overview of the Third BUCC Shared Task, BUCC",
        description="translations mined from two monolingual corpora",
        benchmark_version="xtreme",
    )

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load ``test`` or ``validation`` of one language."""
        import datasets

        if split not in RELEASE:
            raise ConfigError(f"task {self.name!r} has no split {split!r}: it is only scored, on 'test'")
        source, target, gold = self._files(split, language) if self.data_dir else self._hub(split, language)
        answers: dict[str, list[str]] = {key: [] for key in source}
        for first, second in gold or ():
            if first not in answers:
                raise DataError(f"task {self.name!r}, {split}, {language}: the gold pair of {first!r} has no sentence")
            answers[first].append(second)
        n, m = len(source), len(target)
        columns = {"id": [*source, *target], "text": [*source.values(), *target.values()]}
        columns |= {"side": ["source"] * n + ["target"] * m}
        lists = [None] * n if gold is None else list(answers.values())
        table = datasets.Dataset.from_dict(columns)
        return table.add_column(
            "gold", [*lists, *[None] * m], feature=datasets.features.Sequence(datasets.Value("string"))
        )

    def _files(self, split: str, language: str) -> tuple[dict[str, str], dict[str, str], list[Any] | None]:
        def find(suffix: str) -> Any:
            pair = f"{self.native(language)}-en"
            folders = ("", "bucc2018/", f"{pair}/", f"bucc2018/{pair}/")
            names = [f"{folder}{pair}.{part}.{suffix}" for part in RELEASE[split] for folder in folders]
            assert self.data_dir is not None
            return find_file(self.data_dir, *names, task=self.name, hub=self.metadata.dataset)

        sides = []
        for code in (self.native(language), "en"):
            path = find(code)
            columns = read_tsv(path, ["id", "text"])
            side = dict(zip(columns["id"], columns["text"], strict=True))
            if len(side) != len(columns["id"]):
                key, _ = Counter(columns["id"]).most_common(1)[0]
                line = columns["id"].index(key, columns["id"].index(key) + 1) + 1
                fail(path, line, f"the id {key!r} occurs twice", AGAIN)
            sides.append(side)
        try:
            gold = read_tsv(find("gold"), ["source", "target"])
        except MissingDataError:
            if split == "test":
                return sides[0], sides[1], None
            raise
        return sides[0], sides[1], list(zip(gold["source"], gold["target"], strict=True))

    def _hub(self, split: str, language: str) -> tuple[dict[str, str], dict[str, str], list[Any]]:
        if split != "test":
            raise ConfigError(
                f"task {self.name!r}: {self.metadata.dataset} has no development corpora to find the threshold on. "
                "Give data_dir with the files of the original release, or set threshold_on: test (an oracle's F1)"
            )
        table = load_hub(self.metadata.dataset, split=split, config=f"{self.native(language)}-en")
        if len(table) != 1:
            raise DataError(f"{self.metadata.dataset}: {len(table)} rows instead of one of lists; use data_dir")
        row = table[0]
        sides = [
            {f"{code}-{n:09}": text for n, text in enumerate(row[column], 1)}
            for code, column in ((language, "sentence1"), ("en", "sentence2"))
        ]
        gold = [(f"{language}-{a:09}", f"en-{b:09}") for a, b in row["gold"]]
        return sides[0], sides[1], gold
