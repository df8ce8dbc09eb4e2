"""Ideas that were tried and that no option has, each a learner of a few lines: `python results/ideas.py IDEA CONFIG
[OPTION …]`, options of `train.py`; an interrupted run goes on with `python results/ideas.py IDEA --resume RUN`.

What they were worth: docs/recipe.md, with the commands in docs/trials.md. A run's files know nothing of an idea but its
name, which the run takes: `train.py`, given one of its files, goes on or trains anew without the idea.
"""

import argparse
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ram_agent import estimators
from ram_agent.building import best_policy
from ram_agent.cli import main
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import load_config
from ram_agent.export import read_trained
from ram_agent.learner import LEARNERS, REINFORCE, Learner, Losses, StraightThrough
from ram_agent.precision import training_products
from ram_agent.rollout import Episode, rollout
from ram_agent.run_files import CONFIG
from ram_agent.sensor import Bilinear


class Distilled(StraightThrough):
    """Half of the target is what a trained agent answers at the same scenes, by its own gaze (Hinton et al. 2015)."""

    teacher: ClassVar[Path]

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        _, saved = read_trained(self.teacher)
        self._teacher = best_policy(saved, self.device)
        lessons = ConfiguredWorld(load_config(self.teacher / CONFIG), self.env.images)  # type: ignore[attr-defined]
        self._lesson = lessons.environment("train", self.env.num_envs)

    def losses(self, episode: Episode, std: float | Tensor) -> tuple[Losses, dict[str, Tensor]]:
        own, facts = super().losses(episode, std)
        with torch.no_grad(), training_products(self.training, self.device):
            taught = rollout(self._teacher, self._lesson, seed=self._seeds, scenes=self.scenes)
        if not torch.equal(self._lesson.canvas, self.env.canvas):
            raise ValueError(f"teacher: {self.teacher} was trained on other scenes; take one of this task")
        follow = F.cross_entropy(episode.logits[-1], taught.logits[-1].softmax(dim=-1))
        return own._replace(classification=(own.classification + follow) / 2), facts


class ControlVariate(REINFORCE):
    """The score function of what a twin does not know (Gu et al. 2016, MuProp; Grathwohl et al. 2018, RELAX).

    The twin has the same weights and the same noise ε, and reads between pixels, bilinearly, at std · ε about the path
    of an episode of mean locations. Its return S is smooth in ε, so that E[ε/std · S] = E[dS/da] (Stein's lemma):
    ε/std · (R - S) + dS/da is an unbiased estimate of what REINFORCE estimates. No other baseline is used.
    """

    def window_losses(self, episode: Episode, std: float | Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        returns = estimators.episode_return(self.training.reward, episode.reward, episode.logits[-1], episode.target)
        with training_products(self.training, self.device):
            with torch.no_grad():
                path = rollout(self.policy, self.env, seed=self._seeds, scenes=self.scenes)
            assert torch.equal(path.windows[0], episode.windows[0])
            noisy = (path.means + episode.samples - episode.means).detach().requires_grad_()
            foreseen = self._twin(episode, noisy)
        (slope,) = torch.autograd.grad(foreseen.sum(), noisy)
        log_probability = estimators.log_probability(episode.samples, episode.means, std)
        score = estimators.score_function_loss(log_probability, returns - foreseen)
        pathwise = -(episode.means * slope).sum(dim=(0, 2)).mean()
        explained = estimators.explained_variance(foreseen[None].detach(), returns[None])
        return score + pathwise, returns.new_zeros(()), {"train/explained_variance": explained}

    def _twin(self, episode: Episode, windows: Tensor) -> Tensor:
        """The return of an episode that after the first look reads softly at `windows`."""
        crop = self.env.sensor
        eye = Bilinear(crop.size, crop.scales, crop.reach, strides=(1.0, 1.0))
        retina = eye.prepare(self.env.canvas)
        hidden, state = episode.hidden[0], episode.states[0]
        for window in windows.clamp(-1, 1):
            glimpse = eye.read(retina, eye.window(F.pad(window, (0, 2)))).flatten(1, 2)
            hidden, state = self.policy.look(glimpse, window, state)
        known = estimators.log_likelihood(self.policy.answer(hidden), episode.target).exp()
        return (known - 1 / episode.logits.shape[-1]).clamp_min(0)


class EveryReward(REINFORCE):
    """Denser rewards: a look is paid 1/T of max(p(target) - 1/Y, 0), and a move is praised for the looks after it."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        if self.training.baseline != "leave_one_out" or not self.training.classify_every_look:
            raise ValueError(
                "training.baseline, training.classify_every_look: expected leave_one_out and true, which rewards of "
                "every look were built for"
            )

    def window_losses(self, episode: Episode, std: float | Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        paid = torch.stack(
            [estimators.episode_return("probability", episode.reward, look, episode.target) for look in episode.logits]
        ) / len(episode.logits)
        to_go = paid.flip(0).cumsum(0).flip(0)[1:]
        expected = torch.stack([estimators.leave_one_out(each, self.training.episodes_per_image) for each in to_go])
        log_probability = estimators.log_probability(episode.samples, episode.means, std)
        return estimators.score_function_loss(log_probability, to_go - expected), paid.new_zeros(()), {}


IDEAS: dict[str, type[Learner]] = {
    "distilled": Distilled,
    "control_variate": ControlVariate,
    "every_reward": EveryReward,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("idea", choices=IDEAS)
    parser.add_argument(
        "--teacher", type=Path, default=Path(__file__).parent / "agents" / "cluttered60_hard_reinforce_6"
    )
    parser.add_argument("--resume", metavar="RUN", type=Path)
    asked, options = parser.parse_known_args()
    Distilled.teacher = asked.teacher.resolve()
    idea = IDEAS[asked.idea]
    LEARNERS[idea.method] = idea
    run = ["--name", asked.idea] if asked.resume is None else ["--resume", str(asked.resume)]
    if asked.resume and (asked.resume / CONFIG).is_file():
        began = load_config(asked.resume / CONFIG).name
        if began in IDEAS and began != asked.idea:
            parser.error(f"--resume: {asked.resume} was begun by {began}, expected {asked.idea}")
    raise SystemExit(main(["train", "--run.cuda_graph", "false", *run, *options]))  # what is asked here makes it wait
