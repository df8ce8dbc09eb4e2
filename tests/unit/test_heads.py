"""Heads: where the eye starts, what it draws, and which losses may reach which weights."""

from collections.abc import Callable
from math import atanh

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ram_agent.estimators import log_probability, score_function_loss
from ram_agent.heads import (
    BaselineHead,
    LearnedWindowHead,
    PathwiseWindowHead,
    SampledWindowHead,
    StraightThroughWindowHead,
)
from ram_agent.sensor import Crop, Gaussian

HIDDEN, WIDTH = 6, 5
FIRST = (0.3, -0.6, 0.0, 0.5, -0.2, 0.1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hidden_state(lanes: int = 4) -> Tensor:
    return torch.randn(lanes, HIDDEN, generator=seeded(9))


def shaken(head: LearnedWindowHead) -> LearnedWindowHead:
    """The head after some training: its last layer, zero at first, would hide what reaches the layers before it."""
    with torch.no_grad():
        head.outer.weight.copy_(torch.randn(head.outer.weight.shape, generator=seeded(3)) * 0.5)
    return head


def sampled(detach: bool = True, first: tuple[float, ...] = FIRST) -> SampledWindowHead:
    torch.manual_seed(0)
    return SampledWindowHead(HIDDEN, WIDTH, first, detach)


def pathwise(detach: bool = True, scale: float = 1.0) -> PathwiseWindowHead:
    torch.manual_seed(0)
    return PathwiseWindowHead(HIDDEN, WIDTH, FIRST, detach, scale)


def straight_through(detach: bool = True, scale: float = 1.0) -> StraightThroughWindowHead:
    torch.manual_seed(0)
    return StraightThroughWindowHead(HIDDEN, WIDTH, FIRST, detach, scale)


def gradients(loss: Tensor, head: torch.nn.Module) -> dict[str, Tensor | None]:
    names, parameters = zip(*head.named_parameters(), strict=True)
    if not loss.requires_grad:
        return dict.fromkeys(names)
    return dict(zip(names, torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True), strict=True))


def norms(found: dict[str, Tensor | None]) -> dict[str, float]:
    return {name: 0.0 if gradient is None else float(gradient.norm()) for name, gradient in found.items()}


# -------------------------------------------------------------------- where the eye starts


@pytest.mark.parametrize("make", [sampled, pathwise, straight_through])
def test_the_first_move_of_an_untrained_head_is_the_first_window_whatever_was_seen(
    make: Callable[[], LearnedWindowHead],
) -> None:
    head = make()
    for hidden in (hidden_state(), torch.zeros(1, HIDDEN), 100 * hidden_state(2)):
        move = head(hidden, 0.0, None)
        torch.testing.assert_close(move.mean, torch.tensor(FIRST).expand(len(hidden), -1))
        torch.testing.assert_close(move.window, move.mean)


def test_a_first_window_at_the_border_starts_where_tanh_still_learns() -> None:
    """tanh never reaches ±1; at 0.95 its slope is still 0.1. The sign and all that lies inside are kept."""
    mean = sampled(first=(1.0, -1.0, 0.95, 0.9)).mean(hidden_state(1))
    torch.testing.assert_close(mean, torch.tensor([[0.95, -0.95, 0.95, 0.9]]))
    assert (1 - mean.square() > 0.09).all()


def test_the_mean_is_tanh_of_a_two_layer_network() -> None:
    head, hidden = shaken(sampled()), hidden_state()
    assert head.inner is not None
    inner = np.maximum(0, hidden.numpy() @ head.inner.weight.detach().numpy().T + head.inner.bias.detach().numpy())
    outer = inner @ head.outer.weight.detach().numpy().T + np.array([atanh(value) for value in FIRST])
    np.testing.assert_allclose(head.mean(hidden).detach(), np.tanh(outer), atol=1e-6)


def test_without_hidden_units_the_mean_is_tanh_of_a_linear_map_as_in_the_paper() -> None:
    head, hidden = shaken(SampledWindowHead(HIDDEN, 0, FIRST, detach=False)), hidden_state()
    assert {name: tuple(each.shape) for name, each in head.named_parameters()} == {
        "outer.weight": (len(FIRST), HIDDEN),
        "outer.bias": (len(FIRST),),
    }
    outer = hidden.numpy() @ head.outer.weight.detach().numpy().T + np.array([atanh(value) for value in FIRST])
    np.testing.assert_allclose(head.mean(hidden).detach(), np.tanh(outer), atol=1e-6)
    twin = StraightThroughWindowHead.around(head, gradient_scale=1.0)
    np.testing.assert_array_equal(twin.mean(hidden).detach(), head.mean(hidden).detach())


# -------------------------------------------------------------------- hard attention


