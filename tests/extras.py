"""What needs an optional extra: a test without it skips, and says which it is."""

from importlib.util import find_spec

import pytest

HAS_SB3_CONTRIB = find_spec("sb3_contrib") is not None
needs_sb3_contrib = pytest.mark.skipif(not HAS_SB3_CONTRIB, reason="RecurrentPPO is an extra: pip install -e '.[sb3]'")

try:
    from sb3_contrib import RecurrentPPO
except ImportError:
    RecurrentPPO = None
