"""One episode: T looks, T - 1 moves, one answer, in the real environment on images made here."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from envs.glimpse import GlimpseVectorEnv
from envs.images import ImageData, ImageSet
from ram_agent.config import PolicyConfig, TrainingConfig
from ram_agent.heads import LearnedWindowHead
from ram_agent.learner import REINFORCE
from ram_agent.policy import RecurrentAttentionPolicy
from ram_agent.rollout import Episode, rollout
from tests.making import tensors_of

SMALL = {"hidden": 12, "what": 8, "where": 6, "features": 10, "location": 24}
CLASSES = 3
KINDS = ["crop", "gaussian", "stn"]


def random_images() -> ImageData:
    generator = torch.Generator().manual_seed(0)

    def some(count: int) -> ImageSet:
        pixels = torch.randint(0, 256, (count, 1, 6, 6), dtype=torch.uint8, generator=generator)
        return ImageSet(pixels, torch.randint(0, CLASSES, (count,), generator=generator))

    return ImageData("random", some(20), some(6), some(6), ("a", "b", "c"), sha256="")


class Heard(GlimpseVectorEnv):
    """The environment, and what it was told."""

    actions: list[dict[str, Tensor]]
    rewards: list[Tensor]

    def reset(self, **settings: Any) -> Any:
        self.actions, self.rewards = [], []
        return super().reset(**settings)

    def step(self, actions: dict[str, Any]) -> Any:
        self.actions.append(actions)
        result = super().step(actions)
        self.rewards.append(result[1])
        return result


def environment(lanes: int = 5, kind: str = "crop", glimpses: int = 4, first: Any = "random") -> Heard:
    return Heard(
        lanes,
        images=random_images(),
        size=(14, 18),
        clutter=2,
        clutter_size=3,
        sensor=kind,
        glimpse_size=4,
        scales=2,
        glimpses=glimpses,
        first_window=first,
        tensors=True,
    )


def agent(env: GlimpseVectorEnv, head: str = "sampled", **settings: object) -> RecurrentAttentionPolicy:
    """A policy that has left its first window, so that where it looks depends on what it saw."""
    torch.manual_seed(0)
    policy = RecurrentAttentionPolicy(
        env.single_observation_space["glimpse"].shape,
        env.sensor.rest((14, 18)),
        CLASSES,
        head=head,
        config=PolicyConfig.model_validate({**SMALL, **settings}),
    )
    if isinstance(policy.window_head, LearnedWindowHead):
        torch.nn.init.normal_(policy.window_head.outer.weight, std=1.0)
    return policy


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def play(env: GlimpseVectorEnv, policy: RecurrentAttentionPolicy, **settings: Any) -> Episode:
    return rollout(policy, env, **{"std": 0.3, "seed": 0, "generator": seeded(), **settings})


# -------------------------------------------------------------------- looks and moves


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("lanes", "glimpses"), [(5, 4), (1, 3), (5, 1), (1, 1), (2, 2)])
def test_an_episode_has_t_looks_and_t_minus_one_moves(kind: str, lanes: int, glimpses: int) -> None:
    env = environment(lanes, kind, glimpses)
    parameters = env.sensor.window_parameters
    episode = play(env, agent(env))
    assert episode.windows.shape == (glimpses, lanes, parameters)
    assert episode.means.shape == episode.samples.shape == (glimpses - 1, lanes, parameters)
    assert episode.hidden.shape == (glimpses, lanes, 12)
    assert episode.logits.shape == (glimpses, lanes, CLASSES)
    assert episode.target.shape == episode.reward.shape == (lanes,)
    assert len(env.actions) == glimpses


@pytest.mark.parametrize(("glimpses", "lanes"), [(4, 5), (1, 5)])
def test_no_move_is_drawn_that_is_never_looked_at(glimpses: int, lanes: int) -> None:
    """Trap 2, told by the random numbers that are used up: those of T - 1 moves exactly."""
    env = environment(lanes, glimpses=glimpses)
    generator, by_hand = seeded(3), seeded(3)
    play(env, agent(env), generator=generator)
    for _ in range(glimpses - 1):
        torch.randn(lanes, 2, generator=by_hand)
    assert torch.equal(generator.get_state(), by_hand.get_state())


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_window_is_the_environments_and_the_others_are_the_clamped_samples(kind: str) -> None:
    env = environment(kind=kind)
    first = tuple(np.linspace(-0.5, 0.7, env.sensor.window_parameters).round(2).tolist())
    env = environment(kind=kind, first=first)
    episode = play(env, agent(env), std=0.8)
    torch.testing.assert_close(episode.windows[0], torch.tensor(first).expand(5, -1))
    assert (episode.samples.abs() > 1).any()
    assert torch.equal(episode.windows[1:], episode.samples.clamp(-1, 1))
    assert not torch.equal(episode.samples, episode.means)


def test_a_random_first_window_differs_from_lane_to_lane_and_is_the_environments() -> None:
    env = environment()
    episode = play(env, agent(env))
    observation, _ = env.reset(seed=0)
    assert torch.equal(episode.windows[0], observation["window"])
    assert len(episode.windows[0].unique(dim=0)) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_look_t_reads_window_t_of_the_scene(kind: str) -> None:
    """The episode again, by hand: sensor at the windows that it tells of, then core and classifier."""
    env = environment(kind=kind)
    policy = agent(env)
    episode = play(env, policy)
    state = policy.initial_state(5)
    for t, window in enumerate(episode.windows):
        glimpse = env.sensor(env.canvas, env.sensor.window(window)).flatten(1, 2)
        hidden, state = policy.look(glimpse, window, state)
        torch.testing.assert_close(episode.hidden[t], hidden)
        torch.testing.assert_close(episode.logits[t], policy.classifier(hidden))
        if t < 3:
            assert isinstance(policy.window_head, LearnedWindowHead)
            torch.testing.assert_close(episode.means[t], policy.window_head.mean(hidden))


# -------------------------------------------------------------------- the answer


@pytest.mark.parametrize("glimpses", [1, 4])
def test_the_environment_hears_the_last_answer_and_pays_one_if_it_is_right(glimpses: int) -> None:
    env = environment(lanes=40, glimpses=glimpses)
    policy = agent(env)
    torch.nn.init.normal_(policy.classifier.weight)
    torch.nn.init.zeros_(policy.classifier.bias)
    episode = play(env, policy)
    answer = episode.logits[-1].argmax(dim=-1)
    if glimpses > 1:  # some lanes change their mind, or the first answer would pass for the last
        assert not torch.equal(answer, episode.logits[0].argmax(dim=-1))
    assert torch.equal(env.actions[-1]["label"], answer)
    assert torch.equal(episode.reward, env.rewards[-1])
    assert torch.equal(episode.reward, (answer == episode.target).float())
    assert 0 < episode.reward.mean() < 1  # both happen
    assert all(not reward.any() for reward in env.rewards[:-1])


def test_the_target_is_the_label_of_the_image_in_the_scene() -> None:
    env = environment()
    episode = play(env, agent(env), seed=np.full(5, 9), scenes=np.arange(5))
    assert torch.equal(episode.target, env.scenes(torch.full((5,), 9), torch.arange(5)).label)
    assert torch.equal(env.canvas, env.scenes(torch.full((5,), 9), torch.arange(5)).canvas)


def test_on_step_is_called_once_per_step_of_the_environment() -> None:
    env = environment()
    calls: list[int] = []
    play(env, agent(env), on_step=lambda: calls.append(len(env.actions)))
    assert calls == [1, 2, 3, 4]


# -------------------------------------------------------------------- seeds


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_episodes_whatever_the_batch_size(kind: str) -> None:
    whole = environment(6, kind)
    policy = agent(whole)
    together = play(whole, policy, std=0.0, seed=np.full(6, 7), scenes=np.arange(6))
    assert len(together.windows[-1].unique(dim=0)) == 6  # what is seen decides where to look
    for batch in (1, 3):
        env = environment(batch, kind)
        for start in range(0, 6, batch):
            part = slice(start, start + batch)
            alone = play(env, policy, std=0.0, seed=np.full(batch, 7), scenes=np.arange(6)[part])
            found = tensors_of(alone)
            for name, values in tensors_of(together).items():
                lanes = values[part] if name in ("target", "reward") else values[:, part]
                torch.testing.assert_close(found[name], lanes, rtol=1e-4, atol=1e-5)


def test_seeds_and_generator_decide_everything() -> None:
    env = environment()
    policy = agent(env)
    one, same = play(env, policy), play(env, policy)
    again = tensors_of(same)
    assert all(torch.equal(value, again[name]) for name, value in tensors_of(one).items())
    assert not torch.equal(play(env, policy, generator=seeded(1)).samples, one.samples)
    assert not torch.equal(play(env, policy, seed=100).windows[0], one.windows[0])


def test_without_a_seed_the_environment_goes_on_to_new_scenes() -> None:
    env = environment()
    policy = agent(env)
    play(env, policy)
    first = env.canvas.clone()
    play(env, policy, seed=None)
    assert all(not torch.equal(*pair) for pair in zip(first, env.canvas, strict=True))


# -------------------------------------------------------------------- gradients through the environment


@pytest.mark.parametrize("kind", KINDS)
def test_the_environment_is_differentiable_for_a_window_that_carries_a_gradient(kind: str) -> None:
    """By the eye's own derivative, or past the rounding of a crop."""
    env = environment(kind=kind)
    env.reset(seed=0)
    window = torch.full((5, env.sensor.window_parameters), 0.1, requires_grad=True)
    observation, *_ = env.step({"window": window, "label": torch.zeros(5).long()})
    (gradient,) = torch.autograd.grad(observation["glimpse"].square().sum(), window)
    assert (gradient.abs().amax(dim=0) > 1e-5).all()
    observation, *_ = env.step({"window": window.detach(), "label": torch.zeros(5).long()})
    assert not observation["glimpse"].requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_answer_teaches_the_window_head_through_what_was_seen(kind: str) -> None:
    """The other way from window to answer, the network's own knowledge of where it looks, is closed here."""
    env = environment(kind=kind)
    policy = agent(env, "straight_through" if kind == "crop" else "pathwise", window_gradient=1.0)
    torch.nn.init.zeros_(policy.glimpse.placed.weight)
    episode = play(env, policy)
    F.cross_entropy(episode.logits[-1], episode.target).backward()
    found = [parameter.grad for parameter in policy.window_head.parameters()]
    taught = [gradient is not None and gradient.norm().item() > 1e-6 for gradient in found]
    assert taught == [True] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_sampled_windows_carry_no_gradient_whatever_the_eye(kind: str) -> None:
    env = environment(kind=kind)
    policy = agent(env)
    episode = play(env, policy)
    assert not episode.windows.requires_grad
    assert not episode.samples.requires_grad
    assert not episode.reward.requires_grad
    assert episode.means.requires_grad
    F.cross_entropy(episode.logits[-1], episode.target).backward()
    assert all(parameter.grad is None for parameter in policy.window_head.parameters())


