"""A fleet's load on the platform, minute by minute, from the schedule that ships.

Nothing heavy is imported before the command runs.
"""

from .commands import simulate

__all__ = ["simulate"]
