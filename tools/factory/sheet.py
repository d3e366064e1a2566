"""What labels are printed on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sheet:
    """Pages and the labels on them, in millimetres.

    page: width and height. columns, rows: labels on a page. margin: left and right, above and below them.
    between: the columns.
    """

    page: tuple[float, float]
    columns: int = 1
    rows: int = 1
    margin: tuple[float, float] = (0, 0)
    between: float = 0

    @property
    def label(self) -> tuple[float, float]:
        """Width and height."""
        width = self.page[0] - 2 * self.margin[0] - (self.columns - 1) * self.between
        return width / self.columns, (self.page[1] - 2 * self.margin[1]) / self.rows

    def corner(self, number: int) -> tuple[float, float]:
        """Where the label lies of this number on its page, from the page's lower left."""
        row, column = divmod(number, self.columns)
        width, height = self.label
        x = self.margin[0] + column * (width + self.between)
        return x, self.page[1] - self.margin[1] - (row + 1) * height
