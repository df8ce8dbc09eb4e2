"""Which kind of policy belongs to which head, so that a blueprint can become a policy again."""

from collections.abc import Mapping
from typing import Any, get_args

from ram_agent.config import SB3Method
from ram_agent.full_image import NETWORKS, FullImagePolicy
from ram_agent.grid_policy import GridPolicy
from ram_agent.policy import Policy, RecurrentAttentionPolicy


def policy_class(head: str) -> type[Policy]:
    """What is built for a window head, a network over the whole canvas, or a method of Stable-Baselines3's."""
    if head in NETWORKS:
        return FullImagePolicy
    return GridPolicy if head in get_args(SB3Method) else RecurrentAttentionPolicy


def rebuild_policy(plain: Mapping[str, Any]) -> Policy:
    """A policy of the shape that `Blueprint.as_plain` wrote down, whichever kind it was."""
    return policy_class(plain["head"]).rebuild(plain)
