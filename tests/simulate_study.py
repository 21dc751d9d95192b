"""A study of thousands of cells on paper: planned, carried out by a simulated cluster, and reported.

    python -m tests.simulate_study                    # 5,000 cells of XLM-R large on 64 GPUs
    python -m tests.simulate_study --sizes 1          # the full question: 20 intermediates, 12 targets, 5 seeds

The plan is the planner's own, from the repository's configs, and so are the hours of each cell; only the cluster is
made up: a list schedule on GPUs that break down at random, after which a cell goes on from its last checkpoint. Every
cell then leaves result rows in 50 languages, and the report is written from them.
"""

from __future__ import annotations

import argparse
import heapq
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from xmit.languages import LANGUAGES
from xmit.study.estimate import cell_hours
from xmit.study.plan import load_plan
from xmit.study.results import COLUMNS

CONFIGS = Path(__file__).parents[1] / "configs"
INTERMEDIATES = [
    "anli_plus", "mnli", "qqp", "squad", "squad_v2", "hellaswag", "ccg", "cosmos_qa", "commonsense_qa", "social_iqa",
    "snli", "copa", "all_nine", "mnli_mlm", "squad_v2_mlm", "hellaswag_mlm", "mnli_de", "mnli_ru", "mnli_sw",
]  # fmt: skip
TARGETS = [
    "xnli", "pawsx", "xcopa", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba", "lareqa", "mewslix",
]  # fmt: skip
PARAMETERS = 560e6
"""All of XLM-R large, embeddings included."""


def study(folder, sizes, seeds):
    """The study file: 19 intermediates by axis values (20 with one size), 12 targets, seeds."""
    named = {
        name: {"config": str(CONFIGS / "intermediate" / "mnli.yaml"), "data": {"source_language": name[-2:]}}
        if name[:-2] == "mnli_" else {}
        for name in INTERMEDIATES
    }  # fmt: skip
    if sizes == 1:
        named["masked_lm"] = {"trainer": {"max_steps": 20000}}
    settings = {
        "name": "simulated", "encoder": "FacebookAI/xlm-roberta-large", "seeds": list(range(seeds)),
        "intermediates": named, "targets": TARGETS, "configs": str(CONFIGS),
    }  # fmt: skip
    if sizes > 1:
        updates = {str(n): {"trainer": {"max_steps": n}} for n in (1000, 4000, 16000, 64000)[:sizes]}
        settings["axes"] = {"intermediate": {"updates": updates}}
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def run(cells, hours, gpus, failures, save, rng):
    """A list schedule, parents first; returns hours until the end, busy GPU hours, lost hours, checkpoints at most."""
    free = [0.0] * gpus
    heapq.heapify(free)
    ready, lost, lost_cells = {}, 0.0, 0
    for cell in sorted(cells, key=lambda c: (c.role != "intermediate", -hours[c.name])):
        begin = max(heapq.heappop(free), ready.get(cell.depends, 0.0))
        took = hours[cell.name]
        breakdowns = np.random.default_rng(rng.randrange(2**32)).poisson(took / failures)
        again = sum(rng.uniform(0, save) + 0.05 for _ in range(breakdowns))  # since the last checkpoint; a new start
        lost, lost_cells = lost + again, lost_cells + bool(breakdowns)
        ready[cell.name] = begin + took + again
        heapq.heappush(free, begin + took + again)
    return max(ready.values()), sum(hours[c.name] for c in cells), lost, lost_cells


def rows_of(cell, codes, rng):
    """What a cell leaves behind."""
    target = cell.target or ""
    languages = codes if target else codes[:1]
    frame = pd.DataFrame({"language": languages})
    values = {
        "study": "simulated", "cell": cell.name, "role": cell.role, "encoder": "FacebookAI/xlm-roberta-large",
        "intermediate": cell.intermediate, "target": target, "benchmark_version": "", "seed": cell.seed,
        "split": "test" if target else "validation", "metric": "accuracy", "is_main": True,
        "value": [rng.uniform(0.3, 0.9) for _ in languages], "n": 1000, "reason": "",
    }  # fmt: skip
    return frame.assign(**values)[list(COLUMNS)]


