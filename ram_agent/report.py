"""What a run has to show, in one table for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from ram_agent.config import FullImageKind, SB3Method
from ram_agent.words import count

FEW = 100
"""Test images below which the 95 % interval of an error can be some 20 points wide and more (Wilson, at 50 %)."""
TOO_FEW = "few test images: the error itself says little, its interval says what is known"


def hardest_first(
    measured: Sequence[Mapping[str, Any]], classes: Sequence[str]
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """`error_by_class` of results, the hardest classes first, and those of `classes` that it leaves out, as it does
    where there was no test image.
    """
    known = {fared["name"] for fared in measured}
    return sorted(measured, key=lambda fared: -fared["error"]), [name for name in classes if name not in known]


def images_of(number: int, name: str) -> str:
    """How many images of which data set."""
    return f"{count(number, 'image')} of {name}"


def results_table(results: Mapping[str, Any]) -> str:
    """The end of a run: learned policy, sampled, voted, controls on the test set; if interrupted, validation."""
    config, dataset = results["config"], results["dataset"]
    scene, sensor = config["scene"], config["sensor"]
    clutter = f" with {count(scene['clutter'], 'patch', 'patches')}" if scene["kind"] == "cluttered" else ""
    task = (
        f"{scene['kind']} {scene['height']}x{scene['width']}{clutter}, "
        f"{count(config['environment']['glimpses'], 'glimpse')} of "
        f"{sensor['scales']} x {sensor['size']}x{sensor['size']} by {sensor['kind']}"
    )
    lines = [f"{results['name']}: {task}, trained by {config['training']['method']}"]
    if dataset["notice"]:
        lines.append(dataset["notice"])
    if results.get("interrupted"):
        lines += ["interrupted; best error on the validation split so far, in percent:", ""]
        lines += [
            f"  {role:<28}{error:7.2f}   [{dataset['name']}]" for role, error in results["validation_errors"].items()
        ]
    else:
        tested = results["test_images"]
        lines += [f"test error in percent, {images_of(tested, dataset['name'])}, 95 % interval:", ""]
        lines.append(_row("learned, mean location", results, dataset["name"]))
        lines.append(f"  {'learned, sampled location':<28}{results['test_error_sampled']:7.2f}")
        lines.append(f"  {'learned, ' + str(results['votes']) + '-vote':<28}{results['test_error_voted']:7.2f}")
        differently = {role: _trained_differently(results, each) for role, each in results["controls"].items()}
        shown = ", ".join(_shown_otherwise(results))
        for role, control in results["controls"].items():
            sees = "the whole canvas" if role in get_args(FullImageKind) else ""
            told = ", ".join(filter(None, (sees, differently[role] or shown))) or "trained alike"
            lines.append(_row(f"{role}, {told}", control, dataset["name"]))
        for role, reason in results.get("controls_gone_bad", {}).items():
            lines.append(f"  {role}: no result, {reason.removeprefix(f'{role}: ')}")
        lines.append("")
        by_glimpse = "  ".join(f"{error:.1f}" for error in results["error_by_glimpse"])
        lines.append(f"  error after each glimpse: {by_glimpse}")
        for role, control in results["controls"].items():
            if not differently[role]:
                lines.append(f"  {_against(f'{role}, {shown}' if shown else role, control, results)}")
        if tested < FEW:
            lines.append(f"  {TOO_FEW}")
    lines.append("")
    lines.append(
        f"  {count(results['episodes'], 'episode')} in {results['seconds']:,.0f} s "
        f"({results['episodes_per_second']:,.0f} a second) on {results['device']}, "
        f"{count(results['threads'], 'thread')}, {results['parameters']:,} parameters, "
        f"{count(results['glimpse_pixels'], 'pixel')} seen per image"
    )
    return "\n".join(lines)


def _against(role: str, control: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """What the policy adds, as far as two intervals can tell; `ram-agent compare` pairs the images, and tells more."""
    points = control["test_error"] - results["test_error"]
    lower, upper = sorted([results["test_error_ci95"], control["test_error_ci95"]])
    told = f"the policy has {abs(points):.1f} points {'more' if points < 0 else 'less'} error than {role}"
    return f"{told}: the intervals overlap" if upper[0] <= lower[1] else told


def _trained_differently(results: Mapping[str, Any], control: Mapping[str, Any]) -> str:
    """What, beside where it looks, sets a control apart from the agent: their errors then tell of that, too."""
    training = results["config"]["training"]
    if training["method"] in get_args(SB3Method):
        return "by right answers"  # where the agent is told its reward alone
    if training.get("trained_agent"):
        return "from scratch"
    return "" if control["episodes"] == results["episodes"] else count(control["episodes"], "episode")


def _shown_otherwise(results: Mapping[str, Any]) -> Iterator[str]:
    """What a control, trained for as many episodes, is shown otherwise than the agent, whose method asks for it."""
    training = results["config"]["training"]
    if (per_image := training.get("episodes_per_image", 1)) > 1:
        yield f"{per_image} times the images"
    if training.get("lookahead"):
        yield "not looking ahead"


def _row(label: str, numbers: Mapping[str, Any], images: str) -> str:
    low, high = numbers["test_error_ci95"]
    return f"  {label:<28}{numbers['test_error']:7.2f}   {low:.2f} to {high:.2f}   [{images}]"
