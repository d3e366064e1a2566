"""What a person does about a refusal of China Mobile's platform.

By its words: the document has one code for all that it refuses, and says that the message tells why.
"""

from __future__ import annotations

import re

REFUSED = "chinamobile refused: "

# The first whose pattern is in the words. A refusal may name a device as well as its secret or its product.
_REMEDIES = (
    (
        "设备[密秘]钥|deviceSecret|deviceId",
        "flash it with --erase and --firmware: it keeps a deviceId or a secret that is not the platform's, "
        "and then fetches both anew",
    ),
    (
        "[密秘]钥|productKey",
        'correct "productKey" in config.json: compare it with the product on the platform',
    ),
    (
        "设备或产品",
        'correct "productId", "deviceNoType" or "deviceNo" in config.json, or import this number into the '
        "product on the platform",
    ),
    ("产品|productId", 'correct "productId" in config.json: compare it with the product on the platform'),
    (
        "设备|deviceNo",
        "import this number into the product on the platform, or correct "
        '"deviceNo" and "deviceNoType" in config.json',
    ),
    ("参数", "correct what it names in config.json"),
)


def remedy(said: str) -> str:
    """What to do about what a device says, "" where that is no refusal or nobody knows."""
    _, refused, words = said.partition(REFUSED)
    found = (what for pattern, what in _REMEDIES if re.search(pattern, words))
    return next(found, "") if refused else ""
