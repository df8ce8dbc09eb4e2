"""The model card of an exported agent, in Markdown with the header that the Hugging Face Hub reads."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ram_agent.config import Config
from ram_agent.core import State
from ram_agent.learner import LEARNERS
from ram_agent.report import hardest_first, images_of
from ram_agent.words import NOTHING, count

PICTURES = ("glimpse_paths.gif", "glimpse_paths.png")
"""What a card shows, the first that a run has."""
BY = {
    "reinforce": "by REINFORCE",
    "straight_through": "by a straight-through gradient",
    "pathwise": "by backpropagation",
}
"""How an agent was trained, by `training.method`."""
LISTED = 30
"""Classes that a card names."""


def model_card(
    config: Config,
    results: Mapping[str, Any] | None,
    *,
    dataset: str,
    classes: Sequence[str],
    notice: str,
    picture: str | None,
    graph_state: State | None,
) -> str:
    """What the agent is, how well it does and on which images, how to load it.

    `results` are of a finished run; `graph_state` is what the graph beside it begins an episode with, if there is one.
    """
    scene, sensor = config.scene, config.sensor
    kind = LEARNERS[config.training.method].__name__
    header = ["---", "license: mit", "library_name: ram-agent", "pipeline_tag: image-classification", "tags:"]
    header += [f"- {tag}" for tag in ("visual-attention", "reinforcement-learning", "gymnasium", sensor.kind)]
    lines = [*header, "---", "", f"# {config.name}", ""]
    lines += [
        f"A recurrent attention model that looks {count(config.environment.glimpses, 'time')} through "
        f"{count(sensor.scales, 'scale')} of {sensor.size}×{sensor.size} pixels (`{sensor.kind}`) at "
        f"{scene.kind} canvases of {scene.height}×{scene.width} and says what it saw; trained "
        f"{BY[config.training.method]} on {_escaped(dataset)}."
        + (" Its gaze began as a raster scan." if config.policy.scan else ""),
        "",
        f"It tells apart {len(classes)} classes: {_listed(classes)}.",
        "",
    ]
    if notice:
        lines += [f"**{notice}**", ""]
    if picture:
        lines += [f"![Where it looks on test images]({picture})", ""]
    lines += ["## Results", ""]
    if results is None:
        lines += ["Not measured on the test set: the run has not finished, or its results are of other weights.", ""]
    else:
        rows = {"mean location": results, **{f"control: {name}": r for name, r in results["controls"].items()}}
        lines += [
            f"| test error on {images_of(results['test_images'], _escaped(dataset))} | % | 95 % interval |",
            "|---|---|---|",
        ]
        for name, row in rows.items():
            low, high = row["test_error_ci95"]
            lines.append(f"| {name} | {row['test_error']:.2f} | {low:.2f} to {high:.2f} |")
        lines += [
            f"| sampled location | {results['test_error_sampled']:.2f} | |",
            f"| {results['votes']}-vote | {results['test_error_voted']:.2f} | |",
            "",
            f"Seed {results['seed']}, {results['episodes']:,} episodes; weights with the best validation error.",
            "",
        ]
    lines += _by_class(results["error_by_class"], classes) if results and "error_by_class" in results else []
    lines += [
        "## Use",
        "",
        "What it answers to a picture, and where it looked; a picture of that:",
        "",
        "```sh",
        "ram-agent evaluate FOLDER --images photo.png",
        "ram-agent render FOLDER --images photo.png --out pictures",
        "```",
        "",
        "`FOLDER` is this folder. To go on with it in Python, over its images or others with the same classes:",
        "",
        "```python",
        "from envs.glimpse import GlimpseVectorEnv",
        *(["from envs.images import load_images"] if config.images.size else []),
        f"from ram_agent.learner import {kind}",
        "from ram_agent.sensor import make_sensor",
        "",
        "sensor = make_sensor(",
        *_arguments(sensor.model_dump()),
        ")",
        "env = GlimpseVectorEnv(",
        f"    {config.training.lanes_per_process},",
        f"    images={_images(config)},",
        f'    scene="{scene.kind}",',
        f"    size=({scene.height}, {scene.width}),",
        *_arguments(scene.model_dump(exclude={"kind", "height", "width"})),
        "    sensor=sensor,",
        *_arguments(config.environment.model_dump()),
        "    tensors=True,",
        ")",
        f'agent = {kind}.load("FOLDER", env)',
        "```",
        "",
        "To have it act: an episode in each lane, at mean locations, and what it says in the end. With "
        '`split="test"` the environment shows images that it was not trained on.',
        "",
        "```python",
        "observation, info = env.reset(seed=1)",
        "state = None",
        "for _ in range(env.glimpses):",
        "    action, state = agent.predict(observation, state, deterministic=True)",
        "    observation, reward, over, _, info = env.step(action)",
        'print([env.class_names[label] for label in action["label"]])',
        "```",
        "",
        "`config.yaml` is the whole experiment." + (_graph(graph_state) if graph_state is not None else ""),
        "",
    ]
    return "\n".join(lines)


def _graph(state: State) -> str:
    return (
        " `agent_step.pt2` is one look without this library: `torch.export.load(…).module()(glimpse, window, state)` "
        f"gives the next window, the logits and the state; an episode begins with a state of zeros, {_shapes(state)}."
    )


def _shapes(state: State) -> str:
    return " and ".join(f"(N, {part.shape[1]})" for part in state)


def _arguments(settings: Mapping[str, Any]) -> list[str]:
    """A line each."""
    return [f"    {name}={_quoted(value)}," for name, value in settings.items()]


def _quoted(value: Any) -> str:
    """As a formatter of code would leave it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _images(config: Config) -> str:
    """The source as Python, scaled as the run had it; a path means nothing elsewhere."""
    known = config.images.source in ("mnist", "digits")
    source = _quoted(config.images.source if known else "PATH OF YOUR IMAGES")
    return f"load_images({source}, size={config.images.size})" if config.images.size else source


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_escaped(name) for name in names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more, in `agent.json`"


def _by_class(measured: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[str]:
    """A table, the hardest classes first, those of no test image last."""
    ordered, without = hardest_first(measured, classes)
    hardest = ordered[:LISTED]
    some = f"the hardest {len(hardest)} of {len(ordered)} classes" if len(hardest) < len(ordered) else "class"
    rows = [
        f"| {_escaped(fared['name'])} | {fared['images']:,} | {fared['error']:.2f} | {_escaped(fared['taken_for'])} |"
        for fared in hardest
    ]
    rows += [f"| {_escaped(name)} | 0 | {NOTHING} | |" for name in without[:LISTED]]
    if len(without) > LISTED:
        rows.append(f"| {len(without) - LISTED:,} more | 0 | {NOTHING} | |")
    return [f"| {some} | test images | error, % | most often taken for |", "|---|---|---|---|", *rows, ""]


def _escaped(name: str) -> str:
    """A name of a class or of images as Markdown shows it."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", name)
