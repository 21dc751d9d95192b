"""ANLI+: ANLI's three rounds, MNLI and SNLI behind one head."""

from dataclasses import replace
from typing import Any, ClassVar

from xmit.data.pairs import no_test_labels
from xmit.registry import register_task
from xmit.tasks.base import Score
from xmit.tasks.intermediate.mnli import MNLI
from xmit.tasks.intermediate.snli import SNLI
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.nli import ANLI_ROWS, NLITask, nli_table, read_pairs
from xmit.tasks.scoring import accuracy_scores


@register_task
class ANLIPlus(NLITask):
    """ANLI rounds 1 to 3, MNLI and SNLI, every pair of theirs, so that each is drawn by its share (Phang et al. 2020).

    Validated on the dev sets of all five, MNLI's both: ``accuracy`` is over all pairs, ``accuracy_anli``,
    ``accuracy_mnli`` and ``accuracy_snli`` are of those at hand. With ``data_dir``: ``anli_v1.0/R1/train.jsonl`` and
    so on, beside the files of :class:`MNLI` and :class:`SNLI`.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="anli_plus",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset="facebook/anli",
        license="ANLI CC BY-NC 4.0; MNLI by genre; SNLI CC BY-SA 4.0",
        citation="Nie et al. 2020, Adversarial NLI, 2020.acl-main.441; together: Phang et al. 2020, arXiv 2005.13013",
        description="does a text entail a sentence (3 classes), of three corpora",
        overlaps=("mnli", "snli", "snli_ve", "xnli", "xvnli", "americas_nli", "afri_xnli"),
        sizes={part: sum(n) + MNLI.metadata.sizes[part] + SNLI.metadata.sizes[part] for part, n in ANLI_ROWS.items()},
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language."""
        import datasets

        if split == "test":
            raise no_test_labels(self.name)
        if self.own_file(split):
            rows = read_pairs(self.file(split, language))
            return nli_table(rows, f"own_{split}", range(len(rows["label"])))
        tables = [self.anli(split, language, number) for number in (1, 2, 3)]
        for part in (MNLI, SNLI):
            table = part(data_dir=self.data_dir, source_language=language).load_split(split, language)
            tables.append(nli_table(table.to_dict(), part.metadata.name, table["id"][:]))
        return datasets.concatenate_datasets(tables)

    def score(self, predictions: Any) -> list[Score]:
        """Accuracy over all pairs, and over each corpus'."""
        scores = super().score(predictions)
        for part, rows in predictions.groupby(predictions["id"].str.partition("-")[0]):
            own = [score for score in accuracy_scores(rows) if score.metric == "accuracy" and part != "own_validation"]
            scores += [replace(score, metric=f"accuracy_{part}") for score in own]
        return scores
