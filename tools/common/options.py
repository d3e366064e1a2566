"""Ranges of numbers on the command line."""

from __future__ import annotations

import math

import click


class NumberRange(click.FloatRange):
    """click's, without nan: nothing is less or more than it, so that it would be in every range."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number
