"""The glimpse network adds what was seen to where it was seen."""

import numpy as np
import pytest
import torch

from ram_agent.glimpse import Filters, GlimpseNetwork


def network(encoder: str = "dense") -> GlimpseNetwork:
    torch.manual_seed(0)
    return GlimpseNetwork((3, 4, 4), window_parameters=6, what=7, where=5, features=9, encoder=encoder).double()


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


@pytest.mark.parametrize(("filters", "planes", "together"), [(3, 3, 3), (16, 3, 3), (3, 3, 1), (3, 6, 3), (3, 6, 2)])
def test_the_filters_of_an_encoder_are_what_they_are_called(filters: int, planes: int, together: int) -> None:
    """Filter by filter and place by place: 3 x 3 products with background around, ReLU, maxima over 2 x 2; twice.

    Shared ones see each scale, in all its colours, as a picture of its own, and the matrix what came of all of them,
    scale after scale.
    """

    def filtered(maps: np.ndarray, layer: torch.nn.Conv2d) -> np.ndarray:
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()  # type: ignore[union-attr]
        padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
        side = maps.shape[-1]
        out = np.empty((len(weight), side, side))
        for f, i, j in np.ndindex(out.shape):
            out[f, i, j] = max(0, (weight[f] * padded[:, i : i + 3, j : j + 3]).sum() + bias[f])
        half = side // 2  # an odd last row or column has no partner and is left out
        return out[:, : 2 * half, : 2 * half].reshape(len(weight), half, 2, half, 2).max(axis=(2, 4))

    torch.manual_seed(0)
    encoder = Filters(planes, side=6, units=5, filters=filters, together=together).double()
    for layer in encoder:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.bias, std=0.1)  # type: ignore[arg-type]
    glimpse = torch.rand(2, planes, 6, 6, dtype=torch.float64)
    first, second, last = (layer for layer in encoder if hasattr(layer, "weight"))
    assert (len(first.weight), len(second.weight)) == (filters, 2 * filters)
    for lane in range(2):
        pictures = np.split(glimpse[lane].numpy(), planes // together)
        maps = [filtered(filtered(picture, first), second).ravel() for picture in pictures]
        expected = last.weight.detach().numpy() @ np.concatenate(maps) + last.bias.detach().numpy()
        np.testing.assert_allclose(encoder(glimpse)[lane].detach(), expected, atol=1e-12)


@pytest.mark.parametrize("encoder", ["dense", "conv", "shared"])
def test_what_and_where_both_reach_the_feature(encoder: str) -> None:
    """Every pixel of every scale, and every parameter of the window: the place as well as the widths."""
    net = network(encoder)
    glimpse, window = (part.requires_grad_() for part in inputs(64))
    gradients = torch.autograd.grad(net(glimpse, window).square().sum(), (glimpse, window))
    for gradient in gradients:
        assert (gradient.abs().amax(dim=0) > 0).all()


def test_colours_that_are_not_of_a_glimpse_are_named() -> None:
    with pytest.raises(ValueError, match=r"^colours: got 2, expected C of the 3 = K·C planes of a glimpse$"):
        GlimpseNetwork((3, 4, 4), window_parameters=2, what=3, where=3, features=3, encoder="shared", colours=2)


@pytest.mark.parametrize("encoder", ["conv", "shared"])
def test_one_lane_is_a_batch(encoder: str) -> None:
    net, (glimpse, window) = network(encoder), inputs(3)
    alone = net(glimpse[1:2], window[1:2])
    assert alone.shape == (1, 9)
    torch.testing.assert_close(alone, net(glimpse, window)[1:2])


def test_brightness_keeps_its_scale_through_untrained_layers() -> None:
    """He et al. 2015: weights of variance 2 / inputs keep the mean square of what passes a ReLU."""
    torch.manual_seed(2)
    net = GlimpseNetwork((1, 20, 20), window_parameters=300, what=500, where=500, features=600)
    for layer in (net.seen, net.placed, net.what, net.where):
        assert layer.weight.var().item() == pytest.approx(2 / layer.in_features, rel=0.05)
        assert not layer.bias.any()
