# Does a connection to request["address"], a port there, come about? Prints the board's own address and that.
import json
import socket
import time

from muster import board

until = time.ticks_add(time.ticks_ms(), request["wait_ms"])
while not board.connected() and time.ticks_diff(until, time.ticks_ms()) > 0:
    time.sleep_ms(100)

reached = False
for address, port in request["places"]:
    s = socket.socket()
    s.settimeout(2)
    try:
        s.connect(socket.getaddrinfo(address, port)[0][-1])
        reached = address
        break
    except OSError:
        pass
    finally:
        s.close()
print(json.dumps({"own": board.addresses(), "reached": reached}))
