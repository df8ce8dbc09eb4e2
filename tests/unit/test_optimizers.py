"""Muon beside Adam: who steps what, what a step is, and that it goes on where it was."""

import numpy as np
import pytest
import torch

from ram_agent.config import PolicyConfig, TrainingConfig
from ram_agent.full_image import FullImagePolicy
from ram_agent.optimizers import MuonAdam, hidden_matrices, make_optimizer
from ram_agent.policy import Policy, RecurrentAttentionPolicy

MUON = TrainingConfig(optimizer="muon", learning_rate=0.01)


def policy(encoder: str = "dense") -> RecurrentAttentionPolicy:
    torch.manual_seed(0)
    config = PolicyConfig(hidden=8, what=8, where=8, features=8, location=8, encoder=encoder)  # type: ignore[arg-type]
    return RecurrentAttentionPolicy((1, 4, 4), (0.0, 0.0), 3, config=config)


def stepped_by_muon(agent: Policy) -> set[str]:
    found = {id(matrix) for matrix in hidden_matrices(agent)}
    return {name for name, parameter in agent.named_parameters() if id(parameter) in found}


def with_gradients(agent: torch.nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in agent.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("dense", {"glimpse.seen.weight"}),
        # filters, too, but not those that meet the outside
        ("conv", {"glimpse.seen.3.weight", "glimpse.seen.7.weight"}),
        ("shared", {"glimpse.seen.3.weight", "glimpse.seen.7.weight"}),
    ],
)
def test_muon_steps_the_matrices_between_hidden_units_alone(encoder: str, expected: set[str]) -> None:
    assert stepped_by_muon(policy(encoder)) == expected | {
        "glimpse.what.weight", "glimpse.where.weight", "core.cell.weight_ih", "core.cell.weight_hh"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("cnn", {"network.3.weight"}),
        ("fc", {"network.1.weight", "network.3.weight"}),
        ("modern_cnn", {"network.4.weight", "network.8.weight"}),
    ],
)
def test_muon_steps_what_a_network_over_the_canvas_has_between_hidden_units(network: str, expected: set[str]) -> None:
    """By the settings of the agent that it is held against, as far as its shapes allow."""
    agent = FullImagePolicy((1, 18, 22), (0.0, 0.0), 4, head=network)
    assert stepped_by_muon(agent) == expected
    assert isinstance(make_optimizer(agent, MUON), MuonAdam)


def test_a_step_of_muon_brings_all_singular_values_near_one_another() -> None:
    """The first step's momentum is the gradient; a step is U Vᵀ of it, as long as Adam's (root mean square 0.2 lr)."""
    agent = policy()
    before = {name: value.clone() for name, value in agent.state_dict().items()}
    with_gradients(agent)
    gradient = agent.glimpse.what.weight.grad.clone()  # type: ignore[union-attr]
    make_optimizer(agent, MUON).step()
    step = (before["glimpse.what.weight"] - agent.glimpse.what.weight).detach().numpy() / 0.01
    u, _, v = np.linalg.svd(gradient.numpy())
    along = np.diag(u.T @ step @ v.T) / (0.2 * 8**0.5)  # the singular values in the gradient's own basis
    assert (abs(along - 1) < 0.35).all()  # five Newton-Schulz steps
    adam = (before["classifier.weight"] - agent.classifier.weight).detach()
    torch.testing.assert_close(adam.abs(), torch.full_like(adam, 0.01), rtol=1e-3, atol=0)


def test_every_parameter_is_stepped_once_under_the_rate_that_the_schedule_sets() -> None:
    agent = policy("conv")
    optimizer = make_optimizer(agent, MUON)
    assert isinstance(optimizer, MuonAdam)
    stepped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(map(id, stepped)) == sorted(map(id, agent.parameters()))
    before = [parameter.detach().clone() for parameter in agent.parameters()]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    with_gradients(agent)
    optimizer.step()
    assert all(torch.equal(old, new) for old, new in zip(before, agent.parameters(), strict=True))
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in agent.parameters())


def test_saved_and_loaded_it_goes_on_bit_for_bit() -> None:
    whole, stopped = policy(), policy()
    optimizer, first = make_optimizer(whole, MUON), make_optimizer(stopped, MUON)
    for seed in range(2):
        with_gradients(whole, seed), optimizer.step()
        with_gradients(stopped, seed), first.step()
    second = make_optimizer(stopped, MUON)
    second.load_state_dict(first.state_dict())
    for group in second.param_groups:
        group["lr"] = 0.02  # the groups that are shown are those that step
    for group in optimizer.param_groups:
        group["lr"] = 0.02
    with_gradients(whole, 2), optimizer.step()
    with_gradients(stopped, 2), second.step()
    for old, new in zip(whole.parameters(), stopped.parameters(), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("optimizer", ["adam", "muon", "sgd"])
def test_the_window_head_is_stepped_under_a_rate_of_its_own(optimizer: str) -> None:
    """All else as before, to the last bit; the head a quarter as far, by the same gradients."""
    steps = []
    for multiple in (1.0, 0.25):
        agent = policy("conv")
        before = {name: value.clone() for name, value in agent.state_dict().items()}
        with_gradients(agent)
        settings = TrainingConfig.model_validate({"optimizer": optimizer, "window_rate": multiple})
        make_optimizer(agent, settings).step()
        steps.append({name: value - before[name] for name, value in agent.state_dict().items()})
    for name, whole in steps[0].items():
        assert whole.any()
        if name.startswith("window_head."):
            torch.testing.assert_close(steps[1][name], 0.25 * whole, rtol=1e-3, atol=1e-8)
        else:
            assert torch.equal(steps[1][name], whole)


def test_a_window_head_without_parameters_needs_no_rate() -> None:
    agent = FullImagePolicy((1, 12, 12), (0.0, 0.0), 3, head="modern_cnn")
    assert len(make_optimizer(agent, TrainingConfig(window_rate=0.5)).param_groups) == 1


def test_a_step_is_left_out_where_a_number_has_gone_bad() -> None:
    agent = policy()
    optimizer = make_optimizer(agent, MUON)
    assert isinstance(optimizer, MuonAdam)
    optimizer.found_inf = torch.ones(())
    before = [parameter.detach().clone() for parameter in agent.parameters()]
    with_gradients(agent)
    optimizer.step()
    assert all(torch.equal(old, new) for old, new in zip(before, agent.parameters(), strict=True))
    optimizer.found_inf.zero_()
    optimizer.step()
    assert not any(torch.equal(old, new) for old, new in zip(before, agent.parameters(), strict=True))
