"""Half precision where it is faster, and a word where it is not; full precision where something is measured."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ram_agent import precision
from ram_agent.config import ConfigError, TrainingConfig, load_config
from ram_agent.evaluation import evaluate
from ram_agent.experiment import tune_torch
from ram_agent.precision import (
    fastest_precision,
    product_seconds,
    products_in_full,
    warn_of_slow_products,
    with_precision,
)
from ram_agent.sweep import different
from tests.making import make_config, make_env, make_policy, torch_as_it_was

CPU = torch.device("cpu")


def takes(monkeypatch: pytest.MonkeyPatch, whole: float, half: float) -> None:
    seconds = {torch.float32: whole, torch.bfloat16: half}
    monkeypatch.setattr(precision, "product_seconds", seconds.__getitem__)


@pytest.mark.parametrize(
    ("whole", "half", "expected"),
    [(1.0, 0.5, "bfloat16"), (1.0, 50.0, "float32"), (1.0, 0.95, "float32")],
    ids=["twice as fast", "made up of others", "hardly faster"],
)
def test_half_precision_is_taken_where_it_pays(
    whole: float, half: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes(monkeypatch, whole, half)
    assert fastest_precision(CPU) == expected
    assert with_precision(TrainingConfig(precision="fastest"), CPU).precision == expected


@pytest.mark.parametrize("named", ["float32", "tf32", "bfloat16"])
def test_what_is_named_is_taken(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    takes(monkeypatch, 0.0, 0.0)
    training = TrainingConfig(precision=named)  # type: ignore[arg-type]
    assert with_precision(training, CPU) == training


def test_a_gpu_is_asked_whether_it_has_such_products(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert fastest_precision(torch.device("cuda")) == expected


def test_slow_products_that_were_asked_for_are_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    takes(monkeypatch, 1.0, 50.0)
    warn_of_slow_products("float32", CPU)
    assert capsys.readouterr().err == ""
    warn_of_slow_products("bfloat16", CPU)
    said = capsys.readouterr().err
    assert "training.precision: bfloat16 takes 50 times as long as float32" in said
    assert "fastest" in said
    takes(monkeypatch, 1.0, 0.6)
    warn_of_slow_products("bfloat16", CPU)
    assert capsys.readouterr().err == ""


def test_time_is_measured() -> None:
    assert product_seconds(torch.float32) > 0


def test_a_precision_that_a_run_settled_itself_is_no_difference() -> None:
    asked = load_config(None, {"training.precision": "fastest"})
    for settled in ("float32", "bfloat16"):
        assert list(different(asked, load_config(None, {"training.precision": settled}))) == []
    asked = load_config(None, {"training.precision": "float32"})
    ran = load_config(None, {"training.precision": "bfloat16"})
    assert list(different(asked, ran)) == ["training.precision"]


def test_stable_baselines3_has_no_choice() -> None:
    with pytest.raises(ConfigError, match=r"training\.precision: expected float32 or tf32 .* got fastest"):
        load_config(None, {"training.method": "ppo", "training.precision": "fastest"})


@pytest.fixture
def as_before() -> Iterator[None]:
    with torch_as_it_was():
        yield


def rounding() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.usefixtures("as_before")
@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch has but the older place before 2.9")
def test_torchs_newer_way_to_say_it_is_left_as_it_was() -> None:
    """Torch refuses to be asked in the older way then."""
    place = torch.backends.cudnn.conv
    tune_torch(make_config())
    before = place.fp32_precision
    place.fp32_precision = "tf32"
    try:
        with pytest.raises(RuntimeError, match="mix"):
            _ = torch.backends.cudnn.allow_tf32
        with products_in_full():
            assert place.fp32_precision == "ieee"
        assert place.fp32_precision == "tf32"
    finally:
        place.fp32_precision = before


@pytest.mark.usefixtures("as_before")
def test_float32_means_convolutions_too_and_tf32_is_for_who_asks() -> None:
    for named, expected in (
        ("tf32", ("high", True)),
        ("float32", ("highest", False)),
        ("bfloat16", ("highest", False)),
    ):
        tune_torch(make_config(training={"precision": named}))
        assert rounding() == expected


@pytest.mark.usefixtures("as_before")
def test_what_is_measured_is_measured_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_env(4, tensors=True)
    policy, seen = make_policy(env), []
    look = policy.look

    def watched(*arguments: Any) -> Any:
        seen.append(rounding())
        return look(*arguments)

    monkeypatch.setattr(policy, "look", watched)
    tune_torch(make_config(training={"precision": "tf32"}))
    evaluate(policy, env, 4)
    assert set(seen) == {("highest", False)}
    assert rounding() == ("high", True), "training goes on as before"


@pytest.mark.usefixtures("as_before")
def test_an_error_in_between_leaves_nothing_behind() -> None:
    tune_torch(make_config(training={"precision": "tf32"}))
    with pytest.raises(RuntimeError, match="in between"), products_in_full():
        raise RuntimeError("in between")
    assert rounding() == ("high", True)
