"""What `results.json` must hold to be a finished run's, checked where it is read back."""

import json
import reprlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from ram_agent.run_files import RESULTS

UNWRITTEN = "unwritten"
"""Where results say why what was learned is not on the disk: such a run is not finished."""

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False, strict=True)]
ModelType = TypeVar("ModelType", bound=BaseModel)


class TestErrors(BaseModel):
    """What one agent, or one control, did on the test set. Errors are in percent."""

    __test__ = False  # pytest: not a class of tests

    test_error: Percent
    """At mean locations, of the best weights by validation."""
    test_error_ci95: tuple[Percent, Percent]
    """Over test images (Wilson)."""
    test_error_sampled: Percent
    test_error_voted: Percent
    votes: int = Field(ge=1, strict=True)
    test_images: int = Field(ge=1, strict=True)
    error_by_glimpse: tuple[Percent, ...] = Field(min_length=1)
    wrong_images: tuple[Annotated[int, Field(ge=0, strict=True)], ...] | None = None
    """Which test images it took for another class at mean locations, by their place from 0 on: what agents are compared
    by, image by image. None in results of earlier versions.
    """

    @model_validator(mode="after")
    def _check_wrong_images(self) -> "TestErrors":
        wrong, images = self.wrong_images, self.test_images
        if wrong is None:
            return self
        if any(image >= following for image, following in pairwise((*wrong, images))):
            raise ValueError(f"wrong_images: expected places of {images:,} images, from 0 on, in ascending order")
        if len(wrong) != (expected := round(self.test_error / 100 * images)):
            raise ValueError(f"wrong_images: got {len(wrong):,}, expected {expected:,}, which test_error says")
        return self


class Images(BaseModel):
    """What they were measured on."""

    name: str
    sha256: str = ""


class Finished(TestErrors):
    """What the reader of a finished run counts on; the file holds more."""

    dataset: Images


def read_errors(numbers: Mapping[str, Any]) -> TestErrors:
    """Raises `ValueError`, one line about the first thing that is wrong."""
    return _checked(TestErrors, numbers)


def read_results(run: Path) -> dict[str, Any] | None:
    """What a run wrote down, finished or not; None where it wrote nothing yet. Raises `ValueError` where it is no such.

    `run` is its folder, or the file of its results alone. Of what cannot be read an `OSError`.
    """
    try:
        results = json.loads((run if run.is_file() else run / RESULTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(results, dict):
        raise ValueError(f"expected results, got {results!r:.40}")
    return results


def final_results(folder: Path) -> dict[str, Any] | None:
    """The results of a run that was measured on the test set, which happens once; None of any other.

    Raises `ValueError` where the file is damaged.
    """
    try:
        results = read_results(folder)
        if not results or "test_error" not in results or UNWRITTEN in results:
            return None
        _checked(Finished, results)
    except ValueError as error:
        raise ValueError(f"{folder / RESULTS}: {error}; remove it, and the run goes on from its checkpoint") from None
    return results


def whole_results(folder: Path) -> dict[str, Any] | None:
    """The same for who only shows them: damaged ones are none."""
    try:
        return final_results(folder)
    except ValueError:
        return None


def _checked(model: type[ModelType], tree: Mapping[str, Any]) -> ModelType:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:  # of several fields, and says which
            raise ValueError(first["msg"].removeprefix("Value error, ")) from None
        where = ".".join(map(str, first["loc"]))
        message = first["msg"][0].lower() + first["msg"][1:]
        got = "" if first["type"] == "missing" else f", got {reprlib.repr(first['input'])}"
        raise ValueError(f"{where}: {message}{got}") from None
