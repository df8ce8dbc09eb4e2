"""One step of the agent: glimpse network + core + heads."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ram_agent import heads
from ram_agent.config import PolicyConfig
from ram_agent.core import Core, State
from ram_agent.glimpse import GlimpseNetwork


class Blueprint(NamedTuple):
    """All that is needed to build a policy of the same shape again."""

    glimpse_shape: tuple[int, ...]
    first_window: tuple[float, ...]
    classes: int
    head: str
    config: PolicyConfig

    def as_plain(self) -> dict[str, Any]:
        """Plain values, for a checkpoint; `RecurrentAttentionPolicy.rebuild` takes them back."""
        return self._replace(config=self.config.model_dump())._asdict()  # type: ignore[arg-type]


class RecurrentAttentionPolicy(nn.Module):
    """The recurrent attention model (Mnih et al. 2014, figure 1).

    `glimpse_shape` is (K·C, G, G) and `first_window` the P numbers of the eye at rest: both as the environment gives
    them;
    `head` is a kind of `make_window_head`. Nothing here knows which kind of eye it drives but through `window_head`.
    """

    def __init__(
        self,
        glimpse_shape: Sequence[int],
        first_window: Sequence[float],
        classes: int,
        *,
        head: str = "sampled",
        config: PolicyConfig | None = None,
    ) -> None:
        super().__init__()
        config = config or PolicyConfig()
        self.blueprint = Blueprint(tuple(glimpse_shape), tuple(first_window), classes, head, config)
        planes, height, width = glimpse_shape
        self.glimpse = GlimpseNetwork(
            planes * height * width, len(first_window), config.what, config.where, config.features
        )
        self.core = Core(config.core, config.features, config.hidden)
        self.window_head = make_window_head(head, first_window, config)
        self.classifier = heads.classifier_head(config.hidden, classes)
        self.baseline = heads.BaselineHead(config.hidden)

    @classmethod
    def rebuild(cls, plain: Mapping[str, Any]) -> "RecurrentAttentionPolicy":
        """A policy of the shape that `Blueprint.as_plain` wrote down, with fresh weights."""
        return cls(**{**plain, "config": PolicyConfig.model_validate(plain["config"])})

    def initial_state(self, lanes: int) -> State:
        """The state before the first look."""
        return self.core.initial_state(lanes)

    def look(
        self,
        glimpse: Float[Tensor, "lanes planes side side"],
        window: Float[Tensor, "lanes parameters"],
        state: State,
    ) -> tuple[Float[Tensor, "lanes hidden"], State]:
        """Take in one glimpse: h_t and the new state."""
        return self.core(self.glimpse(glimpse, window), state)

    def move(
        self,
        hidden: Float[Tensor, "lanes hidden"],
        std: float | Tensor = 0.0,
        generator: torch.Generator | None = None,
    ) -> heads.Move:
        """Decide where to look next; `std` is the exploration of heads that sample, 0 for the mean.

        Always in full precision: bfloat16 has 8 bits for a place.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            return self.window_head(hidden, std, generator)

    def answer(self, hidden: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch classes"]:
        """Logits; always in full precision."""
        with torch.autocast(hidden.device.type, enabled=False):
            return self.classifier(hidden)


def make_window_head(kind: str, first_window: Sequence[float], config: PolicyConfig) -> heads.WindowHead:
    """`sampled` (hard attention), `pathwise` (soft attention), or a control: `random`, `centre`."""
    match kind:
        case "sampled":
            return heads.SampledWindowHead(config.hidden, config.location, first_window, config.detach_location)
        case "pathwise":
            return heads.PathwiseWindowHead(
                config.hidden, config.location, first_window, config.detach_location, config.window_gradient
            )
        case "random":
            return heads.RandomWindowHead(first_window)
        case "centre":
            return heads.CentreWindowHead(first_window)
    raise ValueError(f"window head: got {kind!r}, expected sampled, pathwise, random or centre")
