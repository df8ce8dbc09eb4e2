"""Resident memory over a training: a program of its own, which prints one line of JSON.

    python -m ram_agent.bench.footprint KIND BATCH UPDATES DEVICE

A process of its own, because what is asked is what training adds to an imported torch, and the benchmark's own process
has long been fuller than that. So it imports torch last, and everything else later still.
"""

import json
import os
import sys
from pathlib import Path

PROC = Path("/proc/self")


def resident() -> float:
    """Resident memory of this process in MiB; where there is no /proc, the most it ever was."""
    if (PROC / "statm").exists():
        return int((PROC / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return peak()


def peak() -> float:
    """The most memory this process ever held, in MiB; 0 on systems that do not tell."""
    if (PROC / "status").exists():
        # Not getrusage: on Linux a child's maximum begins at its parent's.
        lines = (PROC / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    try:
        import resource
    except ImportError:
        return 0.0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def source() -> str:
    """Where the numbers come from."""
    return "/proc/self/statm" if (PROC / "statm").exists() else "getrusage (the maximum so far)"


def main(kind: str, batch: int, updates: int, device: str) -> dict[str, float | str]:
    """Train and weigh: MiB after each stage."""
    import torch

    stages: dict[str, float | str] = {"source": source(), "torch": resident()}

    from stable_baselines3.common.callbacks import BaseCallback

    from ram_agent.bench.subject import make_learner

    stages["imports"] = resident()
    learner = make_learner(kind, batch, torch.device(device))
    stages["learner"] = resident()

    class Weigh(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            if learner.updates == max(1, updates // 10):
                stages["early"] = resident()

    learner.learn(updates * batch * learner.env.glimpses, callback=Weigh())
    stages["end"] = resident()
    stages["peak"] = peak()
    return stages


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
