"""A trained agent as a folder that stands by itself: weights, shape, configuration, one step as a graph.

Nothing in it is pickled but the example inputs within the graph's archive, which `read_export` never opens.
"""

import io
import json
from collections.abc import Mapping
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ram_agent.checkpoint import CheckpointError, is_checkpointed, read_newest
from ram_agent.core import State
from ram_agent.files import write_whole
from ram_agent.heads import LearnedWindowHead
from ram_agent.policy import RecurrentAttentionPolicy
from ram_agent.run_files import CHECKPOINT, is_run

WEIGHTS, AGENT, STEP = "model.safetensors", "agent.json", "agent_step.pt2"
FORMAT = 1
"""Version of the folder's layout."""


class AgentStep(nn.Module):
    """One look of the agent without exploration: (glimpse, window, state) → (next window, logits, state)."""

    def __init__(self, policy: RecurrentAttentionPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(
        self, glimpse: Float[Tensor, "lanes planes side side"], window: Float[Tensor, "lanes parameters"], state: State
    ) -> tuple[Float[Tensor, "lanes parameters"], Float[Tensor, "lanes classes"], State]:
        hidden, state = self.policy.look(glimpse, window, state)
        head = self.policy.window_head
        assert isinstance(head, LearnedWindowHead)
        return head.mean(hidden), self.policy.classifier(hidden), state


def export_step(policy: RecurrentAttentionPolicy) -> bytes:
    """`AgentStep` as a `torch.export` archive, for any number of lanes."""
    lanes = torch.export.Dim("lanes")
    parameters = len(policy.blueprint.first_window)
    example = (
        torch.zeros(2, *policy.blueprint.glimpse_shape),
        torch.zeros(2, parameters),
        policy.initial_state(2),
    )
    batched = {0: lanes}
    step = AgentStep(deepcopy(policy)).eval()
    step.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # the archive takes others for slices
    program = torch.export.export(step, example, dynamic_shapes=(batched, batched, tuple(batched for _ in example[2])))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of the machine that exports
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def write_export(
    folder: Path, policy: RecurrentAttentionPolicy, facts: Mapping[str, Any], *, graph: bool = True
) -> None:
    """Write weights, shape and, as a `graph`, one step.

    `facts` are plain values: `training`, `seed` and what else is worth knowing. The policy lies on the CPU.
    """
    weights = {name: value.contiguous() for name, value in policy.state_dict().items()}
    files = {WEIGHTS: save_tensors(weights, metadata={"format": "pt"})}
    if graph:
        files[STEP] = export_step(policy)
    digests = {name: sha256(content).hexdigest() for name, content in files.items()}
    agent = {"format": FORMAT, "files": digests, "blueprint": policy.blueprint.as_plain(), **facts}
    for name, content in files.items():
        write_whole(folder / name, content)
    write_whole(folder / AGENT, (json.dumps(agent, indent=2) + "\n").encode())  # last: it vouches for the others


def is_export(folder: Path) -> bool:
    """Whether `ram-agent export` wrote it, and no training has begun in it since."""
    return (folder / AGENT).is_file() and not is_checkpointed(folder / CHECKPOINT)


def read_trained(folder: Path) -> tuple[Path, dict[str, Any]]:
    """What is known of a trained agent, and the file it comes from: an export, or the newest checkpoint of a run.

    Raises `CheckpointError`.
    """
    if is_export(folder):
        return folder / AGENT, read_export(folder)
    if not is_checkpointed(folder / CHECKPOINT):
        raise CheckpointError(f"checkpoint {folder / CHECKPOINT}: no such file, and no {AGENT} of an export")
    return folder / CHECKPOINT, read_newest(folder / CHECKPOINT)


def read_saved(file: Path) -> dict[str, Any]:
    """What a learner saved. Raises `CheckpointError`, which names the folder where that is a trained agent's."""
    try:
        return read_newest(file)
    except CheckpointError as error:
        if not (is_export(file.parent) or is_run(file.parent)):
            raise
        raise CheckpointError(f"{error}; {file.parent} is a trained agent: give the folder") from None


def read_export(folder: Path) -> dict[str, Any]:
    """What `write_export` wrote: `blueprint`, `training`, `seed` … and `weights`. Raises `CheckpointError`.

    Runs nobody's code, and reads nothing outside the folder: a link that leads out of it is refused.
    """
    try:
        agent = json.loads(_inside(folder, AGENT))
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"export {folder}: {AGENT} is not JSON ({error})") from None
    if not isinstance(agent, dict) or agent.get("format") != FORMAT:
        found = agent.get("format") if isinstance(agent, dict) else type(agent).__name__
        raise CheckpointError(f"export {folder}: expected format {FORMAT}, found {found!r}")
    if lacking := {"files", "blueprint", "training", "seed"} - agent.keys():
        raise CheckpointError(f"export {folder}: {AGENT} lacks {', '.join(sorted(lacking))}")
    encoded = _inside(folder, WEIGHTS)
    if not isinstance(agent["files"], dict) or agent["files"].get(WEIGHTS) != sha256(encoded).hexdigest():
        raise CheckpointError(f"export {folder}: {WEIGHTS} is damaged (its sha256 is not the one in {AGENT})")
    try:
        weights = load_tensors(encoded)
    except Exception as error:  # safetensors' own error is no ValueError
        raise CheckpointError(f"export {folder}: {WEIGHTS} is damaged ({error})") from None
    return {**agent, "weights": weights}


def _inside(folder: Path, name: str) -> bytes:
    """The file's content, if it really lies in the folder."""
    path = folder / name
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve(strict=True)):
            raise CheckpointError(f"export {folder}: {name} is a link out of the folder; put the file itself there")
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"export {folder}: no {name} in it; is it what `ram-agent export` wrote?") from None
