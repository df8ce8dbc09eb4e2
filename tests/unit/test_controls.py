"""Controls: where they look, what they are told, and that nobody else is told it."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from envs.glimpse import GlimpseVectorEnv
from ram_agent.config import ControlKind
from ram_agent.controls import (
    CONTROLS,
    CentreWindowHead,
    ControlWindowHead,
    Hint,
    OracleWindowHead,
    RandomWindowHead,
    RasterWindowHead,
    raster,
)
from ram_agent.evaluation import Evaluation, evaluate
from ram_agent.full_image import NETWORKS
from ram_agent.policy import make_window_head
from ram_agent.results import test_errors as errors_of
from ram_agent.rollout import Episode, rollout
from tests.making import make_config, make_env, make_learner, make_policy, tensors_of

HIDDEN = 6
FIRST = (0.3, -0.6, 0.0, 0.5, -0.2, 0.1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hint(lanes: int = 3, look: int = 1, looks: int = 5, reach: float = 0.9, **changed: Any) -> Hint:
    return Hint(look, looks, reach, **({"place": torch.rand(lanes, 2, generator=seeded(2)) - 0.5} | changed))


def played(env: GlimpseVectorEnv, head: str) -> Episode:
    return rollout(make_policy(env, head=head), env, seed=3, generator=seeded())


def test_the_configuration_knows_every_control_and_no_other() -> None:
    assert get_args(ControlKind) == (*CONTROLS, *NETWORKS)


@pytest.mark.parametrize("head", [*CONTROLS, "sampled", "pathwise"])
def test_a_vote_asks_again_where_passes_differ_and_only_there(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env, asked = make_env(4, tensors=True), []

    def counted(*arguments: Any, votes: int = 1, **settings: Any) -> Evaluation:
        asked.append(votes)
        return evaluate(*arguments, votes=votes, **settings)

    monkeypatch.setattr("ram_agent.results.evaluate", counted)
    errors_of(make_policy(env, head=head), env, images=4, std=0.1, votes=3)
    assert asked == ([1, 1, 3] if head in ("random", "sampled") else [1])


# -------------------------------------------------------------------- random and centre


def test_random_looks_are_uniform_with_the_eye_otherwise_at_rest() -> None:
    move = RandomWindowHead(FIRST)(torch.zeros(20_000, HIDDEN), 0.1, seeded(4))
    place = move.window[:, :2].numpy()
    for axis in (0, 1):
        assert stats.kstest(place[:, axis], stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(place.T)[0, 1]) < 5 / 20_000**0.5
    assert torch.equal(move.window[:, 2:], torch.tensor(FIRST[2:]).expand(20_000, -1))
    again = RandomWindowHead(FIRST)(torch.zeros(20_000, HIDDEN), 0.1, seeded(4))
    assert torch.equal(again.window, move.window)


@pytest.mark.parametrize("lanes", [1, 3])
def test_centre_looks_go_to_the_centre_with_the_eye_otherwise_at_rest(lanes: int) -> None:
    move = CentreWindowHead(FIRST)(torch.rand(lanes, HIDDEN), 0.1, seeded())
    assert torch.equal(move.window, torch.tensor([0.0, 0.0, *FIRST[2:]]).expand(lanes, -1))


@pytest.mark.parametrize("control", CONTROLS.values())
@pytest.mark.parametrize("first", [FIRST[:2], FIRST[:4], FIRST])
def test_controls_have_nothing_to_learn_and_nothing_to_save(
    control: type[ControlWindowHead], first: tuple[float, ...]
) -> None:
    head = control(first)
    assert not list(head.parameters())
    assert not head.state_dict()
    move = head(torch.rand(3, HIDDEN).requires_grad_(), 0.1, seeded(), hint())
    assert not move.window.requires_grad
    assert {part.shape for part in move} == {(3, len(first))}
    assert torch.equal(move.window[:, 2:], torch.tensor(first[2:]).expand(3, -1))


# -------------------------------------------------------------------- raster


def test_five_cells_are_a_row_of_three_above_a_row_of_two() -> None:
    """By hand, in twelfths of a canvas 12 wide and 4 high: cells of 4 x 2 above, of 6 x 2 below."""
    middles = [(2, 1), (6, 1), (10, 1), (3, 3), (9, 3)]
    expected = [(x / 6 - 1, y / 2 - 1) for x, y in middles]
    np.testing.assert_allclose(raster(5), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("cells", "rows"), [(1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2]), (6, [3, 3]), (7, [3, 2, 2]), (9, [3, 3, 3])]
)
def test_cells_are_in_near_square_rows(cells: int, rows: list[int]) -> None:
    heights = [y for _, y in raster(cells)]
    assert [heights.count(y) for y in sorted(set(heights))] == rows


@pytest.mark.parametrize("cells", range(1, 26))
def test_a_scan_goes_row_by_row_and_leaves_nothing_out(cells: int) -> None:
    """Painted with rectangles of each cell's own size, every point of the canvas is covered exactly once."""
    middles = raster(cells)
    assert len(set(middles)) == cells
    assert middles == sorted(middles, key=lambda middle: (middle[1], middle[0]))
    heights = sorted({y for _, y in middles})
    painted = np.zeros((61, 61), dtype=int)
    points = (2 * np.arange(61) + 1) / 61 - 1 + 1e-9  # on no border of a cell
    for x, y in middles:
        half = 1 / len(heights), 1 / sum(other == y for _, other in middles)
        painted += np.outer(np.abs(points - y) < half[0], np.abs(points - x) < half[1])
    assert (painted == 1).all()


