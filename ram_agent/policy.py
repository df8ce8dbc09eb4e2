"""One step of the agent: glimpse network + core + heads."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ram_agent import heads
from ram_agent.config import PolicyConfig, parse_section
from ram_agent.controls import CONTROLS, ControlWindowHead, Hint, raster
from ram_agent.core import Core, State
from ram_agent.glimpse import Filters, GlimpseNetwork


class Blueprint(NamedTuple):
    """All that is needed to build a policy of the same shape again."""

    glimpse_shape: tuple[int, ...]
    first_window: tuple[float, ...]
    classes: int
    head: str
    config: PolicyConfig
    colours: int
    """Planes of a scale that filters which are `shared` see together."""

    def as_plain(self) -> dict[str, Any]:
        """Plain values, for a checkpoint; `Policy.rebuild` takes them back."""
        return self._replace(config=self.config.model_dump())._asdict()  # type: ignore[arg-type]


class Policy(nn.Module, ABC):
    """What is trained and measured: it takes in a glimpse, decides where to look next, and answers.

    Every policy is built from what stands in its `Blueprint`.
    """

    blueprint: Blueprint
    window_head: heads.WindowHead
    classifier: nn.Linear
    """h_t → logits."""

    @classmethod
    def rebuild(cls, plain: Mapping[str, Any]) -> "Policy":
        """A policy of the shape that `Blueprint.as_plain` wrote down, with fresh weights."""
        return cls(**{**plain, "config": parse_section(PolicyConfig, plain["config"])})

    @abstractmethod
    def initial_state(self, lanes: int) -> State:
        """The state before the first look."""

    @abstractmethod
    def look(
        self,
        glimpse: Float[Tensor, "lanes planes height width"],
        window: Float[Tensor, "lanes parameters"],
        state: State,
    ) -> tuple[Float[Tensor, "lanes hidden"], State]:
        """Take in one glimpse: h_t and the new state."""

    def move(
        self,
        hidden: Float[Tensor, "lanes hidden"],
        std: float | Tensor = 0.0,
        generator: torch.Generator | None = None,
        hint: Hint | None = None,
    ) -> heads.Move:
        """Decide where to look next; `std` is the exploration of heads that sample, 0 for the mean.

        `hint` goes to controls alone: a learned head has no argument that could take it. Never in bfloat16, which has
        8 bits for a place.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            if isinstance(self.window_head, ControlWindowHead):
                return self.window_head(hidden, std, generator, hint)
            return self.window_head(hidden, std, generator)

    def filters_over_filters(self) -> list[Tensor]:
        """Weights of filters over what other filters found: matrices between hidden units, to an optimiser."""
        return [encoder.inner.weight for encoder in self.modules() if isinstance(encoder, Filters)]

    def answer(self, hidden: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch classes"]:
        """Logits; never in bfloat16."""
        with torch.autocast(hidden.device.type, enabled=False):
            return self.classifier(hidden)


class RecurrentAttentionPolicy(Policy):
    """The recurrent attention model (Mnih et al. 2014, figure 1).

    With `policy.scan` it also knows how many looks it has had: a part of its state, and the last entries of h_t.

    `glimpse_shape` is (K·C, G, G) and `first_window` the P numbers of the eye at rest: both as the environment gives
    them; `colours` is C; `head` is a kind of `make_window_head`. Nothing here knows which kind of eye it drives but by
    `window_head`.
    """

    def __init__(
        self,
        glimpse_shape: Sequence[int],
        first_window: Sequence[float],
        classes: int,
        *,
        head: str = "sampled",
        config: PolicyConfig | None = None,
        colours: int = 1,
    ) -> None:
        super().__init__()
        config = config or PolicyConfig()
        self.blueprint = Blueprint(tuple(glimpse_shape), tuple(first_window), classes, head, config, colours)
        self.glimpse = GlimpseNetwork(
            glimpse_shape,
            len(first_window),
            config.what,
            config.where,
            config.features,
            config.encoder,
            config.filters,
            colours,
        )
        self.core = Core(config.core, config.features, config.hidden)
        self.window_head = make_window_head(head, first_window, config)
        self.classifier = nn.Linear(config.known, classes)
        self.baseline = heads.BaselineHead(config.known)

    def initial_state(self, lanes: int) -> State:
        memory = self.core.initial_state(lanes)
        return (*memory, memory[0].new_zeros(lanes, 1)) if self.blueprint.config.scan else memory

    def look(
        self,
        glimpse: Float[Tensor, "lanes planes side side"],
        window: Float[Tensor, "lanes parameters"],
        state: State,
    ) -> tuple[Float[Tensor, "lanes hidden"], State]:
        features, scanned = self.glimpse(glimpse, window), self.blueprint.config.scan
        if not scanned:
            return self.core(features, state)
        *memory, looks = state
        hidden, memory = self.core(features, tuple(memory))
        return torch.cat([hidden, next_move(looks, scanned)], dim=1), (*memory, looks + 1)


def next_move(looks: Float[Tensor, "lanes 1"], moves: int) -> Float[Tensor, "lanes moves"]:
    """One-hot number of the move that follows look number `looks`, which counts from 0; from move `moves` on, zeros."""
    return (looks == torch.arange(moves, device=looks.device)).to(looks.dtype)


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


PolicyType = TypeVar("PolicyType", bound=Policy)


def under_head(policy: PolicyType, head: heads.WindowHead) -> PolicyType:
    """The same parameters under another window head, which decides in another way where to look."""
    other = copy(policy)
    other._modules = dict(policy._modules)  # a copy would share the dict, and so the head
    other.window_head = head
    return other


def make_window_head(kind: str, first_window: Sequence[float], config: PolicyConfig) -> heads.WindowHead:
    """`sampled` and `straight_through` (hard attention), `pathwise` (soft attention), or one of `CONTROLS`."""
    scan = raster(config.scan) if config.scan else ()
    sizes = config.known, config.location
    match kind:
        case "sampled":
            return heads.SampledWindowHead(*sizes, first_window, config.detach_location, scan)
        case "straight_through" | "pathwise":
            head = heads.PathwiseWindowHead if kind == "pathwise" else heads.StraightThroughWindowHead
            return head(*sizes, first_window, config.detach_location, config.window_gradient, scan)
    if kind in CONTROLS:
        return CONTROLS[kind](first_window)
    kinds = ("sampled", "straight_through", "pathwise", *CONTROLS)
    raise ValueError(f"window head: got {kind!r}, expected one of {', '.join(kinds)}")
