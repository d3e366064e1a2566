"""Imports muster.rsa, and signs with the key in a file if there is one: does it fit into this heap?"""

import sys

import muster.rsa

path = sys.stdin.readline().strip()[1:-1]
if path:
    with open(path) as f:
        key = muster.rsa.PrivateKey.from_pem(f.read())
    assert len(key.sign(b"message")) == 256
print("true")
