"""A sweep: what is left is read from folders, what is done is left alone, and one failure is not the others'."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ram_agent import runner as running
from ram_agent import workers
from ram_agent.checkpoint import write_checkpoint
from ram_agent.cli import main
from ram_agent.cli.folders import find_config, new_run_folder
from ram_agent.config import ConfigError, dump_config, parse_config
from ram_agent.files import held, in_use, write_whole
from ram_agent.interruption import heard_by
from ram_agent.progress import say
from ram_agent.run_files import CHECKPOINT, CONFIG
from ram_agent.runner import Runner
from ram_agent.sweep import command, in_order, standing_of, summarise, summary_table
from ram_agent.table import Job, read_jobs
from ram_agent.workers import LocalWorkers, RayWorkers, Task, launch
from tests.making import make_measured

TABLE: dict[str, Any] = {"rows": [{"config": "smoke", "name": "a"}, {"config": "smoke", "name": "b"}], "seeds": [1, 2]}

# What stands for a training: the folder of a run, in a hundredth of the time.
FAKE = """
import json, os, signal, sys, time
folder, results, mode = sys.argv[1:]
os.makedirs(folder + "/checkpoints", exist_ok=True)
def stopped(*_):
    open(folder + "/checkpoints/agent.pt", "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, stopped if mode != "deaf" else signal.SIG_IGN)
print("at work", flush=True)
if mode == "fail":
    sys.exit("ram-agent: error: something is wrong")
if mode == "meet":
    open(folder + "/here", "w").close()
    others = os.path.dirname(os.path.dirname(folder))
    until = time.monotonic() + 30
    while not all(os.path.exists(f"{others}/{row}/seed1/here") for row in "ab"):
        if time.monotonic() > until:
            sys.exit("the other never came")
        time.sleep(0.01)
if mode == "late":
    with open(folder + "/results.json", "w") as file:
        file.write(results)
if mode in ("wait", "deaf", "late"):
    open(folder + "/here", "w").close()
    time.sleep(60)
if mode == "ask":
    os.kill(os.getpid(), signal.SIGTERM)
if mode == "kill":
    open(folder + "/checkpoints/agent.pt", "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
with open(folder + "/results.json", "w") as file:
    file.write("[]" if mode == "damage" else results)
if mode == "trouble":
    sys.exit("error: cannot write the figures")
"""


def write(path: Path, tree: Any) -> Path:
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return path


def jobs_of(tmp_path: Path, **changed: Any) -> list[Job]:
    return read_jobs(write(tmp_path / "table.yaml", TABLE | changed), tmp_path / "out", 3, find_config)


def lay(
    job: Job, *, error: float | None = None, saved: bool = False, images: str = "digits", sha256: str = "0" * 64
) -> None:
    """The folder of a run that is done, interrupted, or has not saved yet."""
    (job.folder / CHECKPOINT).parent.mkdir(parents=True)
    (job.folder / "config.yaml").write_text(dump_config(job.config))
    if saved:
        (job.folder / CHECKPOINT).touch()
    results = {"interrupted": True} if error is None else make_measured(error, images, sha256)
    (job.folder / "results.json").write_text(json.dumps(results))


def run(
    tmp_path: Path, jobs: Sequence[Job], modes: dict[str, str], monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> tuple[int, Runner, list[str]]:
    """A sweep over stand-ins; a mode for `row seed`."""

    def stand_in(job: Job, state: str) -> list[str]:
        mode = modes.get(f"{job.row}{job.seed}", "go")
        results = json.dumps(make_measured(10.0 * job.seed))
        return [sys.executable, "-S", "-c", FAKE, str(job.folder), results, mode]

    monkeypatch.setattr(running, "command", stand_in)
    said: list[str] = []
    workers = LocalWorkers(settings.pop("workers", 1))
    sweep = Runner(
        tmp_path / "out",
        {job: standing_of(job) for job in jobs},
        workers,
        say=settings.pop("say", said.append),
        **settings,
    )
    return sweep.run(), sweep, said


def written(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The jobs of sweep.json."""
    jobs = json.loads((tmp_path / "out" / "sweep.json").read_text())["jobs"]
    return {f"{job['row']}{job['seed']}": job for job in jobs}


# -------------------------------------------------------------------- tables


def test_rows_seeds_and_overrides_become_configs_a_row_before_the_table_before_the_file(tmp_path: Path) -> None:
    rows = [{"config": "smoke"}, {"config": "smoke", "name": "b", "set": {"training.batch": 7, "run.threads": 2}}]
    jobs = jobs_of(tmp_path, rows=rows, set={"training.batch": 5, "sensor.size": 8})
    assert [str(job) for job in jobs] == ["smoke seed 1", "b seed 1", "smoke seed 2", "b seed 2"]
    assert [job.config.training.batch for job in jobs] == [5, 7, 5, 7]
    assert {job.config.sensor.size for job in jobs} == {8}
    assert [job.config.run.threads for job in jobs] == [3, 2, 3, 2]  # what a row names is not overruled
    assert [job.config.run.seed for job in jobs] == [1, 1, 2, 2]
    assert jobs[3].folder == tmp_path / "out" / "b" / "seed2"
    assert jobs[3].config.run.folder == str(jobs[3].folder)
    assert jobs[0].config.training.episodes == 2000  # the file's


@pytest.mark.parametrize(
    ("tree", "fragments"),
    [
        ("rows: [", ["not YAML"]),
        ("- 1", ["expected sections such as 'rows:', got list"]),
        ({"rows": []}, ["rows: got []"]),
        ({"seeds": []}, ["seeds: got []"]),
        ({"seeds": [1, 1]}, ["seeds: expected each once, got 1, 1"]),
        ({"seeds": [True]}, ["seeds.0: got True"]),
        ({"seeds": [-1]}, ["seeds.0: got -1"]),
        ({"seed": [1]}, ["seed: unknown setting (did you mean seeds?)"]),
        ({"seeds": 3}, ["seeds: got 3, expected a list of whole numbers, as in [1, 2, 3]"]),
        ("rows: [{config: smoke}]\nseed: [1, 2]", ["seed: unknown setting (did you mean seeds?)"]),
        ("rows: [{config: smoke}]", ["seeds: missing, expected a list of whole numbers, as in [1, 2, 3]"]),
        ({"rows": 3}, ["rows: got 3, expected a list, as in [{config: ...}]"]),
        ({"rows": [{"confg": "smoke"}]}, ["rows.0.confg: unknown setting (did you mean config?)"]),
        ({"rows": [{"name": "a"}]}, ["rows.0.config: missing, expected 'config' in {'name': 'a'}"]),
        ({"rows": [{"config": "smoke", "nam": "x"}]}, ["rows.0.nam: unknown setting (did you mean name?)"]),
        ({"rows": [{"config": "smok"}]}, ["rows.0 (smok): config smok: no such file (did you mean smoke?)"]),
        ({"rows": [{"config": "smoke"}] * 2}, ["rows.1.name: got 'smoke' a second time"]),
        (
            {"rows": [{"config": "smoke"}, {"config": "smoke", "name": "Smoke"}]},  # one folder on many a disk
            ["rows.1.name: got 'Smoke' a second time"],
        ),
        ({"rows": [{"config": "smoke", "name": ".."}]}, ["rows.0.name: got '..', expected letters"]),
        ({"rows": [{"config": "smoke", "name": "a/b"}]}, ["rows.0.name: got 'a/b'"]),
        ({"set": {"run.seed": 3}}, ["set.run.seed: the sweep sets it"]),
        ({"set": {"trainig.batch": 3}}, ["set.trainig.batch: unknown setting (did you mean training.batch?)"]),
        ({"set": {"sensor.kid": "stn"}}, ["set.sensor.kid: unknown setting (did you mean sensor.kind?)"]),
        ({"set": {"training": {"batch": 3}}}, ["set.training: expected single settings, as in training.method: ..."]),
        ({"rows": [{"config": "smoke", "set": {"training.batch": 0}}]}, ["rows.0 (smoke): training.batch: got 0"]),
        (
            {"rows": [{"config": "smoke", "set": {"training.batch": 5000}}]},
            ["rows.0 (smoke): training.batch: got 5,000"],
        ),
        ({"set": {"training.method": "pathwise"}}, ["rows.0 (a): training.method: expected reinforce"]),
    ],
    ids=str,
)
def test_a_wrong_table_is_one_clear_line_and_starts_nothing(
    tree: Any, fragments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "table.yaml", tree if isinstance(tree, str) else TABLE | tree)
    assert main(["sweep", str(table), "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"ram-agent: error: table {table}: ")
    assert err.count("\n") == 1
    for fragment in fragments:
        assert fragment in err
    assert list(tmp_path.iterdir()) == [table]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "--workers: expected 1 or more, got 0"),
        (["table_smok"], "table table_smok: no such file (did you mean table_smoke?)"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = [] if arguments[0].startswith("table") else ["table_smoke"]
    assert main(["sweep", *table, *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"ram-agent: error: {message}")


@pytest.mark.parametrize("table", sorted((Path(__file__).parents[2] / "configs" / "tables").glob("*.yaml")), ids=str)
def test_every_table_that_is_shipped_resolves(table: Path, tmp_path: Path) -> None:
    assert find_config(table.stem, "table", "tables") == table
    assert len(read_jobs(table, tmp_path, 1, find_config)) >= 4


def test_a_dry_run_shows_what_is_left_and_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(tmp_path)
    lay(jobs[0], error=4.0, saved=True)
    lay(jobs[1], saved=True)
    monkeypatch.setattr(running, "command", None)  # whatever starts anything fails
    there = sorted(tmp_path.rglob("*"))
    assert main(["sweep", str(tmp_path / "table.yaml"), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "4 trainings, 1 done" in out
    assert [line.split()[0:3:2] for line in out.splitlines()[1:]] == [["b", "1"], ["a", "2"], ["b", "2"]]
    assert f"--resume {jobs[1].folder}" in out
    assert sorted(tmp_path.rglob("*")) == there


# -------------------------------------------------------------------- states and order


def test_a_state_is_read_from_the_folder(tmp_path: Path) -> None:
    done, halted, begun, none = jobs_of(tmp_path)
    lay(done, error=4.0)  # whether or not its checkpoint was kept
    lay(halted, saved=True)
    lay(begun)
    assert [standing_of(job) for job in (done, halted, begun, none)] == ["done", "to resume", "new", "new"]
    assert command(halted, "to resume")[-4:] == ["--resume", str(halted.folder), "--run.progress", "false"]
    assert command(begun, "new")[-3:] == [str(begun.settings), "--run.overwrite", "true"]
    (killed := replace(begun, folder=tmp_path / "killed")).folder.mkdir()  # while its config was written
    (killed.folder / f".{CONFIG}.0a1b2c3d").touch()
    assert command(killed, "new")[-1] == str(killed.settings)
    assert new_run_folder(parse_config({"run": {"folder": str(killed.folder)}})) == killed.folder
    assert command(none, "new")[-1] == str(none.settings)


def test_a_folder_of_another_experiment_is_refused_rather_than_taken_for_this_one(tmp_path: Path) -> None:
    job, *_ = jobs_of(tmp_path)
    lay(job, error=4.0)
    for threads in (1, 5):  # how it runs is no part of what it is
        assert standing_of(jobs_of(tmp_path, set={"run.threads": threads})[0]) == "done"
    with pytest.raises(ConfigError, match=r"seed1: was run with another training\.batch than the table asks for"):
        standing_of(jobs_of(tmp_path, set={"training.batch": 9})[0])


def test_images_that_a_run_settled_itself_are_no_difference(tmp_path: Path) -> None:
    job, *_ = jobs_of(tmp_path)
    lay(job, error=4.0)  # on the digits
    assert standing_of(jobs_of(tmp_path, set={"images.source": "auto"})[0]) == "done"
    with pytest.raises(ConfigError, match=r"another images\.source"):
        standing_of(jobs_of(tmp_path, set={"images.source": "mnist"})[0])


@pytest.mark.parametrize("done", [True, False])
def test_images_that_lie_elsewhere_are_the_same_where_their_digest_is(done: bool, tmp_path: Path) -> None:
    job, *_ = jobs_of(tmp_path, set={"images.source": "here.npz"})
    lay(job, error=4.0 if done else None, sha256="1" * 64)
    if not done:
        write_checkpoint(job.folder / CHECKPOINT, {"sha256": "1" * 64})
    moved, *_ = jobs_of(tmp_path, set={"images.source": "there.npz"})
    assert standing_of(moved, lambda images: "1" * 64) == ("done" if done else "to resume")
    assert command(moved, "to resume")[-4:-2] == ["--images.source", "there.npz"]
    for digest_of in (lambda images: "2" * 64, None):
        with pytest.raises(ConfigError, match=r"another images\.source"):
            standing_of(moved, digest_of)
    other, *_ = jobs_of(tmp_path, set={"images.source": "there.npz", "training.batch": 9})
    with pytest.raises(ConfigError, match=r"another training\.batch"):
        standing_of(other, lambda images: "1" * 64)


@pytest.mark.parametrize("own", [{"images.source": "own.npz"}, {"images.source": "digits", "images.size": (28, 28)}])
def test_images_that_auto_never_comes_to_are_a_difference(own: dict[str, Any], tmp_path: Path) -> None:
    lay(jobs_of(tmp_path, set=own)[0], error=4.0)
    with pytest.raises(ConfigError, match=r"another images\."):
        standing_of(jobs_of(tmp_path, set={"images.source": "auto"})[0])


def test_a_run_goes_on_as_the_table_would_have_it_run_today(tmp_path: Path) -> None:
    """But for its threads: it ends as if it had never been stopped."""
    job, *_ = jobs_of(tmp_path, set={"run.device": "cuda:1", "run.checkpoint_every": 5000})
    lay(job, saved=True)
    today, *_ = jobs_of(tmp_path, set={"run.device": "cpu", "run.tensorboard": False, "run.threads": 7})
    usual = str(today.config.run.checkpoint_every)
    changed = {"device": "cpu", "checkpoint_every": usual, "tensorboard": "false", "progress": "false"}
    _, *options = command(today, "to resume")[command(today, "to resume").index("--resume") + 1 :]
    assert dict(zip(options[::2], options[1::2], strict=True)) == {f"--run.{name}": v for name, v in changed.items()}


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_training_takes_our_packages_whatever_lies_in_the_folder_it_is_started_in(
    elsewhere: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkout is used without an install: from elsewhere by PYTHONPATH, at home without."""
    root = Path(__file__).parents[2]
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path if elsewhere else root)
    monkeypatch.setenv("PYTHONPATH", str(root) if elsewhere else "")
    job, *_ = jobs_of(tmp_path)
    python = command(job, "new")[:-4]
    assert command(job, "new")[-4:-1] == ["-m", "ram_agent", "train"]
    program = "from importlib.util import find_spec; print(*(find_spec(name).origin for name in ('envs', 'ram_agent')))"
    done = subprocess.run([*python, "-S", "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == [str(root / name / "__init__.py") for name in ("envs", "ram_agent")], done.stderr


def test_what_was_interrupted_goes_first_then_one_seed_of_every_row(tmp_path: Path) -> None:
    a1, b1, a2, b2 = jobs_of(tmp_path)
    assert in_order({a1: "new", b1: "new", a2: "new", b2: "new"}) == [a1, b1, a2, b2]
    assert in_order({a1: "new", b1: "done", a2: "new", b2: "to resume"}) == [b2, a1, a2]


def test_a_job_that_still_runs_is_not_started_twice(tmp_path: Path) -> None:
    job, *_ = jobs_of(tmp_path)
    assert not in_use(job.log)
    task = Task([sys.executable, "-S", "-c", "input()"], job.log, False, tmp_path)
    orphan = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with launch(task._replace(command=orphan)) as process:
        try:
            with pytest.raises(ConfigError, match="a process is training it"):
                standing_of(job)
            with pytest.raises(BlockingIOError):
                launch(task)
        finally:
            process.kill()
    assert standing_of(job) == "new"


def test_a_full_disk_ends_no_sweep_and_leaves_no_training_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = list[str]()

    def full(path: Path, content: bytes) -> None:
        writes.append(path.name)
        if path.name != "sweep.json" or 1 < writes.count("sweep.json") < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_whole(path, content)

    jobs = jobs_of(tmp_path, seeds=[1])
    saved, new = jobs
    lay(saved, saved=True)
    monkeypatch.setattr(running, "write_whole", full)
    status, sweep, said = run(tmp_path, jobs, {}, monkeypatch)
    assert status == 1
    assert sweep.failures == {new: "cannot start: No space left on device"}
    assert sum("cannot write sweep.json" in line and "the trainings go on" in line for line in said) == 1
    assert any("can be written again" in line for line in said)
    assert {name: job["status"] for name, job in written(tmp_path).items()} == {"a1": "done", "b1": "failed"}


def test_a_job_that_somebody_else_trains_is_not_started_beside(tmp_path: Path) -> None:
    """As by `train.py --resume`, which writes no log of the sweep's."""
    job, *_ = jobs_of(tmp_path)
    lay(job, saved=True)
    with held(job.folder), pytest.raises(ConfigError, match="seed1: a process is training in it"):
        standing_of(job)
    assert standing_of(job) == "to resume"


# -------------------------------------------------------------------- what they come to


def test_a_row_is_averaged_over_its_seeds_and_never_over_different_images(tmp_path: Path) -> None:
    a1, b1, a2, b2 = jobs = jobs_of(tmp_path)
    lay(a1, error=4.0)
    assert [(each.row, each.seeds, each.test_error) for each in summarise(jobs)] == [("a", [1], 4.0), ("b", [], None)]
    assert "4.00 (one seed: no interval)" in summary_table(summarise(jobs))
    lay(a2, error=5.0)
    lay(b1, error=4.0, images="mnist")
    lay(b2, error=5.0, images="digits")
    a, b = summarise(jobs)
    assert (a.test_error, a.seeds, a.of) == (4.5, [1, 2], 2)
    assert (b.test_error, b.test_error_ci95_over_seeds, b.images) == (None, None, ["digits", "mnist"])
    table = summary_table([a, b])
    assert "4.50 (0.00 to 10.85)" in table
    assert "t-interval over seeds" in table
    assert "no mean over different images" in table


def test_one_seed_that_failed_is_in_the_mean(tmp_path: Path) -> None:
    jobs = [job for job in jobs_of(tmp_path, seeds=[1, 2, 3]) if job.row == "a"]
    for job, error in zip(jobs, (4.0, 5.0, 90.0), strict=True):
        lay(job, error=error)
    assert summarise(jobs)[0].test_error == 33.0


def test_seeds_that_ended_alike_have_no_interval(tmp_path: Path) -> None:
    a1, _, a2, _ = jobs = jobs_of(tmp_path)
    lay(a1, error=4.0)
    lay(a2, error=4.0)
    assert "4.00 (all seeds alike: no interval)" in summary_table(summarise(jobs))


def test_images_of_one_name_with_other_content_have_no_mean(tmp_path: Path) -> None:
    """As where the file behind `images.source` was replaced between two seeds."""
    a1, _, a2, _ = jobs = jobs_of(tmp_path)
    lay(a1, error=4.0, sha256="a" * 64)
    lay(a2, error=5.0, sha256="b" * 64)
    row = summarise(jobs)[0]
    assert (row.test_error, row.images) == (None, ["digits " + "a" * 12, "digits " + "b" * 12])


# -------------------------------------------------------------------- running


def test_a_failed_job_is_named_with_its_last_line_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, sweep, said = run(tmp_path, jobs_of(tmp_path), {"a1": "fail"}, monkeypatch)
    assert status == 1
    assert {str(job): why for job, why in sweep.failures.items()} == {
        "a seed 1": "exit status 1: ram-agent: error: something is wrong"
    }
    assert [written(tmp_path)[job]["status"] for job in ("a1", "b1", "a2", "b2")] == ["failed", "done", "done", "done"]
    assert [written(tmp_path)[job]["test_error"] for job in ("a1", "b1", "a2", "b2")] == [None, 10, 20, 20]
    assert len([line for line in said if "started" in line]) == 4


def test_a_job_that_is_done_with_trouble_is_done_and_the_trouble_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Controls that went bad, pictures that could not be written."""
    status, sweep, said = run(tmp_path, jobs_of(tmp_path), {"b1": "trouble"}, monkeypatch)
    assert status == 1
    assert sweep.failures == {}
    assert {str(job): why for job, why in sweep.troubles.items()} == {
        "b seed 1": "exit status 1: error: cannot write the figures"
    }
    assert {job["status"] for job in written(tmp_path).values()} == {"done"}
    assert any("b seed 1  done: test error 10.00 % [digits], 2 of 4; exit status 1" in line for line in said)


def test_a_job_that_is_killed_from_outside_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, sweep, _ = run(tmp_path, jobs_of(tmp_path), {"a1": "kill"}, monkeypatch)
    assert status == 1
    assert list(sweep.failures.values()) == ["ended by signal 9 (Killed, out of memory?): at work"]
    assert [job["status"] for job in written(tmp_path).values()] == ["to resume", "done", "done", "done"]


def test_a_job_that_is_asked_to_end_from_outside_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `kill PID`: it has saved, and ends with a status of its own."""
    status, _, said = run(tmp_path, jobs_of(tmp_path), {"a1": "ask"}, monkeypatch)
    assert status == 1
    assert "failed, exit status 143: at work" in "".join(said)
    assert [job["status"] for job in written(tmp_path).values()] == ["to resume", "done", "done", "done"]


def test_a_terminal_that_is_gone_ends_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.TextIOBase):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdout", Gone())
    status, _, _ = run(tmp_path, jobs_of(tmp_path), {}, monkeypatch, say=say)
    assert status == 0
    assert [job["status"] for job in written(tmp_path).values()] == ["done"] * 4


def test_results_that_are_damaged_fail_their_job_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, sweep, _ = run(tmp_path, jobs_of(tmp_path), {"a1": "damage"}, monkeypatch)
    assert status == 1
    ((job, reason),) = sweep.failures.items()
    assert reason.startswith(f"{job.folder / 'results.json'}: expected results, got []")
    assert [job["status"] for job in written(tmp_path).values()] == ["failed", "done", "done", "done"]


def test_a_run_that_was_finished_since_the_sweep_began_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by another sweep to the same folder, or by hand: the job that waits here was new when the sweep began."""
    a1, b1 = jobs_of(tmp_path, seeds=[1])

    def meanwhile(line: str) -> None:
        if "a seed 1  done" in line:
            lay(b1, error=7.0)

    status, _, _ = run(tmp_path, [a1, b1], {"b1": "fail"}, monkeypatch, say=meanwhile)
    assert status == 0
    assert written(tmp_path)["b1"]["test_error"] == 7.0


def test_a_folder_that_another_experiment_has_taken_since_is_not_trained_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a1, b1 = jobs_of(tmp_path, seeds=[1])
    _, other = jobs_of(tmp_path, seeds=[1], set={"training.batch": 9})

    def meanwhile(line: str) -> None:
        if "a seed 1  done" in line:
            lay(other, error=7.0)

    status, sweep, _ = run(tmp_path, [a1, b1], {}, monkeypatch, say=meanwhile)
    assert status == 1
    assert "was run with another training.batch than the table asks for" in sweep.failures[b1]


def test_a_ray_cluster_of_machines_that_are_too_small_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would keep the trainings waiting for ever, without a word."""
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 64.0}}]
    ray = SimpleNamespace(init=lambda **settings: None, nodes=lambda: nodes)
    monkeypatch.setattr(workers, "import_module", lambda name: ray)
    with pytest.raises(ConfigError, match="a training has 8 of this machine's cores, and Ray's largest machine has 2;"):
        RayWorkers(1, 8)


@pytest.mark.parametrize("address", [None, "ray://elsewhere:10001"])
def test_ray_is_a_cluster_of_our_own_unless_one_is_named(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ray.init()` by itself takes one that `ray start` began here, which refuses a number of processors."""
    asked: dict[str, Any] = {}

    def init(**settings: Any) -> None:
        asked.update(settings)
        raise ValueError("When connecting to an existing cluster,\n num_cpus must not be provided.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(workers, "import_module", lambda name: SimpleNamespace(init=init))
    with pytest.raises(ConfigError, match=r"^--backend ray: Ray does not start: When connecting .*, num_cpus must not"):
        RayWorkers(2, 3)
    assert asked.get("address") == (None if address else "local")
    assert asked.get("num_cpus") == (None if address else 6)


def test_a_cluster_that_is_too_small_is_one_line_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": 0.5}}]
    ray = SimpleNamespace(init=lambda **settings: None, nodes=lambda: nodes)
    monkeypatch.setattr(workers, "import_module", lambda name: ray)
    monkeypatch.setattr("ram_agent.cli.sweep.check_ray", lambda: None)
    assert main(["sweep", "table_smoke", "--backend", "ray", "--out", str(tmp_path / "out")]) == 2
    assert "error: --workers: got 1, with which a training has" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("trainings", "gpus", "share"), [(3, 2, 1 / 2), (4, 2, 1 / 2), (5, 2, 1 / 3), (1, 4, 1), (2, 0, 0)]
)
def test_as_many_trainings_as_there_are_workers_find_a_gpu(
    trainings: int, gpus: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share lies on one GPU: of 2 GPUs, 0.67 each for three trainings would let two run at a time."""
    asked: dict[str, float] = {}
    ray = SimpleNamespace(
        init=lambda **settings: None,
        nodes=lambda: [{"Alive": True, "Resources": {"CPU": 16.0}}],
        cluster_resources=lambda: {"CPU": 16.0} | ({"GPU": float(gpus)} if gpus else {}),
        remote=lambda **settings: asked.update(settings) or (lambda function: function),
    )
    monkeypatch.setattr(workers, "import_module", lambda name: ray)
    RayWorkers(trainings, 1)
    assert asked["num_gpus"] == share
    assert not gpus or gpus * int(1 / share) >= trainings


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs_of(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    with held(out):
        assert main(["sweep", str(tmp_path / "table.yaml"), "--out", str(out)]) == 2
    assert f"{out}: another process is at work in it" in capsys.readouterr().err
    assert list(out.iterdir()) == []


def test_a_sweep_that_breaks_leaves_no_training_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(tmp_path)
    here = jobs[0].folder / "here"
    look_at = Runner._look_at

    def look(self: Runner, job: Job) -> None:
        if here.exists():
            raise RuntimeError("the loop is broken")
        look_at(self, job)

    monkeypatch.setattr(Runner, "_look_at", look)
    with pytest.raises(RuntimeError, match="broken"):
        run(tmp_path, jobs, {"a1": "wait"}, monkeypatch)
    assert not in_use(jobs[0].log)
    assert (jobs[0].folder / CHECKPOINT).exists()  # it was asked to save


def test_without_keep_going_nothing_starts_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, said = run(tmp_path, jobs_of(tmp_path), {"a1": "fail"}, monkeypatch, keep_going=False)
    assert status == 1
    assert len([line for line in said if "started" in line]) == 1


def test_two_workers_work_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job waits for the other."""
    jobs = jobs_of(tmp_path, seeds=[1])
    status, sweep, _ = run(tmp_path, jobs, {"a1": "meet", "b1": "meet"}, monkeypatch, workers=2)
    assert status == 0, sweep.failures
    a, b = written(tmp_path).values()
    assert max(a["started"], b["started"]) < min(a["ended"], b["ended"])


def test_one_worker_works_on_one_job_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, jobs_of(tmp_path), {}, monkeypatch)
    a1, b1, a2, b2 = written(tmp_path).values()
    for before, after in ((a1, b1), (b1, a2), (a2, b2)):
        assert before["ended"] <= after["started"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_jobs_in_order_and_starts_no_more(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said = signalled(tmp_path, monkeypatch, "wait", number, 1)
    assert status == 128 + number
    assert said[-1].endswith("a seed 1  stopped, saved")
    assert [job["status"] for job in written(tmp_path).values()] == ["to resume", "new", "new", "new"]


def test_a_signal_that_comes_after_the_results_finds_the_job_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said = signalled(tmp_path, monkeypatch, "late", signal.SIGTERM, 1)
    assert status == 143
    assert said[-1].endswith("a seed 1  done: test error 10.00 % [digits], 1 of 4")
    assert written(tmp_path)["a1"]["status"] == "done"


def test_a_second_signal_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = signalled(tmp_path, monkeypatch, "deaf", signal.SIGINT, 2)
    assert status == 130
    assert said[-1].endswith("a seed 1  stopped, before its first save")
    assert not in_use(tmp_path / "out" / "a" / "seed1.log")


def signalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, number: int, times: int
) -> tuple[int, list[str]]:
    """Signals as soon as the first job is at work."""
    said: list[str] = []
    here = tmp_path / "out" / "a" / "seed1" / "here"
    sent = 0
    look_at = Runner._look_at

    def look(self: Runner, job: Job) -> None:
        nonlocal sent
        if here.exists() and sent < times:
            os.kill(os.getpid(), number)
            sent += 1
        look_at(self, job)

    monkeypatch.setattr(Runner, "_look_at", look)
    before = signal.getsignal(number)
    signal.signal(number, mine := lambda *_: None)  # under nohup SIGHUP would be nobody's
    try:
        status, _, _ = run(tmp_path, jobs_of(tmp_path), {"a1": mode}, monkeypatch, say=said.append)
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, before)
    return status, said


def test_a_terminal_that_is_closed_is_not_heard_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        heard: list[int] = []
        with heard_by(heard.append):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_folder_of_another_seed_is_refused(tmp_path: Path) -> None:
    job, _, other, *_ = jobs_of(tmp_path)
    lay(job, error=4.0)
    assert standing_of(job) == "done"
    mixed = replace(job, config=other.config.model_copy(update={"name": job.config.name}))
    with pytest.raises(ConfigError, match=r"another run\.seed"):
        standing_of(mixed)
