# The files that this board takes for CA roots, a line each: path, content in base64. request: its "roots".
import binascii
import json

from muster.net.roots import _all

for path in _all(request):
    try:
        with open(path, "rb") as f:
            print(json.dumps([path, binascii.b2a_base64(f.read()).decode().strip()]))
    except OSError:
        pass
