"""The quick tour runs from its first cell to its last: in a kernel where there is one, else in one namespace."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.docs.shell import ROOT

FILE = ROOT / "docs" / "quick_tour.ipynb"
EPISODES = "36_000"
"""As the notebook has it: twenty seconds of one core."""


def in_a_kernel(book: dict[str, Any], folder: Path) -> str:
    import nbformat
    from nbclient import NotebookClient

    settings = {"metadata": {"path": str(folder)}}
    done = NotebookClient(
        nbformat.reads(json.dumps(book), 4), timeout=600, kernel_name="python3", resources=settings
    ).execute()
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def in_a_namespace(book: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    if find_spec("IPython") is None:  # only shows what cells end with
        display = ModuleType("IPython.display")
        display.Image = lambda data, **_: data  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython.display", display)
    namespace: dict[str, Any] = {}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
    return capsys.readouterr().out


@pytest.mark.parametrize("episodes", ["640", pytest.param(EPISODES, marks=pytest.mark.learning)])
def test_the_quick_tour_runs_from_top_to_bottom(
    episodes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Floor: 90 %, guessing among ten digits. The notebook's own training ends at some 20 %."""
    text = FILE.read_text(encoding="utf-8")
    assert text.count(EPISODES) == 1
    book = json.loads(text.replace(EPISODES, episodes))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    has_kernel = all(find_spec(name) for name in ("nbclient", "ipykernel"))
    out = in_a_kernel(book, tmp_path) if has_kernel else in_a_namespace(book, capsys, monkeypatch)
    assert "error on validation images: 90 % before" in out
    last = float(out.splitlines()[-1].split()[-2])  # "after glimpse 5: 16.7 %"
    if episodes == EPISODES:
        assert last < 40


def test_what_the_notebook_shows_is_small() -> None:
    assert FILE.stat().st_size < 250_000
    cells = json.loads(FILE.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
    assert sum("image/gif" in output.get("data", {}) for output in outputs) == 1
    assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)
