"""What a task declares about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from xmit.data.revisions import REVISIONS
from xmit.errors import ConfigError, LanguageNotFoundError
from xmit.languages import LANGUAGES

ROLES = ("intermediate", "target", "image-text", "low-resource", "embedded")


@dataclass(frozen=True, kw_only=True)
class TaskMetadata:
    """The facts about a task that results, reports and the planner need.

    Args:
        name: The registry name, lower case, as it stands in result rows.
        roles: What the task is for: some of ``intermediate``, ``target``, ``image-text``,
            ``low-resource``, ``embedded``.
        languages: Every language with test data, as ISO 639-1 codes, else 639-3, with a script only where
            the task has two (``ace-Arab``).
        main_score: The metric that stands for the task, such as ``"accuracy"``.
        dataset: Where the data come from: a hub id, or the package that carries them.
        license: The licence of the data.
        citation: Paper or page to cite.
        description: One line for people.
        source_language: The language of the training data.
        parallel: Whether the examples of all languages are translations that share their ``id``.
        revision: The pinned revision of the data; by default that of :data:`~xmit.data.revisions.REVISIONS`.
        language_map: From our codes to the data's own where they differ; the latter are accepted on input.
        overlaps: Names of tasks that share items or images with this one.
        benchmark_version: Such as ``"xtreme-r"``; empty where the task belongs to no benchmark.
        sizes: How many rows the published splits have in the source language (a test that lacks it: in most of its
            languages), by split, after rows without a label are dropped. The planner estimates with them; a
            ``data_dir`` that holds another number is warned about.

    Raises:
        ConfigError: If a field is empty or contradicts another.
    """

    name: str
    roles: tuple[str, ...]
    languages: tuple[str, ...]
    main_score: str
    dataset: str
    license: str
    citation: str
    description: str
    source_language: str = "en"
    parallel: bool = False
    revision: str | None = None
    language_map: Mapping[str, str] = field(default_factory=dict)
    overlaps: tuple[str, ...] = ()
    benchmark_version: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        empty = [k for k in ("name", "roles", "languages", "main_score", "dataset", "license") if not getattr(self, k)]
        if empty:
            raise ConfigError(f"the metadata of task {self.name!r} lacks {', '.join(empty)}")
        if self.name != self.name.lower() or not self.name.replace("_", "").isalnum():
            raise ConfigError(f"the task name {self.name!r} must be lower case letters, digits and '_'")
        unknown = set(self.roles) - set(ROLES)
        if unknown:
            raise ConfigError(
                f"task {self.name!r}: unknown role {sorted(unknown)[0]!r}, choose from {', '.join(ROLES)}"
            )
        if len(set(self.languages)) != len(self.languages):
            raise ConfigError(f"task {self.name!r} names a language twice")
        if self.revision is None:
            object.__setattr__(self, "revision", REVISIONS.get(self.dataset))

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, ready for JSON."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def resolve_language(self, code: str, source: bool = False, any_source: bool = False) -> str:
        """Map an xmit code or the data's own code to the xmit code.

        Args:
            code: The code.
            source: Whether it is trained on.
            any_source: Any known language will do, since translations to train on may lie beside the data.

        Raises:
            LanguageNotFoundError: If the task has no data in that language.
            ConfigError: If it is the source language alone, and is asked for as a test language.
        """
        known = list(dict.fromkeys([*self.languages, *([self.source_language] if source else [])]))
        native = {v: k for k, v in self.language_map.items()}
        resolved = code if code in known else native.get(code, code)
        if resolved == self.source_language and resolved not in known:
            raise ConfigError(f"task {self.name!r}: {resolved!r} is its source language and has no test data")
        if resolved not in known and not (any_source and resolved in LANGUAGES):
            by_name = [f"{one.name} is {key!r}." for key, one in LANGUAGES.items() if one.name.lower() == code.lower()]
            raise LanguageNotFoundError(f"language of task {self.name!r}:", code, known, " ".join(by_name))
        return resolved
