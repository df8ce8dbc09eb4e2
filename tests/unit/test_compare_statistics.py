"""Intervals over seeds, paired differences and McNemar's test, against SciPy and against simulations."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from ram_agent.compare.statistics import (
    between_seeds,
    holm,
    interval_over_seeds,
    over_images,
    over_seeds,
    paired,
    unpaired,
)


def test_the_interval_over_seeds_is_students():
    errors = [7.9, 8.4, 7.1, 8.8]
    low, high = stats.t.interval(0.95, len(errors) - 1, loc=np.mean(errors), scale=stats.sem(errors))
    found = over_seeds(errors)
    assert found is not None
    assert (found.value - found.half_width, found.value + found.half_width) == pytest.approx((low, high))


def test_one_seed_has_no_interval_and_a_difference_needs_three():
    assert over_seeds([7.9]) is None
    found = over_seeds([7.9, 8.4])
    assert found is not None
    assert found.half_width == pytest.approx(12.706 * 0.25, rel=1e-4)  # a table's t for one degree of freedom
    assert interval_over_seeds([7.9]) is None
    assert between_seeds([7.9, 8.4], [1.0, 2.0, 3.0]) is None


def test_its_ends_are_those_of_students_test():
    errors = [4.41, 4.9, 4.2, 5.3]
    expected = stats.ttest_1samp(errors, 0).confidence_interval(0.95)
    assert interval_over_seeds(errors) == pytest.approx((expected.low, expected.high))
    low, high = interval_over_seeds([50.0, 51.0]) or (math.nan, math.nan)
    assert high - low == pytest.approx(12.706204736)  # two seeds: t(0.975, 1) = tan(0.475 pi), a closed form
    assert math.tan(0.475 * math.pi) == pytest.approx(12.706204736)


def test_seeds_that_all_ended_alike_tell_nothing_of_their_scatter():
    """Also where the mean of three equal numbers is not that number."""
    for error in (4.0, 0.1):
        assert over_seeds([error] * 3) is None
        assert interval_over_seeds([error] * 2) is None
        assert between_seeds([error] * 3, [error + 1] * 3) is None
        assert between_seeds([error] * 3, [5.0, 5.0, 5.1]) is not None
    assert np.std([0.1] * 3) > 0


def test_no_interval_over_seeds_reaches_beyond_errors_in_percent():
    assert interval_over_seeds([4.0, 5.0]) == (0.0, pytest.approx(10.853, abs=1e-3))
    assert interval_over_seeds([95.0, 99.0]) == (pytest.approx(71.588, abs=1e-3), 100.0)


def test_the_interval_over_images_covers_other_images_at_least_as_often_as_it_says():
    """Three seeds whose errors are correlated, on 1,000 test sets of 800 images; see below for the slack."""
    generator = np.random.default_rng(3)
    rounds, images, covered = 1000, 800, 0
    for _ in range(rounds):
        wrong = generator.random((3, images)) < generator.beta(0.3, 2.0, images)
        low, high = over_images((100 * wrong.mean(axis=1)).tolist(), images)
        covered += low <= 100 * 0.3 / 2.3 <= high
    assert covered / rounds > 0.95 - 0.021
    wilson = stats.binomtest(64, 800).proportion_ci(method="wilson")
    assert over_images([7.0, 9.0], 800) == pytest.approx((100 * wilson.low, 100 * wilson.high))


def test_the_difference_between_seeds_is_welchs():
    first, second = [7.9, 8.4, 7.1, 8.8], [5.0, 5.1, 6.4]
    expected = stats.ttest_ind(first, second, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    found = between_seeds(first, second)
    assert found is not None
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.value - found.half_width, found.value + found.half_width) == pytest.approx((low, high))


@pytest.mark.parametrize("seeds", [2, 3])
def test_flipped_signs_are_scipys_permutation_test_over_all_signs(seeds: int):
    generator = np.random.default_rng(seeds)
    first, second = generator.random((seeds, 12)) < 0.6, generator.random((seeds, 12)) < 0.3
    shares = (6 * first.mean(axis=0), 6 * second.mean(axis=0))
    expected = stats.permutation_test(
        np.rint(shares), lambda x, y, axis: (x - y).sum(axis=axis), permutation_type="samples", n_resamples=np.inf
    ).pvalue  # fmt: skip
    found = paired(first, second)
    assert 0.001 < expected < 0.5
    assert found.p == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(3, 1), (1, 4), (3, 2)])
def test_unlike_numbers_of_seeds_are_dealt_every_images_answers_anew(ours: int, theirs: int):
    """All deals of the answers to four images, one by one: as likely each if the methods are alike."""
    generator = np.random.default_rng(ours)
    answers = np.concatenate([generator.random((ours, 4)) < 0.7, generator.random((theirs, 4)) < 0.3])

    def difference(dealt: np.ndarray) -> float:
        return dealt[:ours].mean(axis=0).sum() - dealt[ours:].mean(axis=0).sum()

    seeds = range(ours + theirs)
    orders = [np.array([*chosen, *(set(seeds) - set(chosen))]) for chosen in combinations(seeds, ours)]
    deals = [
        abs(difference(np.stack([answers[order, image] for image, order in enumerate(each)], axis=1)))
        for each in product(orders, repeat=4)
    ]
    expected = np.mean(np.array(deals) > abs(difference(answers)) - 1e-9)
    assert 0.001 < expected < 0.7
    assert paired(answers[:ours], answers[ours:]).p == pytest.approx(expected, abs=1e-12)
    assert paired(answers[ours:], answers[:ours]).p == pytest.approx(expected, abs=1e-12)


def test_of_methods_that_are_alike_few_differ_though_one_has_more_seeds():
    """Rare errors, five seeds against one: of 2,000 comparisons a twentieth at most, and three standard errors.

    Flipped signs find 9 % there, nearly all of them with the five behind the one.
    """
    generator = np.random.default_rng(4)
    found = [paired(*np.split(generator.random((6, 360)) < 0.01, [5])).p < 0.05 for _ in range(2000)]
    assert np.mean(found) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_flipped_signs_of_many_images_are_a_normal_sum():
    """Of 10,000 images, by the central limit theorem; sums lie 2/3 apart. And a p that no drawing of signs reaches."""
    generator = np.random.default_rng(5)
    first, second = generator.random((3, 10_000)) < 0.12, generator.random((3, 10_000)) < 0.115
    differences = first.mean(axis=0) - second.mean(axis=0)
    expected = 2 * stats.norm.sf((abs(differences.sum()) - 1 / 3) / np.sqrt((differences**2).sum()))
    assert paired(first, second).p == pytest.approx(expected, abs=1e-4)
    worse = generator.random((3, 10_000)) < 0.16
    assert paired(worse, second).p < 1e-9


def test_holms_adjustment_is_the_closed_test_of_bonferronis():
    """By its definition (Marcus, Peritz & Gabriel 1976): over all sets of tests that it is in, the largest p of the set
    as a whole, which is the least p in it times their number.
    """
    p = np.random.default_rng(1).random(7) ** 3
    sets = [[number for number in range(7) if chosen >> number & 1] for chosen in range(1, 2**7)]
    expected = [max(min(1, len(some) * min(p[some])) for some in sets if number in some) for number in range(7)]
    assert 0 < sum(each < 0.05 for each in expected) < 7
    assert holm(p.tolist()) == pytest.approx(expected)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # a textbook's example
    assert (holm([0.04]), holm([])) == ([0.04], [])


def test_a_few_images_all_one_way_show_nothing_though_the_approximation_would():
    first, second = np.zeros((2, 2, 10_000), bool)
    first[:, :4] = True
    found = paired(first, second)
    assert found.difference.differs
    assert found.p == pytest.approx(2 / 2**4)


def test_the_paired_interval_is_that_of_the_mean_difference():
    generator = np.random.default_rng(1)
    first, second = generator.random((2, 3, 500)) < 0.2
    differences = 100 * (first.mean(axis=0) - second.mean(axis=0))
    low, high = stats.norm.interval(0.95, loc=differences.mean(), scale=stats.sem(differences))
    found = paired(first, second).difference
    assert (found.value - found.half_width, found.value + found.half_width) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_paired_interval_covers_the_truth_as_often_as_it_says(seeds: int):
    """1,000 test sets of 800 images, some hard for both methods: the errors are correlated as those of agents are.

    95 % plus or minus three standard errors of a share of 1,000.
    """
    generator = np.random.default_rng(7)
    rounds, images = 1000, 800
    covered = 0
    for _ in range(rounds):
        hard = generator.beta(0.3, 2.0, images)
        first = generator.random((seeds, images)) < 0.8 * hard
        second = generator.random((seeds, images)) < hard
        found = paired(first, second).difference
        truth = 100 * (0.8 - 1.0) * 0.3 / 2.3  # the mean of the beta distribution is 0.3 / (0.3 + 2)
        covered += abs(found.value - truth) <= found.half_width
    assert 0.95 - 0.021 < covered / rounds < 0.95 + 0.021


def test_one_seed_each_is_mcnemars_exact_test():
    """The textbook's form: twice the tail of a binomial distribution, from the images that only one has right."""
    both_wrong, only_first_right, only_second_right, both_right = 10, 3, 14, 73
    first = np.repeat([True, False, True, False], [both_wrong, only_first_right, only_second_right, both_right])
    second = np.repeat([True, True, False, False], [both_wrong, only_first_right, only_second_right, both_right])
    found = paired(first[None], second[None])
    assert found.split is not None
    assert (found.split.only_first_right, found.split.only_second_right, found.images) == (3, 14, 100)
    assert found.p == pytest.approx(2 * stats.binom.cdf(3, 17, 0.5))
    assert found.difference.value == pytest.approx(11.0)


