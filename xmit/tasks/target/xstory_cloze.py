"""XStoryCloze."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_tsv
from xmit.data.sources import load_hub
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.multiple_choice import MultipleChoiceTask, choice_table, numbers
from xmit.tasks.parallel import keep_rows

HUB = ("story_id", *(f"input_sentence_{k}" for k in (1, 2, 3, 4)), "sentence_quiz1", "sentence_quiz2")
FILE = ("InputStoryid", *(f"InputSentence{k}" for k in (1, 2, 3, 4)))
FILE = (*FILE, "RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding")


@register_task
class XStoryCloze(MultipleChoiceTask):
    """The right end of a story of four sentences, 2 choices, 1,511 test items in 11 languages, parallel.

    English training is the data's own 360 stories, every sixth of which is kept for validation. With ``data_dir``:
    ``spring2016.val.en.tsv.split_20_80_train.tsv`` and so on, ``eval`` being the test.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="xstory_cloze",
        roles=("target", "low-resource"),
        languages=("ar", "en", "es", "eu", "hi", "id", "my", "ru", "sw", "te", "zh"),
        main_score="accuracy",
        dataset="juletxara/xstory_cloze",  # a script, so its converted copy is read
        license="CC BY-SA 4.0",
        citation="Lin et al. 2022, Few-shot Learning with Multilingual Generative Language Models, EMNLP",
        description="the right end of a story (2 choices)",
        parallel=True,
        sizes={"train": 300, "validation": 60, "test": 1_511},
    )
    num_choices = 2

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language."""
        code, part = self.native(language), "eval" if split == "test" else "train"
        if self.data_dir:
            file = f"spring2016.val.{code}.tsv.split_20_80_{part}.tsv"
            files = (file, f"xstory_cloze/{file}")
            path = self.file(split, language, *files, translations=files)
            where, rows = str(path), dict[str, list[Any]](read_tsv(path, FILE, header=True))
        else:
            names, count = (*HUB, "answer_right_ending"), 1_511 if split == "test" else 360
            table = load_hub(self.metadata.dataset, config=code, split=part, parquet_branch=True, rows=count)
            where, rows = f"{self.metadata.dataset}, {code}", {name: table[name][:] for name in names}
        rows["label"] = numbers(rows.popitem()[1], where, 2)
        own = self.validation_file or (self.train_file and split == "train")  # whose rows are not divided
        if split != "test" and not own:
            n = len(next(iter(rows.values())))
            rows = keep_rows(rows, (i for i in range(n) if (i % 6 == 5) == (split == "validation")))
        ids, *sentences, first, second, right = rows.values()
        return choice_table(ids, sentences, (first, second), right)
