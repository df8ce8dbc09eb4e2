"""What `step` takes for an action: any array that says what is meant, and nothing that does not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from envs.discrete import DiscreteGlimpseVectorEnv
from envs.glimpse import GlimpseVectorEnv

LANES = 3
WINDOW = np.array([[0.5, -0.25], [0.0, 1.0], [-1.0, 0.125]], dtype=np.float32)
LABEL = np.array([1, 0, 9])


def make_env(**settings: Any) -> GlimpseVectorEnv:
    env = GlimpseVectorEnv(LANES, images="digits", scales=1, glimpse_size=4, glimpses=2, **settings)
    env.reset(seed=4)
    return env


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "form",
    [
        lambda window, label: (window[:, ::-1].copy()[:, ::-1], label[::-1].copy()[::-1]),
        lambda window, label: (read_only(window), read_only(label)),
        lambda window, label: (window.astype(np.float64), label.astype(np.uint16)),
        lambda window, label: (np.asfortranarray(window), label.astype(np.uint64)),
        lambda window, label: (window.tolist(), label.tolist()),
        lambda window, label: (torch.from_numpy(window), label.astype(np.uint32)),
    ],
    ids=["reversed", "read-only", "unsigned", "by columns", "lists", "one a tensor"],
)
def test_an_array_means_the_same_however_it_lies_in_memory(form: Callable) -> None:
    """Warnings are errors here: torch warns of memory that may not be written to."""
    env, other = make_env(), make_env()
    for label in (LABEL, LABEL):
        window, named = form(WINDOW, label)
        seen = env.step({"window": window, "label": named})
        expected = other.step({"window": WINDOW, "label": label})
        np.testing.assert_array_equal(seen[0]["glimpse"], expected[0]["glimpse"])
        np.testing.assert_array_equal(seen[1], expected[1])


REFUSED = {
    "label": [
        (np.array([1, -1, 2]), "label of lane 1: got -1, expected a whole number from 0 to 9"),
        (np.array([1, 2, 10]), "label of lane 2: got 10, expected a whole number from 0 to 9"),
        (np.array([3.7, 1.0, 2.0]), "label: got float64, expected whole numbers from 0 to 9"),
        ([None, 1, 2], "label: got object, expected whole numbers"),
    ],
    "answer": [
        (np.array([0, 5, 0]), "answer of lane 1: got 5, expected a whole number from 0 to 1"),
        (np.array([0.5, 0, 0]), "answer: got float64, expected whole numbers from 0 to 1"),
    ],
    "belief": [
        (np.full((LANES, 10), np.nan), r"belief of lane 0: got \[nan.*expected probabilities.*; NaN comes of a policy"),
        (np.full((LANES, 10), -2.3), r"belief of lane 0: got \[-2.29.*expected probabilities, 0 to 1; of logits take"),
        (np.eye(LANES, 10) * 50, r"belief of lane 0: got \[50.0.*expected probabilities, 0 to 1; of logits take"),
    ],
    "window": [(np.array([[0, 0], [0, np.nan], [0, 0]]), r"window of lane 1: got \[0.0, nan\], expected numbers in")],
}


@pytest.mark.parametrize(
    ("part", "given", "said"), [(part, *case) for part, cases in REFUSED.items() for case in cases]
)
def test_what_an_array_cannot_mean_is_refused_before_anything_moves(part: str, given: Any, said: str) -> None:
    env = make_env(early_answer=True, reward="log_probability" if part == "belief" else "success")
    whole = {"window": WINDOW, "answer": np.zeros(LANES, dtype=int)}
    whole |= {"belief": np.full((LANES, 10), 0.1)} if part == "belief" else {"label": LABEL}
    twin = make_env(early_answer=True, reward="log_probability" if part == "belief" else "success")
    with pytest.raises(ValueError, match=said):
        env.step(whole | {part: given})
    np.testing.assert_array_equal(env.step(whole)[0]["window"], twin.step(whole)[0]["window"])


@pytest.mark.parametrize(
    ("part", "rules", "remedy"),
    [
        ("answer", {}, "early_answer=True"),
        ("belief", {}, "reward='log_probability'"),
        ("label", {"reward": "log_probability"}, "another reward"),
    ],
)
def test_a_part_that_nothing_goes_by_is_refused(part: str, rules: dict[str, Any], remedy: str) -> None:
    """An answer that is not heard would be taken for one that was."""
    env = make_env(**rules)
    belief = np.full((LANES, 10), 0.1)
    action = {"window": WINDOW, **({"belief": belief} if rules else {"label": LABEL})}
    given = {"answer": np.ones(LANES, dtype=int), "belief": belief, "label": LABEL}[part]
    with pytest.raises(ValueError, match=f"^actions: got '{part}', which .* leave it out, or make .* with {remedy}$"):
        env.step(action | {part: given})
    env.step(action)


def test_a_probability_may_be_off_by_rounding() -> None:
    env = make_env(reward="log_probability")
    env.step({"window": WINDOW, "belief": np.eye(LANES, 10) * (1 + 1e-6) - 1e-7})


def test_the_twin_takes_unsigned_numbers_and_refuses_labels_and_answers_that_there_are_not() -> None:
    twin = DiscreteGlimpseVectorEnv(LANES, images="digits", glimpses=2, early_answer=True)
    twin.reset(seed=4)
    action = np.array([[3, 1, 0], [80, 9, 0], [0, 0, 0]])
    for column, wrong, name in ((1, 10, "label"), (1, -4, "label"), (2, 2, "answer"), (2, -1, "answer")):
        bad = action.copy()
        bad[2, column] = wrong
        with pytest.raises(ValueError, match=f"{name} of lane 2: got {wrong}"):
            twin.step(bad)
    twin.step(action.astype(np.uint16)[::-1])


@pytest.mark.parametrize("part", ["label", "answer"])
def test_a_tensor_of_what_does_not_count_is_refused_by_its_type(part: str) -> None:
    """A probability would end every episode whose it is not 0, and a fraction is never right."""
    env = make_env(tensors=True, early_answer=True)
    whole = {"window": torch.zeros(LANES, 2), "label": torch.zeros(LANES), "answer": torch.zeros(LANES)}
    whole = {name: value if name in ("window", part) else value.long() for name, value in whole.items()}
    with pytest.raises(ValueError, match=f"{part}: got torch.float32, expected whole numbers from 0 to"):
        env.step(whole)
    taken = {name: value if name == "window" else value.to(torch.uint8) for name, value in whole.items()}
    env.step(taken | {"answer": torch.tensor([True, False, True])})


def test_labels_in_tensors_are_their_owners() -> None:
    """To look at them a device would have to be waited for; a label that there is not is never right."""
    env = make_env(tensors=True)
    for _ in range(2):
        _, reward, *_ = env.step({"window": torch.zeros(LANES, 2), "label": torch.full((LANES,), -100)})
    assert reward.tolist() == [0.0, 0.0, 0.0]
