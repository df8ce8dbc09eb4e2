"""A config file and those it is laid over: `base: cluttered60`, or `base: [cluttered60, hard_best]`.

A base is a config like others: a name, looked for beside the file that names it, in `base/` there, and among the
shipped configs; or a path, taken from that file's folder. Settings are laid over one another field by field: of several
bases the later ones win, the file itself over all of them. A base may have bases; its name is not handed on.

A run's `results.json` is a config, too: the run's own, but for its folder. Who has the numbers can have them again.
"""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

_INSIDE = Path(__file__).parent / "configs"
SHIPPED = _INSIDE if _INSIDE.is_dir() else Path(__file__).parents[1] / "configs"
"""Within the package in a wheel, where what lies beside it is another's; beside it in a checkout."""


OF_THE_MACHINE = {
    "run.folder": None,
    "run.device": "auto",
    "run.cuda_graph": None,
    "run.overwrite": False,
    "run.track": False,
}
"""What a configuration that is handed on does not take from where it ran."""


class ConfigError(ValueError):
    """A configuration that makes no sense; the message is one line for the user."""


def read_layers(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The settings of a config file, laid over those of its bases; `above` led to it. Raises `ConfigError`."""
    own = _to_train_anew(settings_of_results(path)) if path.suffix == ".json" else read_yaml(path, "config", "scene:")
    bases = own.pop("base", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"config {path}: base: expected the name of a config, a path or a list of them, got {bases}")
    chain = (*above, path.resolve())
    tree: dict[str, Any] = {}
    for base in bases:
        below = _find(base, path)
        if below.resolve() in chain:
            raise ConfigError(f"config {path}: base: {base} is {below}, which stands on {path.stem} itself")
        layer = read_layers(below, chain)
        layer.pop("name", None)
        tree = _laid_over(tree, layer)
    return _laid_over(tree, own)


def _find(base: str, path: Path) -> Path:
    """The file that `path` means by `base`."""
    if base.endswith((".yaml", ".yml", ".json")):
        return path.parent / base
    folders = [each / below for each in (path.parent, SHIPPED) for below in (".", "base")]
    named = [folder / f"{base}.yaml" for folder in folders]
    found = [file for file in named if file.is_file()]
    others = [file for file in found if not file.samefile(path)]  # my cluttered60.yaml may stand on the shipped one
    if not found:
        there = {file.stem for folder in folders for file in folder.glob("*.yaml")}
        raise ConfigError(f"config {path}: base: no config named {base!r}{nearest(base, sorted(there))}")
    return (others or found)[0]


def settings_of_results(path: Path) -> dict[str, Any]:
    """The settings of the run that wrote a `results.json`, as it had them. Raises `ConfigError`."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"config {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config {path}: not JSON: {' '.join(str(error).split())}") from None
    settings = results.get("config") if isinstance(results, dict) else None
    if not isinstance(settings, dict):
        raise ConfigError(
            f"config {path}: expected the results.json of a run, which has a key 'config'; or a YAML file"
        )
    return settings


def _to_train_anew(settings: dict[str, Any]) -> dict[str, Any]:
    """Without what was that machine's.

    bfloat16 is what `training.precision fastest` came to there; on a processor without it, it is many times slower.
    """
    own = {name.removeprefix("run."): value for name, value in OF_THE_MACHINE.items()}
    run, training = settings.get("run"), settings.get("training")
    if isinstance(training, dict) and training.get("precision") == "bfloat16":
        training = training | {"precision": "fastest"}
    changed = {"run": run | own if isinstance(run, dict) else run, "training": training}
    return settings | {name: section for name, section in changed.items() if name in settings}


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Section by section, field by field."""
    tree = dict(below)
    for name, value in above.items():
        under = tree.get(name)
        tree[name] = {**under, **value} if isinstance(under, dict) and isinstance(value, dict) else value
    return tree


def read_yaml(path: Path, kind: str, key: str) -> dict[str, Any]:
    """The mapping that a YAML file holds; `kind` and `key` say in an error what was expected. Raises `ConfigError`."""
    try:
        tree = _loaded(path.read_text(encoding="utf-8"))
    except _StandsTwice as error:
        raise ConfigError(f"{kind} {path}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{kind} {path}: {error.strerror or error}") from None
    except RecursionError:
        raise ConfigError(f"{kind} {path}: nested too deeply to be one") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:  # ValueError: a date that there is not
        raise ConfigError(f"{kind} {path}: not YAML: {' '.join(str(error).split())}") from None
    if tree is None:
        defaults = "; {} is all defaults" if kind == "config" else ""
        raise ConfigError(f"{kind} {path}: empty, expected sections such as '{key}'{defaults}")
    if not isinstance(tree, dict):
        raise ConfigError(f"{kind} {path}: expected sections such as '{key}', got {type(tree).__name__}")
    return tree


class _StandsTwice(Exception):
    """A key that stands twice in a mapping: YAML takes the last, and the first would be lost without a word."""


def _loaded(text: str) -> Any:
    """What `yaml.safe_load` makes of it. Raises `_StandsTwice`."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        _check_keys(node, set())  # before mappings are merged (`<<`), after which keys do stand twice
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _check_keys(node: yaml.Node | None, known: set[int]) -> None:
    """Raise `_StandsTwice` for a key that does in a mapping, however deep; aliases make several ways to a node."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in known:
        return
    known.add(id(node))
    if not isinstance(node, yaml.MappingNode):
        for part in node.value:
            _check_keys(part, known)
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        _check_keys(key, known)
        _check_keys(value, known)
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            first = lines[key.value]
            raise _StandsTwice(f"{key.value!r} stands twice, in lines {first} and {line}; keep one of the two")
        lines[key.value] = line


CALLED = {
    "epochs": "episodes",
    "batch_size": "batch",
    "eye": "encoder",
    "sensor.eye": "kind",
    "looks": "glimpses",
    "training.looks": "episodes_per_image",
}
"""What others, and runs of before, call settings of ours."""


def nearest(name: str, names: Sequence[str]) -> str:
    """` (did you mean ...?)`, or nothing. What follows the last dot says most: `training.lr` is no `training.clip`.

    A section stands for the first of its settings. Of names that are merely alike, those of the section that was typed
    come first: `sensor.kin` is no `scene.kind`.
    """
    last = _last(name).replace("-", "_")
    ours = CALLED.get(name.lstrip("-")) or CALLED.get(last, last)
    namesakes = [full for full in names if _last(full) == ours]
    namesakes += [full for full in names if full.startswith(f"{name}.")][:1]
    spelt_out = [full for full in names if "".join(word[:1] for word in _last(full).split("_")) == last]
    close = get_close_matches(name, namesakes or spelt_out, n=1, cutoff=0.0)
    if not close:
        section = name[: -len(_last(name))]
        within = [full for full in names if section.endswith(".") and full.startswith(section)]
        close = _alike(last, within) or _alike(last, names)
    return f" (did you mean {close[0]}?)" if close else ""


def _alike(last: str, names: Sequence[str]) -> list[str]:
    """The name that ends most like `last`, the first of those that end alike; none where none does."""
    by_last = {_last(full): full for full in reversed(names)}
    return [by_last[each] for each in get_close_matches(last, list(by_last), n=1)]


def _last(name: str) -> str:
    return name.rpartition(".")[2].lstrip("-")
