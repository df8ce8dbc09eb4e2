"""Runs → methods: what was trained alike but for the seed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ram_agent.combinations import NOT_THEIRS, OF_A_SCORE_FUNCTION
from ram_agent.compare.gather import Kind, Run
from ram_agent.full_image import NETWORKS
from ram_agent.words import NOTHING

BOOKKEEPING = ("run.", "images.folder", "evaluation.controls", "evaluation.control_episodes", "evaluation.signal")
"""Settings that change neither what an agent learns nor what is measured of it: a run with controls and one without are
the same method."""

OF_REINFORCE = tuple(f"training.{name}" for name in OF_A_SCORE_FUNCTION if name != "episodes_per_image")
"""Without what runs of older code went by whatever their method: how many episodes an image was shown in."""
OF_STABLE_BASELINES = ("policy.grid", "sb3.")
OF_OURS = (*NOT_THEIRS, "policy.location")
IDLE = {
    "reinforce": ("policy.window_gradient", *OF_STABLE_BASELINES),
    "straight_through": (*OF_REINFORCE, *OF_STABLE_BASELINES),
    "pathwise": (*OF_REINFORCE, "training.window_std", *OF_STABLE_BASELINES),
    "recurrent_ppo": OF_OURS,
    "ppo": (*OF_OURS, "policy.core"),
    "a2c": (*OF_OURS, "policy.core", "sb3.n_epochs", "sb3.batch_size", "sb3.clip_range"),
}
"""By `training.method`: beginnings of settings that have no part in it."""
OF_A_LEARNED_GAZE = (
    "training.method", "training.window_", "training.baseline", "training.reward", "training.reinforce_weight",
    "training.episodes_per_image", "training.lookahead", "training.trained_agent", "policy.location",
    "policy.detach_location", "policy.window_gradient", "policy.grid", "sb3.",
)  # fmt: skip
"""Beginnings of settings that have no part in a control, which is told where to look (see `Config.training_of`)."""
OF_GLIMPSES = ("sensor.", "environment.", "policy.", "training.classify_every_look")
"""Likewise of those that have none in a network that sees the whole canvas."""

IDLE_BESIDE = {
    ("training.lookahead", "0"): ("training.lookahead_weight",),
    ("training.baseline", "none"): ("training.baseline_weight",),
    ("training.baseline", "leave_one_out"): ("training.baseline_weight",),
    ("scene.kind", "plain"): ("scene.clutter",),
    ("scene.kind", "translated"): ("scene.clutter",),
    ("sensor.kind", "crop"): ("sensor.strides", "sensor.sigmas"),
    ("sensor.kind", "stn"): ("sensor.sigmas",),
    ("policy.encoder", "dense"): ("policy.filters",),
}
"""By a setting and its value: beginnings of those that have no part beside it."""

Settings = Mapping[str, str]
"""`section.field` → value, as text; `NOTHING` where it has no part."""


@dataclass(frozen=True)
class Method:
    """Runs of one name that differ in their seed alone."""

    name: str
    runs: tuple[Run, ...]
    """One a seed, in the order of the seeds."""
    doubles: tuple[Run, ...]
    """Runs of a seed that is there already: they are no further evidence, and are left out."""
    elsewhere: bool = False
    """Whether these are results alone of a training that was repeated: its runs are no further seeds of it."""

    @property
    def named(self) -> tuple[Run, ...]:
        return (*self.runs, *self.doubles)

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that were measured on the test set."""
        return tuple(run for run in self.runs if run.measured)


def group(runs: Sequence[Run]) -> tuple[Method, ...]:
    """Methods in the order in which their first runs were named.

    A method is called by its experiment's name. Where several share it, it names the fields in which it differs from
    the majority of its namesakes, or, where there is no majority, its own value. Results alone are further seeds of
    runs that were trained alike, unless a seed is among both with another outcome: then they are a method of their own.
    """
    alike: dict[tuple[str, ...], list[Run]] = {}
    of: dict[tuple[str, ...], dict[str, str]] = {}
    for run, settings in zip(runs, _settings_of_all(runs), strict=True):
        key = (run.config.name, run.role, *settings.values())
        alike.setdefault(key, []).append(run)
        of[key] = settings
    suffixes: dict[tuple[str, ...], list[str]] = {}
    for namesakes in {key[:2] for key in alike}:
        keys = [key for key in alike if key[:2] == namesakes]
        suffixes |= dict(zip(keys, _differences([of[key] for key in keys]), strict=True))
    methods = []
    for key, members in alike.items():
        name, role = key[:2]
        control = [] if role == "learned" else [f"control {role}"]
        for some, elsewhere in _apart(members):
            said = ", ".join(control + suffixes[key] + (["results alone"] if elsewhere else []))
            methods.append(Method(f"{name} ({said})" if said else name, *_one_a_seed(some), elsewhere))
    return tuple(methods)


def _apart(runs: Sequence[Run]) -> list[tuple[list[Run], bool]]:
    """Runs that were trained alike; and, set apart as such, results alone that some of them repeat."""
    trained = {run.seed: _outcome(run) for run in runs if run.kind != "results" and run.measured}
    if all(trained.get(run.seed, _outcome(run)) == _outcome(run) for run in runs if run.kind == "results"):
        return [(list(runs), False)]
    parts: dict[bool, list[Run]] = {False: [], True: []}
    for run in runs:
        parts[run.kind == "results" and trained.get(run.seed) != _outcome(run)].append(run)
    return [(part, elsewhere) for elsewhere, part in parts.items()]


