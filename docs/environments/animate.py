"""Draw the animated picture of each environment's page: `python docs/environments/animate.py [--images digits]`.

Three scenes of the test split, looked at by an eye that is told where the image lies: it comes half the way closer with
every look. Pictures, not results.
"""

import argparse
from pathlib import Path

import gymnasium
import numpy as np
from PIL import Image

from envs import TASKS
from ram_agent.pictures import encode_gif

SCENES, WIDTH = 3, 460
"""Episodes a picture shows; its width in pixels, which keeps it below 500 kB."""


def page(name: str) -> str:
    """`ram/ClutteredMNIST100-v0` → `cluttered_mnist100`."""
    return {"MNIST": "mnist", "TranslatedMNIST": "translated_mnist"}.get(
        task := name.removeprefix("ram/").removesuffix("-v0"), task.replace("ClutteredMNIST", "cluttered_mnist").lower()
    )


def frames(name: str, images: str) -> list[np.ndarray]:
    env = gymnasium.make(name, images=images, split="test", render_mode="rgb_array", first_window=(-0.8, -0.8))
    drawn = []
    for scene in range(SCENES):
        observation, info = env.reset(seed=7, options={"scene": scene})
        over = False
        while not over:
            drawn.append(small(np.asarray(env.render())))
            window = (observation["window"] + info["place"].astype(np.float32)) / 2
            observation, _, over, _, info = env.step({"window": window, "label": info["target"]})
    return drawn


def small(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    return np.asarray(Image.fromarray(frame).resize((WIDTH, round(height * WIDTH / width)), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", default="auto", help="mnist, digits, … [default: auto]")
    given = parser.parse_args()
    for name in TASKS:
        target = Path(__file__).parent / f"{page(name)}.gif"
        target.write_bytes(encode_gif(frames(name, given.images)))
        print(f"{target}: {target.stat().st_size / 1000:.0f} kB")
