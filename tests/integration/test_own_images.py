"""A user's own images, from training to a picture file: names for numbers, colours, any shape of canvas and glimpse.

The oracle of what is told of a picture file is the agent's own policy on the test image that the file holds.
"""

import io
import re
import shutil
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from envs.class_names import NAMES_FILE
from envs.glimpse import GlimpseVectorEnv
from envs.images import ImageData, ImageSet, load_images
from envs.pictures import in_channels
from envs.scenes import SceneMaker
from ram_agent.building import best_policy
from ram_agent.checkpoint import read_checkpoint
from ram_agent.cli import main
from ram_agent.cli.notice import unmeasured
from ram_agent.cli.picture_files import file_names
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import dump_config, load_config
from ram_agent.evaluation import Evaluation
from ram_agent.export import AGENT
from ram_agent.gaze import Gaze, glimpse_paths
from ram_agent.pictures import write_figure
from ram_agent.report import hardest_first
from ram_agent.rollout import rollout
from ram_agent.sensor import make_sensor
from ram_agent.spectator import watch
from ram_agent.stored import final_results
from tests.making import make_config, unchecked
from tests.photographs import COLOURS, GARMENTS, make_garments, make_photographs

Say = Callable[..., str]
SENSORS = {
    "crop": {"kind": "crop", "size": 6, "scales": 2, "reach": 0.8},
    "gaussian": {"kind": "gaussian", "size": 5, "scales": 1, "strides": (0.6, 1.5), "sigmas": (0.3, 1.5)},
    "stn": {"kind": "stn", "size": 4, "scales": 3, "strides": (0.7, 1.6)},
}


