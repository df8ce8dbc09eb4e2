"""The model card of an exported agent, in Markdown with the header that the Hugging Face Hub reads."""

from collections.abc import Mapping
from typing import Any

from ram_agent.config import Config
from ram_agent.learner import LEARNERS

PICTURES = ("glimpse_paths.gif", "glimpse_paths.png")
"""What a card shows, the first that a run has."""


def model_card(
    config: Config, results: Mapping[str, Any] | None, dataset: str, notice: str, picture: str | None
) -> str:
    """What the agent is, how well it does and on which images, how to load it. `results`: of a finished run."""
    scene, sensor = config.scene, config.sensor
    kind = LEARNERS[config.training.method].__name__
    header = ["---", "license: mit", "library_name: ram-agent", "pipeline_tag: image-classification", "tags:"]
    header += [f"- {tag}" for tag in ("visual-attention", "reinforcement-learning", "gymnasium", sensor.kind)]
    lines = [*header, "---", "", f"# {config.name}", ""]
    lines += [
        f"A recurrent attention model that looks {config.environment.glimpses} times through {sensor.scales} scales of "
        f"{sensor.size}×{sensor.size} pixels (`{sensor.kind}`) at {scene.kind} canvases of "
        f"{scene.height}×{scene.width} and says what it saw; trained with {kind} on {dataset}.",
        "",
    ]
    if notice:
        lines += [f"**{notice}**", ""]
    if picture:
        lines += [f"![Where it looks on test images]({picture})", ""]
    lines += ["## Results", ""]
    if results is None:
        lines += ["The run was not measured on the test set: it has not finished.", ""]
    else:
        rows = {"mean location": results, **{f"control: {name}": r for name, r in results["controls"].items()}}
        lines += [
            f"| test error on {results['test_images']:,} images of {dataset} | % | 95 % interval |",
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
    size = f"{scene.height}, {scene.width}"
    lines += [
        "## Use",
        "",
        "```python",
        "from envs.glimpse import GlimpseVectorEnv",
        f"from ram_agent.learner import {kind}",
        "",
        "env = GlimpseVectorEnv(",
        f"    {config.training.batch * config.training.looks}, scene={scene.kind!r}, size=({size}), "
        f"clutter={scene.clutter}, sensor={sensor.kind!r},",
        f"    glimpse_size={sensor.size}, scales={sensor.scales}, "
        f"glimpses={config.environment.glimpses}, tensors=True,",
        ")",
        f'agent = {kind}.load("this folder", env)',
        "```",
        "",
        "`config.yaml` is the whole experiment. `agent_step.pt2` is one look without this library: "
        "`torch.export.load(…).module()(glimpse, window, state)` gives the next window, the logits and the state.",
        "",
    ]
    return "\n".join(lines)
