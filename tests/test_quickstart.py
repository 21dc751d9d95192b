"""The notebook, the command and the study's cell give the same numbers (minutes: it really trains)."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from xmit.__main__ import main
from xmit.study.results import load_results

ROOT = Path(__file__).parents[1]


def scores(rows):
    chosen = rows[rows.is_main & (rows.split == "test")]
    return dict(zip(chosen.language, chosen.value, strict=True))


@pytest.mark.slow
def test_notebook_command_and_cell_agree(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import json\nprint('SCORES', json.dumps(main.to_dict()))"))
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    of_notebook = json.loads(printed.split("SCORES", 1)[1])

    monkeypatch.chdir(ROOT)
    assert main(["fit", "--config", "configs/target/cldr_geo.yaml", "--output", str(tmp_path / "run")]) == 0
    of_command = scores(load_results(tmp_path / "run"))

    study = yaml.safe_load((ROOT / "configs" / "study" / "demo.yaml").read_text())
    study |= {"intermediates": ["none"], "targets": ["cldr_geo"], "seeds": [0], "configs": str(ROOT / "configs")}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    assert main(["study", "--config", str(tmp_path / "study.yaml"), "--output", str(tmp_path / "study")]) == 0
    of_cell = scores(load_results(tmp_path / "study"))

    assert len(of_cell) >= 40
    assert of_notebook == pytest.approx(of_cell, abs=0)
    assert of_command == pytest.approx(of_cell, abs=0)


def test_notebook_was_executed_without_errors():
    cells = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    assert not [o for cell in code for o in cell["outputs"] if o["output_type"] == "error"]
    assert pd.Series([cell["execution_count"] for cell in code]).is_monotonic_increasing
