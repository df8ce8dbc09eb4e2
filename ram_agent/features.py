"""The glimpse network as a features extractor of Stable-Baselines3's policies."""

from math import prod

from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from ram_agent.config import PolicyConfig
from ram_agent.glimpse import GlimpseNetwork


class GlimpseFeatures(BaseFeaturesExtractor):
    """What was seen ⊕ where it was seen, for "MultiInputPolicy" and "MultiInputLstmPolicy".

    `PPO("MultiInputPolicy", env, policy_kwargs={"features_extractor_class": GlimpseFeatures})`. The sizes are those of
    `PolicyConfig`; `network` is a `GlimpseNetwork`, whose weights an agent of ours and one of theirs can hand each
    other. Glimpses may be flat, as the discrete twin's are, or not.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        what: int = PolicyConfig().what,
        where: int = PolicyConfig().where,
        features: int = PolicyConfig().features,
    ) -> None:
        super().__init__(observation_space, features)  # type: ignore[arg-type]
        parts = observation_space.spaces if isinstance(observation_space, spaces.Dict) else {}
        if not {"glimpse", "window"} <= parts.keys():
            raise ValueError(f"observation_space: got {observation_space}, expected a Dict with 'glimpse' and 'window'")
        glimpse, window = (parts[name].shape or () for name in ("glimpse", "window"))
        self.network = GlimpseNetwork(glimpse, prod(window), what, where, features)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        return self.network(observations["glimpse"], observations["window"])