def test_the_eye_scans_a_small_canvas_cell_by_cell() -> None:
    """Four moves over 16 x 24 pixels: the middles of the quarters, by hand (6, 4), (18, 4), (6, 12), (18, 12)."""
    env = make_env(2, size=(16, 24), scales=1, glimpses=5, tensors=True)
    episode = played(env, "raster")
    for window, middle in zip(episode.windows[1:], [(6, 4), (18, 4), (6, 12), (18, 12)], strict=True):
        box = env.sensor.boxes(env.sensor.window(window), (16, 24))[:, 0]
        torch.testing.assert_close((box[:, :2] + box[:, 2:]) / 2, torch.tensor(middle).float().expand(2, -1))
    assert torch.equal(episode.windows[0], played(env, "centre").windows[0])  # the first look is everyone's


def test_a_scan_goes_as_far_as_the_eye_reaches() -> None:
    def look(number: int, reach: float) -> Tensor:
        head = RasterWindowHead(FIRST[:2])
        return head(torch.zeros(1, HIDDEN), 0.0, None, hint(1, number, 5, reach)).window[0]

    torch.testing.assert_close(look(1, 0.8), torch.tensor([-0.625, -0.625]))  # (-0.5, -0.5) of the canvas
    torch.testing.assert_close(look(4, 0.25), torch.tensor([1.0, 1.0]))


# -------------------------------------------------------------------- oracle


@pytest.mark.parametrize("sensor", ["crop", "gaussian", "stn"])
def test_the_oracle_has_the_image_in_the_middle_of_its_sharpest_scale(sensor: str) -> None:
    """The oracle of the oracle: the rectangle of what is painted on an empty canvas, found in the pixels."""
    size = (50, 64)
    env = GlimpseVectorEnv(
        40, images="digits", scene="translated", size=size, sensor=sensor, glimpse_size=8, scales=2, tensors=True
    )
    policy = make_policy(env, head="oracle")
    windows = rollout(policy, env, seed=5, generator=seeded()).windows
    _, info = env.reset(seed=5)
    middle = (info["place"] + 1) / 2 * torch.tensor([size[1], size[0]])
    for lane, canvas in enumerate(env.canvas[:, 0]):
        rows, columns = (canvas > 0).any(dim=1).nonzero(), (canvas > 0).any(dim=0).nonzero()
        half = 0.5 * env.images.image_size[0]
        x, y = middle[lane].tolist()
        assert y - half <= rows.min()
        assert rows.max() < y + half  # `place` is the centre of what was painted
        assert x - half <= columns.min()
        assert columns.max() < x + half
    for window in windows[1:]:
        finest = env.sensor.boxes(env.sensor.window(window), size)[:, 0]
        error = (finest[:, :2] + finest[:, 2:]) / 2 - middle
        assert error.abs().max() <= 0.5 + 1e-4
        assert ((finest[:, :2] <= middle) & (middle <= finest[:, 2:])).all()
    assert (windows[0, :, :2] - info["place"] / env.sensor.reach).abs().max() > 0.5  # the first look is everyone's


def test_an_image_beyond_the_reach_is_looked_at_from_as_near_as_can_be() -> None:
    place = torch.tensor([[0.3, -0.9], [-0.6, 0.45]])
    move = OracleWindowHead(FIRST[:2])(torch.zeros(2, HIDDEN), 0.0, None, hint(reach=0.6, place=place))
    torch.testing.assert_close(move.window, torch.tensor([[0.5, -1.0], [-1.0, 0.75]]))


# -------------------------------------------------------------------- who is told


@pytest.mark.parametrize("control", ["raster", "oracle"])
def test_a_control_that_must_be_told_says_so(control: str) -> None:
    with pytest.raises(ValueError, match=rf"^window head {control}: got no hint, .*use `evaluate` rather than"):
        CONTROLS[control](FIRST)(torch.zeros(1, HIDDEN), 0.0, None)
    learner = make_learner("pathwise", head=control)
    with pytest.raises(ValueError, match="only a rollout knows"):
        learner.predict(learner.env.reset(seed=1)[0])


def test_an_environment_that_does_not_tell_the_place_has_no_oracle() -> None:
    with pytest.raises(ValueError, match=r"^window head oracle: got no place, expected info\['place'\]"):
        OracleWindowHead(FIRST)(torch.zeros(1, HIDDEN), 0.0, None, hint(place=None))


class Lying(GlimpseVectorEnv):
    """The environment, but for the place that it tells."""

    def reset(self, **settings: Any) -> Any:
        observation, info = super().reset(**settings)
        return observation, info | {"place": -info["place"] - 0.1}


@pytest.mark.parametrize("head", ["sampled", "pathwise", *CONTROLS])
def test_no_policy_but_the_oracle_looks_or_answers_by_the_true_place(head: str) -> None:
    config = {"images": make_env().images, "size": (18, 22), "clutter": 2, "clutter_size": 4, "sensor": "gaussian"}
    true, false = (kind(4, **config, glimpse_size=4, scales=2, tensors=True) for kind in (GlimpseVectorEnv, Lying))
    one, other = (
        rollout(make_policy(env, head=head), env, std=0.2, seed=3, generator=seeded()) for env in (true, false)
    )
    there = tensors_of(other)
    same = all(torch.equal(value, there[name]) for name, value in tensors_of(one).items())
    assert same == (head != "oracle")


@pytest.mark.parametrize("kind", ["sampled", "pathwise"])
def test_a_learned_head_has_no_way_to_take_a_hint(kind: str) -> None:
    head = make_window_head(kind, FIRST, make_config().policy)
    assert not isinstance(head, ControlWindowHead)
    with pytest.raises(TypeError):
        head(torch.zeros(1, 12), 0.0, None, hint())
