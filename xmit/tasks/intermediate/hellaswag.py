"""HellaSwag."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_jsonl, read_lines
from xmit.data.sources import load_hub
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.multiple_choice import MultipleChoiceTask, by_place, check_texts, choice_table, numbers
from xmit.tasks.parallel import published_rows

SIZES = {"train": 39_905, "validation": 10_042}


@register_task
class HellaSwag(MultipleChoiceTask):
    """How a scene or an instruction goes on, 4 choices, wrong ones written by a machine.

    The last sentence of a scene has begun (``ctx_b``): as in the authors' and jiant's recipe the first segment is
    ``ctx_a`` and the second ``ctx_b`` with an ending, one whole sentence. Rows with nothing but ``ctx`` have that for
    their first segment. With ``data_dir``: ``hellaswag_train.jsonl`` and ``hellaswag_val.jsonl``.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="hellaswag",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset="Rowan/hellaswag",
        license="MIT",
        citation="Zellers et al. 2019, HellaSwag: Can a Machine Really Finish Your Sentence?, ACL",
        description="how a scene goes on (4 choices)",
        sizes=SIZES,
    )
    num_choices = 4

    def load_split(self, split: str, language: str) -> Any:
        """Load one split; the test's labels are not public."""
        rows, where = published_rows(self, "HellaSwag", SIZES, split, language), self.metadata.dataset
        names: tuple[str, ...] = ("ctx_a", "ctx_b", "endings", "label")
        if self.data_dir:
            name = f"hellaswag_{'val' if split == 'validation' else split}.jsonl"
            path = self.file(split, language, f"hellaswag/{name}", f"hellaswag/data/{name}", f"data/{name}", name)
            if '"ctx_a"' not in read_lines(path, ended=False)[0]:
                names = ("ctx", "endings", "label")
            *contexts, endings, labels = read_jsonl(path, names).values()
            where = str(path)
        else:
            table = load_hub(where, split=split, rows=rows)
            *contexts, endings, labels = (table[name][:] for name in names)
        ids, choices = [f"hellaswag-{split}-{i}" for i in range(len(labels))], by_place(endings, 4, where)
        check_texts(ids, *contexts, *choices)
        for begun in contexts[1:]:  # none where the row has only ctx
            choices = [[f"{start} {end}".strip() for start, end in zip(begun, own, strict=True)] for own in choices]
        return choice_table(ids, contexts[:1], choices, numbers(labels, where, 4, first=0))
