"""``python -m xmit bench``."""

from __future__ import annotations

import json
import platform
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from xmit.bench import kernels, whole
from xmit.bench.timing import Result
from xmit.errors import ConfigError, did_you_mean
from xmit.files import write_json
from xmit.hardware import best_device, computes_bf16

SUITES: dict[str, Callable[[bool], Iterator[Result]]] = {
    "batching": kernels.batching,
    "optim": kernels.optim,
    "eval": kernels.evaluation,
    "retrieval": kernels.retrieval,
    "metrics": kernels.metrics,
    "host": kernels.host,
    "gpu": kernels.gpu,
    "demo": whole.demo,
    "e2e": whole.e2e,
}


def environment() -> dict[str, Any]:
    """The machine, versions and commit that ratios were taken with."""
    import transformers

    from xmit import __version__

    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        commit = ""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else (names or [platform.machine()])[0],
        "cores": len(names) or None,
        "bf16": computes_bf16(best_device()),
        "threads": 1,
        "versions": {"xmit": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "python": platform.python_version(),
        "commit": commit or None,
    }


def bench(suites: list[str], quick: bool, output: str | None, older: str | None, gate: bool) -> int:
    """Run suites, print ratios, write them.

    Args:
        suites: Which; all if empty.
        quick: Fewer rounds and examples: under ten minutes on two cores.
        output: A JSON file to write, ``{case: {ratio, gate, rounds, …}, "environment": {…}}``.
        older: Such a file to compare with.
        gate: Exit with 1 where a ratio was missed or an equality check failed.

    Returns:
        The exit code.

    Raises:
        ConfigError: For a suite that there is not, or a package that is missing.
    """
    for suite in suites:
        if suite not in SUITES:
            raise ConfigError(f"bench: unknown suite {suite!r}.{did_you_mean(suite, SUITES)}")
    before = _older(older) if older else {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    console = Console(soft_wrap=True)
    results: list[Result] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for suite in suites or SUITES:
                for result in SUITES[suite](quick):
                    results.append(result)
                    console.print(_line(result), highlight=False)
    except ModuleNotFoundError as error:
        raise ConfigError(f"bench: the peer {error.name!r} is not installed: pip install 'xmit[bench]'") from error
    finally:
        torch.set_num_threads(threads)
    console.print(_table(results, before))
    if output:
        write_json(Path(output), {result.case: result.to_dict() for result in results} | {"environment": environment()})
    return 1 if gate and any(result.passed is False for result in results) else 0


def _older(path: str) -> dict[str, Any]:
    """What an older bench has written."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if not all(isinstance(case, dict) for case in found.values()):
            raise ValueError("it holds no cases")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"bench --compare: {path} is no file that --json has written ({error})") from error
    return dict(found)


def _line(result: Result) -> str:
    value = "-" if result.ratio is None else f"{result.ratio:.2f}"
    return f"{result.case}\t{value}\t{result.failed or result.note}"


def _table(results: list[Result], before: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("case", "ratio", "gate", "rounds", "reached", *(["before"] if before else [])):
        table.add_column(column, no_wrap=True)
    for result in results:
        gate = f"{'≤' if result.at_most else '≥'} {result.gate:g}"
        reached = {True: "yes", False: "no", None: "-"}[result.passed]
        ratio = "failed" if result.failed else "-" if result.ratio is None else f"{result.ratio:.2f}"
        old = (before.get(result.case) or {}).get("ratio")
        cells = [result.case, ratio, gate, str(result.rounds), reached]
        table.add_row(*cells, *(["-" if old is None else f"{old:.2f}"] if before else []))
    return table
