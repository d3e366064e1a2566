"""Feishu: tenant access tokens, and the operator's device records.

Follows 新增设备 (security_and_compliance v2), and for the token and what its gateway refuses the
public documentation, strictly: what is missing, unknown or of another type is refused.
"""