def clock():
    """Time that passes, and time of the processor."""
    return time.perf_counter(), time.process_time()


def since(begun):
    """Both, since then."""
    passed, used = (now - then for now, then in zip(clock(), begun, strict=True))
    return f"{passed:.1f} s ({used:.1f} s of the processor)"


def peak():
    """Memory so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, default=4, help="values of the axis of intermediate training's length")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--failures", type=float, default=200.0, help="GPU hours between two breakdowns or preemptions")
    parser.add_argument("--languages", type=int, default=50)
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args(arguments)
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = study(folder, args.sizes, args.seeds)
        begun = clock()
        plan = load_plan(file)
        print(f"plan: {len(plan.cells):,} cells in {since(begun)}, {peak():.2f} GiB", flush=True)
        hours = cell_hours(plan.cells)
        unknown = [c.name for c in plan.cells if c.name not in hours]
        like = sum(hours[c.name] for c in plan.cells if c.target == "lareqa") / sum(
            c.target == "lareqa" for c in plan.cells
        )
        assert {c.target for c in plan.cells if c.name not in hours} <= {"mewslix"}  # its pairs are counted nowhere
        hours |= dict.fromkeys(unknown, like)
        parents = [c for c in plan.cells if c.role == "intermediate"]
        first = sum(hours[c.name] for c in parents)
        print(f"GPU hours: {sum(hours.values()):,.0f}, {first:,.0f} of them in {len(parents)} intermediates")
        for minutes in (10, 60):
            end, busy, lost, cells = run(plan.cells, hours, args.gpus, args.failures, minutes / 60, rng)
            print(
                f"{args.gpus} GPUs, a checkpoint every {minutes} min, a breakdown every {args.failures:.0f} GPU hours: "
                f"{end:,.1f} hours, {busy / end / args.gpus:.0%} busy, {lost:,.1f} GPU hours lost in {cells} cells"
            )
        longest = max(plan.cells, key=lambda c: hours[c.name])
        print(f"longest cell: {longest.name}, {hours[longest.name]:.1f} hours")
        state, weights = PARAMETERS * 12 / 1e9, PARAMETERS * 4 / 1e9
        print(
            f"storage: {len(parents)} encoders of {weights:.2f} GB: {len(parents) * weights:,.0f} GB; at most "
            f"{args.gpus} running cells with {state + weights:.1f} GB: {args.gpus * (state + weights):,.0f} GB"
        )
        if args.no_report:
            return
        simulate_and_report(plan, folder / "out", args.languages, rng)


def simulate_and_report(plan, out, n_languages, rng):
    """Leave every cell finished, then look through the study and report."""
    from rich.console import Console

    from xmit.study.planfile import write_plan
    from xmit.study.results import mark_done, write_results
    from xmit.study.runner import finished_cells, report_study

    codes = ["en", *(code for code in LANGUAGES if code != "en")][:n_languages]
    begun = clock()
    for cell in plan.cells:
        write_results(out / cell.name, rows_of(cell, codes, rng), None)
        mark_done(out / cell.name, cell.identity, {"seconds": 3600 * rng.uniform(0.1, 2)})
    print(f"simulated cells written: {since(begun)}, {peak():.2f} GiB", flush=True)
    begun = clock()
    finished = finished_cells(plan, out)
    assert len(finished) == len(plan.cells)
    print(f"what is done: {since(begun)}", flush=True)
    begun = clock()
    write_plan(out, plan, finished, {})
    size = (out / "plan.json").stat().st_size / 1e6
    print(f"plan.json: {since(begun)}, {size:.0f} MB, {peak():.2f} GiB", flush=True)
    begun = clock()
    with Path("/dev/null").open("w") as nowhere:
        report_study(out, Console(file=nowhere))
    page = (out / "report.html").stat().st_size / 1e6
    print(f"report: {since(begun)}, {page:.1f} MB, {peak():.2f} GiB at most", flush=True)


if __name__ == "__main__":
    sys.exit(main())
