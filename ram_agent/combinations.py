"""Settings that are each right and make no sense together, refused by name."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ram_agent.config import Config

RECURRENT_BATCH = 128
"""Steps in a minibatch of RecurrentPPO's, unless told otherwise (sb3-contrib 2.6 and later)."""

TO_SPARE = 2
"""Scales that a crop may have above the first that holds the whole canvas: more cost gigabytes and show nothing."""

OF_A_SCORE_FUNCTION = ("baseline", "episodes_per_image", "reinforce_weight", "baseline_weight", "reward")
"""Fields of `training` that are REINFORCE's alone."""

SOFT = ("gaussian", "stn")
"""Sensors with a true gradient to their window. What one of somebody's own has is asked of it (`check_gradient`)."""

NOT_THEIRS = {
    "policy.scan": "a grid of cells has no place to begin at",
    "policy.detach_location": "their losses all reach the core",
    "policy.window_gradient": "no gradient goes into a cell",
    "training.episodes_per_image": "it is for baseline leave_one_out",
    "training.reward": "use sb3.reward",
    "training.baseline": "their critic learns one",
    "training.classification_weight": "their label is an action that rewards alone teach",
    "training.reinforce_weight": "their loss has no such weight",
    "training.baseline_weight": "use sb3.vf_coef",
    "training.optimizer": "it is theirs",
    "training.window_std": "they explore by the probabilities of cells",
    "training.window_std_end": "they explore by the probabilities of cells",
    "training.window_rate": "their optimiser has one rate",
    "training.lookahead": "their places are learned from rewards alone",
    "training.lookahead_weight": "their places are learned from rewards alone",
    "training.weight_average": "their weights are taken as they stand",
    "training.classify_every_look": "use sb3.reward each_look",
}
"""Settings that do nothing for Stable-Baselines3's algorithms and stay as usual there, and why."""


def check_together(config: "Config") -> None:
    """Raise `ValueError`: one line about the first field that does not go with the others."""
    _check_batch(config)
    _check_sizes(config)
    _check_method(config)
    if config.run.track and not config.run.tensorboard:
        raise ValueError("run.track: expected run.tensorboard true beside it, which is what it sends, got false")
    if config.training.by_sb3:
        _check_sb3(config)
    elif wrong := config.sb3.model_dump(exclude_defaults=True):
        name, value = next(iter(wrong.items()))
        raise ValueError(
            f"sb3.{name}: expected no such setting for training.method {config.training.method}, got {value}; "
            "it is for a2c, ppo and recurrent_ppo"
        )


def _check_batch(config: "Config") -> None:
    """One update is not to play more than all episodes."""
    batch, per_image, episodes = config.training.batch, config.training.episodes_per_image, config.training.episodes
    if config.training.lanes_per_process > episodes:
        each = f" of {per_image} episodes each" if per_image > 1 else ""
        raise ValueError(
            f"training.batch: got {batch:,} images an update{each}, expected no more episodes than the {episodes:,} of "
            f"training.episodes; --training.batch {max(1, episodes // per_image)}, or more episodes"
        )
    lanes, given = config.training.lanes_per_process, config.evaluation.control_episodes
    if config.evaluation.controls and given and given < lanes:
        raise ValueError(
            f"evaluation.control_episodes: got {given:,}, expected at least the {lanes:,} of one update "
            "(training.batch x training.episodes_per_image)"
        )


def _check_sizes(config: "Config") -> None:
    side, canvas = config.sensor.size, (config.scene.height, config.scene.width)
    if side > min(canvas):
        raise ValueError(
            f"sensor.size: expected at most {min(canvas)}, the shorter side of the {canvas[0]}x{canvas[1]} canvas, "
            f"got {side}"
        )
    _check_scales(config)
    if config.policy.scan >= config.environment.glimpses:
        raise ValueError(
            f"policy.scan: expected at most {config.environment.glimpses - 1}, the moves of an episode of "
            f"{config.environment.glimpses} glimpses, got {config.policy.scan}; --policy.scan 0 begins without"
        )
    if config.training.lookahead and config.environment.glimpses == 1:
        raise ValueError(
            "training.lookahead: expected 0 for episodes of one glimpse, which have no move to think over, got "
            f"{config.training.lookahead}; --training.lookahead 0"
        )
    if config.policy.encoder != "dense" and side < 4:
        raise ValueError(
            "policy.encoder: expected dense for glimpses of fewer than 4x4 samples, got "
            f"{config.policy.encoder} for {side}"
        )
    if "cnn" in config.evaluation.controls and min(canvas) < 10:
        raise ValueError(
            "evaluation.controls: expected none named cnn, whose filters are 10x10, on a "
            f"{canvas[0]}x{canvas[1]} canvas, got {', '.join(config.evaluation.controls)}; take fc or modern_cnn"
        )


