"""The command line, as a user types it: what it prints, what it leaves, and what it says to a mistake."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from ram_agent.checkpoint import read_checkpoint
from ram_agent.config import describe, load_config
from ram_agent.files import held
from ram_agent.options import SHORT
from tests.resuming import without_times

ROOT = Path(__file__).parents[2]
FEW = {
    "images.source": "auto",
    "training.episodes": 3000,
    "evaluation.every": 1500,
    "evaluation.controls": ["random"],
    "evaluation.control_episodes": 500,
    "run.threads": 1,
    "run.log_every": 250,
    "run.checkpoint_every": 1000,
}

# Each command in a process of its own, forked from one that has already imported torch, what torch imports for a first
# optimiser, and SciPy: four seconds saved on each.
FORKS = """
import json, os, runpy, sys, traceback
import ram_agent.cli, scipy.stats, torch._dynamo
for line in sys.stdin:
    job = json.loads(line)
    if (child := os.fork()) == 0:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(job[name], os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        sys.argv = job["arguments"]
        try:
            run = runpy.run_path if sys.argv[0].endswith(".py") else runpy.run_module
            run(sys.argv[0], run_name="__main__")
            status = 0
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def options(settings: dict[str, Any]) -> list[str]:
    return [text for name, value in settings.items() for text in (f"--{name}", json.dumps(value).strip('"'))]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A machine without MNIST and without a network."""
    nowhere = str(tmp_path_factory.mktemp("nowhere"))
    nothing = {"RAM_AGENT_DATA": nowhere, "HOME": nowhere, "XDG_CACHE_HOME": nowhere}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return os.environ | nothing | proxies | {"COLUMNS": "100", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}


@pytest.fixture(scope="module")
def typed(environment: dict[str, str]) -> Callable[..., Outcome]:
    """A command in a new interpreter."""

    def run(*arguments: object) -> Outcome:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="module")
def forked(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Outcome]]:
    """The same, sooner."""
    folder = tmp_path_factory.mktemp("forked")
    out, err = folder / "out", folder / "err"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FORKS], cwd=ROOT, env=environment, **pipes) as server:

        def run(*arguments: object) -> Outcome:
            job = {"arguments": [str(argument) for argument in arguments], "out": str(out), "err": str(err)}
            print(json.dumps(job), file=server.stdin, flush=True)
            return Outcome(int(server.stdout.readline()), out.read_text(), err.read_text())

        yield run


@pytest.fixture(scope="module")
def finished(forked: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A small run that went through. Its config does not ask a second time to replace what is there."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    asked = FEW | {"run.folder": str(folder), "run.overwrite": True}
    outcome = forked("train.py", "configs/smoke.yaml", *options(asked))
    return folder, outcome


@pytest.fixture(scope="module")
def run(finished: tuple[Path, Outcome]) -> Path:
    return finished[0]


# -------------------------------------------------------------------- train


def test_training_ends_with_a_table_that_sets_the_policy_beside_its_control(finished: tuple[Path, Outcome]) -> None:
    folder, (status, out, err) = finished
    assert status == 0, err
    assert "Traceback" not in err
    results = json.loads((folder / "results.json").read_text())
    low, high = results["test_error_ci95"]
    for line in (
        rf"learned, mean location +{results['test_error']:.2f} +{low:.2f} to {high:.2f} +\[digits\]",
        rf"learned, sampled location +{results['test_error_sampled']:.2f}",
        rf"learned, 2-vote +{results['test_error_voted']:.2f}",
        rf"random, [\d,]+ episodes +{results['controls']['random']['test_error']:.2f}",
        r"error after each glimpse: +([\d.]+ *){6}\n",
        r"3,000 episodes in [\d,]+ s",
    ):
        assert re.search(line, out), line
    assert "centre" not in out  # only the control that was asked for
    assert "than random" not in out  # it has had fewer episodes
    assert "error" in err  # the progress bar's
    assert "reward" in err


def test_a_run_folder_holds_what_the_design_promises(run: Path) -> None:
    assert {path.name for path in (run / "figures").iterdir()} == {
        "glimpse_paths.png",
        "glimpse_paths.gif",
        "glimpse_strip.png",
        "learning_curves.png",
        "error_by_glimpse.png",
        "confusion_matrix.png",
    }
    for picture in (run / "figures").iterdir():
        Image.open(picture).verify()
    assert {path.name.split(".")[0] for path in run.iterdir()} == {
        "NOTICE",
        "checkpoints",
        "config",
        "controls",
        "events",
        "figures",
        "metrics",
        "results",
    }
    assert {path.name for path in (run / "controls").iterdir()} == {"random"}
    assert read_checkpoint(run / "checkpoints" / "agent.pt")["learner"]["updates"] == 60


def test_the_config_of_a_run_reloads_equal_to_what_was_typed_with_what_was_left_open_settled(run: Path) -> None:
    threads = json.loads((run / "results.json").read_text())["threads"]
    settled = {"images.source": "digits", "run.threads": threads}
    typed_in = load_config(ROOT / "configs" / "smoke.yaml", FEW | {"run.folder": str(run)} | settled)
    assert load_config(run / "config.yaml") == typed_in


def test_the_results_say_all_that_it_takes_to_judge_and_repeat_them(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    promised = "test_error test_error_ci95 test_error_sampled error_by_glimpse validation_error episodes seconds"
    promised += " episodes_per_second parameters glimpse_pixels dataset seed device threads versions"
    assert set(promised.split()) <= results.keys()
    low, high = results["test_error_ci95"]
    assert 0 <= low <= results["test_error"] <= high <= 100
    assert results["test_error"] == pytest.approx(results["error_by_glimpse"][-1])
    assert len(results["error_by_glimpse"]) == 6
    assert (results["episodes"], results["threads"], results["device"]) == (3000, 1, "cpu")
    assert results["glimpse_pixels"] == 6 * 3 * 12 * 12
    assert results["controls"]["random"]["episodes"] == 500
    curve = results["learning_curve"]
    assert [point["episodes"] for point in curve] == sorted({point["episodes"] for point in curve})
    assert min(curve, key=lambda point: point["validation_error"]) == {
        "episodes": results["best_at_episode"],
        "validation_error": results["validation_error"],
    }
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("gradient/snr_none")]
    assert [(point["episodes"], point["none"], point["leave_one_out"]) for point in results["gradient_signal"]] == [
        (int(row["step"]), float(row["gradient/snr_none"]), float(row["gradient/snr_leave_one_out"])) for row in rows
    ]
    assert rows
    assert re.fullmatch("[0-9a-f]{64}", results["dataset"]["sha256"])
    assert results["versions"]["torch"] == torch.__version__
    policy = read_checkpoint(run / "checkpoints" / "agent.pt")["learner"]["policy"]
    assert results["parameters"] == sum(value.numel() for value in policy.values())


def test_results_alone_are_enough_to_train_the_same_agent_again(
    run: Path, forked: Callable[..., Outcome], tmp_path: Path
) -> None:
    raw = shutil.copy(run / "results.json", tmp_path / "row.json")
    again = forked("train.py", raw, "--run.folder", tmp_path / "again")
    assert again.status == 0, again.err
    first, second = (json.loads((folder / "results.json").read_text()) for folder in (run, tmp_path / "again"))
    for name in ("test_error", "test_error_sampled", "error_by_glimpse", "learning_curve", "controls"):
        assert without_times(second[name]) == without_times(first[name]), name
    assert second["config"]["training"] == first["config"]["training"]


def test_a_fallback_to_the_digits_is_said_loudly_and_beside_every_number(finished: tuple[Path, Outcome]) -> None:
    folder, (_, out, err) = finished
    notice = "MNIST is not at hand: using the 1,797 embedded 8x8 digits"
    bars = [number for number, line in enumerate(err.splitlines()) if set(line) == {"!"}]
    assert notice in err.splitlines()[bars[0] + 1]
    assert bars == [bars[0], bars[0] + 2]
    assert err.index(notice) < err.index("learned [digits]")  # before the progress bar of the training
    assert notice in out
    assert notice in (folder / "NOTICE.txt").read_text()
    assert notice in json.loads((folder / "results.json").read_text())["dataset"]["notice"]
    for row in (folder / "metrics.csv").read_text().splitlines()[1:]:
        assert row.split(",")[1] == "digits"


def test_ctrl_c_ends_in_order_and_resume_ends_with_the_weights_of_the_run_never_stopped(
    run: Path, forked: Callable[..., Outcome], environment: dict[str, str], tmp_path: Path
) -> None:
    """The first session is a new interpreter, as a user's; the second and the run never stopped are forked."""
    folder = tmp_path / "run"
    command = [sys.executable, "train.py", "configs/smoke.yaml", *options(FEW | {"run.folder": str(folder)})]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        while not (folder / "metrics.csv").exists():  # the first row: training goes on
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted; best error on the validation split so far" in out
    assert f"python train.py --resume {folder}" in out
    assert json.loads((folder / "results.json").read_text())["interrupted"]
    assert 0 < read_checkpoint(folder / "checkpoints" / "agent.pt")["learner"]["updates"] < 60

    status, out, err = forked("train.py", "--resume", folder)
    assert status == 0, err
    assert "learned, mean location" in out
    for agent in (".", "controls/random"):
        saved, expected = (read_checkpoint(place / agent / "checkpoints" / "agent.pt") for place in (folder, run))
        for ours, theirs in (
            (saved["learner"]["policy"], expected["learner"]["policy"]),
            (saved["best"]["weights"], expected["best"]["weights"]),
        ):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    resumed, results = (without_times(json.loads((place / "results.json").read_text())) for place in (folder, run))
    assert resumed | {"config": None} == results | {"config": None}


def test_every_command_is_there_where_files_cannot_be_locked(typed: Callable[..., Outcome]) -> None:
    outcome = typed("-c", "import sys; sys.modules['fcntl'] = None; import ram_agent.cli")
    assert outcome.status == 0, outcome.err


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    """`ram-agent --help | head -1`: the pipe is closed while there is still something to say."""
    command = [sys.executable, "-c", "from ram_agent.cli import main; raise SystemExit(main(['train', '--help']))"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_letter_that_the_encoding_lacks_is_printed_by_its_number() -> None:
    """As in a file on Windows: the name of a class is no reason to lose the table that it stands in."""
    code = """if True:
        from ram_agent import cli
        cli.COMMANDS["bench"] = cli.COMMANDS["bench"][0], lambda given: lambda: print("µ, 狐") or 0
        raise SystemExit(cli.main(["bench"]))
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\\xb5, \\u72d0\n", b"")


INTERRUPTED = """
import runpy, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "torch":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
runpy.{}(run_name="__main__")
"""


@pytest.mark.parametrize(
    ("run", "program"), [("run_path('train.py', ", "train.py"), ("run_module('ram_agent', ", "ram-agent")]
)
def test_ctrl_c_while_torch_is_imported_is_a_line(run: str, program: str, typed: Callable[..., Outcome]) -> None:
    outcome = typed("-c", INTERRUPTED.replace("{}(", run))
    assert (outcome.status, outcome.out, outcome.err) == (130, "", f"{program}: interrupted\n")


@pytest.mark.parametrize("command", ["evaluate", "render", "compare"])
def test_a_setting_that_a_command_does_not_take_is_told_from_a_misspelt_one(
    command: str, forked: Callable[..., Outcome]
) -> None:
    told = "--sensor.kind: a setting of trainings, which this command does not take"
    assert_one_clear_line(forked("ram_agent", command, "run", "--sensor.kind", "stn"), told)
    if command == "compare":
        return
    outcome = forked("ram_agent", command, "run", "--run.folder", "x")
    assert_one_clear_line(outcome, f"{told[13:].strip()}; of that section it takes --run.device, --run.threads")
    outcome = forked("ram_agent", command, "run", "--scene.kin", "plain")
    assert_one_clear_line(outcome, "--scene.kin: unknown option (did you mean --scene.kind?)")


@pytest.mark.parametrize("command", [("train.py",), ("ram_agent", "train")])
def test_help_explains_every_field_of_the_configuration(
    command: tuple[str, ...], forked: Callable[..., Outcome]
) -> None:
    status, out, err = forked(*command, "--help")
    assert (status, err) == (0, "")
    shown = "".join(out.split())  # however argparse broke the lines
    for field in describe():
        names = [f"--{field.name}", *SHORT.get(field.name, ())]
        # From Python 3.13 on the value stands once, behind the last name.
        named = f"{', '.join(names)} VALUE" if sys.version_info >= (3, 13) else ", ".join(f"{n} VALUE" for n in names)
        assert "".join(f"{named} {field.help}".split()) in shown, field.name


def test_help_shows_the_values_of_the_config_that_is_taken(forked: Callable[..., Outcome], tmp_path: Path) -> None:
    """A field's own default is what none of these trainings has: 1,200,000 episodes."""
    mine, run = tmp_path / "mine.yaml", tmp_path / "run"
    mine.write_text("{base: smoke, training: {episodes: 77}, evaluation: {controls: none}, run: {track: true}}")
    run.mkdir()
    (run / "config.yaml").write_text("{name: his, training: {episodes: 88}}")
    for command, taken, episodes in (
        (["train.py"], "default.yaml", 200000),
        (["train.py", "smoke"], "smoke.yaml", 2000),
        (["train.py", "--seed", "2", mine], mine, 77),
        (["train.py", "-i", run], run / "config.yaml", 88),
        (["ram_agent", "search", "smoke"], "smoke.yaml", 2000),
        (["ram_agent", "search"], "a field that CONFIG leaves out", 1200000),
    ):
        status, out, err = forked(*command, "--help")
        assert (status, err) == (0, "")
        shown = "".join(out.split())  # however argparse broke the lines
        told = [f"{taken}.", f"at one image counts [int; default: {episodes}]"]
        if taken == mine:  # values as they would be typed
            told += [
                "nothing [tuple[random | centre | raster | oracle | cnn | fc | modern_cnn, ...]; default: []]",
                "(extra: track) [bool; default: true]",
                "[tuple[float, float]; default: 0.5,2.0]",
            ]
        for words in told:
            assert "".join(words.split()) in shown, (command, words)
    assert_one_clear_line(forked("train.py", "smok", "--help"), "config smok: no such file (did you mean smoke?)")


def test_the_help_of_a_run_that_goes_on_offers_what_it_takes(run: Path, forked: Callable[..., Outcome]) -> None:
    out = forked("train.py", "--resume", run, "--help").out
    for name, value in (
        ("training.batch", 3),
        ("images.size", "4,4"),
        ("run.seed", 1),
        ("run.folder", "x"),
        ("run.keep", 2),
        ("images.folder", "x"),
    ):
        refused = "cannot change" in forked("train.py", "--resume", run, f"--{name}", value).err
        assert (f"--{name} VALUE" in out) != refused, name


def test_the_help_of_a_search_offers_nothing_that_is_refused(forked: Callable[..., Outcome]) -> None:
    for config in ([], ["smoke"]):
        out = forked("ram_agent", "search", *config, "--help").out
        assert "--run.seed" in out
        assert "--run.folder" not in out
        assert "--run.overwrite" not in out


# -------------------------------------------------------------------- evaluate and render


def save_images(path: Path, shape: tuple[int, ...], count: int = 30) -> Path:
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.integers(0, 256, (count, *shape), dtype=np.uint8), labels=np.arange(count) % 10)
    return path


def test_a_run_is_measured_on_canvases_of_another_size_that_it_never_saw(
    run: Path, forked: Callable[..., Outcome], tmp_path: Path
) -> None:
    images = save_images(tmp_path / "others.npz", (40, 40))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    status, out, err = forked("ram_agent", "evaluate", run, "--images", images, "--scene.kind", "plain")
    assert (status, err) == (0, "")
    assert "on 30 images of others.npz, plain 40x40" in out
    error, low, high = map(
        float, re.search(r"error, mean location +([\d.]+) % +95 % over test images ([\d.]+) to ([\d.]+)", out).groups()
    )
    assert 0 <= low <= error <= high <= 100
    assert error * 30 / 100 == pytest.approx(round(error * 30 / 100), abs=0.01)  # so many of thirty
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_run_measured_again_on_its_own_test_set_says_what_its_results_say(
    run: Path, forked: Callable[..., Outcome]
) -> None:
    status, out, _ = forked("ram_agent", "evaluate", run)
    assert status == 0
    results = json.loads((run / "results.json").read_text())
    assert f"error, mean location      {results['test_error']:7.2f} %" in out
    assert f"error, sampled location   {results['test_error_sampled']:7.2f} %" in out
    assert "not finished" not in out


def test_a_run_that_is_not_finished_is_measured_and_called_so(
    run: Path, forked: Callable[..., Outcome], tmp_path: Path
) -> None:
    halted = shutil.copytree(run, tmp_path / "halted")
    (halted / "results.json").unlink()
    results = json.loads((run / "results.json").read_text())
    _, out, _ = forked("ram_agent", "evaluate", halted)
    best = f"{results['best_at_episode']:,} of {results['config']['training']['episodes']:,} episodes"
    assert out.splitlines()[1] == f"  not finished: the weights that were best in validation, after {best}"
    (halted / "results.json").write_text("{")  # damaged ones are none, and no reason not to measure
    status, again, _ = forked("ram_agent", "evaluate", halted)
    assert (status, again) == (0, out)


def test_render_writes_a_picture_and_an_animation(run: Path, forked: Callable[..., Outcome], tmp_path: Path) -> None:
    status, out, err = forked("ram_agent", "render", run, "--out", tmp_path / "new" / "pictures", "--count", 3)
    assert (status, err.count("Traceback")) == (0, 0)
    png, gif, strip = map(Path, out.split())
    for drawn in (png, strip):
        with Image.open(drawn) as picture:
            assert picture.format == "PNG"
    with Image.open(gif) as animation:
        assert animation.format == "GIF"
        assert animation.n_frames >= 6  # one a look


def test_render_says_where_there_are_fewer_images_than_were_asked_for(
    run: Path, forked: Callable[..., Outcome], tmp_path: Path
) -> None:
    few = tmp_path / "few.npz"
    labels = np.arange(5)
    np.savez(few, images=np.full((5, 8, 8), 200, np.uint8), labels=labels)
    status, out, err = forked("ram_agent", "render", run, "--images", few, "--out", tmp_path / "out", "--count", 9)
    assert status == 0, err
    assert out.startswith("9 asked for, 5 drawn: there are no more test images\n")


# -------------------------------------------------------------------- bench


def test_bench_measures_everything_and_says_on_what(forked: Callable[..., Outcome], tmp_path: Path) -> None:
    numbers, picture = tmp_path / "new" / "bench.json", tmp_path / "bench.png"
    status, out, err = forked("ram_agent", "bench", "--smoke", "--device", "cpu", "--json", numbers, "--plot", picture)
    assert status == 0, err
    written = json.loads(numbers.read_text(encoding="utf-8"), parse_constant=pytest.fail)  # no NaN, no Infinity
    assert written["machine"].keys() >= {"processor", "cores", "threads", "torch", "python", "device"}
    assert (written["machine"]["threads"], written["machine"]["device"]) == (1, "cpu")
    sections = ["sensor", "environment", "training", "floor", "memory", "profile", "canvas"]
    assert [table["section"] for table in written["tables"]] == sections
    for table in written["tables"]:
        assert f"### {table['title']}\n\n{table['note']}" in out
    for section in sections:
        assert f"bench: {section}" in err  # what it is at, for who waits
    assert "Traceback" not in err
    floors = [row["ratio"] for table in written["tables"] if table["section"] == "floor" for row in table["rows"]]
    assert len(floors) == 6
    Image.open(picture).verify()


def test_bench_measures_only_what_it_was_asked_for(forked: Callable[..., Outcome]) -> None:
    status, out, _ = forked("ram_agent", "bench", "--smoke", "--rounds", "1", "canvas", "profile")
    assert status == 0
    assert re.findall("^### (.+)$", out, re.MULTILINE) == ["Where the time goes", "Scaling with the canvas"]


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["senor"], "section senor: expected one of sensor, "),
        (["--threads", "0"], "--threads: expected 1 or more, got 0"),
        (["--rounds", "0"], "--rounds: expected 1 or more, got 0"),
        (["--updates", "1"], "--updates: expected 2 or more, got 1"),
        (["--batch", "0"], "--batch: expected 1 or more, got 0"),
        (["--device", "nonsense"], "run.device: got 'nonsense'"),
        (["--device", "mps"], "run.device: got 'mps', which lacks what is calculated here, expected auto, cpu or cuda"),
        (["--plot", "{tmp}/some.png", "memory"], "--plot: draws the sensor section"),
        (["--json", "{tmp}"], "--json: {tmp} is a folder, expected a file"),
        (["--plot", "{tmp}/a.jpg"], "--plot: got {tmp}/a.jpg, expected a name that ends in .png"),
        (["--jsn", "x"], "--jsn: unknown option (did you mean --json?)"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_a_wrong_bench_is_one_clear_line_before_anything_is_measured(
    arguments: list[str], fragment: str, forked: Callable[..., Outcome], tmp_path: Path
) -> None:
    given = [text.replace("{tmp}", str(tmp_path)) for text in arguments]
    assert_one_clear_line(forked("ram_agent", "bench", *given), fragment.replace("{tmp}", str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------- mistakes


def assert_one_clear_line(outcome: Outcome, *fragments: str) -> None:
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    assert re.fullmatch(r"(train\.py|ram-agent( \w+)?): error: [^\n]+\n", outcome.err), outcome.err
    for fragment in fragments:
        assert fragment in outcome.err


@pytest.mark.parametrize(
    "command",
    [
        *(["compare", "RUN"], ["export", "RUN"], ["render", "RUN"], ["evaluate", "RUN"]),
        *(["sweep", "table_smoke"], ["search", "smoke", "--space", "hard"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_written_is_one_line_before_the_work_begins(
    command: list[str], run: Path, forked: Callable[..., Outcome], tmp_path: Path
) -> None:
    """A sweep would print its plan, an evaluation measure everything."""
    (tmp_path / "file").write_text("kept")
    option, name = ("--confusion", "below/a.png") if command[0] == "evaluate" else ("--out", "below")
    given = [str(run) if word == "RUN" else word for word in command]
    refused = forked("ram_agent", *given, option, tmp_path / "file" / name)
    below = f"{option}: cannot make {tmp_path}/file/below: Not a directory; choose a folder that can be written"
    assert_one_clear_line(refused, below)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--images.source", "{tmp}/none.npz"], ["{tmp}/none.npz"]),
        (["--images.source", "{tmp}/cut.npz"], ["{tmp}/cut.npz"]),
        (["--images.source", "mnsit"], ["did you mean 'mnist'?"]),
        (["--run.cuda_graph", "true", "--device", "cpu"], ["run.cuda_graph: got true with device cpu"]),
        (["--lr", "1e-3"], ["--lr: unknown option (did you mean --training.learning_rate?)"]),
        (["another.yaml"], ["another.yaml: one argument too many"]),
        (["--", "--training.batch", "3"], ["--: makes no options of what follows; leave it out"]),
        (["--trainig.batch", "3"], ["--trainig.batch: unknown option (did you mean --training.batch?)"]),
        (["--training.batch"], ["--training.batch: expected one argument"]),
        (
            ["--training.batch", "100000", "--training.episodes", "256"],
            ["training.batch: got 100,000 images an update, expected no more", "--training.batch 256"],
        ),
        (
            ["--training.baseline", "leave_one_out", "--training.episodes_per_image", "4", "--training.batch", "751"],
            ["got 751 images an update of 4 episodes each", "the 3,000 of training.episodes; --training.batch 750"],
        ),
        (["--sensor.size", "80"], ["sensor.size: expected at most 60", "got 80"]),
        (["--environment.glimpses", "0"], ["environment.glimpses: got 0"]),
        (["--training.window_std", "-0.1"], ["training.window_std: got -0.1"]),
        (["--training.learning_rate", "-1e-3"], ["training.learning_rate: got '-1e-3'"]),
        (
            ["--training.method", "pathwise"],
            ["training.method: expected reinforce or straight_through for a crop sensor"],
        ),
        (["--environment.first_window", "0.1,0.2,0.3"], ["first_window", "'centre' or 2 numbers"]),
        (
            ["--scene.height", "20", "--sensor.size", "4"],
            ["scene.height, scene.width: a 20x60 canvas cannot hold images of 28x28"],
        ),
        (["--run.device", "nonsense"], ["run.device: got 'nonsense'"]),
        (
            ["--evaluation.controls", "random,centre,random"],
            ["evaluation.controls: expected each one once, got random 2 times"],
        ),
        (["-i", ""], ["training.trained_agent: got ''"]),
        (["--images.source", "digits", "--images.size", "14,14"], ["images.size: expected none", "14,14 for digits"]),
        (["--run.folder", "{tmp}/full"], ["run.folder: {tmp}/full exists and is not empty", "--resume"]),
        (["--run.folder", "{tmp}/full", "--run.overwrite", "true"], ["run.overwrite", "nothing was removed"]),
        (["--run.folder", "{tmp}/file"], ["run.folder: {tmp}/file is a file, expected a folder"]),
        (["--run.folder", "{tmp}/file/below"], ["run.folder: cannot make {tmp}/file/below: Not a directory"]),
        (["--run.folder", "/proc/no/run"], ["run.folder: cannot make /proc/no/run: No such file or directory"]),
    ],
    ids=lambda part: " ".join(part) if part and part[0].startswith("--") else "",
)
def test_a_wrong_option_is_one_clear_line_and_leaves_nothing_behind(
    arguments: list[str], fragments: list[str], forked: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("five years")
    (tmp_path / "file").write_text("")
    whole = save_images(tmp_path / "cut.npz", (28, 28)).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    there = sorted(tmp_path.rglob("*"))
    folder = [] if "--run.folder" in arguments else ["--run.folder", f"{tmp_path}/run"]
    few = options({name: value for name, value in FEW.items() if name != "images.source"})
    given = [text.replace("{tmp}", str(tmp_path)) for text in arguments]
    outcome = forked("train.py", "configs/smoke.yaml", *few, *folder, *given)
    assert_one_clear_line(outcome, *(text.replace("{tmp}", str(tmp_path)) for text in fragments))
    assert sorted(tmp_path.rglob("*")) == there
    assert (tmp_path / "full" / "thesis.tex").read_text() == "five years"


def test_without_mnist_a_config_that_needs_it_fails_clearly(forked: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = forked("train.py", "smoke", "--images.source", "mnist", "--run.folder", tmp_path / "run")
    assert_one_clear_line(outcome, "MNIST", "RAM_AGENT_DATA", "Connection refused")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_config_is_one_clear_line(forked: Callable[..., Outcome], tmp_path: Path) -> None:
    assert_one_clear_line(forked("train.py", "smok"), "config smok: no such file (did you mean smoke?)")
    assert_one_clear_line(forked("train.py", "configs/smok.yaml"), "did you mean smoke?")
    folder = f"config {tmp_path}: a folder, expected a YAML file"
    assert_one_clear_line(forked("train.py", tmp_path), folder, f"images in it: --images.source {tmp_path}")
    images = save_images(tmp_path / "mine.npz", (28, 28))
    assert_one_clear_line(forked("train.py", images), f"--images.source {images}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("{}")
    again = f"to go on with it: --resume {tmp_path}/run; to train by its config anew: {tmp_path}/run/config.yaml"
    assert_one_clear_line(forked("train.py", tmp_path / "run"), again)
    (tmp_path / "run" / "agent.json").write_text("{}")
    assert_one_clear_line(forked("train.py", tmp_path / "run"), f"to begin with its weights: -i {tmp_path}/run")
    mine = tmp_path / "mine.yaml"
    mine.write_text("scene: {hieght: 30}")
    assert_one_clear_line(
        forked("train.py", mine), f"{mine}: scene.hieght: unknown setting (did you mean scene.height?)"
    )
    mine.write_text("scene: {height: 30")
    assert_one_clear_line(forked("train.py", mine), f"config {mine}: not YAML")
    mine.write_text("1: 2")
    assert_one_clear_line(forked("train.py", mine), str(mine))


def test_a_wrong_resume_is_one_clear_line(run: Path, forked: Callable[..., Outcome], tmp_path: Path) -> None:
    assert_one_clear_line(forked("train.py", "--resume", tmp_path), f"run {tmp_path}: not a run folder")
    assert_one_clear_line(forked("train.py", "--resume", tmp_path / "none"), "not a run folder")
    assert_one_clear_line(forked("train.py", "smoke", "--resume", run), "smoke cannot change")
    assert_one_clear_line(forked("train.py", "--resume", run, "--training.batch", 3), "training.batch cannot change")
    assert_one_clear_line(forked("train.py", "--resume", run), f"the run is finished; its results are in {run}", "-i")


def test_a_run_goes_on_with_its_images_where_they_have_moved_and_with_no_others(
    forked: Callable[..., Outcome], tmp_path: Path
) -> None:
    images = save_images(tmp_path / "images.npz", (28, 28))
    few = {"training.episodes": 600, "run.checkpoint_every": 64, "run.pictures": 0, "evaluation.controls": "[]"}
    expected, folder = tmp_path / "whole", tmp_path / "run"
    for each in (expected, folder):
        command = ["train.py", "smoke", "--images.source", images, *options(few | {"run.folder": str(each)})]
        assert forked(*command).status == 0
    (folder / "results.json").unlink()  # as if it had been killed
    images.rename(tmp_path / "moved.npz")
    assert_one_clear_line(
        forked("train.py", "--resume", folder), "images.npz", f"--resume {folder} needs the images", "--images.source"
    )
    others = tmp_path / "others.npz"
    np.savez(others, images=np.zeros((60, 28, 28), np.uint8), labels=np.arange(60) % 3)
    refused = forked("train.py", "--resume", folder, "--images.source", others)
    assert_one_clear_line(refused, "the run was trained on images.npz", "these are others.npz")
    assert "--resume" not in refused.err  # the images are there, and are others
    shutil.copytree(folder, tmp_path / "early")
    shutil.rmtree(tmp_path / "early" / "checkpoints")
    early = forked("train.py", "--resume", tmp_path / "early", "--images.source", others)
    assert_one_clear_line(early, "nothing was saved yet that would tell whether those of --images.source are the same")
    gone_on = forked("train.py", "--resume", folder, "--images.source", tmp_path / "moved.npz")
    assert gone_on.status == 0, gone_on.err
    ours, theirs = (json.loads((each / "results.json").read_text()) for each in (folder, expected))
    assert ours["test_error"] == theirs["test_error"]


def test_soft_attention_that_reinforce_trains_is_told_of(forked: Callable[..., Outcome], tmp_path: Path) -> None:
    few = {"training.episodes": 64, "run.pictures": 0, "evaluation.controls": "[]", "images.source": "digits"}
    for kind, told in (("crop", False), ("stn", True)):
        given = few | {"sensor.kind": kind, "run.folder": str(tmp_path / kind)}
        out = forked("train.py", "smoke", *options(given))
        assert out.status == 0, out.err
        assert ("soft attention is trained by --training.method pathwise" in out.err) == told
        assert f"by {kind}, trained by reinforce\n" in out.out


def test_a_run_that_is_being_trained_is_neither_gone_on_with_nor_replaced(
    run: Path, forked: Callable[..., Outcome], tmp_path: Path
) -> None:
    shutil.copy(run / "config.yaml", tmp_path)
    refused = f"{tmp_path}: another process is at work in it; wait for it, or end it"
    with held(tmp_path):
        assert_one_clear_line(forked("train.py", "--resume", tmp_path), refused)
        replace = ["--run.folder", tmp_path, "--run.overwrite", "true"]
        assert_one_clear_line(forked("train.py", "smoke", "--images.source", "digits", *replace), refused)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_wrong_evaluation_is_one_clear_line(run: Path, forked: Callable[..., Outcome], tmp_path: Path) -> None:
    colour = save_images(tmp_path / "colour.npz", (40, 40, 3))
    plain = ["--scene.kind", "plain"]
    assert_one_clear_line(
        forked("ram_agent", "evaluate", run, "--images", colour, *plain),
        "3 colour channels, but this run was trained on 1",
    )
    letters = tmp_path / "letters.npz"
    np.savez(letters, images=np.zeros((4, 28, 28), np.uint8), labels=np.array(["1", "2", "x", "y"]))
    assert_one_clear_line(forked("ram_agent", "evaluate", run, "--images", letters), "letters.npz", "x, y")
    small = save_images(tmp_path / "small.npz", (8, 8))
    assert_one_clear_line(
        forked("ram_agent", "evaluate", run, "--images", small, *plain), "sensor.size: expected at most 8", "got 12"
    )
    large = ["--images", save_images(tmp_path / "large.npz", (80, 90))]
    too_small = "scene.height, scene.width: a 60x60 canvas cannot hold images of 80x90"
    for command in ("evaluate", "render"):
        assert_one_clear_line(forked("ram_agent", command, run, *large), too_small, "--scene.kind plain without height")
        clutter = forked("ram_agent", command, run, "--scene.clutter_size", 100)
        assert_one_clear_line(clutter, "scene.clutter_size: got 100")
        own = forked("ram_agent", command, run, "--scene.height", 20)
        assert_one_clear_line(own, "a 20x60 canvas cannot hold")
        assert "plain" not in own.err  # of its own images that makes no larger canvas
    assert forked("ram_agent", "evaluate", run, *large, *plain).status == 0  # as the line says
    assert_one_clear_line(forked("ram_agent", "evaluate", tmp_path), f"run {tmp_path}: not a run folder")
    assert_one_clear_line(forked("ram_agent", "evaluate"), "RUN")
    for count in (0, 161):
        refused = forked("ram_agent", "render", run, "--count", count)
        assert_one_clear_line(refused, f"--count: expected 1 to 160 images, got {count}")
    assert_one_clear_line(
        forked("ram_agent", "render", run, "--cout", 3), "--cout: unknown option (did you mean --count?)"
    )
    assert_one_clear_line(forked("ram_agent", "trian"), "trian")
    broken = tmp_path / "broken"
    (broken / "checkpoints").mkdir(parents=True)
    (broken / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    assert_one_clear_line(forked("ram_agent", "evaluate", broken), "agent.pt: no such file")
    whole = (run / "checkpoints" / "agent.pt").read_bytes()
    (broken / "checkpoints" / "agent.pt").write_bytes(whole[:-100])
    assert_one_clear_line(forked("ram_agent", "evaluate", broken), "agent.pt: damaged")


def test_a_new_interpreter_says_the_same_as_a_forked_one(
    typed: Callable[..., Outcome], forked: Callable[..., Outcome]
) -> None:
    wrong = ("train.py", "smoke", "--trainig.batch", "3")
    outcome = typed(*wrong)
    assert_one_clear_line(outcome)
    assert outcome == forked(*wrong)
