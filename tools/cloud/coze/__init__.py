"""Coze: tokens for JWTs, the eight calls that spend resources, and binding devices.

Follows 上报硬件设备信息 and 绑定设备, and for what these refer to Coze's public API reference,
strictly: what is missing, unknown or of another type is refused, and the refusal says which.
"""
