"""A policy of Stable-Baselines3's behind the face of ours: one evaluation, one camera and one report serve both."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from torch import Tensor

from ram_agent.config import ConfigError, PolicyConfig
from ram_agent.core import State
from ram_agent.extras import to_install
from ram_agent.features import GlimpseFeatures
from ram_agent.heads import Move, WindowHead
from ram_agent.policy import Blueprint, Policy
from ram_agent.sensor import grid_locations

RECURRENT = "recurrent_ppo"
"""The one method whose policy has a memory."""


class GridWindowHead(WindowHead):
    """Logits of g · g cells → the middle of one: the likeliest for `std` 0, else one drawn as in training."""

    samples = True
    locations: Tensor

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.register_buffer("locations", grid_locations(grid), persistent=False)

    def forward(
        self, hidden: Float[Tensor, "lanes logits"], std: float | Tensor, generator: torch.Generator | None
    ) -> Move:
        logits = hidden[:, : len(self.locations)]
        mean = self.locations[logits.argmax(dim=-1)]
        drawn = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]
        sample = self.locations[drawn] if std else mean
        return Move(sample, sample, mean)


class GridPolicy(Policy):
    """`network`, an actor-critic of Stable-Baselines3's on the discrete twin, seen as a policy of ours.

    `head` is the training method. What our policies call hidden are here the logits of the g · g cells and, after
    them, of the labels. Only `recurrent_ppo` has a state, that of the actor's LSTM.
    """

    network: Any
    """An `ActorCriticPolicy`; that of sb3-contrib takes and gives a state as well."""

    def __init__(
        self,
        glimpse_shape: Sequence[int],
        first_window: Sequence[float],
        classes: int,
        *,
        head: str,
        config: PolicyConfig | None = None,
        colours: int = 1,
    ) -> None:
        super().__init__()
        config = config or PolicyConfig()
        self.blueprint = Blueprint(tuple(glimpse_shape), tuple(first_window), classes, head, config, colours)
        self.settings = policy_settings(self.blueprint)
        seen = spaces.Dict(
            {
                "glimpse": spaces.Box(0.0, 1.0, (prod(glimpse_shape),), np.float32),
                "window": spaces.Box(-1.0, 1.0, (len(first_window),), np.float32),
            }
        )
        kind = recurrent_policy() if head == RECURRENT else MultiInputActorCriticPolicy
        self.network = kind(seen, spaces.MultiDiscrete([config.grid**2, classes]), lambda _: 0.0, **self.settings)
        self.window_head = GridWindowHead(config.grid)

    def initial_state(self, lanes: int) -> State:
        if self.blueprint.head != RECURRENT:
            return ()
        nothing = torch.zeros(lanes, self.blueprint.config.hidden, device=next(self.parameters()).device)
        return nothing, nothing

    def look(
        self,
        glimpse: Float[Tensor, "lanes planes side side"],
        window: Float[Tensor, "lanes parameters"],
        state: State,
    ) -> tuple[Float[Tensor, "lanes logits"], State]:
        seen: Any = {"glimpse": glimpse.flatten(1), "window": window}
        if state:
            going_on = glimpse.new_zeros(len(glimpse))
            choice, after = self.network.get_distribution(seen, tuple(part[None] for part in state), going_on)
            state = tuple(part[0] for part in after)
        else:
            choice = self.network.get_distribution(seen)
        return torch.cat([part.logits for part in choice.distribution], dim=-1), state

    def answer(self, hidden: Float[Tensor, "*batch logits"]) -> Float[Tensor, "*batch classes"]:
        return hidden[..., self.blueprint.config.grid**2 :]


def policy_settings(blueprint: Blueprint) -> dict[str, Any]:
    """`policy_kwargs`: our glimpse network, then `policy.hidden` units each for actor and critic, or an LSTM for both.

    Initial weights are our network's own, not Stable-Baselines3's orthogonal ones, which would overwrite them.
    """
    config = blueprint.config
    features = {
        **config.model_dump(include={"what", "where", "features", "encoder", "filters"}),
        "glimpse_shape": blueprint.glimpse_shape,
        "colours": blueprint.colours,
    }
    settings: dict[str, Any] = {
        "features_extractor_class": GlimpseFeatures,
        "features_extractor_kwargs": features,
        "activation_fn": torch.nn.ReLU,
        "ortho_init": False,
    }
    if blueprint.head == RECURRENT:
        memory = {"lstm_hidden_size": config.hidden, "shared_lstm": True, "enable_critic_lstm": False}
        return settings | memory | {"net_arch": []}
    return settings | {"net_arch": [config.hidden]}


def recurrent_policy() -> type[ActorCriticPolicy]:
    """sb3-contrib's policy with an LSTM. Raises `ConfigError` where sb3-contrib, an extra, is not installed."""
    try:
        from sb3_contrib.ppo_recurrent import MultiInputLstmPolicy
    except ImportError:
        remedy = to_install("sb3-contrib", "sb3")
        raise ConfigError(
            f"training.method: recurrent_ppo needs sb3-contrib, which is not installed; {remedy}"
        ) from None
    return MultiInputLstmPolicy
