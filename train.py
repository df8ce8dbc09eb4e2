"""Train a recurrent attention agent: `python train.py [configs/X.yaml] [--section.field value ...] [--resume RUN]`.

The main job reads on in `ram_agent/experiment.py`: config → environment → policy → learner → learn → evaluate → report.
"""

import sys

from ram_agent.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]], program="train.py"))
