"""One experiment, start to end: train the agent, train its controls alike, measure all on the test set once, write it
down.
"""

import os
from pathlib import Path
from typing import Any

import torch

from ram_agent.agents import Agent, assist, train_agent
from ram_agent.config import Config, changed_config, dump_config
from ram_agent.evaluation import Evaluation
from ram_agent.figures import confusion_matrix, error_by_glimpse, learning_curves
from ram_agent.files import write_whole
from ram_agent.finite import NumbersGoneBad
from ram_agent.gaze import of_each_class
from ram_agent.interruption import STOPPING, Interruption
from ram_agent.machine import memory_reason, ran_out_of_memory
from ram_agent.parallel import ALONE, Ranks
from ram_agent.pictures import write_figure
from ram_agent.precision import set_products, warn_of_slow_products, with_precision
from ram_agent.progress import warn
from ram_agent.provenance import code
from ram_agent.results import describe_run, measure, write_results
from ram_agent.run_files import CONFIG, FIGURES, NOTICE, RESULTS
from ram_agent.spectator import watch, write_gaze
from ram_agent.stored import UNWRITTEN
from ram_agent.threads import fastest_threads
from ram_agent.world import World
from ram_agent.writing import Writing


def run_experiment(
    config: Config, world: World, folder: Path, *, resume: bool = False, ranks: Ranks = ALONE
) -> tuple[dict[str, Any], int]:
    """Train, measure, write the run folder; returns the results and the signal that interrupted it, or 0.

    A control whose numbers go bad, or whose memory runs out, costs nobody else's results:
    `results["controls_gone_bad"]` says why it has none. An interrupted run has been saved, holds
    validation errors alone, and goes on with `resume=True`. Where files could not be written, `results["unwritten"]`
    says why. Of several ranks all train; the first alone measures, writes, and has results.
    """
    config = ranks.share(settle(config, world))
    tune_torch(config)
    if ranks.leads:
        code()  # as it is now: by the end somebody may have changed it
        write_whole(folder / CONFIG, dump_config(config).encode())
        if world.dataset.notice:
            write_whole(folder / NOTICE, (world.dataset.notice + "\n").encode())
    interruption = Interruption(answer=STOPPING if ranks.leads else "")
    agents: list[Agent] = []
    gone_bad: dict[str, str] = {}
    with interruption.watching():
        for role in ("learned", *config.evaluation.controls):
            train = train_agent if ranks.leads else assist
            try:
                agents += train(config, world, folder, role, resume=resume, interruption=interruption, ranks=ranks)
            except (NumbersGoneBad, MemoryError, RuntimeError) as error:
                no_room = ran_out_of_memory(error)
                own = no_room or isinstance(error, NumbersGoneBad)
                if not own or role == "learned" or ranks.size > 1:  # of several ranks the others may not have met it
                    raise
                gone_bad[role] = f"{role}: {memory_reason(error)}" if no_room else str(error)
                warn(f"{gone_bad[role]}; the others are trained and measured all the same")
                interruption.learner = None  # what it holds is the next one's
            if interruption.asked:
                break
    if not ranks.leads:
        return {}, interruption.received
    results = describe_run(config, world, agents)
    if gone_bad:
        results["controls_gone_bad"] = gone_bad
    if unwritten := interruption.unwritten or next(filter(None, map(_unsaved, agents)), ""):
        results[UNWRITTEN] = unwritten
    answered = None
    if interruption.asked:
        results |= {"interrupted": True}
    else:
        measured, answered = measure(config, world, agents)
        results |= measured
    numbers = Writing(folder, so="the table is all that there is, and --resume makes up for it where there is room")
    numbers.attempt(RESULTS, lambda: write_results(folder, results))
    for agent in agents:
        _close(config, agent, results)  # before the pictures, which may take a while: a run with results is finished
    pictures = Writing(folder, so="the numbers are whole; `ram-agent render` draws glimpse paths where there is room")
    if answered and not numbers.trouble:
        pictures.attempt("the figures", lambda: _draw(config, world, agents, results, answered, folder))
    if trouble := [*numbers.trouble.values(), *pictures.trouble.values()]:
        results.setdefault(UNWRITTEN, trouble[0])
    return results, interruption.received


