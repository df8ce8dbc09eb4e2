"""A training that begins with the weights of one that was trained before."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ram_agent.checkpoint import fitting, give_weights, judged_weights
from ram_agent.config import ConfigError
from ram_agent.export import read_trained
from ram_agent.policy import Policy
from ram_agent.progress import tell, warn
from ram_agent.run_files import config_of


def begin_with(policy: Policy, source: Path, classes: Sequence[str] = ()) -> Mapping[str, Any]:
    """Give a policy the best weights of a run, or those of an export; returns all that was saved with them.

    Heads may differ where they have the same parameters: REINFORCE may begin where straight-through ended. So may
    windows: one of fewer numbers takes over the first of them, so that hard attention may begin where soft attention
    ended. Answers go by their number: where they are to mean other `classes` than they meant, as many, a line says so.
    Without `classes` nothing is said. Raises `ConfigError` where other shapes differ, `CheckpointError` where there is
    nothing whole to read.
    """
    file, saved = read_trained(source)
    own, numbers = policy.state_dict(), len(policy.blueprint.first_window)
    with fitting(file):
        weights = _of_first_numbers(judged_weights(saved), numbers)
    if {name: value.shape for name, value in weights.items()} == {name: value.shape for name, value in own.items()}:
        with fitting(file):
            give_weights(policy, weights)
            known, before = tuple(saved.get("classes", classes)), len(saved["blueprint"]["first_window"])
        if classes and before > numbers:
            tell(
                f"training.trained_agent: windows of {source} have {before} numbers, here {numbers}: the first ones go "
                "on, the others count as 0, the middle of their range"
            )
        if classes and known != tuple(classes):
            here, theirs = next((here, theirs) for here, theirs in zip(classes, known, strict=True) if here != theirs)
            warn(
                f"training.trained_agent: {source} learned other classes, and begins by answering {here!r} where it "
                f"answered {theirs!r}"
            )
        return saved
    with fitting(file):
        told = ", ".join(_differences(saved["blueprint"], policy.blueprint.as_plain()))
        as_many = saved["blueprint"]["classes"] == policy.blueprint.classes
    remedy = f"without a config, that agent's is taken: -i {source}"
    if not as_many:
        remedy = (
            "the number of classes must be equal, as its answers are of its own classes; a new training learns others, "
            f"by that agent's config, {config_of(source)}, without -i"
        )
    raise ConfigError(f"training.trained_agent: {source} has other shapes than this agent: {told}; {remedy}")


def _of_first_numbers(weights: Mapping[str, Tensor], numbers: int) -> dict[str, Tensor]:
    """The weights of an agent that chooses and is told the first `numbers` of a window alone; the others count as 0.

    Of every eye (x, y) comes first, then stride, then sigma; a stride of 0, the middle of its range, is the crop's one
    pixel with the usual bounds.
    """
    chooses = ("window_head.outer.weight", "window_head.outer.bias", "window_head.scan.weight")
    along = {"glimpse.placed.weight": 1} | dict.fromkeys(chooses, 0)
    return {
        name: value.narrow(along[name], 0, min(numbers, value.shape[along[name]])) if name in along else value
        for name, value in weights.items()
    }


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """What two agents were built from, field by field where it is not the same."""
    for name, value in ours.items():
        if name == "config":
            for field, here in value.items():
                if theirs[name][field] != here:
                    yield f"policy.{field} {theirs[name][field]}, here {here}"
        elif _listed(theirs[name]) != _listed(value):
            yield f"{name} {_listed(theirs[name])}, here {_listed(value)}"


def _listed(value: Any) -> Any:
    """JSON knows no tuples."""
    return list(value) if isinstance(value, tuple) else value
