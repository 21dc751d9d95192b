"""Targets of XTREME for which its successor XTREME-R has further languages."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

from xmit.errors import check_choice
from xmit.tasks.base import Task

Version = Literal["xtreme", "xtreme-r"]


class XtremeVersions(Task):
    """Chooses the languages of a benchmark, and tells in result rows which benchmark was run.

    Args:
        version: The benchmark whose languages are scored by default.
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    added: ClassVar[tuple[str, ...]]
    """The languages that XTREME-R added."""

    def __init__(self, version: Version = "xtreme-r", languages: list[str] | None = None, **kwargs: Any) -> None:
        check_choice("data.version", version, get_args(Version))
        if not languages and version == "xtreme":
            languages = [code for code in self.metadata.languages if code not in self.added]
        super().__init__(languages=languages, **kwargs)
        self.benchmark_version = version
