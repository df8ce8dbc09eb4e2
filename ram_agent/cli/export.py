"""`export`: a trained run as a folder to share."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ram_agent.algorithm import SHOWN, images_shown
from ram_agent.building import best_policy
from ram_agent.card import PICTURES, model_card
from ram_agent.checkpoint import fitting, read_newest
from ram_agent.cli.folders import run_folder
from ram_agent.cli.outputs import check_folder
from ram_agent.cli.prepared import Prepared, Refused
from ram_agent.config import Config, ConfigError, changed_config, dump_config, load_config
from ram_agent.config_layers import OF_THE_MACHINE
from ram_agent.export import STEP, is_export, write_export
from ram_agent.files import write_whole
from ram_agent.hub import hub_client, push
from ram_agent.options import Parser
from ram_agent.policy import RecurrentAttentionPolicy
from ram_agent.progress import warn
from ram_agent.results import write_results
from ram_agent.run_files import CHECKPOINT, CONFIG, FIGURES, NOTICE, RESULTS
from ram_agent.stored import final_results


def export_options(commands: Any) -> Parser:
    parser = commands.add_parser("export", help="write a trained run as a folder to share: weights, config, model card")
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="a new or empty folder")
    parser.add_argument("--no-graph", action="store_true", help=f"without {STEP}: half as large")
    parser.add_argument("--push-to-hub", metavar="OWNER/NAME", help="upload it to the Hugging Face Hub as well")
    parser.add_argument("--private", action="store_true", help="make the repository on the Hub a private one")
    return parser


def export_run(given: Any) -> Prepared:
    """Write the best weights of a run, configuration and results, a model card with picture, and one step."""
    folder, target = run_folder(given.run), Path(given.out)
    if given.private and not given.push_to_hub:
        raise ConfigError("--private: expected --push-to-hub OWNER/NAME beside it, which says what is to be private")
    if given.push_to_hub:
        hub_client()  # whether it is there, before anything is written
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"--out: {target} exists and is not an empty folder; choose another")
    check_folder("--out", target)
    if is_export(folder):
        raise ConfigError(f"run {folder}: an export already; copy the folder, or name the run that it came from")
    saved = read_newest(folder / CHECKPOINT)
    config = load_config(folder / CONFIG)
    if config.training.by_sb3:
        raise ConfigError(
            f"run {folder}: an agent of Stable-Baselines3's ({config.training.method}) is not exported; "
            "expected one trained by reinforce, straight_through or pathwise"
        )
    results = _of_these_weights(final_results(folder), saved, folder)
    notice = folder / NOTICE
    with fitting(folder / CHECKPOINT):
        policy = best_policy(saved, torch.device("cpu"))
        known = {name: saved[name] for name in ("training", "seed", "images", "sha256", "classes")}
        known |= {name: saved[name] for name in ("image_size",) if name in saved}  # younger than some checkpoints
        known[SHOWN] = images_shown(saved)
    placeless = _without_places(config)
    known["training"] = known["training"] | {"trained_agent": placeless.training.trained_agent}
    assert isinstance(policy, RecurrentAttentionPolicy), "the agent of a run has an eye"

    def job() -> int:
        write_whole(target / CONFIG, dump_config(placeless).encode())
        if results is not None:
            handed_on = results | {"config": placeless.model_dump(mode="json")}
            if bad := results.get("controls_gone_bad"):  # whose reasons name files that are not handed on
                reasons = {look: reason.partition(". Diagnostic checkpoint")[0] for look, reason in bad.items()}
                handed_on |= {"controls_gone_bad": reasons}
            write_results(target, handed_on)
        shown = [name for name in PICTURES if (folder / FIGURES / name).is_file()]
        for name in shown:
            shutil.copyfile(folder / FIGURES / name, target / name)
        said = notice.read_text(encoding="utf-8").strip() if notice.is_file() else ""
        card = model_card(
            config,
            results,
            dataset=saved["images"],
            classes=saved["classes"],
            notice=said,
            picture=shown[0] if shown else None,
            graph_state=None if given.no_graph else policy.initial_state(1),
        )
        write_whole(target / "README.md", card.encode())
        write_export(target, policy, known, graph=not given.no_graph)  # last: what it writes makes it an export
        print(target)
        if given.push_to_hub:
            try:
                print(push(target, given.push_to_hub, private=given.private))
            except Exception as error:  # the client's own, of many kinds: network, login, name
                raise Refused(f"--push-to-hub: {given.push_to_hub}: {' '.join(str(error).split())}") from None
        return 0

    return job


def _of_these_weights(results: dict[str, Any] | None, saved: Mapping[str, Any], folder: Path) -> dict[str, Any] | None:
    """The results, unless they are of other weights than the checkpoint's: where the newest is damaged, say."""
    with fitting(folder / CHECKPOINT):
        at = saved["best"]["episodes"] if saved["best"] else None
    if results is None or results.get("best_at_episode", at) == at:
        return results
    warn(
        f"{folder / RESULTS} tells the error of other weights, of episode {results['best_at_episode']:,}, than are at "
        f"hand, of {'none' if at is None else f'{at:,}'}: exported without it; `ram-agent evaluate` measures them"
    )
    return None


def _without_places(config: Config) -> Config:
    """The configuration without the folders and the device of the machine that trained: of no meaning elsewhere."""
    source, began = Path(config.images.source), config.training.trained_agent
    changed = {
        "images.folder": None,
        "images.source": source.name or "images",
        "training.trained_agent": Path(began).name if began else None,
        **OF_THE_MACHINE,
    }
    return changed_config(config, changed)
