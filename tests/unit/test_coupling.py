"""The coupled control variate: the eye between pixels, the twin that looks through it, and the gradient of both."""

import itertools
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from ram_agent import estimators
from ram_agent.config import ConfigError, load_config
from ram_agent.coupling import Twin, between_pixels, play_twin
from ram_agent.heads import CoupledWindowHead, SampledWindowHead
from ram_agent.learner import REINFORCE, Pathwise
from ram_agent.rollout import Episode, rollout
from ram_agent.sensor import Bilinear, Crop, SubpixelCrop, Window
from tests.making import make_env, make_learner, make_policy

PLACES = [[7.3, 5.0], [12.0, 9.5], [0.4, 17.9], [21.7, 0.2], [3.0, 3.0]]
"""Pixel-edge coordinates (x, y) on canvases of 18 × 22: between pixels along one axis, both, none, near the border."""


def window_at(places: list[list[float]], size: tuple[int, int], grad: bool = False) -> Window:
    centre = 2 * torch.tensor(places, dtype=torch.float64) / torch.tensor([size[1], size[0]]) - 1
    return Window(centre.requires_grad_(grad), torch.ones_like(centre), torch.zeros_like(centre))


# -------------------------------------------------------------------- the eye


@pytest.mark.parametrize(("side", "scales"), [(4, 1), (4, 2), (3, 1), (6, 2)])
def test_between_pixels_the_crop_is_a_spatial_transformer_of_stride_one_values_and_gradients(
    side: int, scales: int
) -> None:
    """`Bilinear` samples maps of box sums, the sub-pixel crop pools one patch: nothing in common but the definition."""
    size = (18, 22)
    canvas = torch.rand(len(PLACES), 2, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.rand(len(PLACES), scales, 2, side, side, dtype=torch.float64)
    found = []
    for sensor in (Crop(side, scales, reach=1.0).between_pixels(), Bilinear(side, scales, reach=1.0)):
        window = window_at(PLACES, size, grad=True)
        glimpse = sensor(canvas, window)
        (gradient,) = torch.autograd.grad((glimpse * weight).sum(), window.centre)
        found.append((glimpse.detach(), gradient))
    (ours, slope), (theirs, expected) = found
    torch.testing.assert_close(ours, theirs)
    between = torch.tensor([[x % 1 != 0 and y % 1 != 0] for x, y in PLACES])  # elsewhere it is one of two
    assert between.any()
    torch.testing.assert_close(slope * between, expected * between)


def test_at_whole_pixels_it_is_the_crop() -> None:
    places = [[7.0, 5.0], [0.0, 18.0], [22.0, 9.0]]
    canvas = torch.randint(0, 256, (3, 1, 18, 22), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    crop = Crop(4, 2, reach=1.0)
    window = window_at(places, (18, 22))
    torch.testing.assert_close(crop.between_pixels()(canvas, window), crop(canvas, window))


def test_its_derivative_is_the_finite_difference() -> None:
    canvas = torch.rand(2, 1, 18, 22, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    window = window_at([[7.3, 5.4], [12.6, 9.5]], (18, 22), grad=True)

    def read(centre: Tensor) -> Tensor:
        return SubpixelCrop(4, 2)(canvas, window._replace(centre=centre))

    assert torch.autograd.gradcheck(read, (window.centre,))


# -------------------------------------------------------------------- the twin


def test_the_twin_of_an_environment_shows_the_same_scenes_and_leaves_it_alone() -> None:
    env = make_env(5, tensors=True)
    twin = between_pixels(env)
    assert isinstance(twin.sensor, SubpixelCrop)
    shown = {"seed": [3] * 5, "options": {"scene": range(5)}}
    before, info = env.reset(**shown)
    canvas = env.canvas.clone()
    after, other = twin.reset(**shown)
    assert torch.equal(info["target"], other["target"])
    assert torch.equal(twin.canvas, canvas)
    twin.step({"window": torch.zeros(5, 2), "label": torch.zeros(5, dtype=torch.long)})
    twin.reset(seed=[4] * 5)
    assert torch.equal(env.canvas, canvas)  # in memory of its own
    observation, *_ = env.step({"window": before["window"], "label": torch.zeros(5, dtype=torch.long)})
    assert torch.equal(observation["glimpse"], before["glimpse"])
    torch.testing.assert_close(after["window"], before["window"])


def test_a_soft_eye_has_no_twin() -> None:
    with pytest.raises(ValueError, match=r"training\.baseline: got coupled with a gaussian sensor, expected a crop"):
        between_pixels(make_env(2, tensors=True, sensor="gaussian"))


def played(lanes: int, std: float, *, glimpses: int = 3, seed: int = 0, **policy: Any) -> tuple[Any, Any, Episode]:
    env = make_env(lanes, tensors=True, glimpses=glimpses)
    agent = make_policy(env, **policy)
    with torch.no_grad():  # as it begins it does not care what it sees
        agent.window_head.outer.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(seed)
    episode = rollout(agent, env, std=std, seed=[seed] * lanes, scenes=range(lanes), generator=generator)
    return agent, env, episode


def twin_of(agent: Any, env: Any, episode: Episode, std: float, seed: int = 0) -> Twin:
    lanes = env.num_envs
    twin = between_pixels(env)
    return play_twin(agent, twin, episode, std=std, seed=[seed] * lanes, scenes=range(lanes), reward="probability")


def test_the_twin_earns_nearly_the_same() -> None:
    agent, env, episode = played(64, 0.3)
    twin = twin_of(agent, env, episode, 0.3)
    returns = estimators.episode_return("probability", episode.reward, episode.logits[-1], episode.target)
    assert (twin.returns - returns).abs().max() > 1e-4  # but not the same
    assert estimators.explained_variance(twin.returns[None], returns[None]) > 0.9
    torch.testing.assert_close(twin.noise, (episode.samples - episode.means) / 0.3)


def test_the_slope_is_that_of_the_twins_return_to_each_move_by_way_of_all_that_follows() -> None:
    """Finite differences: the twin is played again with one move of every lane pushed, the noise being as it was."""
    agent, env, episode = played(40, 0.3, detach_location=True)
    twin = between_pixels(env)
    shown: dict[str, Any] = {"std": 0.3, "seed": [0] * 40, "scenes": range(40), "reward": "log_likelihood"}
    noise = ((episode.samples - episode.means) / 0.3).detach()

    def play(noise: Tensor) -> Twin:
        return play_twin(agent, twin, episode._replace(samples=episode.means + 0.3 * noise), **shown)

    found, step = play(noise).slope, 0.01
    assert len(found) == 2
    for move, axis in itertools.product(range(2), range(2)):
        push = torch.zeros_like(noise)
        push[move, :, axis] = step
        difference = (play(noise + push).returns - play(noise - push).returns) / (2 * step * 0.3)
        # A fifth of the lanes may cross a pixel's edge or a ReLU's on the way.
        wrong = (difference - found[move, :, axis]).abs() > 0.02 + 0.05 * difference.abs()
        assert wrong.float().mean() < 0.2
        assert difference.abs().max() > 0.2


def test_the_head_of_the_twin_draws_what_a_sampling_head_would_with_this_noise() -> None:
    head = SampledWindowHead(6, 5, (0.1, -0.2), detach=True)
    hidden = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    move = head(hidden, 0.2, torch.Generator().manual_seed(1))
    twin = CoupledWindowHead(head, ((move.sample - move.mean) / 0.2).detach()[None])
    assert {id(each) for each in twin.parameters()} == {id(each) for each in head.parameters()}
    again = twin(hidden, 0.2, None)
    torch.testing.assert_close(again.window, move.window)
    assert again.window.requires_grad
    assert twin.drawn[0].requires_grad


# -------------------------------------------------------------------- the gradient


@pytest.mark.parametrize("detach", [True, False])
def test_on_a_real_eye_it_estimates_what_the_score_function_does_with_less_noise(detach: bool) -> None:
    """The gradient of each lane's return to the head's last bias, over 12,000 episodes: z-scores of the difference."""
    lanes, std = 500, 0.3
    found: dict[str, list[Tensor]] = {"none": [], "coupled": []}
    for seed in range(24):
        agent, env, episode = played(lanes, std, seed=seed, detach_location=detach)
        bias = agent.window_head.outer.bias
        returns = estimators.episode_return("probability", episode.reward, episode.logits[-1], episode.target)
        twin = twin_of(agent, env, episode, std, seed)
        log_p = estimators.log_probability(episode.samples, episode.means, std)
        left_over = returns - twin.returns
        losses = {
            "none": estimators.score_function_loss(log_p, returns),
            "coupled": estimators.coupled_loss(episode.means, twin.noise, std, left_over, twin.slope),
        }
        for name, loss in losses.items():
            found[name] += torch.autograd.grad(loss, bias, retain_graph=True)
    none, coupled = (torch.stack(found[name]).double() for name in ("none", "coupled"))
    difference = none - coupled
    assert (difference.mean(dim=0).abs() / (difference.std(dim=0) / len(difference) ** 0.5)).max() < 4
    assert (coupled.std(dim=0) < 0.5 * none.std(dim=0)).all()


def test_an_update_trains_the_window_head_and_no_baseline() -> None:
    learner = make_learner(baseline="coupled", reward="log_likelihood")
    before = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    facts = learner.update()
    facts = learner.update()
    moved = {
        name.partition(".")[0] for name, value in learner.policy.state_dict().items() if (value != before[name]).any()
    }
    assert moved == {"glimpse", "core", "window_head", "classifier"}
    assert facts["train/baseline_loss"] == 0
    assert facts["train/explained_variance"] > 0.5


def test_the_twin_is_no_second_way_for_the_classifier_to_learn() -> None:
    """With no weight on the moves' loss, the same update as without a twin."""
    settings = {"reinforce_weight": 0.0, "baseline_weight": 0.0}
    ours, theirs = (make_learner(baseline=name, **settings) for name in ("coupled", "none"))
    ours.update(), theirs.update()
    for mine, other in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_one_look_has_no_move_to_correct() -> None:
    learner = make_learner(baseline="coupled", env={"glimpses": 1})
    assert torch.isfinite(learner.update()["train/loss"])


def test_it_is_refused_for_a_soft_eye() -> None:
    settings = {"training.baseline": "coupled", "sensor.kind": "stn", "training.method": "reinforce"}
    expected = re.escape("training.baseline: expected none, learned or leave_one_out for a stn sensor, got coupled")
    with pytest.raises(ConfigError, match=expected):
        load_config(None, settings)
    assert load_config(None, settings | {"training.method": "pathwise"})  # which has no use for a baseline
    env = make_env(4, tensors=True, sensor="stn")
    with pytest.raises(ValueError, match="expected a crop"):
        REINFORCE(make_policy(env), env, baseline="coupled")
    Pathwise(make_policy(env, head="pathwise"), env, baseline="coupled")
