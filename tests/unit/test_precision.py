"""Half precision where it is faster, and a word where it is not."""

import pytest
import torch

from ram_agent import precision
from ram_agent.config import ConfigError, TrainingConfig, load_config
from ram_agent.precision import fastest_precision, product_seconds, warn_of_slow_products, with_precision
from ram_agent.sweep import different

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
