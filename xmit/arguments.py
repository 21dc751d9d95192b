"""What the parser of a run's many settings says is wrong, in one line."""

from __future__ import annotations

import contextlib
import io
import sys

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser


def parse_in_one_line(parser: LightningArgumentParser, words: list[str]) -> Namespace:
    """Parse a command line; what is wrong with it takes one line, not the usage of a hundred settings and the config.

    Raises:
        SystemExit: With 2 if the call is wrong, with 0 after help.
    """
    text = io.StringIO()
    try:
        with contextlib.redirect_stderr(text):
            config: Namespace = parser.parse_args(words)
    except SystemExit as error:
        if error.code:
            sys.stderr.write(f"xmit: {_refusal(text.getvalue())} (--help lists all settings)\n")
        raise
    sys.stderr.write(text.getvalue())
    return config


def _refusal(text: str) -> str:
    """What the parser says is wrong, without usage, types and the values given."""
    lines = [line.strip() for line in text.strip().splitlines()]
    start = max((i for i, line in enumerate(lines) if "error:" in line), default=0)
    noise = ("Given value", "Subtypes:", "Errors:", "- Expected a <class 'NoneType'>", "Does not validate against")
    kept = [line.removeprefix("- ") for line in lines[start:] if line and not line.startswith(noise)]
    return " ".join(kept).removeprefix("error: ") or "the call is wrong"
