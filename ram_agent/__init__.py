"""Recurrent visual attention: hard glimpses trained by REINFORCE beside differentiable Gaussian and STN glimpses.

Axis letters, used in every shape of this package:

    N lanes (images held at once)   T glimpses per episode   K scales of the fovea   C colour channels
    H, W canvas height and width    G glimpse side           P window parameters     D hidden units   Y classes

Reading order: `sensor` (what the eye sees), `glimpse`, `core`, `heads`, `policy` (one step of the agent),
`rollout` (one episode), `estimators` (the score function), `learner` (the training loop).
"""

__version__ = "0.1.0"
