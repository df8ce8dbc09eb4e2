"""`python -m ram_agent` is the command `ram-agent`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None, program: str = "ram-agent") -> int:
    """What `ram_agent.cli.main` does, with a word for Ctrl-C in the seconds that it takes to import torch, too."""
    try:
        from ram_agent.cli import main as run
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    return run(arguments, program)


if __name__ == "__main__":
    sys.exit(main())
