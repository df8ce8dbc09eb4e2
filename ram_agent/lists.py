"""What a field that takes a list expects, and how that is written: "two numbers, as in 0.5,2"."""

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

OF_THE_LIST = ("tuple_type", "missing", "too_short", "too_long")
"""pydantic's names for a list that is none, or has too few elements or too many."""
COUNTED = {2: "two", 3: "three", 4: "four"}
EXAMPLES: dict[Any, tuple[Any, ...]] = {float: (0.5, 2.0, 3.0), int: (1, 2, 3)}


def field_at(model: type[BaseModel], place: Sequence[str | int]) -> FieldInfo | None:
    """The field of a model, or of a section of it, that an error's place leads to; none where there is no such."""
    field = None
    for name in place:
        if isinstance(name, int):
            continue
        field = model.model_fields.get(name)
        if field is None:
            return None
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return field


def expected_list(field: FieldInfo | None, *, typed: bool) -> str:
    """Nothing for a field that takes no list; `typed`: how it is written as an option, too."""
    if field is None or not (elements := _elements(field.annotation)):
        return ""
    of = elements[0]
    of = get_args(of)[0] if get_origin(of) is Annotated else of
    plural = {float: "numbers", int: "whole numbers"}.get(of, "")
    if elements[-1] is ...:
        what = f"a list of {plural}" if plural else "a list"
        count = None
    else:
        count = len(elements)
        what = f"{COUNTED.get(count, count)} {plural or 'values'}"
    usual = field.default if isinstance(field.default, tuple) else ()
    example = [_as_text(each) for each in usual] or _made_up(of)[:count]
    in_a_file = f"[{', '.join(example)}]"
    return f"{what}, as in {','.join(example)} (in a file: {in_a_file})" if typed else f"{what}, as in {in_a_file}"


def _elements(annotation: Any) -> tuple[Any, ...]:
    """Those of a tuple, alone or beside None; nothing where there is none."""
    if get_origin(annotation) in (Union, UnionType):
        return next(filter(None, map(_elements, get_args(annotation))), ())
    return get_args(annotation) if get_origin(annotation) is tuple else ()


def _made_up(of: Any) -> list[str]:
    if isinstance(of, type) and issubclass(of, BaseModel):
        required = [name for name, field in of.model_fields.items() if field.is_required()]
        return [f"{{{', '.join(f'{name}: ...' for name in required)}}}"]
    choices = get_args(of)[:2] if get_origin(of) is Literal else EXAMPLES.get(of, EXAMPLES[int])
    return [_as_text(each) for each in choices]


def _as_text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
