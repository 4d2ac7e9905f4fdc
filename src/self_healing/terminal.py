"""The terminal that rich writes to: it shows texts as they are.

Rich takes ``[bold]`` in a text for markup, fails at ``[/x]``, and turns ``:bug:`` into a picture. Names and errors come
from telemetry, so nothing that is shown here is read that way; a style goes beside its text, in a ``rich.text.Text``.
"""

from __future__ import annotations

from rich.console import Console


class Terminal(Console):
    """What is shown on it, also in the cells and titles of tables, is shown to the letter.

    Args:
        stderr: write there, where nothing of the data is.
        width: in columns; as wide as the terminal when left out.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, stderr=stderr, width=width)
