"""What a comparison says of a pair, and how it is written down."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from ram_agent.compare.comparison import compare
from ram_agent.compare.document import Bullets, Heading, Paragraph, Table, html, markdown
from ram_agent.compare.errors import _intervals, sentence
from ram_agent.compare.gather import gather
from ram_agent.compare.statistics import Contrast, Estimate, Split, Welch
from ram_agent.compare.subjects import Pair
from ram_agent.config import ConfigError
from ram_agent.gaze import centres, count_fixations
from tests.making import make_measured


def pair(difference: Estimate, p: float, seeds: tuple[int, int], over_seeds: Welch | None = None) -> Pair:
    """The only one of its report: no p is adjusted."""
    split = Split(200, 80) if seeds == (1, 1) else None
    return Pair(
        "stn", "hard", Contrast(difference, split, p, 10_000), seeds, over_seeds, p, over_seeds and over_seeds.p
    )


CLEAR, UNCLEAR = Estimate(-1.2, 0.4), Estimate(-0.3, 0.4)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (
            pair(CLEAR, 1e-4, (3, 3), Welch(-1.2, 0.9, 0.01)),
            "stn is better than hard by 1.20 ± 0.40 points (paired, 10,000 images, 3 seeds each; ± 0.90 over seeds).",
        ),
        (
            pair(UNCLEAR, 0.2, (3, 4)),
            "stn and hard: no difference is shown (0.30 ± 0.40 points, paired, 10,000 images, 3 and 4 seeds).",
        ),
        (
            pair(UNCLEAR, 0.01, (1, 1)),
            "stn and hard: no difference is shown (0.30 ± 0.40 points, paired, 10,000 images, one seed each).",
        ),
        (
            pair(CLEAR, 1e-6, (1, 1)),
            "stn is better than hard by 1.20 ± 0.40 points (paired, 10,000 images, one seed each; "
            "of these trained agents: other seeds may differ).",
        ),
        (
            pair(CLEAR, 0.06, (1, 1)),
            "stn and hard: no difference is shown (1.20 ± 0.40 points, paired, 10,000 images, one seed each).",
        ),
        (
            pair(CLEAR, 0.06, (2, 2)),
            "stn and hard: no difference is shown (1.20 ± 0.40 points, paired, 10,000 images, 2 seeds each).",
        ),
    ],
)
def test_a_sentence_says_no_more_than_the_numbers_do(case: Pair, said: str):
    assert sentence(case) == said


def test_no_difference_is_none_that_is_written_with_a_minus():
    """A mean of differences that cancel out is 1e-17 at times."""
    assert "(0.00 ± 0.40 points" in sentence(pair(Estimate(1e-17, 0.4), 1.0, (3, 3)))


def test_seeds_that_scatter_more_than_methods_differ_show_nothing():
    said = sentence(pair(CLEAR, 1e-4, (3, 3), Welch(-1.2, 2.5, 0.3)))
    assert "no difference is shown beyond the scatter of seeds" in said
    assert "is better" not in said
    assert said.endswith("but ± 2.50 over seeds.")


def test_what_one_comparison_would_show_many_may_not():
    """A sentence goes by what p is among all pairs of the report."""
    alone = pair(CLEAR, 0.01, (3, 3), Welch(-1.2, 0.9, 0.02))
    assert "is better" in sentence(alone)
    assert "no difference is shown (1.20 ± 0.40 points" in sentence(replace(alone, p=0.06))
    said = sentence(replace(alone, p_over_seeds=0.06))
    assert "no difference is shown beyond the scatter of seeds." in said
    assert said.endswith("but ± 0.90 over seeds, too little for as many comparisons.")


def test_a_sentence_says_where_nothing_is_known_image_by_image():
    alone = pair(CLEAR, 1e-6, (1, 1))
    alone = replace(alone, over_images=replace(alone.over_images, paired=False))
    assert sentence(alone) == (
        "stn is better than hard by 1.20 ± 0.40 points (not paired, 10,000 images, one seed each; of these trained "
        "agents: other seeds may differ)."
    )


def test_markdown_keeps_a_bar_inside_its_cell():
    table = markdown([Table(("method", "=error"), (("a|b", "1.0"),))])
    assert table.splitlines() == ["| method | error |", "|---|---:|", "| a\\|b | 1.0 |"]


def test_html_escapes_what_it_is_given():
    page = html([Heading("<b>", 1), Paragraph("a < `b & c`"), Bullets(("<script>",))], Path(), "<t>")
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)
    parser.feed(page)
    assert not {"b", "script", "t"} & set(tags)
    assert "a &lt; <code>b &amp; c</code>" in page


def test_fixations_are_counted_where_the_windows_are():
    """On a 60×30 canvas a cell is 2×2 pixels. The first look, in the middle, is not counted."""
    middles = torch.tensor([[15.0, 30.0], [0.5, 0.5], [29.0, 59.5], [99.0, -9.0]])  # x, y
    boxes = torch.cat([middles - 6, middles + 6], dim=1).reshape(4, 1, 4)
    counts = count_fixations(centres(boxes.numpy()), (60, 30))
    assert counts.shape == (30, 15)
    assert counts.sum() == 3
    assert counts[0, 0] == counts[29, 14] == counts[0, 14] == 1


@pytest.mark.parametrize(
    ("size", "cells"), [((84, 84), (30, 30)), ((42, 42), (30, 30)), ((28, 100), (8, 30)), ((5, 100), (2, 30))]
)
def test_cells_cover_the_canvas_and_no_more(size: tuple[int, int], cells: tuple[int, int]):
    """A look in each pixel's middle: all cells have about as many, the last ones too."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    points = np.stack([columns + 0.5, rows + 0.5], axis=-1).reshape(1, -1, 2).astype(float)
    counts = count_fixations(points, size)
    assert counts.shape == cells
    fair = counts.size and counts.sum() / counts.size
    assert counts.min() > 0.3 * fair
    assert counts.max() < 2.5 * fair


