"""What a glimpse costs against the side of the canvas, as a picture."""

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from ram_agent.bench.report import Table
from ram_agent.bench.subject import NAMES
from ram_agent.figures import LABEL, LINE_STYLES, TITLE, style
from ram_agent.timing import Spread

BATCH = 256


def cost_by_canvas(table: Table) -> Figure:
    """Microseconds per glimpse against the canvas side, both logarithmic, one curve a kernel, from the sensor's table.

    Forward and backward (a crop has no backward), with the preparation of a canvas spread over the T glimpses of an
    episode; at batch 256, or the largest that was measured below it. It answers whether STN is faster than Gaussian
    attention, and how that grows with the canvas.
    """
    rows = [row for row in table.records() if isinstance(row["glimpses/s"], Spread)]
    batch = max(int(str(row["batch"])) for row in rows if int(str(row["batch"])) <= BATCH)
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    ax = figure.subplots()
    for kind, (colour, line, marker) in zip(("gaussian", "stn", "crop"), LINE_STYLES, strict=False):
        mine = [row for row in rows if row["kernel"] == kind and row["batch"] == batch]
        costs = [cost.median for row in mine if isinstance(cost := row["µs in all"], Spread)]
        sides = [float(str(row["side"])) for row in mine]
        name = NAMES[kind] + (", no gradient" if kind == "crop" else "")
        ax.plot(sides, costs, line, color=colour, marker=marker, markersize=4, linewidth=1.4, label=name)
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(sorted({float(str(row["side"])) for row in rows}))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("side of the canvas (pixels)", fontsize=LABEL)
    ax.set_ylabel("µs per glimpse, forward and backward", fontsize=LABEL)
    ax.set_title(f"three scales of 12×12, batch {batch}", fontsize=TITLE)
    ax.legend(fontsize=LABEL, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=3)
    style(ax)
    return figure
