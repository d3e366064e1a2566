# Can this board reach its platform, and does it verify it? Asks for nothing but the time, as the agent does
# after a start: no secret leaves the board. request: its "baseUrl", its "roots".
import gc
import json

from muster import clock, errors
from muster.flow import Request
from muster.memory import unload
from muster.net import wait
from muster.net.carrier import Carrier

WAIT_S = 10


def reach(url):
    from muster.net import dial
    from muster.net.request import split

    host, port = split(url)[1:3]
    wait.run(dial.connect(host, port, wait.Deadline(WAIT_S)))[0].close()
    unload("muster.net.dial", "muster.net.request")


def look(url):
    return (yield Request("HEAD", url + "/"))


url, roots = request
told = {}
try:
    reach(url)
except errors.Error as e:
    told["unreached"] = str(e)
else:
    gc.collect()
    carrier = Carrier(roots, WAIT_S, 4096)
    carrier.lean = True
    try:
        answer = carrier.call(look(url))
        clock.set_from_date(answer.headers.get("date"), answer.not_after)
        told["status"] = answer.status_code
    except errors.Error as e:
        told["refused"] = str(e)
    except MemoryError:
        told["refused"] = "there is no memory for TLS"
    carrier.close()
print(json.dumps(told))
