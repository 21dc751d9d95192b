"""Emoji names: the English name of an emoji, found by its name in another language."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.errors import ConfigError
from xmit.registry import register_task
from xmit.tasks.image_text.emoji_data import DATA, read_emoji
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.retrieval import RetrievalTask

# the locales that name at least 1,000 emoji and that the table of languages knows
LANGUAGES = """af ak am ar as az be bg bn bs ca cs cy da de el es et eu fa fi fo fr ga gd gl gu ha he hi hr hu hy id ig
is it ja jv ka kk km kn ko ky lb lo lt lv mi mk ml mn mr ms mt my nb ne nl nso or pa pcm pl ps pt qu ro ru rw sc sd si
sk sl so sq sr sv sw ta te tg th ti tk tl tn tr ug uk ur uz vi wo xh yo yue zh zh-Hant zu"""


@register_task
class EmojiNames(RetrievalTask):
    """Names of the emoji of the test split, a fifth of all; text alone, nothing is trained.

    An emoji that a locale does not name is left out there; one whose name is as in English is found for nothing.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="emoji_names",
        roles=("target", "low-resource"),
        languages=tuple(LANGUAGES.split()),
        language_map={"tl": "fil", "nb": "no"},
        main_score="accuracy",
        description="English name of an emoji, by its name in another language",
        parallel=True,
        overlaps=("emoji", "emoji_itm"),
        **DATA,
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load the test split, the only one, of one language."""
        import datasets

        if split != "test":
            raise ConfigError(f"task {self.name!r} has no split {split!r}: it is only scored, on 'test'")
        rows, code = read_emoji(self, split), self.native(language)
        named = [(key, names[code], names["en"]) for key, names in zip(rows["emoji"], rows["names"], strict=True)
                 if code in names and "en" in names]  # fmt: skip
        columns = ("id", "query", "candidate")
        return datasets.Dataset.from_dict({column: [row[n] for row in named] for n, column in enumerate(columns)})
