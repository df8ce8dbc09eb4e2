"""Networks that see the whole canvas at once: what glimpses are measured against.

They need no looks. `WholeCanvas` makes an environment's canvas its one glimpse, `FullImagePolicy` answers to it: so the
rollout, the learner and the measuring that serve agents with an eye serve them too.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gymnasium import spaces
from jaxtyping import Float
from torch import Tensor, nn

from ram_agent.config import PolicyConfig
from ram_agent.controls import CentreWindowHead
from ram_agent.core import State
from ram_agent.policy import Blueprint, Policy
from ram_agent.rollout import GlimpseEnvironment

UNITS = 256
"""Of every fully connected layer, as in Mnih et al. 2014, section 4."""


class WholeCanvas:
    """An environment with one look, at everything: the canvas is the glimpse, and the first step is the answer.

    Scenes and labels are those of `env`; its eye reads the first window and then rests.
    """

    glimpses = 1

    def __init__(self, env: GlimpseEnvironment) -> None:
        self.env = env
        self.num_envs, self.device, self.sensor = env.num_envs, env.device, env.sensor
        canvas = spaces.Box(0.0, 1.0, tuple(env.canvas.shape[1:]))
        self.single_observation_space = spaces.Dict(
            {"glimpse": canvas, "window": env.single_observation_space["window"]}
        )
        self.single_action_space = env.single_action_space

    @property
    def canvas(self) -> Float[Tensor, "lanes channels height width"]:
        return self.env.canvas

    @property
    def class_names(self) -> Sequence[str]:
        return self.env.class_names

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin new episodes, in all lanes."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._observation = {"glimpse": self.env.canvas, "window": observation["window"]}
        self._target = info["target"]
        return self._observation, info

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Answer; every episode is over then."""
        right = actions["label"] == self._target
        over = right.new_ones(right.shape)
        return self._observation, right.float(), over, ~over, {"is_success": right}

    def peek(self, window: Any) -> Any:
        """Wherever one looks, it is the canvas."""
        return self.env.canvas


class FullImagePolicy(Policy):
    """A network over the whole canvas behind a policy's face: one look, no state, nowhere to go.

    `glimpse_shape` is (C, H, W), `head` a name in `NETWORKS`; `config` and `colours` describe the recurrent
    model and have no part.
    """

    def __init__(
        self,
        glimpse_shape: Sequence[int],
        first_window: Sequence[float],
        classes: int,
        *,
        head: str = "cnn",
        config: PolicyConfig | None = None,
        colours: int = 1,
    ) -> None:
        super().__init__()
        config = config or PolicyConfig()
        self.blueprint = Blueprint(tuple(glimpse_shape), tuple(first_window), classes, head, config, colours)
        channels, height, width = glimpse_shape
        self.network, features = NETWORKS[head](channels, height, width)
        for layer in self.network:
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.window_head = CentreWindowHead(first_window)
        self.classifier = nn.Linear(features, classes)

    def initial_state(self, lanes: int) -> State:
        return ()

    def filters_over_filters(self) -> list[Tensor]:
        return [layer.weight for layer in self.network if isinstance(layer, nn.Conv2d)][1:]

    def look(
        self,
        glimpse: Float[Tensor, "lanes channels height width"],
        window: Float[Tensor, "lanes parameters"],
        state: State,
    ) -> tuple[Float[Tensor, "lanes hidden"], State]:
        return self.network(glimpse).to(self.classifier.weight.dtype), ()


def cnn(channels: int, height: int, width: int) -> tuple[nn.Sequential, int]:
    """The convolutional reference of Mnih et al. 2014, section 4: 8 filters of 10 × 10 at stride 5, then 256 units.

    A ReLU follows either layer. The paper names no padding; there is none here, so that a canvas of 60 × 60 becomes
    8 maps of 11 × 11. Returns the network and its number of features, as the other two do.
    """
    rows, columns = (height - 10) // 5 + 1, (width - 10) // 5 + 1
    layers = [nn.Conv2d(channels, 8, 10, stride=5), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * rows * columns, UNITS), nn.ReLU()), UNITS


def fc(channels: int, height: int, width: int) -> tuple[nn.Sequential, int]:
    """The fully connected reference of Mnih et al. 2014, section 4: two layers of 256 ReLU units."""
    layers = [nn.Flatten(), nn.Linear(channels * height * width, UNITS), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(UNITS, UNITS), nn.ReLU()), UNITS


def modern_cnn(channels: int, height: int, width: int) -> tuple[nn.Sequential, int]:
    """3 × 3 convolutions to 32, 64 and 128 maps with batch norm (Ioffe and Szegedy 2015), global average at the end.

    Maximum pooling halves the maps after the first two. The average (Lin et al. 2014) makes it cheap, some 94,000
    weights at any canvas, and as indifferent as its border allows to where the image lies.
    """
    layers: list[nn.Module] = []
    for before, after in ((channels, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        if after < 128:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 128


NETWORKS: dict[str, Callable[[int, int, int], tuple[nn.Sequential, int]]] = {
    "cnn": cnn,
    "fc": fc,
    "modern_cnn": modern_cnn,
}
