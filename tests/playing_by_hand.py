"""The glimpse environment once more, from its documentation: one lane, one number at a time. An oracle."""

from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple

import numpy as np
import torch

from envs.image_set import ImageSet
from ram_agent.sensor import Sensor
from tests.scenes_by_hand import Draws, scene_by_hand

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Game:
    """What is played; names and meanings are those of `GlimpseVectorEnv`."""

    images: ImageSet
    split: str
    scene: str
    size: tuple[int, int]
    clutter: int
    clutter_size: int
    sensor: Sensor
    glimpses: int
    first_window: Any
    moves: str
    farthest_move: float
    reward: str
    early_answer: bool
    look_cost: float


class Act(NamedTuple):
    """What one lane is asked to do."""

    window: Array
    label: int
    belief: Array | None
    answer: bool


class Lane:
    """One lane: its seed, the number of its next scene, and the episode at hand."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self.seed = self.scene = self.looks = 0
        self.over = False

    def begin(self) -> None:
        game = self.game
        canvas, image, row, column = scene_by_hand(
            game.images, self.seed, game.split, self.scene, game.scene, game.size, game.clutter, game.clutter_size
        )
        (tall, wide), (height, width) = game.images.pixels.shape[-2:], game.size
        self.canvas = torch.from_numpy(canvas).float() / 255
        self.label = int(game.images.labels[image])
        self.place = np.array([(2 * column + wide) / width - 1, (2 * row + tall) / height - 1])
        self.window = np.array(game.sensor.rest(game.size), np.float32)
        if game.first_window == "random":
            draws = Draws(self.seed, game.split, self.scene)
            self.window[:2] = [2 * (draws.bits((1 << 20) + axis) >> 40) * 2.0**-24 - 1 for axis in (0, 1)]
        elif game.first_window != "centre":
            self.window = np.array(game.first_window, np.float32)
        self.scene += 1
        self.looks, self.over = 1, False

    def act(self, action: Act) -> tuple[float, bool, bool]:
        """Look or answer: the reward, whether the episode is over, whether it was won."""
        game = self.game
        answers = self.looks == game.glimpses or (game.early_answer and action.answer)
        share = (game.glimpses - self.looks + 1 if answers else 1) / game.glimpses
        right = action.label == self.label
        if game.reward == "success":
            reward = float(answers and right)
        elif game.reward == "each_look":
            reward = share * right
        else:
            assert action.belief is not None
            belief = action.belief.astype(float) + 1e-4
            reward = share * log(belief[self.label] / belief.sum())
        if answers:
            self.over = True
        else:
            self.looks += 1
            asked = action.window.clip(-1, 1)
            if game.moves == "relative":
                asked[:2] = (self.window[:2] + np.float32(game.farthest_move) * asked[:2]).clip(-1, 1)
            self.window = asked
        return reward - game.look_cost, answers, answers and right

    def glimpse(self) -> Array:
        """What is seen: this canvas alone, without what a batch shares."""
        window = self.game.sensor.window(torch.from_numpy(self.window)[None])
        return self.game.sensor(self.canvas[None], window)[0].flatten(0, 1).numpy()
