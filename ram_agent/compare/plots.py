"""Methods held against one another, as pictures. Pure functions from data to `Figure`, in the inks of `figures`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from ram_agent.compare.curves import SIGNAL_OVER, Bundle, Points, bundle, running_mean
from ram_agent.compare.gather import Run, Validated, estimator_order
from ram_agent.figures import (
    INK,
    LABEL,
    LINE_STYLES,
    POINTS,
    SMALL,
    TITLE,
    level,
    logarithmic,
    panel_size,
    ruled,
)
from ram_agent.full_image import NETWORKS
from ram_agent.gaze import Gaze, farthest, image_grid, show_path

DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))

Measure = Callable[[Run, Validated], float | None]
"""Where a validation stands on an axis; None where that is not known."""

MEASURES: dict[str, Measure] = {
    "episodes": lambda run, point: point.episodes,
    "seconds of updates": lambda run, point: point.seconds,
    "pixels seen": lambda run, point: None if run.pixels_trained is None else point.episodes * run.pixels_trained,
}


def known_measures(runs: Iterable[Run]) -> list[str]:
    """Against what any of the runs has a learning curve."""
    validations = [(run, point) for run in runs for point in run.curve]
    return [name for name, measure in MEASURES.items() if any(measure(*each) is not None for each in validations)]


def validation_curves(methods: Mapping[str, Sequence[Run]], images: str) -> Figure | None:
    """Validation error against episodes, seconds of updates and pixels seen, an ink a method.

    Of several seeds the mean as a line and the range as a shade; what enters no mean is thin (see `curves.bundle`).
    None where no run has a curve. A run that does not know one of the three is left out of that panel, and a panel that
    no run knows from the figure.
    """
    shown = {name: runs for name, runs in methods.items() if any(run.curve for run in runs)}
    if not shown:
        return None
    every = [run for runs in shown.values() for run in runs]
    measures = known_measures(every)
    names = [_of_seeds(name, _bundle(runs, MEASURES["episodes"]).seeds) for name, runs in shown.items()]
    inks = [_ink(number) for number, name in enumerate(methods) if name in shown]  # the same in every picture
    width = 3.2 * max(2, len(measures))
    figure = Figure(figsize=(width, 3.2 + _legend_height(names, width)), layout="constrained")
    axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    errors = [point.error for run in every for point in run.curve]
    for ax, label in zip(axes, measures, strict=True):
        for ink, runs in zip(inks, shown.values(), strict=True):
            _plot(ax, _bundle(runs, MEASURES[label]), ink)
        _error_axis(ax, errors)
        ax.set_xlabel(label, fontsize=LABEL)
        if label != "seconds of updates":  # k and M are known of episodes; 500m of a second is no time that people read
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.set_xlim(left=0)
    axes[0].set_ylabel(f"validation error (%), {images}", fontsize=LABEL)
    _legend(figure, names, inks, width)
    return figure


def errors_by_glimpse(methods: Mapping[str, Sequence[Run]], images: str) -> Figure | None:
    """Test error of the answer after each glimpse: mean and range over the seeds that were measured.

    A network that sees the whole canvas at once is drawn level, without marks: it has no glimpses. None where no run
    was measured.
    """
    curves = {name: [run.measured.error_by_glimpse for run in runs if run.measured] for name, runs in methods.items()}
    curves = {name: errors for name, errors in curves.items() if errors}
    if not curves:
        return None
    looks = max(len(errors) for members in curves.values() for errors in members)
    width = 5.6
    names = [_of_seeds(name, len(members)) for name, members in curves.items()]
    figure = Figure(figsize=(width, 3.2 + _legend_height(names, width)), layout="constrained")
    ax = figure.subplots()
    inks = []
    for number, (name, runs) in enumerate(methods.items()):
        if name not in curves:
            continue
        members, whole = curves[name], runs[0].role in NETWORKS
        inks.append(_ink(number, marks=not whole or looks == 1))
        heights = [level(errors, looks) if whole else errors for errors in members]
        points = [np.column_stack([np.arange(1, len(errors) + 1), errors]) for errors in heights]
        _plot(ax, bundle(points), inks[-1])
    _error_axis(ax, [error for members in curves.values() for errors in members for error in errors])
    ax.set_xlabel("glimpses", fontsize=LABEL)
    ax.set_ylabel(f"test error (%), {images}", fontsize=LABEL)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _legend(figure, names, inks, width)
    return figure


def gradient_signal(methods: Mapping[str, Sequence[Run]], images: str) -> Figure | None:
    """Signal-to-noise of each estimator's gradient through training: mean and range over seeds.

    Logarithmic, but linear about 0: a ratio that is lost in the noise is measured below 0 as often as above, and to
    leave those out would flatter it. Each seed's curve is a running mean over `SIGNAL_OVER` evaluations. Ink and mark
    are the method's, dashes the estimator's. None without a number.
    """
    present = {estimator for runs in methods.values() for run in runs for estimator in run.signal}
    estimators = sorted(present, key=estimator_order)
    width = 6.4
    legend: dict[str, dict[str, Any]] = {}
    curves: list[tuple[dict[str, Any], Bundle]] = []
    for number, (name, runs) in enumerate(methods.items()):
        ink, seeds = _ink(number, marks=True), list[int]()
        for estimator in estimators:
            points = [np.array(run.signal.get(estimator, ()), float) for run in runs]
            points = [running_mean(each.reshape(-1, 2), SIGNAL_OVER) for each in points]
            if not any(map(len, points)):
                continue
            finished = [each for each, run in zip(points, runs, strict=True) if run.measured]
            members = bundle(finished, [each for each, run in zip(points, runs, strict=True) if not run.measured])
            curves.append((ink | {"linestyle": DASHES[estimators.index(estimator) % len(DASHES)]}, members))
            seeds.append(members.seeds)
        if seeds:
            legend[_of_seeds(name, max(seeds))] = ink | {"linestyle": "none", "markersize": 5}
    if not curves:
        return None
    for number, estimator in enumerate(estimators):
        legend[f"estimator {estimator}"] = _ink(0) | {"color": INK, "linestyle": DASHES[number % len(DASHES)]}
    figure = Figure(figsize=(width, 3.2 + _legend_height(list(legend), width)), layout="constrained")
    ax = figure.subplots()
    for ink, members in curves:
        _plot(ax, members, ink)
    ax.set_yscale("symlog", linthresh=0.1)
    ax.axhline(0, color="#777777", linewidth=0.6)
    ruled(ax)
    ax.set_xlabel("episodes", fontsize=LABEL)
    ax.set_ylabel(f"gradient signal-to-noise, {images}", fontsize=LABEL)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlim(left=0)
    _legend(figure, list(legend), list(legend.values()), width)
    return figure


def paths_side_by_side(gazes: Mapping[str, Gaze]) -> Figure:
    """A row a method, a column an image: the same test images, with the path that each method's gaze took."""
    far = max(map(farthest, gazes.values()))
    gazes = {name: gaze.within(far) for name, gaze in gazes.items()}
    first = next(iter(gazes.values()))
    lanes, (height, width) = len(first.target), first.canvas.shape[-2:]
    panel = panel_size(height, width, 1.5)
    verdict = 0.4 if first.has_long_names else 0.25
    room = verdict + 0.35  # inches: between the method's name and the row above it there is some air
    figure, axes = image_grid([panel[0]] * lanes, [panel[1]] * len(gazes), between=(0.12, room), top=room)
    across, down = figure.get_size_inches()
    for row, (name, gaze) in zip(axes, gazes.items(), strict=True):
        for lane, ax in enumerate(row):
            show_path(ax, gaze, lane, panel[0])
        above = row[0].get_position().y1 + verdict / down
        figure.text(0.1 / across, above, name, fontsize=TITLE, color=INK, va="bottom", weight="bold")
    return figure


