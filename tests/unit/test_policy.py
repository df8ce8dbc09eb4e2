"""One step of the agent, and, over three looks played here by hand, which loss may reach which of its parts."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ram_agent import heads
from ram_agent.building import build_policy
from ram_agent.config import PolicyConfig
from ram_agent.controls import CONTROLS, Hint
from ram_agent.estimators import log_probability, score_function_loss
from ram_agent.glimpse import Filters
from ram_agent.kinds import rebuild_policy
from ram_agent.policy import Policy, RecurrentAttentionPolicy, make_window_head
from ram_agent.sensor import Sensor, make_sensor
from tests.making import make_config, make_world

SMALL = {"hidden": 12, "what": 8, "where": 6, "features": 10, "location": 7}
CLASSES = 3
PARTS = {"glimpse", "core", "window_head", "classifier", "baseline"}


def build(head: str, sensor: Sensor, seed: int = 0, **settings: object) -> RecurrentAttentionPolicy:
    """A policy that has left its first window: the zeros of the untrained location head would hide gradients."""
    torch.manual_seed(seed)
    config = PolicyConfig.model_validate({**SMALL, **settings})
    first = sensor.rest((16, 16))
    policy = RecurrentAttentionPolicy(
        (sensor.scales, sensor.size, sensor.size), first, CLASSES, head=head, config=config
    )
    if isinstance(policy.window_head, heads.LearnedWindowHead):
        torch.nn.init.normal_(policy.window_head.outer.weight, std=0.3)
    return policy


class Played(NamedTuple):
    classification: Tensor
    reinforce: Tensor
    baseline: Tensor
    windows: Tensor


def play(policy: RecurrentAttentionPolicy, sensor: Sensor, lanes: int = 6, std: float = 0.2) -> Played:
    """Three looks at random canvases; the losses of an agent that was praised at random."""
    generator = torch.Generator().manual_seed(1)
    canvas = torch.rand(lanes, 1, 16, 16, generator=generator)
    window = torch.tensor(policy.blueprint.first_window).expand(lanes, -1)
    state, hiddens, moves = policy.initial_state(lanes), [], []
    for look in range(3):
        glimpse = sensor(canvas, sensor.window(window.clamp(-1, 1))).flatten(1, 2)
        hidden, state = policy.look(glimpse, window, state)
        hiddens.append(hidden)
        if look < 2:
            moves.append(policy.move(hidden, std, generator, Hint(look + 1, 3, 0.9, torch.zeros(lanes, 2))))
            window = moves[-1].window
    target, returns = torch.arange(lanes) % CLASSES, torch.rand(lanes, generator=generator)
    before = torch.stack(hiddens[:-1])
    log_p = torch.stack([log_probability(move.sample, move.mean, std) for move in moves])
    return Played(
        F.cross_entropy(policy.classifier(hiddens[-1]), target),
        score_function_loss(log_p, returns - policy.baseline(before)),
        F.mse_loss(policy.baseline(before), returns.expand(2, -1)),
        torch.stack([move.window for move in moves]),
    )


def reached(policy: RecurrentAttentionPolicy, loss: Tensor) -> set[str]:
    """The parts of the policy whose weights this loss alone would change."""
    policy.zero_grad(set_to_none=True)
    if loss.requires_grad:
        loss.backward(retain_graph=True)
    named = [(name, p.grad) for name, p in policy.named_parameters() if p.grad is not None and p.grad.norm() > 1e-7]
    return {name.split(".")[0] for name, _ in named}


# -------------------------------------------------------------------- which loss reaches what


@pytest.mark.parametrize("kind", ["crop", "gaussian"])
@pytest.mark.parametrize("detach", [True, False])
def test_hard_attention_teaches_the_location_by_the_score_function_alone(kind: str, detach: bool) -> None:
    """Traps 4 and 5, even under an eye that could be differentiated; `detach_location` both ways."""
    sensor = make_sensor(kind, size=4, scales=2)
    policy = build("sampled", sensor, detach_location=detach)
    played = play(policy, sensor)
    assert reached(policy, played.classification) == {"glimpse", "core", "classifier"}
    assert reached(policy, played.reinforce) == {"window_head"} | (set() if detach else {"glimpse", "core"})
    assert reached(policy, played.baseline) == {"baseline"}


@pytest.mark.parametrize("kind", ["gaussian", "stn"])
@pytest.mark.parametrize("core", ["rnn", "gru", "lstm"])
def test_soft_attention_teaches_the_location_by_the_classification(kind: str, core: str) -> None:
    sensor = make_sensor(kind, size=4, scales=2)
    policy = build("pathwise", sensor, core=core, window_gradient=1.0)
    played = play(policy, sensor)
    assert reached(policy, played.classification) == {"glimpse", "core", "classifier", "window_head"}


@pytest.mark.parametrize("kind", ["gaussian", "stn"])
def test_soft_attentions_gradient_is_window_gradient_times_the_whole(kind: str) -> None:
    """With a detached input each path crosses the window head once, so that the scale enters exactly once."""
    sensor = make_sensor(kind, size=4, scales=2)
    found = {}
    for scale in (1.0, 0.05):
        policy = build("pathwise", sensor, window_gradient=scale, detach_location=True)
        played = play(policy, sensor)
        played.classification.backward()
        found[scale] = {name: p.grad for name, p in policy.window_head.named_parameters()}
    assert len(found[1.0]) == 4
    for name, whole in found[1.0].items():
        assert whole is not None
        assert whole.norm() > 1e-6
        torch.testing.assert_close(found[0.05][name], 0.05 * whole, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("head", CONTROLS)
def test_controls_train_the_classifier_alone(head: str) -> None:
    sensor = make_sensor("gaussian", size=4, scales=2)
    policy = build(head, sensor)
    played = play(policy, sensor)
    assert reached(policy, played.classification) == {"glimpse", "core", "classifier"}
    assert not list(policy.window_head.parameters())


# -------------------------------------------------------------------- one step


@pytest.mark.parametrize("lanes", [1, 5])
@pytest.mark.parametrize("core", ["rnn", "gru", "lstm"])
def test_a_look_is_the_core_over_the_glimpse_network(core: str, lanes: int) -> None:
    sensor = make_sensor("crop", size=4, scales=2)
    policy = build("sampled", sensor, core=core)
    glimpse, window = torch.rand(lanes, 2, 4, 4), torch.rand(lanes, 2)
    state = tuple(torch.randn_like(part) for part in policy.initial_state(lanes))
    hidden, after = policy.look(glimpse, window, state)
    expected, expected_after = policy.core(policy.glimpse(glimpse, window), state)
    assert hidden.shape == (lanes, 12)
    assert torch.equal(hidden, expected)
    assert all(torch.equal(*pair) for pair in zip(after, expected_after, strict=True))
    assert policy.classifier(hidden).shape == (lanes, CLASSES)
    assert policy.move(hidden, 0.1).window.shape == (lanes, 2)
    assert policy.baseline(hidden).shape == (lanes,)


def test_an_untrained_agent_looks_at_its_first_window_again() -> None:
    policy = RecurrentAttentionPolicy((1, 4, 4), (0.2, -0.4), CLASSES, config=PolicyConfig.model_validate(SMALL))
    move = policy.move(torch.randn(3, 12))
    torch.testing.assert_close(move.window, torch.tensor([0.2, -0.4]).expand(3, -1))


@pytest.mark.parametrize("method", ["reinforce", "ppo"])
def test_shared_filters_see_the_colours_of_a_scale_together(method: str) -> None:
    config = make_config(policy={"encoder": "shared", "filters": 2}, training={"method": method, "batch": 2})
    world = make_world(config, channels=3)
    policy = build_policy(world.environment("train", 2), config, "learned")
    blueprint = policy.blueprint.as_plain()
    assert filters_of(policy).together == filters_of(rebuild_policy(blueprint)).together == 3


def test_an_agent_begins_where_the_environment_has_it_begin() -> None:
    config = make_config(environment={"first_window": (0.3, -0.6)})
    env = make_world(config).environment("train", 2)
    policy = build_policy(env, config, "learned")
    assert policy.blueprint.first_window == (0.3, -0.6)
    torch.testing.assert_close(policy.move(torch.zeros(2, 12)).mean, torch.tensor([0.3, -0.6]).expand(2, -1))


def filters_of(policy: Policy) -> Filters:
    (found,) = (module for module in policy.modules() if isinstance(module, Filters))
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_the_policy_takes_in_every_value_of_a_glimpse(channels: int) -> None:
    policy = RecurrentAttentionPolicy((2 * channels, 4, 4), (0.0, 0.0), CLASSES)
    glimpse = torch.rand(8, 2 * channels, 4, 4, requires_grad=True)
    hidden, _ = policy.look(glimpse, torch.zeros(8, 2), policy.initial_state(8))
    (gradient,) = torch.autograd.grad(hidden.square().sum(), glimpse)
    assert (gradient.abs().amax(dim=0) > 0).all()


@pytest.mark.parametrize("head", ["sampled", "pathwise", *CONTROLS])
@pytest.mark.parametrize("core", ["rnn", "lstm"])
def test_the_blueprint_builds_a_policy_of_the_same_shape(head: str, core: str) -> None:
    sensor = make_sensor("stn", size=4, scales=2)
    policy = build(head, sensor, core=core)
    twin = RecurrentAttentionPolicy(**policy.blueprint._asdict())
    assert {name.split(".")[0] for name in policy.state_dict()} == PARTS - (
        {"window_head"} if head in CONTROLS else set()
    )
    twin.load_state_dict(policy.state_dict())
    assert torch.equal(play(policy, sensor).classification, play(twin, sensor).classification)


def test_the_config_reaches_the_window_head() -> None:
    for detach, scale in ((True, 0.3), (False, 0.7)):
        config = PolicyConfig(detach_location=detach, window_gradient=scale, hidden=9, location=4)
        soft, hard = (make_window_head(kind, (0.0, 0.0), config) for kind in ("pathwise", "sampled"))
        assert isinstance(soft, heads.PathwiseWindowHead)
        assert isinstance(hard, heads.SampledWindowHead)
        assert soft.gradient_scale == scale
        assert (soft.detach, hard.detach) == (detach, detach)
        assert soft.inner is not None
        assert (soft.inner.in_features, soft.inner.out_features) == (9, 4)


def test_an_unknown_window_head_is_an_error_that_names_it() -> None:
    with pytest.raises(
        ValueError,
        match=r"^window head: got 'prophet', .*sampled, straight_through, pathwise, random, centre, raster, oracle",
    ):
        make_window_head("prophet", (0.0, 0.0), PolicyConfig())
