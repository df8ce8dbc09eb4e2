"""The glimpse network as a features extractor of Stable-Baselines3's policies."""

from collections.abc import Sequence
from math import prod

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from ram_agent.config import PolicyConfig
from ram_agent.glimpse import GlimpseNetwork


class GlimpseFeatures(BaseFeaturesExtractor):
    """What was seen ⊕ where it was seen, for "MultiInputPolicy" and "MultiInputLstmPolicy".

    `PPO("MultiInputPolicy", env, policy_kwargs={"features_extractor_class": GlimpseFeatures})`. The sizes are those of
    `PolicyConfig`; `network` is a `GlimpseNetwork`, whose weights an agent of ours and one of theirs can hand each
    other. Glimpses may be flat, as the discrete twin's are, or not. An encoder of filters, `encoder="conv"` or
    `encoder="shared"`, must know what shape a flat glimpse had: `glimpse_shape=(K·C, G, G)`; `shared` over images in
    colour must know `colours=C`, too.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        what: int = PolicyConfig().what,
        where: int = PolicyConfig().where,
        features: int = PolicyConfig().features,
        encoder: str = PolicyConfig().encoder,
        glimpse_shape: Sequence[int] | None = None,
        filters: int = PolicyConfig().filters,
        colours: int = 1,
    ) -> None:
        super().__init__(observation_space, features)  # type: ignore[arg-type]
        parts = observation_space.spaces if isinstance(observation_space, spaces.Dict) else {}
        if not {"glimpse", "window"} <= parts.keys():
            raise ValueError(f"observation_space: got {observation_space}, expected a Dict with 'glimpse' and 'window'")
        seen, window = (parts[name].shape or () for name in ("glimpse", "window"))
        self.glimpse_shape = tuple(glimpse_shape or seen)
        if prod(self.glimpse_shape) != prod(seen) or (encoder != "dense" and len(self.glimpse_shape) != 3):
            raise ValueError(
                f"glimpse_shape: got {glimpse_shape} for an encoder of kind {encoder!r}, expected the (K·C, G, G) of "
                f"{prod(seen)} samples"
            )
        self.network = GlimpseNetwork(
            self.glimpse_shape, prod(window), what, where, features, encoder, filters, colours
        )
        # Stable-Baselines3's orthogonal weights want filters in the usual order of memory.
        self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        return self.network(observations["glimpse"].flatten(1).unflatten(1, self.glimpse_shape), observations["window"])
