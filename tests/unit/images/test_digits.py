"""The embedded digits. Oracle: scikit-learn's array of them."""

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

from envs.images import load_images
from tests.image_files import refused


def test_digits_are_those_of_scikit_learn_in_the_layout_of_mnist() -> None:
    data = load_images("digits")
    assert [len(data.train), len(data.validation), len(data.test)] == [1197, 240, 360]
    assert (data.name, data.image_size, data.channels) == ("digits", (28, 28), 1)
    assert data.classes == tuple("0123456789")
    canvas = torch.cat([data.train.pixels, data.validation.pixels, data.test.pixels])[:, 0].numpy()
    labels = torch.cat([data.train.labels, data.validation.labels, data.test.labels]).numpy()
    inner = canvas[:, 4:24, 4:24]
    assert canvas.sum() == inner.sum()  # a border of four zeros
    assert inner.max() == 255
    small, target = load_digits(return_X_y=True)
    # SciPy's cubic spline is another kernel than Pillow's, but nearer to it than any two digits to each other.
    spline = zoom(small.reshape(-1, 8, 8), (1, 2.5, 2.5), order=3, grid_mode=True, mode="nearest")
    distance = cdist(inner.reshape(-1, 400) / 255 * 16, spline.clip(0, 16).reshape(-1, 400))
    nearest = distance.argmin(axis=1)
    assert sorted(nearest) == list(range(1797))  # each once: no image in two splits
    np.testing.assert_array_equal(labels, target[nearest])
    assert distance.min(axis=1).max() / 20 < 1  # root mean square a pixel, of 16 grey levels


def test_digits_keep_the_shares_of_the_classes_in_every_split() -> None:
    data = load_images("digits")
    shares = torch.from_numpy(np.bincount(load_digits(return_X_y=True)[1])) / 1797
    for split in ("train", "validation", "test"):
        images = data.split(split)
        assert ((images.labels.bincount() - shares * len(images)).abs() <= 2).all()


def test_digits_are_the_same_for_everybody() -> None:
    # python -c "from envs.images import load_images; print(load_images('digits').sha256)"
    assert load_images("digits").sha256 == "50a6c68a135d08d9b2ab77d5cf71bc9ddc00bae983d29677877b1ac97c5af457"


@pytest.mark.parametrize("validation", [0, -1, 1437])
def test_validation_must_leave_something_to_train_on(validation: int) -> None:
    refused(
        lambda: load_images("digits", validation=validation),
        "validation images of digits",
        "1 to 1,436 of 1,437",
        f"found {validation:,}",
    )


def test_validation_can_be_chosen() -> None:
    data = load_images("digits", validation=100)
    assert [len(data.train), len(data.validation), len(data.test)] == [1337, 100, 360]
