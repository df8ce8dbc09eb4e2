"""What is handed to `step`, as an `Action` on the environment's device.

Arrays, and all that NumPy makes arrays of, are checked whole before anything moves, and copied. Of tensors the shapes
and types alone: to look at their numbers a device would have to be waited for.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.rules import Action
from envs.seeds import holds_whole_numbers

GONE_BAD = "comes of a policy whose weights have gone bad: go back to an earlier one, and lower its learning rate"
MADE_WITH = {"label": "another reward", "belief": "reward='log_probability'", "answer": "early_answer=True"}
"""Parts that only some environments go by, and what those are made with."""
SLACK = 1e-3
"""How far rounding may take a probability beyond 0 or 1."""


def as_action(actions: Any, shapes: Mapping[str, tuple[int, ...]], classes: int, device: torch.device) -> Action:
    """Parts of a batch of actions, by name, each of its shape: `window`, `label` or `belief`, perhaps `answer`.

    Raises `ValueError` where a part is missing, of another shape, of values that its space does not have, or one that
    the rules do not go by; but windows are clipped.
    """
    try:
        given = {name: actions[name] for name in shapes}
    except (TypeError, KeyError, IndexError):
        names = " and ".join(map(repr, shapes))
        lacks = [name for name in shapes if name not in actions] if isinstance(actions, Mapping) else []
        got = f"one without {' and '.join(map(repr, lacks))}" if lacks else type(actions).__name__
        raise ValueError(f"actions: expected a dict with {names}, got {got}") from None
    if idle := [name for name in MADE_WITH if name not in shapes and name in actions]:
        raise ValueError(
            f"actions: got {idle[0]!r}, which this environment does not go by; leave it out, or make the environment "
            f"with {MADE_WITH[idle[0]]}"
        )
    given = {name: part if isinstance(part, Tensor) else np.asarray(part) for name, part in given.items()}
    found = {name: tuple(part.shape) for name, part in given.items()}
    if found != dict(shapes):
        raise ValueError(f"actions: expected the shapes {dict(shapes)}, got {found}")
    window = as_numbers("window", given["window"], device)
    belief = as_numbers("belief", given["belief"], device) if "belief" in given else None
    label = _as_counted("label", given["label"], classes, device) if belief is None else belief.argmax(dim=-1)
    if "answer" in given:
        answer = _as_counted("answer", given["answer"], 2, torch.device("cpu")).numpy() != 0
    else:
        answer = np.zeros(shapes["window"][0], dtype=bool)
    return Action(window, label, belief, answer)


def as_numbers(name: str, given: Tensor | np.ndarray, device: torch.device) -> Tensor:
    """Real numbers of each lane; raises `ValueError` for NaN in an array, and for a belief that is no probability."""
    if isinstance(given, Tensor):
        return given.to(device, torch.float32)
    numbers = np.array(given, dtype=np.float32)
    wrong = np.isnan(numbers)
    if name == "belief":
        wrong |= (numbers < -SLACK) | (numbers > 1 + SLACK)
    if wrong.any():
        lanes = np.atleast_2d(numbers)
        lane = np.argwhere(np.atleast_2d(wrong))[0, 0]
        expected = "probabilities, 0 to 1" if name == "belief" else "numbers in [-1, 1]"
        remedy = f"NaN {GONE_BAD}" if np.isnan(lanes[lane]).any() else "of logits take the softmax"
        raise ValueError(f"actions: {name} of lane {lane}: got {lanes[lane].tolist()}, expected {expected}; {remedy}")
    return torch.from_numpy(numbers).to(device)


def _as_counted(name: str, given: Tensor | np.ndarray, number: int, device: torch.device) -> Tensor:
    """A number from 0 up for each lane; raises `ValueError` for anything else in an array, for other types in both."""
    if isinstance(given, Tensor):
        counts = holds_whole_numbers(given) or given.dtype == torch.bool
    else:
        counts = given.dtype.kind in "iub"
    if not counts:
        raise ValueError(f"actions: {name}: got {given.dtype}, expected whole numbers from 0 to {number - 1}")
    if isinstance(given, Tensor):
        return given.to(device, torch.long)
    wrong = (given < 0) | (given >= number)
    if wrong.any():
        lane = int(wrong.argmax())
        raise ValueError(
            f"actions: {name} of lane {lane}: got {given[lane]}, expected a whole number from 0 to {number - 1}, "
            "also where it does not count"
        )
    return torch.from_numpy(given.astype(np.int64)).to(device)
