"""What an evaluation says of each class, counted by hand; how votes are counted; who is asked what."""

from hashlib import sha256
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from ram_agent import evaluation
from ram_agent.evaluation import TEST_SEED, Evaluation, evaluate
from tests.making import make_env, make_policy


def test_classes_are_told_with_their_images_errors_and_what_they_are_taken_for() -> None:
    target = np.array([0, 0, 0, 0, 1, 1, 3])
    answers = np.array([[3, 3, 3, 3, 3, 3, 3], [0, 1, 1, 3, 1, 1, 0]])  # the last look counts
    result = Evaluation(answers, target, np.zeros((2, 7, 2), np.float32))
    assert [tuple(fared) for fared in result.by_class(["ant", "bee", "cow", "dog"])] == [
        ("ant", 4, 75.0, "bee"),
        ("bee", 2, 0.0, ""),
        ("dog", 1, 100.0, "ant"),  # no cow was shown
    ]


def test_the_scenes_that_are_measured_are_the_same_for_ever() -> None:
    """Every published error is of them. Scenes are whole numbers: they are alike on every machine."""
    assert TEST_SEED == 20140624
    for name, expected in (("Cluttered", "c53d21712c9c6e20"), ("Translated", "938ab1e5413e50f0")):
        env = gymnasium.make_vec(f"envs:ram/{name}MNIST-v0", num_envs=3, images="digits", split="test")
        env.reset(seed=[TEST_SEED] * 3, options={"scene": np.arange(3)})
        canvases = (255 * env.unwrapped.canvas).round().to(torch.uint8)
        assert sha256(canvases.numpy().tobytes()).hexdigest()[:16] == expected
        env.close()


@pytest.mark.parametrize(
    ("passes", "voted"),
    [
        ([[0.999999, 1e-6], [0.3, 0.7], [0.3, 0.7], [0.3, 0.7]], 1),  # the mean of log p would say 0
        ([[0.3, 0.7], [0.3, 0.7], [0.3, 0.7], [0.999999, 1e-6]], 1),  # and so would the last pass
        ([[0.9, 0.1], [0.45, 0.55], [0.45, 0.55]], 0),  # and a count of answers 1
    ],
)
def test_votes_are_mean_probabilities(passes: list[list[float]], voted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_env(2, tensors=True)
    policy, turn = make_policy(env), iter(passes)
    rollout = evaluation.rollout

    def answered(*given: Any, **more: Any) -> Any:
        episode = rollout(*given, **more)
        return episode._replace(logits=torch.tensor(next(turn)).log().expand(3, 2, 2))

    monkeypatch.setattr(evaluation, "rollout", answered)
    result = evaluate(policy, env, 2, std=0.1, votes=len(passes))
    assert result.answers.tolist() == 3 * [[voted, voted]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tensors": False}, "env: got tensors=False, expected True"),
        ({"moves": "relative"}, "env: got moves='relative', expected 'absolute'"),
        ({"early_answer": True}, "env: got early_answer=True, expected False"),
        ({"autoreset_mode": "SameStep"}, "env: got autoreset_mode='SameStep', expected 'Disabled'"),
        ({"reward": "log_probability"}, "expected a dict with a window and a label, which policies answer with"),
    ],
)
def test_an_environment_that_is_not_played_as_policies_play_is_refused(settings: dict, message: str) -> None:
    """By relative moves absolute places would give a number, and a wrong one."""
    policy = make_policy(make_env(2, tensors=True))
    with pytest.raises(ValueError, match=message):
        evaluate(policy, make_env(2, **({"tensors": True} | settings)), 4)


def test_what_is_paid_does_not_matter_to_an_evaluation() -> None:
    env, other = make_env(2, tensors=True), make_env(2, tensors=True, reward="each_look", look_cost=0.1)
    policy = make_policy(env)
    assert evaluate(policy, env, 4).error == evaluate(policy, other, 4).error


@pytest.mark.parametrize(("scenes", "votes", "named"), [(0, 1, "scenes: got 0"), (4, 0, "votes: got 0")])
def test_nothing_to_show_is_refused(scenes: int, votes: int, named: str) -> None:
    env = make_env(2, tensors=True)
    with pytest.raises(ValueError, match=f"{named}, expected at least 1"):
        evaluate(make_policy(env), env, scenes, votes=votes)


def test_fixations_are_where_the_eye_was_on_the_canvas() -> None:
    """Of a raster over two rows of two cells: their middles, whatever part of the canvas an action names."""
    env = make_env(2, tensors=True, size=(18, 26), glimpses=5)
    assert env.sensor.reach < 1
    seen = evaluate(make_policy(env, head="raster"), env, 3)
    places = np.array([(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)])
    np.testing.assert_allclose(seen.fixations[1:], np.broadcast_to(places[:, None], (4, 3, 2)), atol=1e-6)


@pytest.mark.parametrize("scenes", [7, 8])
def test_a_batch_that_is_not_full_counts_each_of_its_images_once(scenes: int) -> None:
    """So many scenes three at a time are those that as many lanes show at once."""
    env, wide = make_env(3, tensors=True), make_env(scenes, tensors=True)
    policy = make_policy(env, seed=4)
    torch.nn.init.normal_(policy.classifier.weight)
    few, all_at_once = evaluate(policy, env, scenes), evaluate(policy, wide, scenes)
    np.testing.assert_array_equal(few.answers, all_at_once.answers)
    np.testing.assert_array_equal(few.target, all_at_once.target)
    np.testing.assert_allclose(few.fixations, all_at_once.fixations, atol=1e-6)
    last = all_at_once.answers[-1, 6:]
    assert len(set(last)) == len(last), "the answers of the last batch are to be told apart"