def test_an_agent_does_not_differ_from_itself():
    wrong = np.random.default_rng(2).random((2, 100)) < 0.3
    found = paired(wrong, wrong)
    assert (found.difference.value, found.difference.half_width) == (0.0, 0.0)
    assert not found.difference.differs
    alone = paired(wrong[:1], wrong[:1])
    assert alone.split is not None
    assert (alone.split.only_first_right, alone.split.only_second_right, alone.p, found.p) == (0, 0, 1.0, 1.0)


def test_several_seeds_have_no_exact_test_which_would_find_a_difference_where_there_is_none():
    """Each of three seeds as often wrong as the one beside them: one of three is wrong where the one is right, more
    often than the other way about, and a sign test would be sure of it.
    """
    generator = np.random.default_rng(3)
    three, one = generator.random((3, 10_000)) < 0.1, generator.random((1, 10_000)) < 0.1
    shares = three.mean(axis=0) - one.mean(axis=0)
    by_signs = stats.binomtest(int((shares < 0).sum()), int((shares != 0).sum())).pvalue
    assert by_signs < 1e-12
    found = paired(three, one)
    assert found.split is None
    assert not found.difference.differs
    assert paired(three, three[::-1]).split is None


def test_equal_shares_of_other_numbers_of_seeds_are_equal():
    """1 of 3 seeds and 2 of 6: the shares count, not the answers."""
    first = np.tile([[True], [False], [False]], (1, 50))
    found = paired(first, np.tile(first, (2, 1)))
    assert (found.difference.value, found.difference.half_width) == (0.0, 0.0)