def _unsaved(agent: Agent) -> str:
    """Why what an agent has learned is not on the disk, after one more attempt; nothing where it is."""
    if agent.checkpoints.unsaved:
        agent.checkpoints.save()
    return agent.checkpoints.unsaved


def settle(config: Config, world: World) -> Config:
    """Write down what was left open (images, threads, precision), so that a resumed run does not decide anew.

    A run that was to replace another does not ask for that again: whoever trains by its config may have it by mistake.
    """
    source = world.dataset.name if config.images.source == "auto" else config.images.source
    threads = config.run.threads or fastest_threads()
    torch.set_num_threads(threads)
    warn_of_slow_products(config.training.precision, world.device)
    settled = {"images.source": source, "run.threads": threads, "run.overwrite": False}
    settled["training.precision"] = with_precision(config.training, world.device).precision
    return changed_config(config, settled)


def tune_torch(config: Config) -> None:
    """Threads, the precision of products and what must repeat, of this process, as a settled configuration has them."""
    torch.set_num_threads(config.run.threads)
    set_products(tf32=config.training.precision == "tf32")
    if config.run.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it torch refuses products on a GPU
    torch.use_deterministic_algorithms(config.run.deterministic)


def _draw(*drawn: Any) -> None:
    """Write the pictures; what they cannot be drawn for, a name or a font, is not to cost a run its end."""
    try:
        write_pictures(*drawn)
    except OSError:
        raise
    except Exception as error:
        warn(f"the figures could not be drawn ({type(error).__name__}: {error}); results.json is whole")


def write_pictures(
    config: Config, world: World, agents: list[Agent], results: dict[str, Any], answered: Evaluation, folder: Path
) -> None:
    """`figures/` of agents that were measured: glimpse paths on test images (PNG, GIF), one of them look by look,
    learning curves, error by look, confusions.
    """
    agent = agents[0]
    target = folder / FIGURES
    target.mkdir(exist_ok=True)
    if config.run.pictures:
        scenes = of_each_class(world.labels_in("test"), config.run.pictures)
        write_gaze(watch(agent.learner.policy, world.environment("test", len(scenes)), scenes), target)
    errors = {"learned": results} | results["controls"]
    by_glimpse = {f"{role} [{world.dataset.name}]": measured["error_by_glimpse"] for role, measured in errors.items()}
    write_figure(error_by_glimpse(by_glimpse), target / "error_by_glimpse.png")
    classes = world.dataset.classes
    write_figure(confusion_matrix(answered.confusion(len(classes)), classes), target / "confusion_matrix.png")
    curves = learning_curves(agent.board.metrics.rows)
    curves.text(0.995, 0.005, f"images: {world.dataset.name}", ha="right", va="bottom", fontsize=7, color="#777777")
    write_figure(curves, target / "learning_curves.png")


def _close(config: Config, agent: Agent, results: dict[str, Any]) -> None:
    measured = results if agent.role == "learned" else results.get("controls", {}).get(agent.role, {})
    if "test_error" in measured:
        trained = config.model_copy(update={"training": agent.training})
        settings = {"role": agent.role, "seed": config.run.seed} | {
            f"{section}.{name}": value
            for section, values in trained.model_dump(mode="json").items()
            if isinstance(values, dict) and section not in ("run", "evaluation")
            for name, value in values.items()
        }
        names = ("test_error", "test_error_sampled", "test_error_voted")
        numbers = {name.replace("test_", "test/"): measured[name] for name in names}
        agent.board.results(settings, numbers, agent.learner.episodes)
    agent.board.close()
