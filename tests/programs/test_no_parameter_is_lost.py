"""Every parameter of every program step reaches the program (decision 21).

Each parameter is changed alone; the change must stand behind the option that it declares, on the command
line, among the answers or in a file that the program reads. Six wrappers of the field fail this.
"""

from __future__ import annotations

import itertools
import types
import typing
from pathlib import Path

import pytest
from pydantic import ValidationError

from cryoloom.contract import all_steps
from cryoloom.contract.program import Workplace, option_of, text_of
from cryoloom.errors import UserInputError
from makers.program_items import BASES, USED_BY_THE_STEP, item_of

STEPS = {name: step for name, step in all_steps().items() if step.programs}
WORKPLACE = Workplace(n_threads=3, gpu=1)
NUMBERS = (0.137, 0.37, 1.37, 2.73, 13.7, 37, 3, 2, 4, 5, 137, 371, 3717, 20111, -0.73, 1, 0, 512, 64)


def parameters():
    return [
        pytest.param(name, field, id=f"{name}-{field}")
        for name, step in STEPS.items()
        for field in step.params.model_fields
    ]


def candidates(annotation):
    """Values that a parameter of this type might have."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return [value for part in arguments for value in candidates(part)]
    if origin is typing.Literal:
        return list(arguments)
    if origin is tuple:
        n = 2 if arguments[-1] is Ellipsis else len(arguments)
        kinds = [arguments[0] if arguments[-1] is Ellipsis else arguments[i] for i in range(n)]
        columns = [candidates(kind) for kind in kinds]
        shifted = [column[i:] + column[:i] for i, column in enumerate(columns)]
        return [tuple(values) for values in zip(*shifted, strict=False)] + [
            (value,) * n for value in columns[0]
        ]
    if annotation is bool:
        return [True, False]
    if annotation in (int, float):
        return [annotation(value) for value in NUMBERS if annotation is float or value == int(value)]
    if annotation is str:
        return ["value"]
    if annotation is Path:
        return [Path("/data/a file.mrc")]
    if annotation is type(None):
        return []
    raise TypeError(f"no value of {annotation} is known here")


def bases(step):
    return [step.params(**base) for base in BASES.get(step.name, [{}])]


def changed(params, field):
    """Copies in which one parameter has another value."""
    for value in candidates(type(params).model_fields[field].annotation):
        try:
            other = type(params).model_validate({**params.model_dump(), field: value})
        except ValidationError:
            continue
        if getattr(other, field) != getattr(params, field):
            yield other


def calls(step, params):
    return tuple(step.calls(item_of(step), params, WORKPLACE))


def with_calls(step, several):
    """Parameters and their calls; those that do not fit the item are left out."""
    for params in several:
        try:
            yield params, calls(step, params)
        except UserInputError:
            continue


@pytest.mark.parametrize(("name", "field"), parameters())
def test_a_parameter_reaches_the_program(name, field):
    step = STEPS[name]
    declared, kind = option_of(step.params.model_fields[field])
    assert declared is not None, f"say where {field} goes: option(...), or setting(...)"
    if not declared and field in (*USED_BY_THE_STEP.get(name, ()), "time_limit_hours"):
        return
    tried = []
    for params in bases(step):
        before = calls(step, params)
        for other, after in itertools.islice(with_calls(step, changed(params, field)), 6):
            if not declared:
                if after != before:
                    return
                continue
            words = [word for call in after for word in call.words_of(declared)]
            tried.append(words)
            if words == [word for call in before for word in call.words_of(declared)]:
                continue
            value = getattr(other, field)
            text = text_of(value) if value is not None else ()
            joined = " ".join(words).replace(",", " ").split()
            is_answer = isinstance(value, bool) and kind == "words"
            if is_answer or kind in ("flag", "computed") or all(word in joined for word in text):
                return
    pytest.fail(f"{field} does not reach {declared or 'the calls'}; found {tried[:3]}")


@pytest.mark.parametrize("name", STEPS)
def test_calls_are_plain_data_of_relative_names(name):
    step = STEPS[name]
    for params in bases(step):
        for call in calls(step, params):
            assert call.program in step.programs
            assert all(isinstance(word, str) and word for word in call.arguments)
            assert call.writes, "say which files it must write"
            assert not any(" " in name or name.startswith("/") for name in call.writes)


@pytest.mark.parametrize("name", STEPS)
def test_three_hundred_tilts(name):
    """No command line grows beyond what systems take, and no two tilts share a file."""
    step = STEPS[name]
    params = bases(step)[0]
    made = tuple(step.calls(item_of(step, n_tilts=301), params, WORKPLACE))
    written = [name for call in made for name in call.writes]
    assert len(set(written)) == len(written)
    for call in made:
        # Linux takes 128 KiB in a word and far more in all of them.
        assert sum(len(word) + 1 for word in call.arguments) < 1 << 16


@pytest.mark.parametrize("name", STEPS)
def test_a_program_is_described(name):
    step = STEPS[name]
    assert step.beside == "" or step.beside in all_steps()
    for program in step.programs:
        assert program.purpose
        assert program.versions
        assert program.citation
        assert program.homepage.startswith("https://")