def trained(folder: Path, images: Path, kind: str, *options: str, **sections: dict) -> Path:
    config = make_config(
        sensor=SENSORS[kind],
        training={"method": "reinforce" if kind == "crop" else "pathwise", "episodes": 64, "batch": 8},
        environment={"glimpses": 3, "first_window": "centre"},
        run={"threads": 1, "progress": False, "pictures": 2, "tensorboard": False},
        **sections,
    )
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(dump_config(config))
    given = [str(folder / "mine.yaml"), "--images.source", str(images), "--run.folder", str(folder / "run"), *options]
    assert main(["train", *given]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photographs(tmp_path_factory.mktemp("mine") / "animals")


@pytest.fixture(scope="module")
def coloured(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run a sensor over photographs, on canvases that are not square."""
    base, plain = (
        tmp_path_factory.mktemp("coloured"),
        {"kind": "plain", "height": 16, "width": 24, "clutter": 3, "clutter_size": 5},
    )
    return {kind: trained(base / kind, photographs, kind, "--images.size", "16,24", scene=plain) for kind in SENSORS}


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over IDX files with names, on canvases larger than the images."""
    base = tmp_path_factory.mktemp("grey")
    garments = make_garments(base / "fashion", side=10)
    (garments / NAMES_FILE).write_text("\n".join(GARMENTS))
    return trained(base / "crop", garments, "crop")


@pytest.fixture(scope="module")
def few(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs with a fourth class, of one picture."""
    folder = tmp_path_factory.mktemp("few") / "odd"
    shutil.copytree(photographs, folder)
    (folder / "yak").mkdir()
    shutil.copy(photographs / "owl" / "000.png", folder / "yak")
    return folder


@pytest.fixture(scope="module")
def thin(few: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run over that, and what its training said."""
    base, plain = tmp_path_factory.mktemp("thin"), {"kind": "plain", "height": 16, "width": 24, "clutter_size": 5}
    told = io.StringIO()
    with redirect_stderr(told):
        run = trained(base / "crop", few, "crop", "--images.size", "16,24", scene=plain)
    return run, told.getvalue()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command says; it must go well."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Say:
    """The one line that a command is refused with."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err

    return run


def gaze_of(run: Path) -> Gaze:
    """The best policy of a run on all of its test images."""
    config = load_config(run / "config.yaml")
    world = ConfiguredWorld(config, load_images(config.images.source, size=config.images.size))
    policy = best_policy(read_checkpoint(run / "checkpoints" / "agent.pt"), torch.device("cpu"))
    return watch(policy, world.environment("test", world.images_in("test")))


def written(folder: Path, run: Path, count: int) -> list[Path]:
    """The first test images of a run as picture files."""
    config = load_config(run / "config.yaml")
    pixels = load_images(config.images.source, size=config.images.size).test.pixels[:count]
    files = [folder / f"{number}.png" for number in range(count)]
    for file, image in zip(files, pixels.permute(0, 2, 3, 1).numpy(), strict=True):
        Image.fromarray(image.squeeze()).save(file)
    return files


def answers_in(out: str) -> list[tuple[str, float]]:
    return [(name, float(share)) for name, share in re.findall(r"^  answer     (.+?) ([\d.]+) %", out, re.MULTILINE)]


@pytest.mark.parametrize("kind", SENSORS)
def test_a_run_is_measured_class_by_class_under_the_names_of_the_folders(
    kind: str, coloured: dict[str, Path], say: Say, tmp_path: Path
) -> None:
    run, matrix = coloured[kind], tmp_path / "new" / "confusion.png"
    assert read_checkpoint(run / "checkpoints" / "agent.pt")["classes"] == sorted(COLOURS)
    out = say("evaluate", run, "--confusion", matrix)
    results = final_results(run)
    assert results is not None
    for fared in results["error_by_class"]:
        assert re.search(rf"    {fared['name']} +{fared['error']:.2f} % of {fared['images']}", out)
    images = sum(fared["images"] for fared in results["error_by_class"])
    wrong = sum(fared["images"] * fared["error"] / 100 for fared in results["error_by_class"])
    assert 100 * wrong / images == pytest.approx(results["test_error"])
    for picture in (matrix, run / "figures" / "confusion_matrix.png"):
        Image.open(picture).verify()


def test_a_class_without_test_images_is_warned_of_and_stands_in_the_tables(
    thin: tuple[Path, str], few: Path, say: Say, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, told = thin
    assert "warning: class yak: 1 image, none for testing, none for validation; errors there tell nothing of it" in told
    assert "class fox" not in told
    fared = (final_results(run) or {})["error_by_class"]
    assert [each["name"] for each in fared] == ["fox", "frog", "owl"]  # what was measured, and no more
    for shown, warned in (([], "class yak: 1 image, none for testing, none"), (["--images", few], "class yak: none ")):
        assert main([str(argument) for argument in ("evaluate", run, *shown)]) == 0
        out, err = capsys.readouterr()
        assert out.endswith("\n    yak        –   of 0\n")
        assert f"warning: {warned}" in err
    say("export", run, "--out", tmp_path / "export", "--no-graph")
    card = (tmp_path / "export" / "README.md").read_text()
    assert "It tells apart 4 classes" in card
    assert re.search(r"\| \d+ \| [\d.]+ \| \w* \|\n\| yak \| 0 \| – \| \|\n\n", card)


def test_classes_that_shown_images_do_not_have_are_not_missed(
    thin: tuple[Path, str], photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(thin[0]), "--images", str(photographs)]) == 0
    out, err = capsys.readouterr()
    assert "yak  " not in out
    assert "yak" not in err


def test_of_many_classes_without_test_images_some_are_named() -> None:
    blank = ImageSet(torch.zeros(9, 1, 2, 2, dtype=torch.uint8), torch.arange(9))
    first = ImageSet(blank.pixels[:1], blank.labels[:1])
    data = ImageData("nine", blank, first, first, tuple("abcdefghi"), "")
    line = unmeasured(data, data.classes, ("test",))
    assert line.startswith("class b: 1 image, none for testing; class c: 1 image, none for testing; class d:")
    assert "class f: 1 image, none for testing; 3 more classes likewise; errors" in line
    measured = [{"name": "a", "images": 1, "error": 0.0, "taken_for": ""}]
    assert hardest_first(measured, data.classes) == (measured, list("bcdefghi"))


def test_an_export_whose_images_are_not_here_is_refused_with_the_option_that_helps(
    thin: tuple[Path, str], few: Path, say: Say, refuse: Say, tmp_path: Path
) -> None:
    export = tmp_path / "export"
    say("export", thin[0], "--out", export, "--no-graph")
    told = "images: an export knows them by name (odd), not where they lie: "
    for command in ("evaluate", "render"):
        assert f"{told}give --images FOLDER\n" in refuse(command, export)
    for begun in (("-i", export), (export / "config.yaml",), (export / "results.json",)):
        assert f"{told}give --images.source FOLDER\n" in refuse("train", *begun, "--run.folder", tmp_path / "run")
    wrong = refuse("train", "-i", export, "--images.source", tmp_path / "none")
    assert "expected one of auto" in wrong
    say("evaluate", export, "--images", few)
    say("compare", export, "--out", tmp_path / "alone", "--no-time")
    alone = (tmp_path / "alone" / "comparison.md").read_text()
    assert f"{told}compare a run on the same images with it" in alone


def test_a_run_whose_images_have_moved_is_refused_with_the_option_that_helps(
    few: Path, say: Say, refuse: Say, tmp_path: Path
) -> None:
    there, moved, plain = tmp_path / "there", tmp_path / "moved", {"kind": "plain", "height": 16, "width": 24}
    shutil.copytree(few, there)
    run = trained(tmp_path / "crop", there, "crop", "--images.size", "16,24", scene=plain | {"clutter_size": 5})
    table = say("evaluate", run)
    assert "--images.source: got digits beside --images" in refuse(
        "evaluate", run, "--images", there, "--images.source", "digits"
    )
    there.rename(moved)
    assert refuse("evaluate", run).endswith(f"; where the images of {run} have moved: --images PATH\n")
    assert say("evaluate", run, "--images", moved).split("\n", 1)[1] == table.split("\n", 1)[1]


def test_pictures_that_are_not_read_are_told_in_one_line_of_a_command(
    photographs: Path, coloured: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photographs, tmp_path / "deep")
    shutil.copytree(photographs / "fox", tmp_path / "deep" / "fox" / "sub")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["evaluate", str(coloured["crop"]), "--images", str(tmp_path / "deep")]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "sub-folders" in line]
    assert line.startswith(f"warning: {tmp_path / 'deep'}: 12 pictures in sub-folders of fox are not read; move up")


@pytest.mark.parametrize("kind", SENSORS)
def test_a_picture_file_is_answered_as_the_test_image_that_it_holds(
    kind: str, coloured: dict[str, Path], say: Say, tmp_path: Path
) -> None:
    run = coloured[kind]
    gaze = gaze_of(run)
    files = written(tmp_path, run, 3)
    out = say("evaluate", run, "--images", *files)
    expected = [
        (gaze.classes[int(gaze.answers[-1, lane])], pytest.approx(100 * float(gaze.probability[-1, lane]), abs=0.06))
        for lane in range(3)
    ]
    assert answers_in(out) == expected
    looks = re.findall(r"^  glimpse \d  at \((-?\d+), (-?\d+)\)", out, re.MULTILINE)
    centres = (gaze.boxes[:, :3, 0, :2] + gaze.boxes[:, :3, 0, 2:]) / 2
    exact = centres.transpose(0, 1).reshape(-1, 2).numpy()
    np.testing.assert_allclose(np.array(looks, float), exact, atol=1.01)  # a crop lies on whole pixels, its centre not


@pytest.mark.parametrize("kind", SENSORS)
def test_render_draws_picture_files_beside_the_pictures_of_the_run(
    kind: str, coloured: dict[str, Path], photographs: Path, say: Say
) -> None:
    run = coloured[kind]
    before = {path: path.stat().st_mtime_ns for path in (run / "figures").iterdir()}
    out = say("render", run, "--images", photographs / "owl" / "001.jpg", photographs / "fox" / "000.png")
    folder = run / "figures" / "2 pictures"
    assert out.split("\n")[:-1] == [str(folder / f"glimpse_{name}") for name in ("paths.png", "paths.gif", "strip.png")]
    with Image.open(folder / "glimpse_paths.gif") as animation:
        assert animation.n_frames == 4  # one a look, and the answer
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_render_writes_the_names_of_picture_files_above_them(
    coloured: dict[str, Path], photographs: Path, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With their folders where two are called the same."""
    drawn: list[Figure] = []
    monkeypatch.setattr("ram_agent.spectator.write_figure", lambda figure, _: drawn.append(figure))
    other = tmp_path / "000.png"
    other.write_bytes((photographs / "fox" / "000.png").read_bytes())
    files = [photographs / "owl" / "001.jpg", photographs / "fox" / "000.png"]
    say("render", coloured["crop"], "--images", *files)
    paths, strip = drawn
    assert [ax.get_title().split("\n")[0] for ax in paths.axes] == ["001.jpg", "000.png"]
    assert strip.texts[0].get_text().startswith("001.jpg\n")
    say("render", coloured["crop"], "--images", files[1], other)
    assert file_names([files[1], other]) == (str(files[1]), str(other))
    first, second = (ax.get_title().split("\n")[0] for ax in drawn[2].axes)
    assert "…" in first + second
    assert first.endswith("000.png")


def test_render_draws_other_scenes_beside_the_pictures_of_the_run(coloured: dict[str, Path], say: Say) -> None:
    run = coloured["crop"]
    before = {path: path.stat().st_mtime_ns for path in (run / "figures").iterdir() if path.is_file()}
    scene = load_config(run / "config.yaml").scene
    out = say("render", run, "--scene.kind", "translated", "--scene.height", scene.height + 2, "--count", 2)
    assert str(run / "figures" / f"translated_{scene.height + 2}x{scene.width}" / "glimpse_paths.png") in out
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_picture_is_answered_alike_wherever_it_stands(coloured: dict[str, Path], say: Say, tmp_path: Path) -> None:
    """Also by an agent whose first look falls anywhere."""
    run = tmp_path / "run"
    shutil.copytree(coloured["crop"], run)
    config = load_config(run / "config.yaml", {"environment.first_window": "random"})
    (run / "config.yaml").write_text(dump_config(config))
    one, other = written(tmp_path, run, 2)
    answers = answers_in(say("evaluate", run, "--images", one, one, other, one))
    assert answers[0] == answers[1] == answers[3]


def test_of_its_own_images_a_run_is_shown_those_that_it_was_tested_on(
    coloured: dict[str, Path], photographs: Path, say: Say
) -> None:
    """Most of a source without splits it was trained on."""
    results = final_results(coloured["crop"]) or {}
    told = say("evaluate", coloured["crop"], "--images", photographs)
    assert f"{results['test_error']:.2f}" in told
    assert f"{results['test_images']} images" in told
    assert results["test_images"] < 100
    assert "  few test images: " in told


def test_images_that_are_others_by_now_are_all_shown_and_said_to_flatter(
    coloured: dict[str, Path], photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    altered = tmp_path / photographs.name
    shutil.copytree(photographs, altered)
    shutil.copy(photographs / "owl" / "000.png", altered / "owl" / "again.png")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["evaluate", str(coloured["crop"]), "--images", str(altered)]) == 0
    out, err = capsys.readouterr()
    assert "are others by now; any that it was trained on are among them" in err
    assert err.partition("all ")[2].split()[0] in out
    assert main(["evaluate", str(coloured["crop"]), "--images", str(photographs)]) == 0
    assert "others by now" not in capsys.readouterr().err


def test_an_export_is_compared_over_the_images_of_a_run_beside_it(
    coloured: dict[str, Path], say: Say, tmp_path: Path
) -> None:
    """It keeps the name of its images alone; beside its own run, it is the one that is left out."""
    export = tmp_path / "export"
    say("export", coloured["crop"], "--out", export, "--no-graph")
    say("compare", export, coloured["gaussian"], "--out", tmp_path / "apart", "--no-time")
    told = (tmp_path / "apart" / "comparison.md").read_text()
    assert re.search(r"paired, [\d,]+ images", told)
    assert "was not evaluated here" not in told
    say("compare", export, coloured["crop"], "--out", tmp_path / "same", "--no-time")
    assert (
        f"- {export}: the same method and seed (1) as {coloured['crop']}"
        in (tmp_path / "same" / "comparison.md").read_text()
    )


def test_pictures_of_one_class_alone_are_measured(
    coloured: dict[str, Path], photographs: Path, say: Say, tmp_path: Path
) -> None:
    (tmp_path / "field").mkdir()
    (tmp_path / "field" / "owl").symlink_to(photographs / "owl")
    told = say("evaluate", coloured["crop"], "--images", tmp_path / "field")
    assert re.search(r"  error by class, the hardest first:\n    owl +[\d.]+ % of [\d,]+", told)
    assert "fox" not in told.partition("taken for")[0]


def test_render_wrong_draws_what_is_answered_wrongly_and_that_alone(
    grey: Path, say: Say, refuse: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's own answers are made the labels of its images, all but those of two."""
    gaze, config = gaze_of(grey), load_config(grey / "config.yaml")
    pixels = load_images(config.images.source).test.pixels[:, 0].numpy()
    labels = gaze.answers[-1].numpy().copy()
    others = tmp_path / "others.npz"
    labels[[3, 8]] = (labels[[3, 8]] + 1) % len(gaze.classes)
    np.savez(others, images=pixels, labels=labels, class_names=np.array(gaze.classes))
    out = say("render", grey, "--images", others, "--wrong")
    folder = grey / "figures" / "others.npz" / "wrong"
    assert out.split("\n")[:-1] == [str(folder / f"glimpse_{name}") for name in ("paths.png", "paths.gif", "strip.png")]
    policy = best_policy(read_checkpoint(grey / "checkpoints" / "agent.pt"), torch.device("cpu"))
    world = ConfiguredWorld(config, load_images(config.images.source))
    for count, name in ((2, "both"), (1, "one")):
        seen = watch(policy, world.environment("test", count), [3, 8][:count])
        seen = seen._replace(target=torch.from_numpy(labels[[3, 8][:count]]))
        write_figure(glimpse_paths(seen), tmp_path / f"{name}.png")
    assert (folder / "glimpse_paths.png").read_bytes() == (tmp_path / "both.png").read_bytes()
    say("render", grey, "--images", others, "--wrong", "--count", 1, "--out", tmp_path / "one")
    assert (tmp_path / "one" / "glimpse_paths.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    right = Evaluation(labels[None], labels, np.zeros((1, len(labels), 2), dtype=np.float32))
    monkeypatch.setattr("ram_agent.cli.render.evaluate", lambda *_, **__: right)
    nothing = say("render", grey, "--images", others, "--wrong", "--out", tmp_path / "none")
    assert nothing == f"none of {len(labels)} images is answered wrongly: nothing to draw\n"
    assert not (tmp_path / "none").exists()
    (file,) = written(tmp_path, grey, 1)
    assert "--wrong: expected images with labels, got picture files" in refuse(
        "render", grey, "--images", file, "--wrong"
    )


def test_a_picture_lies_in_the_middle_at_the_size_that_was_trained_on(grey: Path, say: Say, tmp_path: Path) -> None:
    """Enlarged tenfold it is the same picture; laid by hand on a canvas, it is that canvas."""
    (file,) = written(tmp_path, grey, 1)
    small = Image.open(file)
    small.resize((100, 100), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    canvas = Image.new("L", (22, 18))
    canvas.paste(small, (6, 4))
    canvas.save(tmp_path / "canvas.png")
    out = say("evaluate", grey, "--images", file, tmp_path / "canvas.png", tmp_path / "large.png")
    as_it_is, laid, enlarged = answers_in(out)
    assert as_it_is == laid
    assert enlarged == (laid[0], pytest.approx(laid[1], abs=2))
    assert "10x10 (height x width), at 10x10 on the 18x22 canvas" in out
    assert "100x100 (height x width), at 10x10 on the 18x22 canvas" in out
    (first, second, third) = re.findall(r"glimpse 1  at \((\d+), (\d+)\)", out)
    assert (first, second, third) == (("5", "5"), ("11", "9"), ("50", "50"))  # the centre of the canvas


def test_the_size_that_pictures_of_different_sizes_are_told_to_take_can_be_taken(
    photographs: Path, refuse: Say, say: Say, tmp_path: Path
) -> None:
    few = ["--training.episodes", 100, "--evaluation.controls", "none", "--run.pictures", 0, "--run.progress", "false"]
    order = ["train", "smoke", "--images.source", photographs, "--run.folder", tmp_path / "run", "--threads", 1, *few]
    refused = refuse(*order)
    option = re.search(r"no larger than the canvas: (--images\.size) (\d+,\d+)", refused)
    assert option
    assert "  few test images: " in say(*order, *option.groups())


def test_with_plain_scenes_asked_for_a_picture_is_its_own_canvas(
    grey: Path, say: Say, refuse: Say, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name, size in (("wide", (30, 50)), ("high", (50, 30))):
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    plain = ("--scene.kind", "plain")
    out = say("evaluate", grey, "--images", tmp_path / "wide.png", *plain)
    assert "glimpse 1  at (25, 15)" in out
    assert "canvas" not in out
    both = refuse("evaluate", grey, "--images", tmp_path / "wide.png", tmp_path / "high.png", *plain)
    assert "high.png has another size than" in both
    assert "one by one, or without --scene.kind plain" in both


def test_colours_are_converted_to_those_that_were_trained_on(
    coloured: dict[str, Path], grey: Path, photographs: Path, say: Say, tmp_path: Path
) -> None:
    photograph = photographs / "frog" / "000.png"
    pixels = np.asarray(Image.open(photograph))
    Image.fromarray(in_channels(pixels, 1)[..., 0]).save(tmp_path / "luminance.png")
    out = say("evaluate", grey, "--images", photograph, tmp_path / "luminance.png")
    colour, luminance = answers_in(out)
    assert colour == luminance
    assert out.count("(height x width), taken as grey, at") == 1
    out = say("evaluate", coloured["crop"], "--images", tmp_path / "luminance.png")
    assert "(height x width), grey taken as RGB, at" in out


def test_names_of_a_file_are_told_for_picture_files_and_for_classes(grey: Path, say: Say, tmp_path: Path) -> None:
    out = say("evaluate", grey)
    assert all(re.search(rf"^    {name} +[\d.]+ % of 10", out, re.MULTILINE) for name in GARMENTS)
    ((name, _),) = answers_in(say("evaluate", grey, "--images", *written(tmp_path, grey, 1)))
    assert name in GARMENTS


def test_what_cannot_be_shown_is_refused_in_one_line(
    grey: Path, coloured: dict[str, Path], photographs: Path, refuse: Say, tmp_path: Path
) -> None:
    picture, broken = photographs / "fox" / "000.png", tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:100])
    assert "got digits among others" in refuse("evaluate", grey, "--images", picture, "digits")
    assert "expected a readable picture" in refuse("render", grey, "--images", broken)
    assert "none.png: no such file" in refuse("evaluate", grey, "--images", tmp_path / "none.png")
    confusion = refuse("evaluate", grey, "--images", picture, "--confusion", tmp_path / "c.png")
    assert "expected images with labels" in confusion
    assert "is a folder, expected a file" in refuse("evaluate", grey, "--confusion", tmp_path)
    assert "expected a name that ends in .png" in refuse("evaluate", grey, "--confusion", tmp_path / "c.jpg")
    many = refuse("render", grey, "--images", *[picture] * 161)
    assert "--images: got 161 picture files, expected at most 160 in a picture; --count 160 draws the first" in many
    cluttered = refuse("evaluate", grey, "--images", picture, "--scene.kind", "cluttered")
    assert "--scene.kind: got cluttered for picture files, expected plain, or nothing" in cluttered
    text = tmp_path / "photo.heic"
    text.write_text("")
    assert "single pictures: evaluate, render --images" in refuse("evaluate", grey, "--images", text)
    colours = refuse("evaluate", grey, "--images", photographs, "--images.size", "10,10")
    assert "classes fox, frog, owl, which this run never learned; it knows Ankle boot" in " ".join(
        colours.replace(", ".join(GARMENTS), ", ".join(sorted(GARMENTS))).split()
    )
    assert "images.size: expected a height and a width of 1 or more" in refuse(
        "evaluate", coloured["crop"], "--images.size", "0,4"
    )


def test_a_run_that_does_not_know_how_large_its_images_were_asks(
    grey: Path, refuse: Say, say: Say, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    (old / "checkpoints").mkdir(parents=True)
    (old / "config.yaml").write_bytes((grey / "config.yaml").read_bytes())
    saved = read_checkpoint(grey / "checkpoints" / "agent.pt")
    del saved["image_size"]
    torch.save(saved, old / "checkpoints" / "agent.pt")
    (file,) = written(tmp_path, grey, 1)
    assert "--images.size HEIGHT,WIDTH" in refuse("evaluate", old, "--images", file)
    assert say("evaluate", old, "--images", file, "--images.size", "10,10") == say("evaluate", grey, "--images", file)


def test_an_export_answers_as_its_run_does_and_its_card_names_the_classes(
    coloured: dict[str, Path], photographs: Path, say: Say, tmp_path: Path
) -> None:
    run, export, picture = coloured["gaussian"], tmp_path / "export", photographs / "owl" / "001.jpg"
    with unchecked():  # torch.export traces symbolic shapes
        say("export", run, "--out", export)
    assert not (export / "checkpoints").exists()
    assert say("evaluate", export, "--images", picture) == say("evaluate", run, "--images", picture)
    again = say("evaluate", export, "--images", photographs)  # where they lay is not in what is shared
    assert again.splitlines()[1:] == say("evaluate", run, "--images", photographs).splitlines()[1:]
    say("render", export, "--images", picture, "--out", tmp_path / "pictures")
    assert (tmp_path / "pictures" / "glimpse_paths.gif").is_file()
    assert (export / AGENT).is_file()
    card = (export / "README.md").read_text()
    assert "3 classes: fox, frog, owl." in card
    for fared in (final_results(run) or {})["error_by_class"]:
        assert f"| {fared['name']} | {fared['images']} | {fared['error']:.2f} | {fared['taken_for']} |" in card


@pytest.mark.parametrize("kind", SENSORS)
def test_the_sample_of_a_card_makes_the_environment_of_the_run(
    kind: str,
    coloured: dict[str, Path],
    photographs: Path,
    say: Say,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = coloured[kind]
    with unchecked():
        say("export", run, "--out", tmp_path / "export")
    samples = re.findall(r"```python\n(.+?)```", (tmp_path / "export" / "README.md").read_text(), re.DOTALL)
    config = load_config(run / "config.yaml")
    data = load_images(config.images.source, size=config.images.size)
    space: dict = {}
    for sample in samples:
        exec(sample.replace("PATH OF YOUR IMAGES", str(photographs)).replace("FOLDER", str(tmp_path / "export")), space)
    env, ours = space["env"], ConfiguredWorld(config, data).environment("train", 8)
    assert env.sensor == make_sensor(**config.sensor.model_dump())
    for field in fields(SceneMaker):
        if field.name != "images":
            assert getattr(env.scenes, field.name) == getattr(ours.scenes, field.name), field.name
    assert (env.num_envs, env.glimpses, env.tensors) == (8, 3, True)
    assert space["agent"].policy.blueprint.classes == 3
    said = capsys.readouterr().out
    assert len(samples) == 2
    assert said == f"{[data.classes[label] for label in acted(run, env)]}\n"


def acted(run: Path, env: GlimpseVectorEnv) -> list[int]:
    """What the best policy of a run answers in the end, at mean locations."""
    policy = best_policy(read_checkpoint(run / "checkpoints" / "agent.pt"), torch.device("cpu"))
    with torch.no_grad():
        return rollout(policy, env, seed=1).logits[-1].argmax(dim=-1).tolist()
