"""The command line: ``python -m xmit COMMAND …``. Light: a command's imports are its own."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Sequence
from typing import Any

from xmit import __version__
from xmit.errors import XmitError
from xmit.interruption import Interrupted

RUN_COMMANDS = {
    "fit": "train on a task, then score the chosen checkpoint in every language",
    "validate": "score the source language's validation split",
    "test": "score the test split in every language",
    "predict": "write the predictions of the test split",
}
EXAMPLES = {
    "fit": "python -m xmit fit --config configs/target/cldr_geo.yaml --seed_everything 3",
    "tasks": "python -m xmit tasks --role target",
    "study": "python -m xmit study --config configs/study/demo.yaml --dry-run",
    "report": "python -m xmit report runs/demo --format markdown",
    "score": "python -m xmit score --predictions submission --labels labels --benchmark xtreme-r",
    "submission": "python -m xmit submission runs/xnli-s0 runs/udpos-s0 --output submission --labels labels",
    "bench": "python -m xmit bench --quick --json bench.json --gate",
    "cache-features": "python -m xmit cache-features --config configs/intermediate/digits_image.yaml --dry-run",
    "export": "python -m xmit export runs/demo/digits_image-s0 --output my_encoder",
    "doctor": "python -m xmit doctor --config configs/target/cldr_geo.yaml",
}


def _tasks(args: argparse.Namespace) -> int:
    import json

    from xmit.registry import list_tasks, registered_tasks

    frame = list_tasks(args.role)
    if args.format == "json":
        tasks = registered_tasks()
        print(json.dumps([tasks[name].metadata.to_dict() for name in frame["name"]], indent=1, ensure_ascii=False))  # noqa: T201
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in ("name", "class", "roles", "languages", "main score", "dataset", "license"):
        table.add_column(column, overflow="fold", no_wrap=column in ("name", "class"))
    for row in frame.to_dict("records"):
        codes = row["languages"]
        languages = f"{len(codes)}: {' '.join(codes[:8])}{' …' if len(codes) > 8 else ''}"
        roles = ", ".join(row["roles"])
        table.add_row(row["name"], row["class"], roles, languages, row["main_score"], row["dataset"], row["license"])
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # a file or a pipe has no width: one line a task, for grep and the like
    console.print(table)
    return 0


def _study(args: argparse.Namespace) -> int:
    from xmit.study.runner import run_study

    return run_study(args.config, args.output, args.dry_run, args.only, args.limit, args.executor, args.address)


def _report(args: argparse.Namespace) -> int:
    from rich.console import Console

    from xmit.report import render, study_options
    from xmit.study.planfile import study_rows
    from xmit.study.remote import open_folder
    from xmit.study.runner import report_study

    folder, remote = open_folder(args.folder)
    if remote is not None:
        remote.fetch()
    if args.format == "html":
        report_study(folder, Console(soft_wrap=True))
        if remote is not None:
            remote.send()
    else:
        rows, info = study_rows(folder)
        sys.stdout.write(render(rows, args.format, **study_options(folder, rows, info)))
    return 0


def _export(args: argparse.Namespace) -> int:
    from pathlib import Path

    from xmit.runs import export

    export(Path(args.run), Path(args.output))
    load = f"AutoModel.from_pretrained({args.output!r}, add_pooling_layer=False)"  # no run has trained a pooler
    print(f"the text encoder is in {args.output}; {load} loads it")  # noqa: T201
    return 0


def _score(args: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from xmit.score.scoring import score_submission

    report = score_submission(Path(args.predictions), Path(args.labels), args.benchmark)
    for finding in report.findings:
        print(f"xmit: {finding}", file=sys.stderr)  # noqa: T201
    if args.strict and not report.complete:
        print("xmit: the submission is refused (--strict): see above", file=sys.stderr)  # noqa: T201
        return 1
    if args.format == "json":
        print(json.dumps(report.scores, indent=1, ensure_ascii=False, allow_nan=False))  # noqa: T201
    else:
        from rich.console import Console

        from xmit.score.table import print_scores

        print_scores(report.scores, Console())
    return 1 if report.damaged else 0


def _submission(args: argparse.Namespace) -> int:
    from pathlib import Path

    from xmit.score.submission import write_submission

    files = write_submission([Path(run) for run in args.runs], Path(args.output), args.labels and Path(args.labels))
    print(f"{len(files)} files in {args.output}" + (f" and {args.labels}" if args.labels else ""))  # noqa: T201
    return 0


def _bench(args: argparse.Namespace) -> int:
    from xmit.bench.command import bench

    suites = [name for name in (args.suite or "").split(",") if name]
    return bench(suites, args.quick, args.json, args.compare, args.gate)


def _cache_features(args: argparse.Namespace) -> int:
    from pathlib import Path

    from xmit.study.cache_features import cache_features

    files = [Path(name) for name in args.config]
    return cache_features(files, args.dry_run, args.check, args.workers, args.part, args.more)


def _doctor(args: argparse.Namespace) -> int:
    from pathlib import Path

    from xmit.doctor import doctor

    return doctor([Path(name) for name in args.config or ()], args.more, args.format)


def _part(text: str) -> tuple[int, int]:
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a part such as 1/4")
    return int(number) - 1, int(parts)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 or more")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """The parser of everything but a run's own many settings."""
    parser = argparse.ArgumentParser(
        prog="python -m xmit",
        description="English intermediate-task training and zero-shot cross-lingual transfer, from config to report.",
        epilog="example: " + EXAMPLES["study"],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"xmit {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, what: str, run: Callable[[argparse.Namespace], int] | None = None) -> argparse.ArgumentParser:
        example = f"example: {EXAMPLES[name]}" if name in EXAMPLES else None
        command = commands.add_parser(name, help=what, description=what + ".", epilog=example, allow_abbrev=False)
        command.set_defaults(handler=run)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return command

    for name, what in RUN_COMMANDS.items():
        add(name, what)
    tasks = add("tasks", "list the registered tasks", _tasks)
    tasks.add_argument("--role", help="intermediate, target, image-text, low-resource or embedded")
    tasks.add_argument("--format", choices=("table", "json"), default="table")
    study = add("study", "plan, run what is not yet done, and write the report; safe to kill and run again", _study)
    study.add_argument("--config", required=True, metavar="FILE", help="the study file")
    study.add_argument("--output", metavar="DIR", help="the study's own folder, or a URL such as s3://… (runs/<name>)")
    study.add_argument("--executor", choices=("local", "ray"), default="local", help="where cells run (local: here)")
    study.add_argument(
        "--address", metavar="HOST:PORT", help="ray: the running cluster to use ('auto': this machine's)"
    )
    study.add_argument("--dry-run", action="store_true", help="print the cells and run nothing")
    study.add_argument(
        "--only",
        metavar="PART",
        help="only the cell called PART, or those whose name contains it, and what they start from",
    )
    study.add_argument("--limit", type=_count, metavar="N", help="at most N cells")
    report = add("report", "write the report again from result rows", _report)
    report.add_argument("folder", metavar="DIR", help="the study's folder or URL")
    report.add_argument("--format", choices=("html", "latex", "markdown", "csv"), default="html")
    score = add("score", "score prediction files in XTREME's submission layout by the official rules", _score)
    score.add_argument(
        "--predictions", required=True, metavar="DIR", help="folder with <task>/test-<language>.<suffix>"
    )
    score.add_argument("--labels", required=True, metavar="DIR", help="the like with the right answers")
    score.add_argument(
        "--benchmark", choices=("xtreme", "xtreme-r"), default="xtreme", help="whose tasks and languages"
    )
    score.add_argument("--format", choices=("table", "json"), default="table")
    score.add_argument("--strict", action="store_true", help="refuse what is incomplete, damaged or odd")
    submission = add("submission", "write XTREME submission files from runs", _submission)
    submission.add_argument("runs", nargs="+", metavar="RUN", help="folders of tested runs")
    submission.add_argument("--output", required=True, metavar="DIR", help="where to write the predictions")
    submission.add_argument("--labels", metavar="DIR", help="where to write the right answers, for score")
    bench = add("bench", "time this library beside its peers' recipes on this machine, as ratios", _bench)
    bench.add_argument("--suite", metavar="S", help="some suites only, such as batching,optim (all)")
    bench.add_argument("--quick", action="store_true", help="fewer rounds and examples: under ten minutes on two cores")
    bench.add_argument("--json", metavar="FILE", help="write the ratios here")
    bench.add_argument("--compare", metavar="FILE", help="show an older file's ratios beside")
    bench.add_argument("--gate", action="store_true", help="exit with 1 where a ratio or an equality check is missed")
    features = add(
        "cache-features", "compute the vision features of a run or a study once; safe to kill and run again",
        _cache_features,
    )  # fmt: skip
    features.add_argument(
        "--config", required=True, action="append", metavar="FILE",
        help="the configs and settings (--data.data_dir DIR) of a fit as fit takes them, or a study file",
    )  # fmt: skip
    features.add_argument("--dry-run", action="store_true", help="print images and size, and compute nothing")
    features.add_argument("--check", action="store_true", help="first read all there is, and delete what is damaged")
    features.add_argument(
        "--workers", type=_count, metavar="N", help="processes that decode (with a GPU the cores less one, else 0)"
    )
    features.add_argument(
        "--part", type=_part, default=(0, 1), metavar="I/N", help="only the I-th of N parts: one for each of N GPUs"
    )
    diagnosis = add(
        "doctor", "say what this machine will do, and try one tiny update and one scoring on its device", _doctor
    )
    diagnosis.add_argument(
        "--config", action="append", metavar="FILE",
        help="the configs and settings (--trainer.accelerator cpu) of a fit as fit takes them, or a study file",
    )  # fmt: skip
    diagnosis.add_argument("--format", choices=("table", "json"), default="table")
    export = add("export", "write the text encoder of a run for transformers", _export)
    export.add_argument("run", metavar="RUN", help="the run's folder")
    export.add_argument("--output", required=True, metavar="DIR", help="where to write it")
    return parser


def _run(argv: list[str]) -> int:
    if argv and argv[0] in RUN_COMMANDS:
        from xmit.cli import XmitCLI

        XmitCLI([a for a in argv if a != "--debug"])
        return 0
    parser = build_parser()
    args, more = parser.parse_known_args(argv)
    args.more = more
    if more and args.command not in ("cache-features", "doctor"):  # whose further settings are those of a fit
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    return int(args.handler(args))


def _own(error: Exception) -> Exception:
    """Our own error where the command line's parser wrapped it in one of its own, which repeats the whole config."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, XmitError):
        cause = cause.__cause__
    return cause or error


def main(argv: Sequence[str] | None = None) -> Any:
    """Run a command.

    Args:
        argv: The arguments; those of the process by default.

    Returns:
        The exit code: 0, or 1 after one clear line on stderr. A wrong call exits with 2.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except Interrupted as stop:
        print(f"xmit: {stop}; {stop.hint or 'the same command begins again'}", file=sys.stderr)  # noqa: T201
        return 128 + stop.signum
    except KeyboardInterrupt:
        print("xmit: interrupted; the same command begins again", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        return 1
    except Exception as raised:
        if "--debug" in arguments:
            raise
        error = _own(raised)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            error = XmitError(f"{error.strerror}: free some, and begin again; what was saved before is whole")
        kind = "" if isinstance(error, XmitError) else f"{type(error).__name__}: "
        message = " ".join(str(error).split()) or "no message"
        hint = "" if isinstance(error, XmitError) else " (--debug shows the traceback)"
        print(f"xmit: {kind}{message}{hint}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