def test_samples_are_normal_about_the_mean() -> None:
    head = sampled()
    move = head(torch.zeros(20_000, HIDDEN), 0.25, seeded(1))
    deviation = ((move.sample - move.mean) / 0.25).detach().numpy()
    for axis in range(len(FIRST)):
        assert stats.kstest(deviation[:, axis], "norm").pvalue > 1e-4
    correlation = np.corrcoef(deviation.T) - np.eye(len(FIRST))
    assert np.abs(correlation).max() < 5 / 20_000**0.5


def test_the_environment_gets_the_sample_clamped_and_the_loss_the_sample_as_drawn() -> None:
    """Trap 1: the log-probability of a clamped sample is biased, so the sample must survive unclamped."""
    move = sampled(first=(0.9, -0.9))(torch.zeros(500, HIDDEN), 0.5, seeded(2))
    outside = move.sample.abs() > 1
    assert outside.float().mean() > 0.2
    assert torch.equal(move.window, move.sample.clamp(-1, 1))
    assert torch.equal(move.window[~outside], move.sample[~outside])
    assert (move.window[outside].abs() == 1).all()


def test_without_exploration_the_sample_is_the_mean() -> None:
    move = shaken(sampled())(hidden_state(), 0.0, seeded())
    assert torch.equal(move.sample, move.mean)
    assert torch.equal(move.window, move.mean)


def test_a_generator_decides_the_sample() -> None:
    head = sampled()
    one, same, other = (head(hidden_state(), 0.2, seeded(seed)).sample for seed in (5, 5, 6))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_no_loss_reaches_the_location_through_the_sample_even_if_the_eye_is_differentiable() -> None:
    """Trap 4, first half. With a differentiable eye and unclamped samples, only `detach` stands in the way."""
    head = shaken(sampled())
    hidden = hidden_state().requires_grad_()
    move = head(hidden, 0.05, seeded())
    sensor = Gaussian(size=3, scales=1)
    glimpse = sensor(torch.rand(4, 1, 20, 20, generator=seeded()), sensor.window(move.window))
    assert not move.window.requires_grad
    assert not move.sample.requires_grad
    assert not glimpse.requires_grad


def test_the_score_function_reaches_every_weight_of_the_location_head() -> None:
    """Trap 4, second half. Only the untrained inner layer waits one step, behind the zeros of the outer."""
    for head, layers in ((sampled(), ("outer",)), (shaken(sampled()), ("outer", "inner"))):
        move = head(hidden_state(), 0.2, seeded())
        loss = score_function_loss(log_probability(move.sample, move.mean, 0.2)[None], torch.randn(1, 4))
        found = norms(gradients(loss, head))
        for layer in layers:
            assert found[f"{layer}.weight"] > 1e-3
            assert found[f"{layer}.bias"] > 1e-3


def test_the_score_pulls_the_mean_towards_a_praised_sample() -> None:
    head = sampled(first=(0.0, 0.0))
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01)
    move = head(torch.zeros(1, HIDDEN), 0.2, seeded(7))
    score_function_loss(log_probability(move.sample, move.mean, 0.2)[None], torch.ones(1, 1)).backward()
    optimizer.step()
    after = head.mean(torch.zeros(1, HIDDEN))
    assert ((after - move.mean) * (move.sample - move.mean) > 0).all()


# -------------------------------------------------------------------- soft attention


def test_the_window_carries_its_gradient_times_window_gradient_exactly() -> None:
    canvas = torch.rand(4, 1, 20, 20, generator=seeded())
    sensor = Gaussian(size=3, scales=1)
    found, windows = {}, {}
    for scale in (1.0, 0.05, 0.0):
        head = shaken(pathwise(scale=scale))
        move = head(hidden_state(), 0.0, None)
        windows[scale] = move.window
        found[scale] = gradients(sensor(canvas, sensor.window(move.window)).square().sum(), head)
    torch.testing.assert_close(windows[0.05], windows[1.0])  # the scale changes no value
    for name, whole in found[1.0].items():
        assert whole is not None
        assert whole.norm() > 1e-4
        torch.testing.assert_close(found[0.05][name], 0.05 * whole)
        torch.testing.assert_close(found[0.0][name], 0 * whole)


def test_at_scale_one_the_gradient_is_that_of_the_mean_itself() -> None:
    head = shaken(pathwise(scale=1.0))
    weight = torch.randn(4, len(FIRST), generator=seeded())
    through_window = gradients((head(hidden_state(), 0.0, None).window * weight).sum(), head)
    through_mean = gradients((head.mean(hidden_state()) * weight).sum(), head)
    assert through_window.keys() == through_mean.keys()
    for name, gradient in through_mean.items():
        torch.testing.assert_close(through_window[name], gradient)