# -------------------------------------------------------------------- what the learner makes of an episode


@pytest.mark.parametrize("baseline", ["none", "learned", "leave_one_out"])
@pytest.mark.parametrize("glimpses", [4, 1])
def test_reinforce_holds_each_move_against_what_was_known_before_it(baseline: str, glimpses: int) -> None:
    """Traps 2 and 3 in the learner itself: T - 1 moves, and for move t the baseline of h_t."""
    env = environment(lanes=6, glimpses=glimpses)
    policy = agent(env)
    training = TrainingConfig.model_validate(
        {"batch": 3, "episodes_per_image": 2, "baseline": baseline, "reward": "success"}
    )
    learner = REINFORCE(policy, env, training)
    episode = play(env, policy, std=0.3)
    losses, _ = learner.losses(episode, 0.3)

    reward, expected, squares = episode.reward, 0.0, []
    for t in range(glimpses - 1):
        for lane in range(6):
            known = {
                "none": 0.0,
                "learned": policy.baseline(episode.hidden[t, lane]).item(),
                "leave_one_out": reward[lane ^ 1].item(),
            }[baseline]
            squares.append((reward[lane].item() - known) ** 2)
            normal = torch.distributions.Normal(episode.means[t, lane], 0.3)
            expected -= normal.log_prob(episode.samples[t, lane]).sum().item() * (reward[lane].item() - known) / 6
    assert losses.reinforce.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    if baseline == "learned" and squares:
        assert losses.baseline.item() == pytest.approx(np.mean(squares), rel=1e-4)
    else:
        assert losses.baseline.item() == 0
    torch.testing.assert_close(losses.classification, F.cross_entropy(episode.logits[-1], episode.target))