METRICS = """step,images,time/seconds,eval/error
100,digits,10.0,
150,digits,,40.0
200,digits,30.0,
250,digits,,20.0
"""


def test_seconds_of_a_validation_lie_between_those_of_the_training_rows(tmp_path: Path):
    """150 is half way between 10 s and 30 s; 250 is past the last row, at its mean rate of 30 s for 200."""
    (tmp_path / "config.yaml").write_text("name: hard\n")
    (tmp_path / "metrics.csv").write_text(METRICS)
    (run,) = gather([tmp_path]).runs
    assert [(point.episodes, point.seconds, point.error) for point in run.curve] == [(150, 20.0, 40.0), (250, 37.5, 20)]
    assert run.episodes == 250
    assert run.validation_error == 20.0


def test_a_run_that_went_on_after_an_interruption_is_told_as_it_stands_now(tmp_path: Path):
    """results.json is that of the interruption; the rows go further. A finished run's results are final."""
    (tmp_path / "config.yaml").write_text("name: hard\n")
    (tmp_path / "metrics.csv").write_text(METRICS)
    then = {"interrupted": True, "seconds": 12.0, "episodes": 120, "validation_errors": {"learned": 50.0}}
    (tmp_path / "results.json").write_text(json.dumps(then))
    (run,) = gather([tmp_path]).runs
    assert (run.episodes, run.seconds, run.validation_error) == (250, 30.0, 20.0)
    measured = {"test_error": 9.0, "test_error_ci95": [8, 10], "test_error_sampled": 9.0, "test_error_voted": 9.0}
    final = then | measured | {"votes": 10, "test_images": 100, "error_by_glimpse": [9.0]}
    (tmp_path / "results.json").write_text(json.dumps(final))
    (run,) = gather([tmp_path]).runs
    assert (run.episodes, run.seconds, run.validation_error) == (120, 12.0, 50.0)


def test_a_number_that_has_gone_bad_is_not_read(tmp_path: Path):
    """A training that met NaN has said so; here its row is one without that number."""
    (tmp_path / "config.yaml").write_text("name: hard\n")
    (tmp_path / "metrics.csv").write_text(METRICS.replace("20.0\n", "nan\n"))
    (run,) = gather([tmp_path]).runs
    assert [point.error for point in run.curve] == [40.0]
    assert (run.episodes, run.validation_error) == (250, 40.0)


def test_a_row_that_was_cut_short_is_not_read(tmp_path: Path):
    """What a kill leaves: 20.0 cut to 2, or to something that is no number."""
    (tmp_path / "config.yaml").write_text("name: hard\n")
    for cut in ("2", "2e-", "\0\0"):
        (tmp_path / "metrics.csv").write_text(METRICS.removesuffix("20.0\n") + cut)
        (run,) = gather([tmp_path]).runs
        assert [point.error for point in run.curve] == [40.0]
        assert run.episodes == 200


def test_controls_without_errors_say_why(tmp_path: Path):
    """Of a run that was stopped at its first control, and of one whose control met NaN."""
    (tmp_path / "config.yaml").write_text("evaluation: {controls: [random, centre, raster]}\n")
    (tmp_path / "controls" / "random").mkdir(parents=True)
    learned, random = gather([tmp_path]).runs
    assert (random.role, learned.gaps[-1]) == ("random", "Its controls have not begun: centre, raster.")
    gone_bad = {"random": "random: update 7: classification loss nan. Diagnostic checkpoint: x"}
    done = make_measured(9.0) | {"controls": {role: make_measured(9.0) for role in ("centre", "raster")}}
    (tmp_path / "results.json").write_text(json.dumps(done | {"controls_gone_bad": gone_bad}))
    learned, random, *_ = gather([tmp_path]).runs
    assert not any("begun" in gap for gap in learned.gaps)
    assert random.gaps[-1] == ("It has no result: update 7: classification loss nan. Diagnostic checkpoint: x.")
    assert _intervals([random])[0] == "no result"
    compare(gather([tmp_path]), None, tmp_path / "out", timed=False)
    assert "not finished" not in (tmp_path / "out" / "comparison.md").read_text()
    assert [run.role for run in gather([tmp_path], controls=False).runs] == ["learned"]


