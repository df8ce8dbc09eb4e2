"""What an action means and what it pays: how the eye moves, who ends an episode, when there is a reward."""

from dataclasses import dataclass
from math import inf
from numbers import Real
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Bool, Float, Int
from torch import Tensor

Moves = Literal["absolute", "relative"]
Reward = Literal["success", "each_look", "log_probability"]

FLOOR = 1e-4
"""Added to every class of a belief, so that no answer is infinitely wrong: of beliefs that sum to 1 the worst
logarithm is -9.2."""


class Action(NamedTuple):
    """A batch of actions, on the environment's device but for `answer`, which decides what runs."""

    window: Float[Tensor, "lanes parameters"]
    label: Int[Tensor, " lanes"]
    belief: Float[Tensor, "lanes classes"] | None
    """Probabilities, where the reward asks for them; the label is then the likeliest class. Those that do not add up
    to 1 are divided by their sum."""
    answer: Bool[np.ndarray, " lanes"]
    """Lanes that ask to end their episode with this label."""


@dataclass(frozen=True)
class Rules:
    """How the glimpse environment is played; the defaults are Mnih et al. 2014's.

    moves: with `absolute` the first two numbers of a window are the place (x, y) to look at, in [-1, 1], where 1 is
        `Sensor.reach` of the way to the border. With `relative` they are a displacement from where the eye is, in units
        of `farthest_move`; the place stops at 1. The other parameters of a soft window are absolute either way.
    reward: `success`, 1 for the right label at the last step. `each_look`, 1/T at every step whose label is right.
        `log_probability`, 1/T · log p(right label) at every step; the action then has a `belief` in place of a `label`.
        The last two say at every look how good it was; over an episode they add up to a mean over T looks.
    early_answer: an action also has `answer`; 1 ends the episode with that action's label. What is paid by look is
        then paid for the looks left out as well, as if the answer had been repeated: nobody gains by haste or delay.
    look_cost: taken off the reward at every step, the answering one included.
    """

    moves: Moves = "absolute"
    farthest_move: float = 0.5
    reward: Reward = "success"
    early_answer: bool = False
    look_cost: float = 0.0

    def __post_init__(self) -> None:
        for name, kinds in (("moves", get_args(Moves)), ("reward", get_args(Reward))):
            if getattr(self, name) not in kinds:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected one of {', '.join(kinds)}")
        if not isinstance(self.early_answer, bool | np.bool_):
            raise ValueError(f"early_answer: got {self.early_answer!r}, expected True or False")
        if not (isinstance(self.farthest_move, Real) and 0 < self.farthest_move <= 2):
            raise ValueError(
                f"farthest_move: got {self.farthest_move!r}, expected above 0 and at most 2, the canvas's whole width"
            )
        if not (isinstance(self.look_cost, Real) and 0 <= self.look_cost < inf):
            raise ValueError(f"look_cost: got {self.look_cost!r}, expected 0 or a positive number")

    @property
    def plain(self) -> bool:
        """Whether there is no reward but 0 or 1 at the end."""
        return self.reward == "success" and self.look_cost == 0

    def action_parts(self, window: spaces.Box, classes: int) -> dict[str, Any]:
        """The spaces of one lane's action, by name."""
        parts: dict[str, Any] = {"window": window}
        if self.reward == "log_probability":
            parts["belief"] = spaces.Box(0.0, 1.0, (classes,), np.float32)
        else:
            parts["label"] = spaces.Discrete(classes)
        if self.early_answer:
            parts["answer"] = spaces.Discrete(2)
        return parts

    def window(
        self, current: Float[Tensor, "lanes parameters"], asked: Float[Tensor, "lanes parameters"]
    ) -> Float[Tensor, "lanes parameters"]:
        """The window to look through, in [-1, 1]; what is asked for passes its gradient on where it is not cut."""
        asked = asked.clamp(-1, 1)
        if self.moves == "absolute":
            return asked
        place = (current[:, :2] + self.farthest_move * asked[:, :2]).clamp(-1, 1)
        return torch.cat([place, asked[:, 2:]], dim=-1)

    def pay(
        self,
        action: Action,
        target: Int[Tensor, " lanes"],
        success: Bool[Tensor, " lanes"],
        share: Float[Tensor, " lanes"],
    ) -> Float[Tensor, " lanes"]:
        """The reward of a step. `share` is the part of the T looks that it stands for: 0 where nothing was played."""
        if self.reward == "success":
            reward = success.float()
        elif action.belief is None:
            reward = share * (action.label == target)
        else:
            belief = action.belief.clamp(0, 1) + FLOOR
            right = belief.gather(1, target[:, None])[:, 0] / belief.sum(dim=1)
            reward = share * right.log()
        return reward - self.look_cost * (share > 0)