def test_a_straight_through_window_is_drawn_as_a_sampled_one_and_carries_the_gradient_of_its_mean() -> None:
    drawn, carrying = shaken(sampled()), shaken(straight_through(scale=0.05))
    expected, move = (head(hidden_state(), 0.3, seeded()) for head in (drawn, carrying))
    for name in ("window", "sample", "mean"):
        torch.testing.assert_close(getattr(move, name), getattr(expected, name))
    assert carrying.samples
    assert not move.sample.requires_grad
    inside = (move.window.detach().abs() < 1).float()
    assert 0 < inside.mean() < 1  # beyond the border the window does not move, and says so
    weight = torch.randn(4, len(FIRST), generator=seeded())
    of_window = gradients((move.window * weight).sum(), carrying)
    of_mean = gradients((carrying.mean(hidden_state()) * weight * inside).sum(), carrying)
    for name, gradient in of_mean.items():
        torch.testing.assert_close(of_window[name], 0.05 * gradient)


def test_the_straight_through_gradient_is_that_of_the_expected_loss_where_the_noise_spans_pixels() -> None:
    extent, std, draws = 60, 3.0, 8000  # std in pixels
    canvas = torch.rand(1, 1, 1, extent // 4, generator=seeded(), dtype=torch.float64)
    canvas = torch.nn.functional.interpolate(canvas, (1, extent), mode="bilinear").expand(-1, -1, 8, -1)
    sensor = Crop(size=4, scales=2, reach=1.0)

    def loss(centre: Tensor) -> Tensor:  # of windows at (centre, the middle), in pixels
        place = torch.stack([2 * centre / extent - 1, torch.zeros_like(centre)], dim=-1)
        glimpse = sensor(canvas.expand(len(centre), -1, -1, -1), sensor.window(place))
        return glimpse.square().mean(dim=(1, 2, 3, 4))

    places = torch.arange(extent + 1, dtype=torch.float64)
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), std)
    for mean in (15.3, 29.9, 41.2):
        # The truth: d/dmean of the sum over whole pixels of P(the centre is snapped there) · loss there.
        truth = (
            loss(places) * (normal.log_prob(places - 0.5 - mean).exp() - normal.log_prob(places + 0.5 - mean).exp())
        ).sum()
        at = torch.full((draws,), mean, dtype=torch.float64, requires_grad=True)
        noise = torch.randn(draws, generator=seeded(1), dtype=torch.float64)
        (slopes,) = torch.autograd.grad(loss(at + std * noise).sum(), at)
        error = slopes.std() / draws**0.5
        assert abs(slopes.mean() - truth) < 4 * error + 0.05 * abs(truth)


def test_a_soft_window_is_not_sampled() -> None:
    head = shaken(pathwise())
    generator = seeded()
    before = generator.get_state()
    assert torch.equal(head(hidden_state(), 0.5, generator).window, head(hidden_state(), 0.0, None).window)
    assert torch.equal(generator.get_state(), before)
    assert not head.samples
    assert SampledWindowHead.samples


# -------------------------------------------------------------------- detach_location


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("make", [sampled, pathwise, straight_through])
def test_detach_decides_whether_the_locations_gradient_goes_on_to_the_core(
    make: Callable[[bool], LearnedWindowHead], detach: bool
) -> None:
    head = shaken(make(detach))
    hidden = hidden_state().requires_grad_()
    mean = head(hidden, 0.1, seeded()).mean
    mean.square().sum().backward()
    assert (hidden.grad is None) == detach
    if hidden.grad is not None:
        assert hidden.grad.norm() > 1e-3
    assert all(parameter.grad is not None and parameter.grad.norm() > 0 for parameter in head.parameters())


# -------------------------------------------------------------------- classifier and baseline


def test_the_baselines_loss_stops_at_the_baseline() -> None:
    """Trap 5."""
    torch.manual_seed(0)
    head = BaselineHead(HIDDEN)
    hidden = hidden_state().requires_grad_()
    (head(hidden) - 1).square().mean().backward()
    assert hidden.grad is None
    assert all(parameter.grad is not None and parameter.grad.norm() > 0 for parameter in head.parameters())


@pytest.mark.parametrize("shape", [(1,), (4,), (3, 1), (3, 4), (0, 4)])
def test_the_baseline_is_one_number_per_lane_and_time(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head = BaselineHead(HIDDEN)
    hidden = torch.randn(*shape, HIDDEN)
    expected = hidden.numpy() @ head.value.weight.detach().numpy()[0] + head.value.bias.item()
    assert head(hidden).shape == shape
    np.testing.assert_allclose(head(hidden).detach(), expected, atol=1e-6)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("make", [sampled, pathwise, straight_through])
def test_one_lane_is_a_batch(make: Callable[[], LearnedWindowHead], lanes: int) -> None:
    move = make()(hidden_state(lanes), 0.1, seeded())
    assert {part.shape for part in move} == {(lanes, len(FIRST))}