# ---------------------------------------------------------------- pieces of pictures


def _ink(number: int, *, marks: bool = False) -> dict[str, Any]:
    """The look of the curves of method `number`: other dashes and markers each time the colours begin anew."""
    again, colour = divmod(number, len(LINE_STYLES))
    dashes = LINE_STYLES[(colour + again) % 4][1]
    marker = LINE_STYLES[(colour + again) % len(LINE_STYLES)][2]
    return {
        "color": LINE_STYLES[colour][0],
        "linestyle": dashes,
        "linewidth": 1.3,
        "marker": marker if marks else "",
        "markersize": 3.5,
    }


def _bundle(runs: Sequence[Run], measure: Measure) -> Bundle:
    """The validation errors of one method's runs."""

    def points(run: Run) -> Points:
        values = [(measure(run, point), point.error) for point in run.curve]
        return np.array([pair for pair in values if pair[0] is not None], dtype=float).reshape(-1, 2)

    finished = [points(run) for run in runs if run.measured]
    return bundle(finished, [points(run) for run in runs if not run.measured])


def _plot(ax: Axes, curves: Bundle, ink: Mapping[str, Any]) -> None:
    for points in curves.alone:
        thin: dict[str, Any] = {**ink, "linewidth": 0.6, "alpha": 0.7, "marker": "." if len(points) == 1 else ""}
        ax.plot(points[:, 0], points[:, 1], **thin)
    if len(curves.x):
        if (curves.high > curves.low).any():
            ax.fill_between(curves.x, curves.low, curves.high, color=ink["color"], alpha=0.18, linewidth=0, zorder=1)
        thick: dict[str, Any] = {**ink, "marker": ink["marker"] or ("." if len(curves.x) == 1 else "")}
        ax.plot(curves.x, curves.mean, **thick)


def _of_seeds(name: str, seeds: int) -> str:
    return f"{name}, mean of {seeds} seeds" if seeds > 1 else name


def _error_axis(ax: Axes, errors: Sequence[float]) -> None:
    """Logarithmic where errors differ by much: late in training is where methods part."""
    if errors and min(errors) > 0 and max(errors) > 5 * min(errors):
        logarithmic(ax)
    else:
        ax.set_ylim(0, 1.06 * max(errors, default=100) or 1)
    ruled(ax)


def _legend(figure: Figure, names: Sequence[str], inks: Sequence[Mapping[str, Any]], width: float) -> None:
    lines = [Line2D([], [], **ink) for ink in inks]
    figure.legend(
        lines, names, loc="outside lower left", ncols=_columns(names, width), frameon=False, fontsize=SMALL,
        handlelength=3,
    )  # fmt: skip


def _columns(names: Sequence[str], width: float) -> int:
    """How many names stand beside one another in `width` inches."""
    one = (0.62 * SMALL * max(map(len, names)) + 6 * SMALL) / POINTS
    return max(1, min(len(names), int(width / one)))


def _legend_height(names: Sequence[str], width: float) -> float:
    lines = -(-len(names) // _columns(names, width))
    return 1.6 * SMALL * lines / POINTS
