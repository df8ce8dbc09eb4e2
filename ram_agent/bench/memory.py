"""How much memory training takes, and whether it grows."""

import json
import os
import subprocess
import sys
from pathlib import Path

from ram_agent.bench.report import Table
from ram_agent.bench.settings import Settings, announce
from ram_agent.bench.subject import NAMES
from ram_agent.timing import Cell

KINDS = ("crop", "stn")
STAGES = {
    "imports": "everything imported",
    "learner": "learner built",
    "early": "after 10 % of the updates",
    "end": "at the end",
    "peak": "peak",
}


def memory_tables(settings: Settings) -> list[Table]:
    """One row a stage, one column an attention."""
    stages = {}
    for kind in KINDS[: 1 if settings.smoke else None]:
        announce(f"memory, {kind}, {settings.updates} updates")
        stages[kind] = weigh(kind, settings)
    rows: list[tuple[Cell, ...]] = [
        ("growth from 10 % to the end", *(float(s["end"]) - float(s["early"]) for s in stages.values()))
    ]
    rows += [
        (f"{text}, above torch", *(float(s[stage]) - float(s["torch"]) for s in stages.values()))
        for stage, text in STAGES.items()
    ]
    rows.append(("torch imported, nothing else", *(float(s["torch"]) for s in stages.values())))
    note = (
        f"Resident memory of a process that does nothing but train, {settings.updates:,} updates of batch "
        f"{settings.batch}, by {next(iter(stages.values()))['source']}. In MiB. Growth must be flat."
    )
    columns = ("stage", *(f"{NAMES[kind]} MiB" for kind in stages))
    return [Table("memory", "Memory", note, columns, tuple(rows))]


def weigh(kind: str, settings: Settings) -> dict[str, float | str]:
    """What `footprint` says of a `kind` of learner, in a fresh process. Raises `ChildProcessError` if that fails."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(settings.threads)}
    arguments = [kind, str(settings.batch), str(settings.updates), str(settings.device)]
    # -P: a module in the folder that this was typed in (`envs`, say) is not taken for ours.
    command = [sys.executable, "-P", "-m", "ram_agent.bench.footprint", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ChildProcessError(f"memory: the measured process failed: {' '.join(done.stderr.split())}")
    return json.loads(done.stdout)
