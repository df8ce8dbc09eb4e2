"""The environments under any legal play, all rules, autoreset modes and reset masks, against one lane by hand."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from hypothesis import event
from hypothesis import strategies as st

from envs.discrete import DiscreteGlimpseEnv, DiscreteGlimpseVectorEnv
from envs.glimpse import GlimpseVectorEnv
from envs.images import ImageData
from envs.single import GlimpseEnv
from ram_agent.sensor import make_sensor
from tests.fuzzing import fuzz
from tests.making import make_images
from tests.playing_by_hand import Act, Game, Lane

IMAGES = [make_images(size=(6, 8)), make_images(size=(7, 5), channels=3, classes=2)]
MODES = (AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)
numbers = st.integers(0, 2**32 - 1)


@st.composite
def games(draw: st.DrawFn, discrete: bool) -> dict[str, Any]:
    """Settings of an environment; the eye as a `Sensor`, the grid of a discrete one."""
    kind, scales = draw(st.sampled_from(["crop", "gaussian", "stn"])), draw(st.integers(1, 3))
    sensor = make_sensor(kind, size=4, scales=scales, reach=draw(st.sampled_from([0.5, 0.9, 1.0, 1.4])))
    first = st.lists(st.floats(-1, 1, width=32), min_size=sensor.window_parameters, max_size=sensor.window_parameters)
    rewards = ["success", "each_look"] if discrete else ["success", "each_look", "log_probability"]
    return {
        "images": draw(st.sampled_from(IMAGES)),
        "split": draw(st.sampled_from(["train", "validation", "test"])),
        "scene": draw(st.sampled_from(["plain", "translated", "cluttered"])),
        "size": (draw(st.integers(8, 24)), draw(st.integers(8, 24))),
        "clutter": draw(st.integers(0, 4)),
        "clutter_size": draw(st.integers(1, 5)),
        "sensor": sensor,
        "glimpses": draw(st.integers(1, 4)),
        "first_window": draw(st.sampled_from(["random", "centre"]) | first),
        "moves": draw(st.sampled_from(["absolute", "relative"])),
        "farthest_move": draw(st.floats(0.01, 2)),
        "reward": draw(st.sampled_from(rewards)),
        "early_answer": draw(st.booleans()),
        "look_cost": draw(st.sampled_from([0.0, 0.1]) | st.floats(0, 1)),
        **({"grid": draw(st.integers(2, 9))} if discrete else {}),
    }


class Player:
    """An environment and its lanes by hand, played alike."""

    def __init__(self, env: GlimpseVectorEnv, settings: dict[str, Any]) -> None:
        self.env, self.grid = env, settings.get("grid")
        data: ImageData = settings["images"]
        self.classes = len(data.classes)
        played = settings | {"images": data.split(settings["split"])}
        self.game = Game(**{field.name: played[field.name] for field in fields(Game)})
        self.lanes = [Lane(self.game) for _ in range(env.num_envs)]

    def acts(self, rng: np.random.Generator) -> tuple[Any, list[Act]]:
        """Actions for the environment, and what they mean to each lane."""
        count, parameters = len(self.lanes), self.game.sensor.window_parameters
        label = np.array([lane.label if rng.random() < 0.5 else rng.integers(self.classes) for lane in self.lanes])
        answer = rng.random(count) < 0.3
        if self.grid:
            cell = rng.integers(self.grid**2, size=count)
            place = [[2 * (c % self.grid) + 1, 2 * (c // self.grid) + 1] for c in cell]
            rest = np.tile(self.game.sensor.rest(self.game.size)[2:], (count, 1))
            window = np.concatenate([np.array(place) / self.grid - 1, rest], axis=1).astype(np.float32)
            actions: Any = np.stack([cell, label, *[answer] * self.game.early_answer], axis=1).astype(np.int64)
            return self.handed(actions), [Act(window[i], int(label[i]), None, bool(answer[i])) for i in range(count)]
        window = rng.uniform(-1.5, 1.5, (count, parameters)).astype(np.float32)
        belief = rng.random((count, self.classes)).astype(np.float32) ** rng.integers(0, 20)
        by_belief = self.game.reward == "log_probability"
        actions = {"window": window, **({"belief": belief} if by_belief else {"label": label})}
        if self.game.early_answer:
            actions["answer"] = answer.astype(np.int64)
        meant = [
            Act(window[i], int(belief[i].argmax() if by_belief else label[i]), belief[i], bool(answer[i]))
            for i in range(count)
        ]
        return {name: self.handed(part) for name, part in actions.items()}, meant

    def handed(self, array: Any) -> Any:
        return torch.from_numpy(array) if self.env.tensors else array

    def reset(self, rng: np.random.Generator, first: bool) -> None:
        """All lanes or some; seeds for all, for some, or as before; scenes counted on, or named."""
        count, options = len(self.lanes), {}
        mask = np.ones(count, bool)
        if not first and rng.random() < 0.7:
            mask = rng.random(count) < 0.5
            mask[rng.integers(count)] = True
            options["reset_mask"] = mask
        seed: Any = int(rng.integers(2**31)) if first or rng.random() < 0.4 else None
        seeds = [None if seed is None else seed + i for i in range(count)]
        if not first and rng.random() < 0.3:
            seed = seeds = [int(rng.integers(2**62)) if rng.random() < 0.5 else None for _ in range(count)]
        if rng.random() < 0.3:
            options["scene"] = rng.integers(0, 1000, count)
        observation, info = self.env.reset(seed=seed, options=options)
        for i in np.flatnonzero(mask):
            lane = self.lanes[i]
            if seeds[i] is not None:
                lane.seed, lane.scene = seeds[i], 0
            if "scene" in options:
                lane.scene = int(options["scene"][i])
            lane.begin()
        self.look(observation)
        self.told(info, mask)

    def step(self, rng: np.random.Generator) -> None:
        mode, actions, meant = self.env.autoreset_mode, *self.acts(rng)
        were_over = np.array([lane.over for lane in self.lanes])
        if were_over.any() and mode == AutoresetMode.DISABLED:
            with pytest.raises(ResetNeeded):
                self.env.step(actions)
            event("stepped when over")
            return
        labels = [lane.label for lane in self.lanes]
        outcomes = [
            (0.0, False, False) if over else lane.act(act)
            for lane, act, over in zip(self.lanes, meant, were_over, strict=True)
        ]
        observation, reward, terminated, truncated, info = self.env.step(actions)
        np.testing.assert_allclose(np.asarray(reward), [outcome[0] for outcome in outcomes], rtol=1e-5, atol=1e-6)
        ended = np.array([outcome[1] for outcome in outcomes])
        np.testing.assert_array_equal(np.asarray(terminated), ended)
        assert not np.asarray(truncated).any()
        won = np.array([outcome[2] for outcome in outcomes])
        final = info.get("final_info", info)
        if ended.any():
            np.testing.assert_array_equal(final["_is_success"], ended)
            np.testing.assert_array_equal(np.asarray(final["is_success"])[ended], won[ended])
        if mode == AutoresetMode.SAME_STEP and ended.any():
            np.testing.assert_array_equal(info["_final_obs"], ended)
            for i in np.flatnonzero(ended):
                self.seen(self.lanes[i], {key: np.asarray(part) for key, part in info["final_obs"][i].items()})
                assert int(final["target"][i]) == labels[i]
                self.lanes[i].begin()
        else:
            assert "final_obs" not in info
            for i in np.flatnonzero(were_over):
                self.lanes[i].begin()
        self.look(observation)
        anew = were_over.any() or (mode == AutoresetMode.SAME_STEP and ended.any())
        self.told(info, np.ones(len(self.lanes), bool) if anew else ~were_over)

    def look(self, observation: dict[str, Any]) -> None:
        arrays = {key: np.asarray(part) for key, part in observation.items()}
        assert arrays in self.env.observation_space
        for i, lane in enumerate(self.lanes):
            self.seen(lane, {key: part[i] for key, part in arrays.items()})

    def seen(self, lane: Lane, observation: dict[str, Any]) -> None:
        np.testing.assert_allclose(observation["window"], lane.window, rtol=0, atol=1e-6)
        lane.window = np.array(observation["window"])  # a pixel hangs on the last bit
        glimpse = observation["glimpse"].reshape(lane.glimpse().shape)
        np.testing.assert_allclose(glimpse, lane.glimpse(), rtol=0, atol=1e-5)

    def told(self, info: dict[str, Any], lanes: Any) -> None:
        np.testing.assert_array_equal(info["_target"], lanes)
        for i in np.flatnonzero(lanes):
            assert int(info["target"][i]) == self.lanes[i].label
            np.testing.assert_allclose(np.asarray(info["place"][i]), self.lanes[i].place, atol=1e-6)


acts = st.tuples(st.sampled_from(["step", "step", "step", "reset"]), numbers)
PLAYED = {"lanes": st.integers(1, 4), "mode": st.sampled_from(MODES), "tensors": st.booleans(), "first": numbers}
PLAYED |= {"play": st.lists(acts, min_size=1, max_size=12)}


def play_lanes(
    kind: type[GlimpseVectorEnv],
    game: dict[str, Any],
    lanes: int,
    mode: AutoresetMode,
    tensors: bool,
    first: int,
    play: list[tuple[str, int]],
) -> None:
    player = Player(kind(lanes, **game, autoreset_mode=mode, tensors=tensors), game)
    player.reset(np.random.default_rng(first), first=True)
    for what, number in play:
        rng = np.random.default_rng(number)
        player.step(rng) if what == "step" else player.reset(rng, first=False)


@fuzz(1.5, game=games(discrete=False), **PLAYED)
def test_any_legal_play_of_many_lanes_is_that_of_one_lane_by_hand(game: dict[str, Any], **played: Any) -> None:
    play_lanes(GlimpseVectorEnv, game, **played)


@fuzz(1.5, game=games(discrete=True), **PLAYED)
def test_any_legal_play_of_many_discrete_lanes_is_that_of_one_lane_by_hand(game: dict[str, Any], **played: Any) -> None:
    play_lanes(DiscreteGlimpseVectorEnv, game, **played)


@fuzz(
    1.5,
    game=st.booleans().flatmap(games),
    seed=numbers,
    play=st.lists(numbers, min_size=1, max_size=9),
)
def test_any_legal_play_of_a_single_environment_is_that_of_one_lane_by_hand(
    game: dict[str, Any], seed: int, play: list[int]
) -> None:
    env = (DiscreteGlimpseEnv if "grid" in game else GlimpseEnv)(**game)
    player = Player(env.vector, game)
    (lane,) = player.lanes
    lane.seed = seed
    observation, info = env.reset(seed=seed)
    lane.begin()
    for number in play:
        assert observation in env.observation_space
        player.seen(lane, observation)
        assert info["target"] == lane.label
        actions, (act,) = player.acts(np.random.default_rng(number))
        own = {name: part[0] for name, part in actions.items()} if isinstance(actions, dict) else actions[0]
        if lane.over:
            with pytest.raises(ResetNeeded):
                env.step(own)
            observation, info = env.reset()
            lane.begin()
            continue
        reward, over, won = lane.act(act)
        observation, got, terminated, truncated, info = env.step(own)
        assert got == pytest.approx(reward, rel=1e-5, abs=1e-6)
        assert (terminated, truncated) == (over, False)
        assert info.get("is_success", False) == won
