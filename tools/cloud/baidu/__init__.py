"""Baidu Dujia AIoT: the operator's management of devices.

Follows 度家设备管理API, strictly: what is missing, or of another type or form, is refused with the
document's code. The signatures are checked with Baidu's own SDK.
"""
