"""Lines on the terminal."""

from __future__ import annotations

from rich.console import Console

__all__ = ["console", "say"]

console = Console()


def say(text: str) -> None:
    """Print a line unchanged: no markup, no colours, no line breaks."""
    console.print(text, soft_wrap=True, highlight=False, markup=False)
