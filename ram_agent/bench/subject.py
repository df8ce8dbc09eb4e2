"""What is measured: the three attentions at one task, cluttered 60×60, three scales of 12×12, six glimpses."""

from collections.abc import Callable
from functools import lru_cache

import torch

from envs.glimpse import GlimpseVectorEnv
from envs.images import ImageData, load_images
from ram_agent.algorithm import denormals_flushed
from ram_agent.building import build_policy
from ram_agent.config import parse_config
from ram_agent.learner import LEARNERS, Learner

SIDE, GLIMPSES = 60, 6
METHODS = {"crop": "reinforce", "gaussian": "pathwise", "stn": "pathwise"}
NAMES = {"crop": "hard (crop)", "gaussian": "Gaussian", "stn": "STN"}
CORES = (("lstm", 256), ("rnn", 128))
"""`policy.core` and `policy.what`: ours, and those of `configs/cluttered60_paper.yaml`."""


@lru_cache(maxsize=2)
def digits(device: torch.device) -> ImageData:
    """The embedded digits: always at hand, as large as MNIST's, and speed does not depend on what they show."""
    return load_images("digits").to(device)


def as_it_trains(update: Callable[[], object]) -> Callable[[], None]:
    """An update, or a part of one, under the floating-point mode that a training has."""

    def run() -> None:
        with denormals_flushed():
            update()

    return run


def make_learner(
    kind: str,
    batch: int,
    device: torch.device,
    *,
    core: str = "lstm",
    what: int = 256,
    side: int = SIDE,
    precision: str = "float32",
    cuda_graph: bool = False,
) -> Learner:
    """A learner with a `kind` of sensor at the start of its training."""
    config = parse_config(
        {
            "scene": {"height": side, "width": side},
            "sensor": {"kind": kind},
            "policy": {"core": core, "what": what},
            "training": {"method": METHODS[kind], "batch": batch, "precision": precision},
            "run": {"device": str(device)},
        }
    )
    env = GlimpseVectorEnv(
        batch, images=digits(device), size=(side, side), sensor=kind, glimpses=GLIMPSES, device=device, tensors=True
    )
    torch.manual_seed(0)
    policy = build_policy(env, config, "learned")
    return LEARNERS[config.training.method](policy, env, config.training, cuda_graph=cuda_graph)
