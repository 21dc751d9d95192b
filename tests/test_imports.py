"""Imports stay light, and help needs nothing."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("open_clip", "ray", "faiss", "datasets", "pandas", "jinja2", "babel", "sklearn", "xmit.report")


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_tasks_is_light():
    code = f"""
import time, sys, json
import lightning.pytorch
before, start = set(sys.modules), time.perf_counter()
import xmit.tasks
seconds = time.perf_counter() - start
print(json.dumps([seconds, [m for m in {HEAVY!r} if m in sys.modules and m not in before]]))
"""
    seconds, heavy = run(code)
    assert heavy == []
    assert seconds < 1


def test_importing_xmit_imports_nothing_else():
    code = (
        "import sys, json, xmit; print(json.dumps([m for m in ('torch', 'lightning', 'pandas') if m in sys.modules]))"
    )
    assert run(code) == []


def test_help_answers_without_lightning():
    code = """
import contextlib, io, json, sys
from xmit.__main__ import main
text = io.StringIO()
for words in (["--help"], ["study", "--help"], ["tasks", "--help"], ["report", "--help"], ["export", "--help"]):
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main(words)
print(json.dumps([text.getvalue(), [m for m in ("torch", "lightning", "pandas") if m in sys.modules]]))
"""
    text, heavy = run(code)
    assert heavy == []
    for command in ("fit", "tasks", "study", "report", "export"):
        assert command in text
    assert text.count("example:") == 5
