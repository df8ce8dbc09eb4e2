"""A sweep as a user types it: real trainings of the smoke table, stopped and taken up again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ram_agent.cli import main

ROOT = Path(__file__).parents[2]


def written(out: Path) -> dict[str, dict[str, Any]]:
    """The jobs of sweep.json; none before it is there."""
    try:
        jobs = json.loads((out / "sweep.json").read_text())["jobs"]
    except FileNotFoundError:
        return {}
    return {f"{job['row']}{job['seed']}": job for job in jobs}


def fingerprint(folder: Path) -> dict[Path, tuple[int, int]]:
    """Of every file of a run, its log and its config: how large, and when it was written."""
    files = [*folder.rglob("*"), folder.with_suffix(".log"), folder.with_suffix(".yaml")]
    return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


def test_a_sweep_that_was_stopped_goes_on_where_it_was_and_repeats_nothing(tmp_path: Path) -> None:
    table = yaml.safe_load((ROOT / "configs" / "tables" / "table_smoke.yaml").read_text())
    # A training long enough to be caught at it while the other row's is done.
    table["rows"][1]["set"] |= {"training.episodes": 6000, "run.log_every": 100}
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(table))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ram_agent", "sweep", str(tmp_path / "table.yaml"), "--out", str(out)]
    command += ["--workers", "2"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    settings: dict[str, Any] = {"cwd": ROOT, "env": os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}}

    with subprocess.Popen(command, **settings, **pipes) as process:
        while "done" not in {job["status"] for job in written(out).values()} or not any(
            (Path(job["folder"]) / "metrics.csv").exists() and job["status"] == "running"
            for job in written(out).values()
        ):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert errors == ""
    assert said.splitlines()[-1] == f"  interrupted; the same command goes on: ram-agent {' '.join(command[3:])}"
    halted = written(out)
    done, to_resume = (
        [name for name, job in halted.items() if job["status"] == status] for status in ("done", "to resume")
    )
    assert done
    assert to_resume
    before = {name: fingerprint(Path(halted[name]["folder"])) for name in done}

    again = subprocess.run(command, **settings, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"4 trainings, {len(done)} done" in again.stdout
    assert again.stdout.count("resumed") == len(to_resume)
    assert again.stdout.count("  started") == 4 - len(done) - len(to_resume)
    ended = written(out)
    assert {job["status"] for job in ended.values()} == {"done"}
    for name in done:
        assert ended[name] == halted[name]
        assert fingerprint(Path(ended[name]["folder"])) == before[name]
    for name in to_resume:
        log = Path(ended[name]["folder"]).with_suffix(".log").read_text()
        assert log.count("$ ") == 2  # both sessions
        assert f"--resume {ended[name]['folder']}" in log
    for job in ended.values():
        results = json.loads((Path(job["folder"]) / "results.json").read_text())
        assert (results["test_error"], results["seed"], results["threads"]) == (job["test_error"], job["seed"], 1)
    assert ended["stn1"]["started"] < halted["hard1"]["ended"] or halted["stn1"]["started"] < halted["hard1"]["ended"]
    for row in ("hard", "stn"):
        mean = (ended[f"{row}1"]["test_error"] + ended[f"{row}2"]["test_error"]) / 2
        assert f"{row:4}  2/2    {mean:.2f} (" in again.stdout


# -------------------------------------------------------------------- Ray


def test_without_ray_the_command_to_install_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ram_agent.workers.find_spec", lambda name: None)
    assert main(["sweep", "table_smoke", "--out", str(tmp_path / "out"), "--backend", "ray"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ram-agent: error: --backend ray: Ray is not installed; pip install 'ram-agent[ray]'")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
