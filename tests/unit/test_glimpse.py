"""The glimpse network adds what was seen to where it was seen."""

import numpy as np
import pytest
import torch

from ram_agent.glimpse import GlimpseNetwork


def network() -> GlimpseNetwork:
    torch.manual_seed(0)
    return GlimpseNetwork(glimpse_size=3 * 4 * 4, window_parameters=6, what=7, where=5, features=9).double()


def inputs(lanes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    glimpse = torch.rand(lanes, 3, 4, 4, dtype=torch.float64, generator=generator)
    return glimpse, torch.rand(lanes, 6, dtype=torch.float64, generator=generator) * 2 - 1


def test_it_computes_its_equation() -> None:
    """g = ReLU(W_what ReLU(W_seen glimpse) + W_where ReLU(W_window window)), with biases."""
    net, (glimpse, window) = network(), inputs(4)
    seen, placed, what, where = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in (net.seen, net.placed, net.what, net.where)
    )
    relu = lambda x: np.maximum(0, x)  # noqa: E731
    for lane in range(4):
        inner_what = relu(seen[0] @ glimpse[lane].numpy().ravel() + seen[1])
        inner_where = relu(placed[0] @ window[lane].numpy() + placed[1])
        expected = relu(what[0] @ inner_what + what[1] + where[0] @ inner_where + where[1])
        np.testing.assert_allclose(net(glimpse, window)[lane].detach(), expected, atol=1e-12)
    assert [matrix.shape for matrix, _ in (seen, placed, what, where)] == [(7, 48), (5, 6), (9, 7), (9, 5)]


def test_what_and_where_both_reach_the_feature() -> None:
    """Every pixel of every scale, and every parameter of the window: the place as well as the widths."""
    net = network()
    glimpse, window = (part.requires_grad_() for part in inputs(64))
    gradients = torch.autograd.grad(net(glimpse, window).square().sum(), (glimpse, window))
    for gradient in gradients:
        assert (gradient.abs().amax(dim=0) > 0).all()


def test_one_lane_is_a_batch() -> None:
    net, (glimpse, window) = network(), inputs(3)
    alone = net(glimpse[1:2], window[1:2])
    assert alone.shape == (1, 9)
    torch.testing.assert_close(alone, net(glimpse, window)[1:2])


def test_brightness_keeps_its_scale_through_untrained_layers() -> None:
    """He et al. 2015: weights of variance 2 / inputs keep the mean square of what passes a ReLU."""
    torch.manual_seed(2)
    net = GlimpseNetwork(glimpse_size=400, window_parameters=300, what=500, where=500, features=600)
    for layer in (net.seen, net.placed, net.what, net.where):
        assert layer.weight.var().item() == pytest.approx(2 / layer.in_features, rel=0.05)
        assert not layer.bias.any()
