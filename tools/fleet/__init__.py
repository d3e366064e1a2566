"""The operator's side: whole batches into Baidu, Feishu and Coze, and out again.

Nothing heavy is imported before a command runs.
"""

from .commands import fleet

__all__ = ["fleet"]
