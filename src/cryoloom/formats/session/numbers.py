"""Numbers in text that other programs wrote, with decimal points or, where that is certain, decimal commas.

A comma between two digits is a decimal comma where the number of values is known and fits, or where blanks
part the values. Anything else that holds a comma is refused: a wrong guess changes a value tenfold.
"""

from __future__ import annotations

import re

__all__ = ["AmbiguousNumberError", "parse_numbers"]

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)", re.IGNORECASE)
_WITH_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")


class AmbiguousNumberError(ValueError):
    """A text whose commas may separate numbers or be decimal commas."""


def parse_numbers(text: str, n_expected: int | None = None) -> tuple[float, ...]:
    """Numbers of a text; none where it holds something else.

    n_expected : how many there are, where the meaning of the text gives it. Raises AmbiguousNumberError if
    commas can be read in two ways.
    """
    text = text.strip()
    if "," not in text:
        return _all_numbers(text.split())
    words = text.split()
    has_points = any("." in word for word in words)
    # "1,5 3,2 4,7": blanks part the values, so that commas between digits are decimal.
    as_decimals = (
        ()
        if has_points or not all(_WITH_COMMA.fullmatch(w) or _NUMBER.fullmatch(w) for w in words)
        else _all_numbers([word.replace(",", ".") for word in words])
    )
    as_separators = _all_numbers(text.replace(",", " ").split())
    if n_expected is not None:
        as_decimals = as_decimals if len(as_decimals) == n_expected else ()
        as_separators = as_separators if len(as_separators) == n_expected else ()
    if as_decimals and as_separators and len(words) == 1:
        raise AmbiguousNumberError(
            f"{text!r} may be {len(as_separators)} numbers or a decimal comma; write decimal points"
        )
    return as_decimals or as_separators


def _all_numbers(words: list[str]) -> tuple[float, ...]:
    if not all(_NUMBER.fullmatch(word) for word in words):
        return ()
    return tuple(float(word) for word in words)
