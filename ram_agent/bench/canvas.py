"""What a larger canvas costs: nothing but its scene, if the sensor keeps its word."""

from ram_agent.bench.profile import WHOLE, profile
from ram_agent.bench.report import Table
from ram_agent.bench.settings import Settings, announce
from ram_agent.bench.subject import GLIMPSES, NAMES, make_learner
from ram_agent.timing import Cell, Spread

SIDES = (60, 240)


def canvas_tables(settings: Settings) -> list[Table]:
    """One row an attention and side; all are trained in turn, and scene generation is timed apart and taken off."""
    announce("canvas")
    learners = {
        f"{kind} {side}": make_learner(kind, settings.batch, settings.device, side=side)
        for kind in ("crop", "stn")
        for side in SIDES
    }
    seconds = profile(learners, settings)
    scale = 1e6 / (settings.batch * GLIMPSES)
    rows: list[tuple[Cell, ...]] = []
    for kind in ("crop", "stn"):
        bare = {side: [s[WHOLE] - s["scene"] for s in seconds[f"{kind} {side}"]] for side in SIDES}
        for side in SIDES:
            rounds = seconds[f"{kind} {side}"]
            ratio = Spread.of([mine / small for mine, small in zip(bare[side], bare[SIDES[0]], strict=True)]).median
            cost = Spread.of([scale * value for value in bare[side]])
            scene = Spread.of([scale * s["scene"] for s in rounds])
            share = 100 * sum(s["scene"] for s in rounds) / sum(s[WHOLE] for s in rounds)
            rows.append((NAMES[kind], f"{side}x{side}", ratio, cost, scene, share))
    note = (
        f"Training at batch {settings.batch}, LSTM core. Ratio: cost of a glimpse without its scene, against "
        f"{SIDES[0]}x{SIDES[0]}; 1 is a cost that does not grow with the canvas."
    )
    columns = (
        "attention",
        "canvas",
        "ratio",
        "µs per glimpse, no scene",
        "µs of scene per glimpse",
        "scene % of a step",
    )
    return [Table("canvas", "Scaling with the canvas", note, columns, tuple(rows))]
