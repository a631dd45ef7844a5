"""Numbers and units as people read them."""

from __future__ import annotations

__all__ = ["NOT_MEASURABLE", "number_text", "unit_symbol", "with_unit"]

NOT_MEASURABLE = "not measurable"
"""Text shown for a figure that a step could not measure."""

_SYMBOLS = {
    "angstrom": "Å",
    "1/angstrom": "1/Å",
    "e/angstrom^2": "e/Å²",
    "deg": "°",
    "percent": "%",
    "micrometre": "µm",
}


def unit_symbol(unit: str) -> str:
    """Symbol of a declared unit; a unit without a symbol is unchanged."""
    return _SYMBOLS.get(unit, unit)


def number_text(value: float) -> str:
    """Number with its significant digits: four, or all of a whole number."""
    if value != value:
        return "not a number"
    if float(value).is_integer() and abs(value) < 1e15:
        text = f"{value:,.0f}"
    elif abs(value) >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
    return text.replace(",", "\u202f").replace("-", "\u2212", 1) if "e" not in text else text


def with_unit(value: float, unit: str) -> str:
    """Number and symbol of its unit, with a narrow space that does not break; none before a degree sign."""
    symbol = unit_symbol(unit)
    if not symbol:
        return number_text(value)
    return number_text(value) + ("" if symbol == "°" else "\u202f") + symbol
