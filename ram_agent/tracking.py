"""Following a run in Weights & Biases as well: its own client sends what TensorBoard is given."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ram_agent.config import Config, ConfigError
from ram_agent.extras import to_install
from ram_agent.files import write_whole
from ram_agent.run_files import IDENTITY


class TrackingError(Exception):
    """Weights & Biases does not take the run; the message is one line."""


def wandb_client() -> Any:
    """The client's module. Raises `ConfigError` where it, an extra, is not installed, or not of this environment."""
    try:
        return import_module("wandb")
    except ImportError:
        remedy = to_install("wandb", "track")
        raise ConfigError(f"run.track: needs wandb, which is not installed; {remedy}, or leave --track out") from None
    except Exception as error:  # as of a client that is older than the NumPy here
        said = " ".join(f"{type(error).__name__} {error}".split())
        raise ConfigError(
            f"run.track: wandb cannot be imported ({said}); install it anew, or leave --track out"
        ) from None


@contextmanager
def tracked(config: Config, folder: Path) -> Iterator[None]:
    """Within the block the run is followed, if `run.track` asks for it.

    Project, entity, login, folder and offline mode are those of wandb's own variables (`WANDB_PROJECT`, `WANDB_MODE`
    …); the project is ram-agent where none is named.
    """
    if not config.run.track:
        yield
        return
    client, identity = wandb_client(), folder / IDENTITY
    try:
        run = client.init(
            project=os.environ.get("WANDB_PROJECT", "ram-agent"),
            name=f"{config.name} seed {config.run.seed}",
            id=identity.read_text(encoding="utf-8") if identity.exists() else None,
            resume="allow",
            config=config.model_dump(mode="json"),
            sync_tensorboard=True,
        )
    except Exception as error:  # the client's own, of many kinds: network, login, name
        raise TrackingError(
            f"run.track: {' '.join(str(error).split())}; log in with `wandb login`, or leave --track out"
        ) from None
    write_whole(identity, run.id.encode())
    code = 1
    try:
        yield
        code = 0
    finally:
        run.finish(exit_code=code)