def test_a_single_image_is_refused():
    with pytest.raises(ValueError, match="images: got 1, expected 2 or more"):
        paired(np.ones((1, 1), bool), np.zeros((1, 1), bool))


def test_errors_without_answers_are_compared_by_fishers_exact_test():
    """3 of 20 against 9 of 20: the chance of as unlikely a share of the 12 wrong ones, counted."""
    found = unpaired([15.0], [40.0, 50.0], 20)
    assert (found.paired, found.split, found.images) == (False, None, 20)
    chances = [math.comb(20, k) * math.comb(20, 12 - k) / math.comb(40, 12) for k in range(13)]
    assert found.p == pytest.approx(sum(chance for chance in chances if chance <= chances[3] * (1 + 1e-9)))
    assert found.difference.value == pytest.approx(-30)
    assert found.difference.half_width == pytest.approx(196 * math.sqrt((0.15 * 0.85 + 0.45 * 0.55) / 20), rel=1e-4)
    assert unpaired([0.0], [0.0], 20).p == 1


@pytest.mark.parametrize("seeds", [1, 3])
def test_without_answers_a_difference_on_the_same_images_is_shown_rather_too_seldom(seeds: int):
    """Some images are hard for both: what is compared as if on images of their own scatters less than that."""
    generator = np.random.default_rng(seeds)
    images, trials = 300, 400
    hard = generator.beta(0.3, 1.2, (trials, images))
    wrong = generator.random((2, seeds, trials, images)) < hard
    errors = 100 * wrong.mean(axis=-1)
    found = [unpaired(errors[0, :, trial].tolist(), errors[1, :, trial].tolist(), images) for trial in range(trials)]
    assert np.mean([each.p < 0.05 for each in found]) < 0.05
    assert np.mean([each.difference.differs for each in found]) < 0.05
    paired_width = paired(wrong[0, :, 0], wrong[1, :, 0]).difference.half_width
    assert found[0].difference.half_width > 1.2 * paired_width
