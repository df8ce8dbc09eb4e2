"""The gradient estimators are right: a proof by quadrature, and each function against another library.

**The proof.** A problem small enough to be solved exactly, with everything that makes the real one hard: two moves, the
second of which depends on where the first one went; an environment that clips windows to [-1, 1]; a reward of 0 or 1
drawn at random; one location head for all moves; two kinds of image.

    w_0 = 0.2,   mean_t = tanh(bias + again · w_{t-1} + image · c),   a_t ~ N(mean_t, std²),   w_t = clip(a_t)
    P(success) = success_probability(w_1, w_2, c),   c = -1/2 or 1/2

1. J(θ) = E[success] is a double integral. Quadrature gives it, and central differences its gradient, to ten digits;
   neither uses torch, samples or the functions under test.
2. 200,000 episodes are sampled, and `ram_agent.estimators` gives the gradient of each.
3. The mean of those is normal about ∇J, if the estimator is unbiased, with a standard error that the sample itself
   tells. So each of the three parameters has a z-score, and |z| < 5 at a fixed seed.
4. The test can see: mistakes that public implementations make are planted, and each fails it by far.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import explained_variance_score
from torch import Tensor

from ram_agent.estimators import (
    episode_return,
    explained_variance,
    leave_one_out,
    log_probability,
    score_function_loss,
)

Array = NDArray[Any]
THETA = (0.9, 0.5, 0.8)
"""bias, again, image: means of 0.55 to 0.9, so that up to a third of the samples fall outside and are clipped."""
STD, FIRST, IMAGES = 0.3, 0.2, (-0.5, 0.5)
GROUPS, PER_IMAGE = 50_000, 4
"""Episodes come in groups of four at one image, as `leave_one_out` needs them."""


def success_probability(w_1: Any, w_2: Any, image: Any, exp: Callable[[Any], Any] = np.exp) -> Any:
    """Between 0.3 and 0.95, highest with the first window at the border and the second where image and first say."""
    return 0.3 + 0.65 * exp(-((w_1 - 1) ** 2) / 0.15 - (w_2 - image - 0.5 * w_1) ** 2)


# -------------------------------------------------------------------- 1. the truth, by quadrature


def clipped_normal(mean: Array) -> tuple[Array, Array]:
    """Nodes and probabilities of w = clip(a), a ~ N(mean, STD²): a density inside, and all that lies beyond, at ±1."""
    nodes, weights = leggauss(120)
    inside = weights * stats.norm.pdf(nodes, mean[..., None], STD)
    below, above = stats.norm.cdf(-1, mean, STD), stats.norm.sf(1, mean, STD)
    places = np.concatenate([nodes, [-1, 1]])
    return places, np.concatenate([inside, below[..., None], above[..., None]], axis=-1)


def expected_success(theta: Array) -> float:
    """J(θ): the integral over the first window of the integral over the second, mean over images."""
    total = 0.0
    for image in IMAGES:
        first = np.tanh(theta[0] + theta[1] * FIRST + theta[2] * image)
        w_1, p_1 = clipped_normal(np.array(first))
        w_2, p_2 = clipped_normal(np.tanh(theta[0] + theta[1] * w_1 + theta[2] * image))
        assert p_1.sum() == pytest.approx(1, abs=1e-12)
        total += p_1 @ (p_2 * success_probability(w_1[:, None], w_2[None], image)).sum(axis=1)
    return total / len(IMAGES)


def true_gradient() -> Array:
    step = 1e-4
    ways = [step * unit for unit in np.eye(3)]
    return np.array([(expected_success(THETA + way) - expected_success(THETA - way)) / (2 * step) for way in ways])


# -------------------------------------------------------------------- 2. the estimate, by sampling


class Moves(NamedTuple):
    """Everything about the sampled episodes; moves first, three of them, of which two are looked at."""

    theta: Tensor
    """The parameters once per lane, so that one backward pass gives the gradient of each episode apart."""
    image: Tensor
    previous: Tensor
    """w_{t-1}: where the eye is as move t is drawn."""
    mean: Tensor
    sample: Tensor
    window: Tensor
    success: Tensor


@pytest.fixture(scope="module")
def moves() -> Moves:
    generator = torch.Generator().manual_seed(20)
    lanes = GROUPS * PER_IMAGE
    theta = torch.tensor(THETA, dtype=torch.float64).expand(lanes, -1).clone().requires_grad_()
    image = torch.tensor(IMAGES, dtype=torch.float64).repeat_interleave(PER_IMAGE).repeat(GROUPS // len(IMAGES))
    window = torch.full((lanes,), FIRST, dtype=torch.float64)
    columns: list[list[Tensor]] = [[], [], [], []]
    for _ in range(3):
        mean = torch.tanh(theta[:, 0] + theta[:, 1] * window + theta[:, 2] * image)
        sample = (mean + STD * torch.randn(lanes, dtype=torch.float64, generator=generator)).detach()
        for column, value in zip(columns, (window, mean, sample, sample.clamp(-1, 1)), strict=True):
            column.append(value)
        window = sample.clamp(-1, 1)
    previous, mean, sample, windows = (torch.stack(column) for column in columns)
    chance = success_probability(windows[0], windows[1], image, torch.exp)
    success = (torch.rand(lanes, dtype=torch.float64, generator=generator) < chance).double()
    return Moves(theta, image, previous, mean, sample, windows, success)


def no_baseline(moves: Moves, count: int) -> Tensor:
    return torch.zeros(count, len(moves.image), dtype=torch.float64)


def state_baseline(moves: Moves, count: int) -> Tensor:
    """Any function of what came before the move may be held against the return; a fair guess keeps variance down."""
    return 0.5 + 0.2 * moves.previous[:count] - 0.1 * moves.image


def leave_one_out_baseline(moves: Moves, count: int) -> Tensor:
    return leave_one_out(moves.success, PER_IMAGE).expand(count, -1)


def action_baseline(moves: Moves, count: int) -> Tensor:
    """Planted bug (trap 3): the baseline has seen the move that it corrects."""
    return 0.5 + 0.2 * moves.window[:count] - 0.1 * moves.image


def gradients(
    moves: Moves, baseline: Callable[[Moves, int], Tensor], count: int = 2, sample: Tensor | None = None
) -> Array:
    """The estimated gradient of E[success] of each group of episodes, (GROUPS, 3).

    `count` moves are in the loss: two were looked at. `sample` is what the log-probability is taken of.
    """
    drawn = moves.sample if sample is None else sample
    log_p = log_probability(drawn[:count, :, None], moves.mean[:count, :, None], STD)
    loss = score_function_loss(log_p, moves.success - baseline(moves, count))
    (gradient,) = torch.autograd.grad(-loss * len(moves.image), moves.theta, retain_graph=True)
    return gradient.view(GROUPS, PER_IMAGE, 3).mean(dim=1).numpy()  # groups are independent, episodes in one may not be


def z_scores(estimates: Array) -> Array:
    """How many standard errors the mean lies from the truth, for each parameter."""
    standard_error = estimates.std(axis=0, ddof=1) / len(estimates) ** 0.5
    return (estimates.mean(axis=0) - true_gradient()) / standard_error


# -------------------------------------------------------------------- 3. the proof


def test_quadrature_and_simulation_are_the_same_problem(moves: Moves) -> None:
    truth = expected_success(np.array(THETA))
    success = moves.success.view(GROUPS, PER_IMAGE).mean(dim=1).numpy()
    assert abs(success.mean() - truth) < 5 * success.std(ddof=1) / GROUPS**0.5
    assert np.abs(true_gradient()).min() > 0.015  # there is something to estimate
    clipped = (moves.sample[:2].abs() > 1).double().mean()
    assert 0.1 < clipped < 0.4  # and clipping matters


@pytest.mark.parametrize("baseline", [no_baseline, state_baseline, leave_one_out_baseline])
def test_the_score_function_is_unbiased(moves: Moves, baseline: Callable[[Moves, int], Tensor]) -> None:
    assert np.abs(z_scores(gradients(moves, baseline))).max() < 5


@pytest.mark.parametrize("baseline", [state_baseline, leave_one_out_baseline])
def test_a_baseline_keeps_variance_down(moves: Moves, baseline: Callable[[Moves, int], Tensor]) -> None:
    with_baseline, without = gradients(moves, baseline), gradients(moves, no_baseline)
    assert (with_baseline.var(axis=0) < 0.9 * without.var(axis=0)).all()


# -------------------------------------------------------------------- 4. what it would catch


def test_planted_bug_1_the_log_probability_of_the_clipped_sample_is_biased(moves: Moves) -> None:
    for baseline in (no_baseline, state_baseline):
        assert np.abs(z_scores(gradients(moves, baseline, sample=moves.window))).max() > 20
    # Praise that is 0 on average takes most of the bias along, and so the mistake stays unseen longest here:
    assert np.abs(z_scores(gradients(moves, leave_one_out_baseline, sample=moves.window))).max() > 5


def test_planted_bug_2_a_move_that_is_never_looked_at_adds_variance_and_nothing_else(moves: Moves) -> None:
    for baseline in (no_baseline, state_baseline, leave_one_out_baseline):
        right, wrong = gradients(moves, baseline), gradients(moves, baseline, count=3)
        assert np.abs(z_scores(wrong)).max() < 5
        assert (wrong.var(axis=0) > 1.2 * right.var(axis=0)).all()


def test_planted_bug_3_a_baseline_that_has_seen_the_move_is_biased(moves: Moves) -> None:
    assert np.abs(z_scores(gradients(moves, action_baseline))).max() > 15


def test_planted_bug_a_mean_over_looks_that_counts_the_episode_itself_is_biased(moves: Moves) -> None:
    def group_mean(moves: Moves, count: int) -> Tensor:
        return moves.success.view(GROUPS, PER_IMAGE).mean(dim=1).repeat_interleave(PER_IMAGE).expand(count, -1)

    assert np.abs(z_scores(gradients(moves, group_mean))).max() > 15


# -------------------------------------------------------------------- each function by itself


@pytest.mark.parametrize("shape", [(1, 1), (5, 2), (3, 4, 6), (0, 4, 2)])
@pytest.mark.parametrize("std", [0.05, 0.3, 2.0])
def test_log_probability_is_that_of_torch_and_of_scipy(shape: tuple[int, ...], std: float) -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
    sample = mean.detach() + 2 * std * torch.randn(shape, dtype=torch.float64, generator=generator)
    ours = log_probability(sample, mean, std)
    theirs = torch.distributions.Normal(mean, std).log_prob(sample).sum(dim=-1)
    assert ours.shape == shape[:-1]
    torch.testing.assert_close(ours, theirs)
    np.testing.assert_allclose(ours.detach(), stats.norm.logpdf(sample, mean.detach(), std).sum(axis=-1), atol=1e-9)
    found, expected = (torch.autograd.grad(value.sum(), mean)[0] for value in (ours, theirs))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found, (sample - mean.detach()) / std**2)


def test_log_probability_moves_the_mean_and_not_the_sample() -> None:
    """Through a sample that carries a gradient, mean + std · noise, the score would cancel to nothing."""
    mean = torch.zeros(2, 3, requires_grad=True)
    sample = mean + 0.3
    (gradient,) = torch.autograd.grad(log_probability(sample, mean, 0.5).sum(), mean)
    torch.testing.assert_close(gradient, torch.full((2, 3), 0.3 / 0.25))


def test_the_score_function_loss_is_summed_over_moves_and_averaged_over_lanes() -> None:
    generator = torch.Generator().manual_seed(1)
    log_p = torch.randn(3, 5, generator=generator, requires_grad=True)
    advantage = torch.randn(3, 5, generator=generator, requires_grad=True)
    loss = score_function_loss(log_p, advantage)
    by_hand = -sum(log_p[t, n].item() * advantage[t, n].item() for t in range(3) for n in range(5)) / 5
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    found = torch.autograd.grad(loss, (log_p, advantage), allow_unused=True)
    torch.testing.assert_close(found[0], -advantage.detach() / 5)
    assert found[1] is None  # the baseline inside of the advantage learns by its own loss


def test_one_advantage_per_lane_serves_all_moves() -> None:
    log_p, advantage = torch.randn(3, 5), torch.randn(5)
    expected = score_function_loss(log_p, advantage.expand(3, -1))
    torch.testing.assert_close(score_function_loss(log_p, advantage), expected)


@pytest.mark.parametrize("advantage", [torch.zeros(0, 5), torch.ones(5)])
def test_without_moves_the_score_function_loss_is_zero(advantage: Tensor) -> None:
    assert score_function_loss(torch.zeros(0, 5), advantage).item() == 0


@pytest.mark.parametrize("per_image", [0, 1, 3])
def test_leave_one_out_of_nothing_else_or_of_half_a_group_is_refused(per_image: int) -> None:
    with pytest.raises(ValueError, match=f"per_image: got {per_image}, expected 2 or more, and a divisor of the 8"):
        leave_one_out(torch.rand(8), per_image)


@pytest.mark.parametrize(("images", "per_image"), [(1, 2), (4, 3), (3, 8)])
def test_leave_one_out_is_the_mean_of_the_others_at_the_same_image(images: int, per_image: int) -> None:
    returns = torch.rand(images * per_image, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for lane, value in enumerate(leave_one_out(returns, per_image).tolist()):
        first = lane - lane % per_image
        others = [returns[other].item() for other in range(first, first + per_image) if other != lane]
        assert value == pytest.approx(sum(others) / len(others))


def test_explained_variance_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(3)
    truth = torch.randn(200, generator=generator)
    for share in (-1.0, 0.0, 0.5, 1.0):
        prediction = share * truth + 0.3 * torch.randn(200, generator=generator) + 7
        expected = explained_variance_score(truth.numpy(), prediction.numpy())
        assert explained_variance(prediction, truth).item() == pytest.approx(expected, abs=1e-4)
    assert explained_variance(truth, truth).item() == 1


def test_explained_variance_of_a_truth_that_never_varies_is_zero() -> None:
    assert explained_variance(torch.randn(5), torch.ones(5)).item() == 0
    assert explained_variance(torch.randn(1, 1), torch.ones(1, 1)).item() == 0


def test_explained_variance_of_no_prediction_is_zero() -> None:
    """A single look has no move, hence no baseline, and must not put a NaN into the logs."""
    assert explained_variance(torch.zeros(0, 5), torch.randn(1, 5)).item() == 0


def test_returns_are_the_reward_the_probability_above_chance_or_the_log_likelihood() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0, 0.5], [0.0, 3.0, 0.0, 0.0], [-2.0, 1.0, 1.0, 1.0]]).requires_grad_()
    target, reward = torch.tensor([0, 0, 3]), torch.tensor([1.0, 0.0, 0.0])
    odds = np.exp(logits.detach().numpy())
    right = (odds / odds.sum(axis=1, keepdims=True))[range(3), target]
    assert right[1] < 1 / 4  # below chance: nothing is earned, nothing owed
    expected = {"success": reward, "probability": np.maximum(right - 1 / 4, 0), "log_likelihood": np.log(right)}
    for kind, values in expected.items():
        returns = episode_return(kind, reward, logits, target)
        np.testing.assert_allclose(returns, values, atol=1e-6)
        assert not returns.requires_grad  # praise is no second way for the classifier to learn


def test_an_unknown_return_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"^return: got 'praise', expected success, probability or log_likelihood"):
        episode_return("praise", torch.zeros(1), torch.zeros(1, 2), torch.zeros(1).long())
