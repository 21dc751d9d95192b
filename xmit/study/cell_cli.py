"""``fit`` within the process of a study: one cell carried out, or the configs of many looked at."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningCLI

from xmit.arguments import parse_in_one_line
from xmit.cli import XmitCLI
from xmit.errors import ConfigError


class CellCLI(XmitCLI):
    """Knows ``fit`` alone: parsers of many settings take their time."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """One of LightningCLI's."""
        return {"fit": LightningCLI.subcommands()["fit"]}


class ConfigCheck(CellCLI):
    """Parses configs and builds their tasks, which say what is wrong with their arguments, but loads nothing."""

    def check(self, config: Path) -> None:
        """Look at one more config."""
        self.config = parse_in_one_line(self.parser, ["fit", "--config", str(config)])
        self.instantiate_classes()

    def instantiate_classes(self) -> None:
        """Build the tasks alone."""
        self._parser(self.subcommand).instantiate_classes(Namespace(data=self.options.data))  # type: ignore[no-untyped-call]

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


@contextmanager
def one_line_errors(where: str) -> Iterator[None]:
    """Turn the parser's usage and exit into one line.

    Raises:
        ConfigError: If the parser exits.
    """
    text = io.StringIO()
    try:
        with contextlib.redirect_stderr(text):
            yield
    except SystemExit as error:
        raise ConfigError(f"{where}: {text.getvalue().strip().removeprefix('xmit: ')}") from error


def check_configs(configs: Iterable[tuple[Path, str]]) -> None:
    """Refuse configs that a ``fit`` would not take, without running them.

    Args:
        configs: Files, and what each is for.

    Raises:
        ConfigError: For the first of them.
    """
    check: ConfigCheck | None = None
    for config, where in configs:
        with one_line_errors(where):
            if check is None:
                check = ConfigCheck(["fit", "--config", str(config)])
            else:
                check.check(config)


def run_cell(config: Path, identity: str, callbacks: Sequence[pl.Callback] = ()) -> None:
    """Carry out one cell of a study: ``fit --config FILE`` within this process."""
    with one_line_errors(str(config)):
        CellCLI(["fit", "--config", str(config)], callbacks, identity)
