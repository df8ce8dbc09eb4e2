"""Glimpse environments for Gymnasium: `gymnasium.make("envs:ram/ClutteredMNIST-v0")`."""

from gymnasium.envs.registration import register, registry

TASKS: dict[str, dict[str, object]] = {
    "ram/MNIST-v0": {"scene": "plain", "size": (28, 28), "glimpse_size": 8, "scales": 1},
    "ram/TranslatedMNIST-v0": {"scene": "translated", "size": (60, 60), "glimpse_size": 12, "scales": 3},
    "ram/ClutteredMNIST-v0": {"scene": "cluttered", "size": (60, 60), "clutter": 4, "glimpse_size": 12, "scales": 3},
    "ram/ClutteredMNIST100-v0": {
        "scene": "cluttered",
        "size": (100, 100),
        "clutter": 8,
        "glimpse_size": 12,
        "scales": 4,
    },
}
"""The tasks of Mnih et al. 2014, section 4.1; six glimpses unless told otherwise."""


def register_environments() -> None:
    """Make the ids known to Gymnasium; does nothing the second time, imports nothing heavy.

    Each task has a discrete twin: `ram/ClutteredMNIST-discrete-v0` beside `ram/ClutteredMNIST-v0`.
    """
    for name, settings in TASKS.items():
        continuous = (name, "envs.single:GlimpseEnv", "envs.glimpse:GlimpseVectorEnv")
        twin = name.replace("-v", "-discrete-v")
        discrete = (twin, "envs.discrete:DiscreteGlimpseEnv", "envs.discrete:DiscreteGlimpseVectorEnv")
        for id, single, vector in (continuous, discrete):
            if id not in registry:
                register(id=id, entry_point=single, vector_entry_point=vector, kwargs=settings)


register_environments()
