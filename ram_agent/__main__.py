"""`python -m ram_agent` is the command `ram-agent`."""

import sys

from ram_agent.cli import main

sys.exit(main())
