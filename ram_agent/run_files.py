"""What lies in the folder of a run, by name; metrics, events and checkpoints in that of a control of its, too."""

from pathlib import Path

from ram_agent.config import ConfigError

CONFIG = "config.yaml"
RESULTS = "results.json"
NOTICE = "NOTICE.txt"
"""What must be said of the images, where there is anything."""
METRICS = "metrics.csv"
EVENTS = "events.out.tfevents.*"
"""TensorBoard's."""
CHECKPOINT = Path("checkpoints") / "agent.pt"
"""The newest that is whole."""
DIAGNOSTIC = CHECKPOINT.with_name("diagnostic.pt")
"""How a training stood that met NaN or infinity."""
FIGURES = "figures"
CONTROLS = "controls"
IDENTITY = "wandb_id"
"""By which a resumed run goes on in its own page of Weights & Biases."""

WRITTEN = (CONFIG, RESULTS, NOTICE, METRICS, EVENTS, CHECKPOINT.parts[0], FIGURES, CONTROLS, IDENTITY)
"""All that a run writes, as patterns."""


def is_run(folder: Path) -> bool:
    """Whether a run has begun there."""
    return (folder / CONFIG).is_file()


def config_of(folder: Path) -> Path:
    """The file of a run to train by its config anew: what is read of results leaves the machine and the folder out."""
    results = folder / RESULTS
    return results if results.is_file() else folder / CONFIG


def check_run(folder: Path) -> None:
    """Raise `ConfigError` where no run has begun."""
    if not is_run(folder):
        raise ConfigError(
            f"run {folder}: not a run folder (no {CONFIG} in it); name one that a training has made, or `export`"
        )


def agent_folder(run: Path, role: str) -> Path:
    """Where the agent that learns to look lies (`learned`), or one of the controls that are trained beside it."""
    return run if role == "learned" else run / CONTROLS / role
