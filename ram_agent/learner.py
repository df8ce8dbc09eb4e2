"""The training: `REINFORCE` and `StraightThrough` for hard attention, `Pathwise` for soft.

One update, top to bottom: play one episode in every lane, add up the named losses, step the optimiser. What learners
do not share is one method of a few lines: where the gradient of the window comes from. The loop over updates,
and all else that Stable-Baselines3 has of an algorithm, is in `algorithm.py`.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ram_agent import estimators
from ram_agent.algorithm import Algorithm
from ram_agent.average import Average
from ram_agent.combinations import OF_A_SCORE_FUNCTION
from ram_agent.config import TrainingConfig, parse_section
from ram_agent.controls import CONTROLS
from ram_agent.finite import Circumstances
from ram_agent.full_image import NETWORKS
from ram_agent.heads import LearnedWindowHead
from ram_agent.lookahead import lookahead_loss
from ram_agent.optimizers import MULTIPLE, make_optimizer
from ram_agent.parallel import ALONE, Ranks
from ram_agent.policy import Policy, RecurrentAttentionPolicy
from ram_agent.precision import training_products, with_precision
from ram_agent.replay import Replayed, check_replayable
from ram_agent.rollout import Episode, GlimpseEnvironment, check_rules, rollout
from ram_agent.schedule import decay, noise_seed
from ram_agent.sensor import Sensor


class Losses(NamedTuple):
    """The terms of the loss, unweighted; a term that a learner does not have is 0."""

    classification: Tensor
    reinforce: Tensor
    baseline: Tensor
    lookahead: Tensor


class Learner(Algorithm):
    """What all estimators share. Settings are the fields of `TrainingConfig`, e.g. `learning_rate=3e-4`, which win over
    those of `training`; the method is the class's, whatever `training.method` says.

    `env` is a vector environment whose lanes all play T looks, in torch (`tensors=True`); to learn it has
    `training.batch` × `training.episodes_per_image` lanes, the episodes at one image in neighbouring lanes. To act
    (`predict`) any number will do.

    Raises `ValueError`, one line about what is wrong with a setting, the environment or the policy, each of which has
    to be one that this learner can train with; `learn` raises it for the number of lanes. Products in TF32, and none in
    TF32, are an affair of the whole process: `ram_agent.precision.set_products`.
    """

    method: str
    head: str
    """The kind of window head that it trains."""
    unlearned: Sequence[str] = ()
    """Kinds of policies whose gaze nothing trains, that learn by it to answer."""
    terms = (*(f"{name} loss" for name in Losses._fields), "loss", "gradient norm")

    def __init__(
        self,
        policy: Policy,
        env: GlimpseEnvironment,
        training: TrainingConfig | None = None,
        *,
        seed: int = 0,
        ranks: Ranks = ALONE,
        cuda_graph: bool = False,
        tensorboard_log: str | Path | None = None,
        verbose: int = 0,
        **settings: Any,
    ) -> None:
        if (method := settings.pop("method", self.method)) != self.method:
            raise ValueError(f"method: got {method!r}, expected {self.method!r}, which {type(self).__name__} is")
        check_rules(env)
        _check_part(self.method, settings)
        given = (training.model_dump() if training else {}) | {"method": self.method} | settings
        checked = parse_section(TrainingConfig, given)
        if training is None and "batch" not in settings:
            checked = checked.model_copy(update={"batch": max(1, env.num_envs // checked.episodes_per_image)})
        checked = with_precision(checked, next(policy.parameters()).device)
        if cuda_graph:
            check_replayable(checked.optimizer, ranks.size)
        kind = policy.blueprint.head
        if kind not in (self.head, *self.unlearned):
            raise ValueError(
                f"policy: {type(self).__name__} cannot train a policy of kind {kind!r}; use REINFORCE with 'sampled', "
                "StraightThrough with 'straight_through', Pathwise with 'pathwise' and with controls"
            )
        _check_fit(policy, env, self.method)
        super().__init__(policy, env, checked, seed=seed, ranks=ranks, tensorboard_log=tensorboard_log, verbose=verbose)
        self.optimizer = make_optimizer(policy, checked, self.device if cuda_graph else None)
        # What PyTorch's fused optimisers go by, who leave out a step on the device where it is 1 (as for GradScaler).
        setattr(self.optimizer, "found_inf", self.guard.bad)  # noqa: B010
        # What changes from update to update stands in tensors on the device, so that an update is the same every time.
        self._std = torch.zeros((), device=self.device)
        self._first_image = torch.zeros((), dtype=torch.long, device=self.device)
        self._image_of_lane = torch.arange(env.num_envs, device=self.device) // checked.episodes_per_image
        self._seeds = torch.full((env.num_envs,), seed, device=self.device)
        horizon = checked.weight_average
        self._average = Average(policy, max(0.0, 1 - self.lanes / horizon)) if horizon else None
        self._play = ranks.average(_Play(self))
        self._replayed = Replayed(self._compute, self.generator) if cuda_graph else None

    def update(self, on_step: Callable[[], object] | None = None) -> dict[str, Tensor]:
        """One episode in every lane and one step of the optimiser; returns what happened, on the device."""
        self._schedule()
        if self._replayed is None:
            facts = self._compute(on_step)
        else:
            facts = self._replayed()
            for _ in range(self.env.glimpses if on_step else 0):  # a replay has no steps of its own
                on_step()  # type: ignore[misc]
        if self._average:
            self._average.update(self.policy, self.guard.bad)
        self.updates += 1
        self.guard.count()
        return facts

    @property
    def judged(self) -> Policy:
        """With `training.weight_average` the average of the policy's weights, from the first update on."""
        return self._average.policy if self._average and self._average.updates else self.policy

    @property
    def scenes(self) -> Tensor:
        """The scene of each lane in the update at hand."""
        return self._first_image + self._image_of_lane

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs; plain values and tensors."""
        return super().state_dict() | ({"average": self._average.state_dict()} if self._average else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.release()  # a recording goes on writing to the optimiser's state of before
        if self._average:
            self._average.load_state_dict(state.get("average"))

    def release(self) -> None:
        """Give back what updates alone need: a recording holds the memory of one."""
        if self._replayed:
            self._replayed.forget()

    def _schedule(self) -> None:
        """Set what this update differs in from the others: learning rate, exploration, images, noise.

        Nothing of it is random or remembered: an update follows from its number, the seed and the weights.
        """
        number = self.draw * self.ranks.size + self.ranks.rank
        rate = self.training.learning_rate * decay(self.training.learning_rate_schedule, self.progress)
        for group in self.optimizer.param_groups:
            own = rate * group.get(MULTIPLE, 1.0)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(own)
            else:
                group["lr"] = own
        self._std.fill_(self.window_std(self.progress))
        self._first_image.fill_(number * self.training.batch)
        self.generator.manual_seed(noise_seed(self.seed, number))

    def _compute(self, on_step: Callable[[], object] | None = None) -> dict[str, Tensor]:
        """What happens on the device: nothing in it waits for a value to come back."""
        total, facts = self._play(on_step)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.training.clip)
        losses = (facts[f"train/{name}_loss"] for name in Losses._fields)
        self.guard.examine(torch.stack([*losses, facts["train/loss"], norm.detach()]))
        self.optimizer.step()  # unless a number has gone bad
        return facts | {"train/gradient_norm": norm.detach()}

    def play(self, on_step: Callable[[], object] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """One episode in every lane: the loss, and what happened."""
        training = self.training
        with training_products(self.training, self.device):
            episode = rollout(
                self.policy,
                self.env,
                std=self._std,
                seed=self._seeds,
                scenes=self.scenes,
                generator=self.generator,
                on_step=on_step,
            )
        losses, facts = self.losses(episode, self._std)
        total = (
            training.classification_weight * losses.classification
            + training.reinforce_weight * losses.reinforce
            + training.baseline_weight * losses.baseline
            + training.lookahead_weight * losses.lookahead
        )
        return total, {
            "rollout/reward": episode.reward.mean(),
            "rollout/error": 100 * (1 - episode.reward.mean()),
            **self._gaze(episode),
            "train/loss": total.detach(),
            **{f"train/{name}_loss": loss.detach() for name, loss in losses._asdict().items()},
            **facts,
        }

    def losses(self, episode: Episode, std: float | Tensor) -> tuple[Losses, dict[str, Tensor]]:
        """The loss terms of an episode, with the environment as it left it, and facts worth logging."""
        reinforce, baseline, facts = self.window_losses(episode, std)
        lookahead, gain = self._look_ahead(episode)
        return Losses(classification_loss(episode, self.training), reinforce, baseline, lookahead), facts | gain

    def _look_ahead(self, episode: Episode) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss that other windows tell, where `training.lookahead` asks and there is a move to think over."""
        windows = self.training.lookahead
        if not (windows and len(episode.means) and isinstance(self.policy.window_head, LearnedWindowHead)):
            return episode.reward.new_zeros(()), {}
        with training_products(self.training, self.device):
            loss, gain = lookahead_loss(self.policy, self.env, episode, windows, self.generator)
        return loss, {"train/lookahead_gain": gain}

    @abstractmethod
    def window_losses(self, episode: Episode, std: float | Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Score-function loss, baseline loss, facts."""

    def window_std(self, progress: float) -> float:
        """Exploration, linear from `window_std` to `window_std_end`."""
        start = self.training.window_std
        return start + (self.training.last_window_std - start) * progress

    @torch.no_grad()
    def _gaze(self, episode: Episode) -> dict[str, Tensor]:
        """How the eye moved: spread of the fixations of an episode, in [-1, 1] units; stride and sigma, in pixels."""
        window = self.env.sensor.window(episode.windows)
        return {
            "rollout/fixation_spread": window.centre.std(dim=0, correction=0).mean(),
            "rollout/stride": window.stride.mean(),
            "rollout/sigma": window.sigma.mean(),
            "rollout/window_at_border": self._at_border(episode),
        }

    def _at_border(self, episode: Episode) -> Tensor:
        """Share of the moves whose mean lies, along x or y, within a hundredth of the border of the range."""
        if not len(episode.means):
            return episode.reward.new_zeros(())
        return (episode.means[..., :2].abs().amax(dim=-1) > 0.99).float().mean()

    def circumstances(self) -> Circumstances:
        sensor, samples = self.env.sensor, self.policy.window_head.samples
        return Circumstances(
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            window_std=self.window_std(self.progress) if samples else None,
            smallest_sigma=sensor.smallest_sigma,
            largest_parameter=self.largest_parameter,
            precision=self.training.precision,
        )


class REINFORCE(Learner):
    """Hard attention: the window's gradient is the score function's (Williams 1992; Mnih et al. 2014, section 3.2)."""

    method, head = "reinforce", "sampled"

    def window_losses(self, episode: Episode, std: float | Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        training = self.training
        returns = estimators.episode_return(training.reward, episode.reward, episode.logits[-1], episode.target)
        assert isinstance(self.policy, RecurrentAttentionPolicy), "none other has a baseline"
        # b_t sees h_t, from which move t is drawn, and nothing later: it cannot depend on the move that it corrects.
        before_move = episode.hidden[:-1]
        baseline_loss = returns.new_zeros(())
        facts = {}
        if training.baseline == "learned":
            expected = self.policy.baseline(before_move)
            if len(expected):  # with a single look there is no move to foresee
                baseline_loss = F.mse_loss(expected, returns.expand_as(expected))
            facts["train/explained_variance"] = estimators.explained_variance(expected[-1:].detach(), returns[None])
        elif training.baseline == "leave_one_out":
            expected = estimators.leave_one_out(returns, training.episodes_per_image)
        else:
            expected = torch.zeros_like(returns)
        log_probability = estimators.log_probability(episode.samples, episode.means, std)
        reinforce = estimators.score_function_loss(log_probability, returns - expected)
        return reinforce, baseline_loss, facts


class Pathwise(Learner):
    """Soft attention: the glimpse carries its gradient to the window, and backpropagation takes it to the window head.

    How much of it goes on into the core is the head's affair (`policy.detach_location`, `policy.window_gradient`).
    """

    method, head, unlearned = "pathwise", "pathwise", (*CONTROLS, *NETWORKS)

    def window_losses(self, episode: Episode, std: float | Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        nothing = episode.reward.new_zeros(())
        return nothing, nothing, {}


class StraightThrough(Pathwise):
    """Hard attention that does without a score function: what `Pathwise` does, past the rounding of a hard crop.

    The gradient is the straight-through one (Bengio et al. 2013) of the classification loss. It is biased as far as a
    glimpse's slope over two pixels is not that of the loss; early in training more of it is signal than of the score
    function (docs/estimators.md).
    """

    method, head, unlearned = "straight_through", "straight_through", ()


LEARNERS: dict[str, type[Learner]] = {learner.method: learner for learner in (REINFORCE, StraightThrough, Pathwise)}


def classification_loss(episode: Episode, training: TrainingConfig) -> Tensor:
    """Cross-entropy of the answer after the last look, or its mean over all looks."""
    counted = episode.logits if training.classify_every_look else episode.logits[-1:]
    target = episode.target.expand(len(counted), -1)
    return F.cross_entropy(counted.flatten(0, 1), target.flatten())


def _check_part(method: str, settings: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a setting by name that a method does not go by: it would do nothing."""
    if settings.get("trained_agent") is not None:
        raise ValueError(
            f"trained_agent: got {settings['trained_agent']!r}, expected none: `load` of the class makes a learner "
            "that begins with the weights of a run or an export"
        )
    for name in OF_A_SCORE_FUNCTION if method != "reinforce" else ():
        usual = TrainingConfig.model_fields[name].default
        if settings.get(name, usual) != usual:
            raise ValueError(
                f"{name}: got {settings[name]!r}, expected {usual!r} for {method}, whose gradient has no score "
                "function; REINFORCE goes by it"
            )


def _check_fit(policy: Policy, env: GlimpseEnvironment, method: str) -> None:
    """Raise `ValueError` where a policy was made for another environment, or the eye has not the gradient it needs."""
    shape = policy.blueprint
    for name, policys, envs in (
        ("glimpse_shape", shape.glimpse_shape, tuple(env.single_observation_space["glimpse"].shape)),
        ("first_window", len(shape.first_window), env.single_observation_space["window"].shape[0]),
        ("classes", shape.classes, int(env.single_action_space["label"].n)),
    ):
        if policys != envs:
            raise ValueError(f"policy: got {name} for {policys}, expected {envs} as the environment has it")
    if isinstance(policy.window_head, LearnedWindowHead):
        check_gradient(env.sensor, method)


def check_gradient(sensor: Sensor, method: str) -> None:
    """Raise `ValueError` where the eye has not the gradient to its window that a method goes by."""
    if sensor.differentiable and method == "straight_through":
        raise ValueError(f"env: got a sensor of kind {sensor.kind!r}, expected 'crop'; use Pathwise, or a crop")
    if not sensor.differentiable and method == "pathwise":
        raise ValueError(
            f"env: got a sensor of kind {sensor.kind!r}, expected one with a gradient to its window, 'gaussian' or "
            "'stn'; use StraightThrough or REINFORCE, or another sensor"
        )


class _Play(nn.Module):
    """An episode and its loss as the `forward` of a module: of that, DistributedDataParallel averages the gradient."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.policy = learner.policy  # whose parameters these are
        self.forward = learner.play