def test_without_metrics_the_curve_is_the_one_that_results_hold(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("name: hard\n")
    curve = [{"episodes": 150, "validation_error": 40.0}, {"episodes": 250, "validation_error": 20.0}]
    (tmp_path / "results.json").write_text(json.dumps({"interrupted": True, "learning_curve": curve}))
    (run,) = gather([tmp_path]).runs
    assert [(point.episodes, point.seconds, point.error) for point in run.curve] == [(150, None, 40.0), (250, None, 20)]
    assert "metrics.csv is missing: the learning curve has no times." in run.gaps
    (tmp_path / "results.json").write_text(json.dumps({"interrupted": True, "learning_curve": [150]}))
    (run,) = gather([tmp_path]).runs
    assert "metrics.csv is missing: no learning curve." in run.gaps


def test_the_signal_of_the_gradient_is_read_by_estimator(tmp_path: Path):
    """100 has no evaluation, nan is no number, and `pathwise` never had one."""
    rows = "step,gradient/snr_learned,gradient/snr_pathwise\n100,,\n150,0.5,nan\n200,nan,\n250,0.25,\n"
    (tmp_path / "config.yaml").write_text("name: hard\n")
    (tmp_path / "metrics.csv").write_text(rows)
    (run,) = gather([tmp_path]).runs
    assert run.signal == {"learned": ((150, 0.5), (250, 0.25))}


def test_without_metrics_the_signal_is_the_one_that_results_hold(tmp_path: Path):
    """So that an export, which has no metrics, shows it, too."""
    (tmp_path / "config.yaml").write_text("name: hard\n")
    points = [{"episodes": 150, "none": 0.5, "learned": 0.75}, {"episodes": 250, "none": None}]
    for stored, read in (
        (points[:1], {"none": ((150, 0.5),), "learned": ((150, 0.75),)}),
        (points, {}),
        ([150], {}),
        (None, {}),
    ):
        (tmp_path / "results.json").write_text(json.dumps({"interrupted": True, "gradient_signal": stored}))
        (run,) = gather([tmp_path]).runs
        assert run.signal == read


def test_what_is_no_run_is_left_out_and_told_of_where_others_are_there(tmp_path: Path):
    """As of `runs/*`: the folder of a search, one of a training that was killed at its start, a sweep that waits."""
    folders = [tmp_path / name for name in ("run", "a_search", "table")]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "config.yaml").write_text("name: a\n")
    (folders[2] / "sweep.json").write_text(json.dumps({"jobs": [{"row": "x", "seed": 1}]}))
    gathered = gather(folders)
    assert [run.config.name for run in gathered.runs] == ["a"]
    search, sweep = gathered.left_out
    assert search.startswith(f"{folders[1]} is left out: run {folders[1]}: not a run folder (no config.yaml in it)")
    assert sweep.startswith(f"{folders[2]} is left out: sweep {folders[2]}: none of its 1 runs has begun")
    with pytest.raises(ConfigError, match="not a run folder"):
        gather(folders[1:])
    with pytest.raises(ConfigError, match="nowhere: no such folder or file"):
        gather([folders[0], tmp_path / "nowhere"])


def test_a_folder_named_twice_is_one_run(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("name: hard\n")
    assert len(gather([tmp_path, tmp_path / ".." / tmp_path.name]).runs) == 1


def test_a_folder_stands_where_it_was_first_named(tmp_path: Path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        (folder / "config.yaml").write_text(f"name: {folder.name}\n")
    assert [run.config.name for run in gather([*folders, folders[0]]).runs] == ["a", "b"]


def test_a_run_whose_configuration_cannot_be_read_is_left_out_and_told_of(tmp_path: Path):
    """Of another version, say; where none can be read there is nothing to compare."""
    folders = [tmp_path / name for name in "abc"]
    for folder, config in zip(folders, ["name: a", "training: {rate: 1}", "{"], strict=True):
        folder.mkdir()
        (folder / "config.yaml").write_text(config)
    gathered = gather(folders)
    assert [run.config.name for run in gathered.runs] == ["a"]
    unknown, torn = gathered.left_out
    assert unknown.startswith(f"{folders[1]} is left out: {folders[1] / 'config.yaml'}: training.rate: unknown setting")
    assert torn.startswith(f"{folders[2]} is left out: config {folders[2] / 'config.yaml'}: not YAML")
    compare(gathered, None, tmp_path / "out")
    assert f"- {unknown}" in (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8").splitlines()
    with pytest.raises(ConfigError, match=r"training\.rate: unknown setting"):
        gather(folders[1:])