def _check_scales(config: "Config") -> None:
    """Scales of a crop that go on doubling where one holds the whole canvas already, wherever its centre is: each
    shows the same, smaller, and is pooled from four times as many pixels.
    """
    sensor, longest = config.sensor, max(config.scene.height, config.scene.width)
    if sensor.kind != "crop":
        return
    enough = 1
    while sensor.size * 2 ** (enough - 1) < longest * (1 + sensor.reach):
        enough += 1
    if sensor.scales > enough + TO_SPARE:
        raise ValueError(
            f"sensor.scales: expected at most {enough + TO_SPARE} of crops of {sensor.size} samples on a canvas of "
            f"{longest} pixels, all of which scale {enough} holds wherever it looks, got {sensor.scales}; "
            f"--sensor.scales {enough}"
        )


def _check_method(config: "Config") -> None:
    method, kind = config.training.method, config.sensor.kind
    if method == "pathwise" and kind == "crop":
        raise ValueError(
            "training.method: expected reinforce or straight_through for a crop sensor (a hard crop has no true "
            "gradient to its window), got pathwise; or use sensor.kind gaussian or stn"
        )
    if method == "straight_through" and kind in SOFT:
        raise ValueError(
            f"training.method: expected pathwise for a {kind} sensor (its gradient is a true one), "
            "got straight_through; or use sensor.kind crop"
        )
    if not config.training.by_sb3 and method != "reinforce":
        _check_score_function(config)


def _check_score_function(config: "Config") -> None:
    """What is REINFORCE's alone does nothing for a gradient through the glimpse, and would be compared in vain."""
    if idle := list(_unusual(config, [f"training.{name}" for name in OF_A_SCORE_FUNCTION])):
        name, usual, got = idle[0]
        remedy = " ".join(f"--{name} {usual}" for name, usual, _ in idle)
        raise ValueError(
            f"{name}: expected {usual} for training.method {config.training.method}, whose gradient has no score "
            f"function, got {got}; {remedy}, or --training.method reinforce"
        )


def _unusual(config: "Config", names: Iterable[str]) -> Iterator[tuple[str, Any, Any]]:
    """Name, default and value of those of the fields, `section.field` each, that are not at their defaults."""
    for name in names:
        section, field = name.split(".")
        values = getattr(config, section)
        usual = type(values).model_fields[field].default
        if (got := getattr(values, field)) != usual:
            yield name, usual, got


def _check_sb3(config: "Config") -> None:
    """Stable-Baselines3's algorithms choose among places on a grid, and bring an optimiser and a loop of their own."""
    training, policy, sb3 = config.training, config.policy, config.sb3
    method, steps = training.method, training.batch * config.environment.glimpses
    reasons = {"sensor.kind": "a grid names places alone"} | NOT_THEIRS
    for name, usual, got in _unusual(config, reasons):
        raise ValueError(f"{name}: expected {usual} for training.method {method} ({reasons[name]}), got {got}")
    if config.run.cuda_graph:
        raise ValueError(
            f"run.cuda_graph: expected False for training.method {method} (their updates cannot be replayed), got True"
        )
    if training.precision not in ("float32", "tf32"):
        raise ValueError(
            f"training.precision: expected float32 or tf32 for training.method {method}, got {training.precision}"
        )
    if method == "recurrent_ppo" and policy.core != "lstm":
        raise ValueError(f"policy.core: expected lstm for training.method {method}, got {policy.core}")
    for name in ("n_epochs", "batch_size", "clip_range"):
        if method == "a2c" and (value := getattr(sb3, name)) is not None:
            raise ValueError(f"sb3.{name}: expected no such setting for training.method a2c, got {value}")
    if steps < 2:
        raise ValueError(
            f"training.batch: expected batch x environment.glimpses of 2 steps or more for training.method {method}, "
            "which sets an update's advantages by their deviation, got 1"
        )
    if method == "recurrent_ppo" and not sb3.batch_size and steps % RECURRENT_BATCH == 1:
        raise ValueError(
            f"sb3.batch_size: expected a divisor of training.batch x environment.glimpses = {steps} for "
            f"training.method {method}, got none; its own, {RECURRENT_BATCH}, leaves a minibatch of one step, which "
            "has no deviation"
        )
    if sb3.batch_size and steps % sb3.batch_size:
        raise ValueError(
            f"sb3.batch_size: expected a divisor of training.batch x environment.glimpses = {steps}, "
            f"got {sb3.batch_size}"
        )
