"""Any window, of whatever numbers, reads a finite glimpse and hands back a finite gradient."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from ram_agent.sensor import Sensor, Window, make_sensor
from tests.fuzzing import fuzz
from tests.making import make_env

KINDS = ("crop", "gaussian", "stn")
HUGE = 3.4028234663852886e38
"""The largest float32."""
EXTREMES = [0.0, 1e-45, 1e-38, 1e-12, 1.0, 1e9, 1e30, HUGE]

any_number = st.sampled_from([*EXTREMES, *(-value for value in EXTREMES)]) | st.floats(
    width=32, allow_nan=False, allow_infinity=False
)
near = st.floats(-1.5, 1.5, width=32)
sides = st.sampled_from([1, 2, 3, 7, 16, 60])


@st.composite
def eyes(draw: st.DrawFn, kind: str) -> Sensor:
    scales = draw(st.integers(1, 5))
    size = draw(st.integers(1, 6).filter(lambda side: kind == "gaussian" or scales == 1 or side % 2 == 0))
    bounds = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=2).map(sorted).map(tuple)
    reach = draw(st.floats(0, 10, exclude_min=True) | st.just(1.0))
    return make_sensor(kind, size=size, scales=scales, reach=reach, strides=draw(bounds), sigmas=draw(bounds))


@st.composite
def canvases(draw: st.DrawFn, smallest: int) -> Tensor:
    shape = (2, draw(st.integers(1, 3)), max(smallest, draw(sides)), max(smallest, draw(sides)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    canvas = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    canvas *= draw(st.sampled_from([0, 1]))
    return canvas if draw(st.booleans()) else canvas.float() / 255


def check(glimpse: Tensor, asked: list[Tensor], what: str) -> None:
    """Averages of pixels lie between them; a gradient goes to what was asked for, and is a number."""
    assert glimpse.isfinite().all(), what
    assert glimpse.min() >= -1e-5, what
    assert glimpse.max() <= 1 + 1e-5, what
    assert glimpse.requires_grad
    gradients = torch.autograd.grad(glimpse.square().sum() + glimpse.sum(), asked, allow_unused=True)
    assert gradients[0] is not None
    for gradient in gradients:
        assert gradient is None or gradient.isfinite().all(), what


def numbers(lanes: int, count: int) -> st.SearchStrategy[Tensor]:
    """Those that anyone might draw, and those that none should."""
    row = st.lists(near | any_number, min_size=lanes * count, max_size=lanes * count)
    return row.map(lambda drawn: torch.tensor(drawn).view(lanes, count))


windows = st.tuples(*[numbers(2, 2)] * len(Window._fields)).map(lambda parts: Window(*parts))
sights = st.sampled_from(KINDS).flatmap(eyes).flatmap(lambda eye: st.tuples(st.just(eye), canvases(eye.size)))


@fuzz(6.0, sight=sights, window=windows)
def test_any_numbers_for_a_window_read_a_finite_glimpse(sight: tuple[Sensor, Tensor], window: Window) -> None:
    """Centres, strides and sigmas as they come, without an action or bounds between."""
    sensor, canvas = sight
    asked = Window(*(part.requires_grad_() for part in window))
    check(sensor(canvas, asked), list(asked), f"{sensor} on {tuple(canvas.shape)}: {asked}")


infinite = st.sampled_from([float("inf"), float("-inf")])
questions = (
    st.sampled_from(KINDS)
    .flatmap(eyes)
    .flatmap(lambda eye: st.tuples(st.just(eye), numbers(2, eye.window_parameters), st.none() | infinite))
)


@fuzz(
    6.0,
    question=questions,
    size=st.tuples(sides, sides),
    moves=st.sampled_from(["absolute", "relative"]),
    seed=st.integers(0, 2**31),
)
def test_any_numbers_for_an_action_are_a_window_of_the_canvas(
    question: tuple[Sensor, Tensor, float | None], size: tuple[int, int], moves: str, seed: int
) -> None:
    """Clipped by the environment, infinities too; bounds of stride and sigma may be as far apart as they can be."""
    sensor, asked, instead = question
    size = (max(size[0], sensor.size, 12), max(size[1], sensor.size, 12))
    env = make_env(2, sensor=sensor, size=size, scene="translated", tensors=True, glimpses=3, moves=moves)
    env.reset(seed=seed)
    if instead:
        asked[0, 0] = instead
    asked.requires_grad_()
    seen, *_ = env.step({"window": asked, "label": torch.zeros(2, dtype=torch.long)})
    assert seen["window"].abs().max() <= 1
    check(seen["glimpse"], [asked], f"{sensor} on {size}: {asked}")
