"""What an evaluation says of each class, counted by hand."""

import numpy as np

from ram_agent.evaluation import Evaluation


def test_classes_are_told_with_their_images_errors_and_what_they_are_taken_for() -> None:
    target = np.array([0, 0, 0, 0, 1, 1, 3])
    answers = np.array([[3, 3, 3, 3, 3, 3, 3], [0, 1, 1, 3, 1, 1, 0]])  # the last look counts
    result = Evaluation(answers, target, np.zeros((2, 7, 2), np.float32))
    assert [tuple(fared) for fared in result.by_class(["ant", "bee", "cow", "dog"])] == [
        ("ant", 4, 75.0, "bee"),
        ("bee", 2, 0.0, ""),
        ("dog", 1, 100.0, "ant"),  # no cow was shown
    ]
