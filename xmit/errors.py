"""The errors a user may meet: one clear line that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable


class XmitError(Exception):
    """Base of all errors that are the user's to mend; the command line prints them as one line."""


class ConfigError(XmitError):
    """A config or an argument asks for something impossible."""


class DataError(XmitError):
    """A data file is missing, damaged or not in the expected form."""


class MissingDataError(DataError):
    """Data are not at hand: no such file, or the hub cannot be reached."""


class EncoderError(XmitError):
    """An encoder, tower or checkpoint cannot be used."""


class MetricError(XmitError):
    """A metric was fed what it cannot score."""


class StudyError(XmitError):
    """A study cannot be planned, or one of its cells failed."""


class TrainingError(XmitError):
    """Training cannot go on, such as after a loss that is not a number."""


class NotFoundError(XmitError):
    """A name is not known; the nearest known names are suggested.

    Args:
        kind: What was looked for, such as ``"task"``.
        name: The name that was asked for.
        known: All names that would have been right.
        hint: A remedy appended to the message.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"unknown {kind} {name!r}.{did_you_mean(name, self.known)}{hint and ' ' + hint}")


class TaskNotFoundError(NotFoundError):
    """No task of that name is registered."""


class LanguageNotFoundError(NotFoundError):
    """The language is not known, or the task has no data in it."""


class MissingDependencyError(XmitError):
    """A package of an optional extra is not installed.

    Args:
        package: The name of the missing package on PyPI.
        extra: The extra of ``xmit`` that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(f"{package} is not installed. Install it with: pip install 'xmit[{extra}]'")


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """Suggest the nearest known names.

    Args:
        name: What was asked for.
        known: What exists.
        most: How many suggestions at the most, or how many names to list when nothing is near.

    Returns:
        A sentence with a leading blank, or an empty string when nothing is known.
    """
    names = sorted(known)
    lowered = {n.lower(): n for n in names}
    near = [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, n=most, cutoff=0.5)]
    if near:
        return f" Did you mean {' or '.join(near)}?"
    if not names:
        return ""
    return f" Known: {', '.join(names[:40])}{', …' if len(names) > 40 else ''}."


def check_number(name: str, value: object, least: float = 0, most: float = math.inf, whole: bool = False) -> None:
    """Refuse what is no number within bounds; a notebook's "1e-4" is a string, whatever the annotation says.

    Raises:
        ConfigError: If so.
    """
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= float(value) <= most:
        bounds = f"from {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
        raise ConfigError(f"{name} must be a {'whole ' if whole else ''}number {bounds}, not {value!r}")


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        ConfigError: If so; the message suggests the nearest choice.
    """
    known = list(choices)
    if value not in known:
        raise ConfigError(f"{name} must be one of {', '.join(known)}, not {value!r}.{did_you_mean(str(value), known)}")
