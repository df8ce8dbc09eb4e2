"""Images and glimpses per second of whole training, ours beside Stable-Baselines3's on the same environment."""

import warnings
from itertools import product
from typing import Any

from stable_baselines3 import A2C

from envs.sb3 import GlimpseVecEnv, make_sb3_env
from ram_agent.bench.report import Table
from ram_agent.bench.settings import Settings, announce
from ram_agent.bench.subject import CORES, GLIMPSES, NAMES, SIDE, as_it_trains, digits, make_learner
from ram_agent.extras import to_install
from ram_agent.policy import count_parameters
from ram_agent.replay import WARM_UP
from ram_agent.timing import Candidate, Cell, compare

UNITS = 256
THEIRS = ("RecurrentPPO, 10 epochs", "RecurrentPPO, 1 epoch", "A2C")
"""10 epochs are RecurrentPPO's default; 1 is as often as our learners step through an episode."""


def training_tables(settings: Settings) -> list[Table]:
    """One row a learner."""
    announce("training")
    batch, device = settings.batch, settings.device
    candidates: dict[str, Candidate] = {}
    sizes: dict[str, int] = {}
    ways: dict[str, dict[str, Any]] = {"": {}, ", bfloat16": {"precision": "bfloat16"}}
    if device.type == "cuda":
        ways |= {f", CUDA graph{name}": {**way, "cuda_graph": True} for name, way in ways.items()}
    for (core, what), (kind, name), (added, way) in product(CORES, NAMES.items(), ways.items()):
        if kind == "crop" or not way or device.type == "cuda":  # on a CPU hard attention is what the other way is for
            learner = make_learner(kind, batch, device, core=core, what=what, **way)
            for _ in range(WARM_UP + 1 if "cuda_graph" in way else 0):  # recorded before anything is timed
                learner.update()
            name = f"{name}, {core} {UNITS}, what {what}{added}"
            update = as_it_trains(lambda learner=learner: learner.running.add(learner.update()))
            candidates[name] = (update, batch * GLIMPSES)
            sizes[name] = count_parameters(learner.policy)
    absent: dict[str, str] = {}
    for name in THEIRS:
        try:
            model = stable_baselines(name, batch, settings)
        except ImportError:
            absent[name] = f"not installed: {to_install('sb3-contrib', 'bench')}"
            continue
        candidates[name] = (lambda model=model: _learn_once(model), batch * GLIMPSES)
        sizes[name] = count_parameters(model.policy)
    timings = compare(candidates, settings.rounds, limit=90.0, clock=settings.clock)
    first = next(iter(timings.values()))
    rows: list[tuple[Cell, ...]] = []
    for name, timing in timings.items():
        images = timing.rate.median / GLIMPSES
        rows.append((name, timing.ratio(first), timing.rate, images, sizes[name], len(timing.seconds), None))
    rows += [(name, None, None, None, None, None, why) for name, why in absent.items()]
    note = (
        f"Cluttered {SIDE}x{SIDE}, {GLIMPSES} glimpses of 3 x 12x12, batch {batch}; scenes, gradients, optimiser and "
        "logging included. Ratio: times as fast as the first row. Stable-Baselines3's learn from the same scenes in as "
        "many lanes, one rollout of an episode a lane and one minibatch of all of it per epoch: RecurrentPPO with one "
        f"LSTM of {UNITS} for actor and critic, A2C, which has no memory, with two layers of {UNITS}; their window is "
        "one of a grid. Paper's settings: rnn, what 128."
    )
    columns = ("learner", "ratio", "glimpses/s", "images/s", "parameters", "rounds", "note")
    return [Table("training", "Training", note, columns, tuple(rows))]


def stable_baselines(name: str, lanes: int, settings: Settings) -> Any:
    """A Stable-Baselines3 algorithm on our environment. Raises `ImportError` where it is an extra's."""
    shared: dict[str, Any] = {"n_steps": GLIMPSES, "device": settings.device, "seed": 0}
    if name == "A2C":
        return A2C("MultiInputPolicy", _env(lanes, settings), policy_kwargs={"net_arch": [UNITS, UNITS]}, **shared)
    from sb3_contrib import RecurrentPPO

    memory = {"lstm_hidden_size": UNITS, "shared_lstm": True, "enable_critic_lstm": False}
    return RecurrentPPO(
        "MultiInputLstmPolicy",
        _env(lanes, settings),
        batch_size=lanes * GLIMPSES,
        n_epochs=10 if "10" in name else 1,
        policy_kwargs={**memory, "net_arch": {"pi": [UNITS // 2], "vf": []}},
        **shared,
    )


def _env(lanes: int, settings: Settings) -> GlimpseVecEnv:
    return make_sb3_env(lanes, images=digits(settings.device), device=settings.device)


def _learn_once(model: Any) -> None:
    """Exactly one rollout and what is learned from it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SB3 would rather have a recurrent policy on the CPU, and says so
        model.learn(model.n_steps * model.n_envs, reset_num_timesteps=False)