def _outcome(run: Run) -> tuple[object, ...]:
    """By which a run is known again."""
    return run.measured and run.measured.test_error, run.validation_error, run.seconds


def settings_of(run: Run, *, by_name: bool = False) -> dict[str, str]:
    """What makes a method, field by field; `by_name`: what it began with is told by the last part of its path alone."""
    trained = run.config.model_copy(update={"training": run.config.training_of(run.role)})
    tree, began = trained.model_dump(mode="json"), trained.training.trained_agent
    fields = {
        f"{section}.{field}": _text(value)
        for section, values in tree.items()
        if isinstance(values, dict)
        for field, value in values.items()
        if not f"{section}.{field}".startswith(BOOKKEEPING)
    }
    idle = IDLE[run.config.training.method]
    if run.role != "learned":
        idle = OF_A_LEARNED_GAZE + (OF_GLIMPSES if run.role in NETWORKS else ())
    fields["training.trained_agent"] = _text(Path(began).name if began and by_name else began)
    if trained.training.last_window_std == trained.training.window_std:  # not told, or told to stay
        fields["training.window_std_end"] = _text(None)
    beside = [rest for (field, value), rest in IDLE_BESIDE.items() if fields[field] == value]
    idle += tuple(field for rest in beside for field in rest)
    fields |= {field: NOTHING for field in fields if field.startswith(idle)}
    return fields | {"processes": str(run.processes), "images.sha256": run.sha256[:12]}


def _names_alone(runs: Sequence[Run]) -> bool:
    """Whether a path can say no more than its name: an export keeps no more of what its training began with, and
    results may come from elsewhere.
    """
    return any(run.kind != "run" for run in runs)


def _named_once(settings: dict[str, str]) -> dict[str, str]:
    """Images are what they are, wherever they lay: a path tells them apart only where their sha256 is not known."""
    return settings | ({"images.source": NOTHING} if settings["images.sha256"] else {})


def _settings_of_all(runs: Sequence[Run]) -> list[dict[str, str]]:
    """A run that does not know its images counts as one on those of the others with its settings, if they agree."""
    by_name = _names_alone(runs)
    every = [settings_of(run, by_name=by_name) for run in runs]
    known: dict[tuple[str, ...], set[str]] = {}
    keys = [
        (run.config.name, run.role, *(value for name, value in mine.items() if name != "images.sha256"))
        for run, mine in zip(runs, every, strict=True)
    ]
    for key, mine in zip(keys, every, strict=True):
        known.setdefault(key, set()).update(filter(None, [mine["images.sha256"]]))
    for key, mine in zip(keys, every, strict=True):
        if not mine["images.sha256"] and len(known[key]) == 1:
            mine["images.sha256"] = next(iter(known[key]))
    return [_named_once(mine) for mine in every]


def differing(methods: Sequence[Method]) -> tuple[tuple[str, ...], list[Settings]]:
    """The settings in which any two methods differ that they have a part in, and all settings of each method.

    Of its runs one that knows its images speaks for a method, if there is one.
    """
    by_name = _names_alone([run for method in methods for run in method.runs])
    spokesmen = [max(method.runs, key=lambda run: bool(run.sha256)) for method in methods]
    every = [_named_once(settings_of(run, by_name=by_name)) for run in spokesmen]
    values = {field: {settings[field] for settings in every} - {NOTHING} for field in every[0]}
    return tuple(field for field, different in values.items() if len(different) > 1), list(every)


def of_other_names(methods: Sequence[Method]) -> list[list[str]]:
    """The names of learned agents that have all settings in common, where they are several."""
    learned = [method for method in methods if method.runs[0].role == "learned" and not method.elsewhere]
    alike: dict[tuple[str, ...], list[str]] = {}
    for method, settings in zip(learned, differing(learned)[1] if learned else [], strict=True):
        alike.setdefault(tuple(settings.values()), []).append(method.name)
    return [names for names in alike.values() if len(names) > 1]


def _differences(namesakes: Sequence[Settings]) -> list[list[str]]:
    """What each has to say of itself: nothing of settings that have no part in it."""
    told: list[list[str]] = [[] for _ in namesakes]
    short = Counter(field.rpartition(".")[2] for field in namesakes[0])
    for field in namesakes[0]:
        values = Counter(settings[field] for settings in namesakes if settings[field] != NOTHING)
        if len(values) < 2:
            continue
        value, times = values.most_common(1)[0]
        majority = value if 2 * times > values.total() else None
        name = field.rpartition(".")[2]
        name = name if short[name] == 1 else field
        for settings, parts in zip(namesakes, told, strict=True):
            if settings[field] not in (majority, NOTHING):
                parts.append(f"{name} {settings[field] or 'unknown'}")
    return told


def _one_a_seed(runs: Sequence[Run]) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """For each seed the first finished run, rather than an export or the results of one, or the first; and the rest."""
    chosen: dict[int, Run] = {}
    # Stable: finished ones first, of these runs before their exports and these before results, which know less; else as
    # named.
    for run in sorted(runs, key=lambda run: (run.measured is None, get_args(Kind).index(run.kind))):
        chosen.setdefault(run.seed, run)
    kept = list(chosen.values())
    return (
        tuple(sorted(kept, key=lambda run: run.seed)),
        tuple(run for run in runs if not any(run is other for other in kept)),
    )


def _text(value: Any) -> str:
    """As YAML would have it, lists without brackets."""
    if isinstance(value, list):
        return " ".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
