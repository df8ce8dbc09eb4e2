"""A sweep as a user types it: real trainings of the smoke table, stopped and taken up again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ram_agent import runner as running
from ram_agent.cli import main
from ram_agent.cli.folders import find_config
from ram_agent.runner import Runner
from ram_agent.sweep import standing_of
from ram_agent.table import Job, read_jobs
from ram_agent.workers import RayWorkers
from tests.making import make_measured

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
    # Three trainings: one that is done, one long enough to be caught at it then, one that has hardly begun.
    table["rows"] += [{"name": "last", "config": "smoke"}]
    table["rows"][1]["set"] |= {"training.episodes": 8000, "run.log_every": 100}
    table["set"] |= {"training.episodes": 200}
    table["seeds"] = [1]
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
    assert f"3 trainings, {len(done)} done" in again.stdout
    assert again.stdout.count("resumed") == len(to_resume)
    assert again.stdout.count("  started") == 3 - len(done) - len(to_resume)
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
        assert f"{job['row']:4}  1/1    {job['test_error']:.2f} (one seed: no interval)" in again.stdout
    assert halted["stn1"]["started"] < halted["hard1"]["ended"]  # two workers


@pytest.mark.parametrize(("options", "threads"), [([], 0), (["--workers", "2"], 4), (["--workers", "99"], 1)])
def test_trainings_share_the_cores_and_one_alone_measures_how_many_it_wants(
    options: list[str], threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A core that others keep busy makes two threads far slower than one: docs/performance.md."""
    monkeypatch.setattr("ram_agent.cli.sweep.cores", lambda: 8)
    given = []
    monkeypatch.setattr("ram_agent.cli.sweep.read_jobs", lambda *arguments: given.append(arguments[2]) or [])
    assert main(["sweep", "table_smoke", "--out", str(tmp_path / "out"), "--dry-run", *options]) == 0
    assert given == [threads]


# -------------------------------------------------------------------- Ray


def test_without_ray_the_command_to_install_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ram_agent.workers.find_spec", lambda name: None)
    assert main(["sweep", "table_smoke", "--out", str(tmp_path / "out"), "--backend", "ray"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ram-agent: error: --backend ray: Ray is not installed; pip install ray (in a ch")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# What stands for a training of row a or b: it meets the other row's, or waits until it is told to save.
FAKE = """
import json, os, signal, sys, time
folder, other, mode, results = sys.argv[1:]
os.makedirs(folder + "/checkpoints", exist_ok=True)
def stopped(*_):
    open(folder + "/checkpoints/agent.pt", "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, stopped)
open(folder + "/here", "w").close()
until = time.monotonic() + 40
while mode == "wait" or not os.path.exists(other + "/here"):
    if time.monotonic() > until:
        sys.exit("nobody came")
    time.sleep(0.01)
with open(folder + "/results.json", "w") as file:
    file.write(results)
"""


@pytest.fixture(scope="module")
def on_ray() -> Iterator[RayWorkers]:
    """A Ray cluster of this machine alone, with two places."""
    ray = pytest.importorskip("ray", reason="Ray is an extra: pip install -e '.[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else its trainings wait for whatever else the machine does
        yield RayWorkers(2, 1)
    ray.shutdown()


def sweep_on_ray(workers: RayWorkers, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> Runner:
    table = tmp_path / "table.yaml"
    table.write_text("rows: [{config: smoke, name: a}, {config: smoke, name: b}]\nseeds: [1, 2]")
    jobs = read_jobs(table, tmp_path / "out", 1, find_config)

    def stand_in(job: Job, state: str) -> list[str]:
        other = tmp_path / "out" / {"a": "b", "b": "a"}[job.row] / f"seed{job.seed}"
        return [sys.executable, "-S", "-c", FAKE, str(job.folder), str(other), mode, json.dumps(make_measured(5.0))]

    monkeypatch.setattr(running, "command", stand_in)
    return Runner(tmp_path / "out", {job: standing_of(job) for job in jobs}, workers)


def test_ray_runs_two_jobs_at_a_time(on_ray: RayWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = sweep_on_ray(on_ray, tmp_path, "meet", monkeypatch)
    assert sweep.run() == 0, sweep.failures
    a1, b1, a2, b2 = written(tmp_path / "out").values()
    assert {job["status"] for job in (a1, b1, a2, b2)} == {"done"}
    assert max(a1["started"], b1["started"]) < min(a1["ended"], b1["ended"])
    for start in (job["started"] for job in (a1, b1, a2, b2)):  # two places, not four
        assert sum(job["started"] <= start < job["ended"] for job in (a1, b1, a2, b2)) <= 2


def test_ray_is_handed_whole_trainings_by_the_command_line(
    on_ray: RayWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ram_agent.cli.sweep.RayWorkers", lambda *_: on_ray)  # Ray starts once a process
    table = tmp_path / "table.yaml"
    table.write_text("rows: [{config: smoke}]\nseeds: [1, 2]\nset: {training.episodes: 200, images.source: digits}")
    options = ["--backend", "ray", "--workers", "2", "--out", str(tmp_path / "out")]
    assert main(["sweep", str(table), *options]) == 0
    for seed in (1, 2):
        results = json.loads((tmp_path / "out" / "smoke" / f"seed{seed}" / "results.json").read_text())
        assert (results["episodes"], results["seed"]) == (200, seed)


def test_a_signal_reaches_the_jobs_on_ray_and_those_that_wait_there_never_start(
    on_ray: RayWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_on_ray(on_ray, tmp_path, "wait", monkeypatch)
    look_at = Runner._look_at

    def look(self: Runner, job: Job) -> None:
        if len(list(tmp_path.glob("out/*/*/here"))) == 2 and not self.signals:
            os.kill(os.getpid(), signal.SIGTERM)
        look_at(self, job)

    monkeypatch.setattr(Runner, "_look_at", look)
    assert sweep.run() == 143
    assert sorted(job["status"] for job in written(tmp_path / "out").values()) == [
        "new",
        "new",
        "to resume",
        "to resume",
    ]
    assert sweep.failures == {}
