"""No code comes in with data: nothing in the tree unpickles, evaluates or constructs what a file names."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([ROOT / "train.py", *(ROOT / "ram_agent").rglob("*.py"), *(ROOT / "envs").rglob("*.py")])

MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
ANYWHERE = {"os.system", "os.popen", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"}
ANYWHERE |= {"yaml.Loader", "yaml.UnsafeLoader", "yaml.FullLoader", "pandas.read_pickle", "np.fromregex"}
NEEDS = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
NEVER = {"allow_pickle": True, "weights_only": False, "shell": True}


def offences(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"import {name}" for name in names if name.partition(".")[0] in MODULES)
            yield from _under_other_names(node)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ANYWHERE:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            called, settings = ast.unparse(node.func), {each.arg: each.value for each in node.keywords}
            if isinstance(node.func, ast.Name) and called in BUILTINS:
                yield f"{called}()"
            if called in NEEDS:
                name, value = NEEDS[called]
                given = settings.get(name)
                if not (isinstance(given, ast.Constant) and given.value is value):
                    yield f"{called} without {name}={value}"
            for name, value in NEVER.items():
                if isinstance(settings.get(name), ast.Constant) and settings[name].value is value:  # type: ignore[attr-defined]
                    yield f"{name}={value}"


def _under_other_names(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """What would be called by a name that the search does not know."""
    told = {name.rpartition(".")[0] for name in ANYWHERE | NEEDS.keys()}
    for alias in node.names:
        if isinstance(node, ast.ImportFrom) and f"{node.module}.{alias.name}" in ANYWHERE | NEEDS.keys():
            yield f"from {node.module} import {alias.name}"
        if isinstance(node, ast.Import) and alias.name in told and alias.asname and alias.asname not in told:
            yield f"import {alias.name} as {alias.asname}"


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 60
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    assert "torch.load(" in text
    assert "np.load(" in text
    assert "yaml.safe_load(" in text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_of_the_tree_lets_no_foreign_code_run(path: Path) -> None:
    assert list(offences(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "import os; os.system('ls')",
        "eval('1')",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=maybe)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "yaml.safe_load(text) if safe else yaml.unsafe_load(text)",
        "subprocess.run(text, shell=True)",
        "from torch import load",
        "from os import system as run",
        "from yaml import unsafe_load",
        "import yaml as y; y.load(text)",
    ],
)
def test_the_search_finds_each_of_them(line: str) -> None:
    assert list(offences(line))


@pytest.mark.parametrize(
    "line",
    [
        "policy.eval()",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "yaml.safe_load(t)",
        "re.compile(t)",
        "import numpy as np",
        "from torch import Tensor",
    ],
)
def test_and_nothing_else(line: str) -> None:
    assert not list(offences(line))
