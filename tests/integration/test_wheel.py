"""What a user of the wheel gets, tried away from the checkout.

The wheel is built without isolation and installed without dependencies, so no test here needs a network.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="building the wheel needs the dev extra")
pytest.importorskip("hatchling", reason="building the wheel needs the dev extra")

CHECKOUT = Path(__file__).resolve().parents[2]

STEP_UNTIL_THE_END = """
import gymnasium

env = gymnasium.make("envs:ram/MNIST-v0", images="digits")
observation, info = env.reset(seed=0)
terminated = False
for _ in range(1000):
    assert env.observation_space.contains(observation)
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert not truncated
    if terminated:
        break
assert terminated, "no end within 1000 glimpses"
assert reward in (0, 1)
assert "is_success" in info
"""


def python(*arguments: str, cwd: Path, pythonpath: Path | None = None) -> str:
    """Run this interpreter and return what it printed; a failure shows both of its streams."""
    command = [sys.executable, *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if pythonpath is not None:
        environment["PYTHONPATH"] = str(pythonpath)
    done = subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    offline = ("--no-deps", "--no-index")
    python("-m", "pip", "install", "--quiet", *offline, "--target", str(target), str(wheel), cwd=target)
    return target


def test_the_wheel_holds_both_packages_and_the_configs_and_nothing_else(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(CHECKOUT).as_posix()
        for package in ("ram_agent", "envs")
        for path in (CHECKOUT / package).rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert {"ram_agent/__init__.py", "ram_agent/py.typed", "envs/__init__.py", "envs/py.typed"} <= expected
    configs = {
        "ram_agent/configs/" + path.relative_to(CHECKOUT / "configs").as_posix()
        for path in (CHECKOUT / "configs").rglob("*.yaml")
    }
    assert configs, "the checkout has no configs to ship"
    assert held == expected | configs


def test_the_wheel_declares_the_command_and_carries_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = archive.namelist()
        (entry_points,) = (name for name in held if name.endswith(".dist-info/entry_points.txt"))
        assert "ram-agent = ram_agent.__main__:main" in archive.read(entry_points).decode()
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in held)


@pytest.mark.parametrize("package", ["ram_agent", "envs"])
def test_each_package_imports_from_the_wheel(package: str, installed: Path, tmp_path: Path) -> None:
    # The development environment reaches the checkout too, so look at where the import came from.
    program = f"import {package}; print({package}.__file__)"
    came_from = python("-W", "error", "-c", program, cwd=tmp_path, pythonpath=installed)
    assert Path(came_from.strip()) == installed / package / "__init__.py"


def test_the_command_line_answers_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    answer = python("-W", "error", "-m", "ram_agent", "--help", cwd=tmp_path, pythonpath=installed)
    assert "train" in answer


def test_configs_that_another_package_has_put_beside_ours_are_not_taken_for_ours(
    installed: Path, tmp_path: Path
) -> None:
    others = installed / "configs"
    others.mkdir()
    (others / "smoke.yaml").write_text("training: {batch: 1}")
    (tmp_path / "mine.yaml").write_text("base: smoke")
    program = (
        "from ram_agent.cli.folders import find_config; from ram_agent.config import load_config; "
        "print(find_config('smoke'), load_config(find_config('mine.yaml')).training.batch)"
    )
    said = python("-W", "error", "-c", program, cwd=tmp_path, pythonpath=installed).split()
    shutil.rmtree(others)
    assert said == [str(installed / "ram_agent" / "configs" / "smoke.yaml"), "50"]


def test_an_episode_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    python("-W", "error", "-c", STEP_UNTIL_THE_END, cwd=tmp_path, pythonpath=installed)
