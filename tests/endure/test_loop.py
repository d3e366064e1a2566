"""How long an asyncio program's loop stands still while a server is silent or drips, phase by phase.

Each phase of an exchange is measured on both machines against 50 ms. Name lookup and the arithmetic of a
handshake are left out, since nothing can turn the loop meanwhile: the servers go by their number, and the
handshakes stand still before the arithmetic. On a busy machine any loop stands still: a stall may be longer
by that of a bare loop just before, and the best of several tries counts; a process's first try also loads
what it needs of the library.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from pathlib import Path

import pytest
from endure.servers import RudeServer
from scripts import say

from tools.common import vm
from tools.common.paths import ROOT

PROGRAM = Path(__file__).parent / "vm" / "loop.py"
HEAP = 512 * 1024
LIMIT_MS = 50
SECONDS, SHORT_S = 3.0, 0.2  # that an exchange may take
# A busy machine makes any loop stand still, now and then; what muster does to one, it does every time.
TRIES = 9

PAUSE_S = 0.01  # between two bytes: what drips is not over within SECONDS
SERVER_HELLO = "\x16\x03\x03\x10\x00\x02\x00\x0f\xfc\x03\x03" + "r" * 500  # a long record begins
HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-Filling: " + "x" * 500
BODY = "HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n"
FILLING = "x" * 500

# What the error must name in which the exchange ends; a fixture that gives the URL, or what a server answers.
PHASES = {
    "connect, silent": ("the connection", "full_url"),
    "handshake, silent": ("the TLS handshake", "deaf_url"),
    "handshake, drips": ("the TLS handshake", "dripping_url"),
    "request, not read": ("the request", "unread_url"),
    "headers, silent": ("the answer", [["silent"]]),
    "headers, drips": ("the answer", [["drip", HEAD, PAUSE_S]]),
    "body, silent": ("the answer", [BODY, ["repeat", FILLING, 8], ["silent"]]),
    "body, drips": ("the answer", [BODY, ["drip", FILLING, PAUSE_S]]),
    "time server, silent": ("no time came", "silent_time_server"),
}


@pytest.fixture
def dripping_url():
    """The URL of a server that takes minutes for its part of a handshake."""
    with RudeServer() as server:
        for _ in range(TRIES):
            url = server.then(["hello"], ["drip", SERVER_HELLO, PAUSE_S])
        yield url


@pytest.fixture
def unread_url(authorities):
    """The URL of a server that shakes hands, and then reads nothing."""
    context = authorities.contexts["good"]
    with contextlib.ExitStack() as clients, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # As over Ethernet: a loopback's segments of 64 KB come with megabytes of buffer to fill first.
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)

        def serve():
            while True:
                try:
                    stream, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    clients.enter_context(context.wrap_socket(stream, server_side=True))

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def silent_time_server():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        yield f"ntp://127.0.0.1:{s.getsockname()[1]}"


def measured(request, machine: str, phase: str, seconds: float, tries: int = TRIES, library=vm.LIBRARY):
    """The best try's stall and a bare loop's, in ms, and what is wrong with it.

    A try that ends in another phase, since the machine was busy, does not count.
    """
    end, server = PHASES[phase]
    if isinstance(server, str):
        url = request.getfixturevalue(server).replace("http:", "https:")
    else:
        url = say(request.getfixturevalue("tls"), *server)
    # More than the sockets' buffers take, where it is not read.
    kilobytes = 16 << 10 if phase == "request, not read" else 1
    ca = str(request.getfixturevalue("authorities").folder / "ca.pem")
    question = [url, kilobytes, ca, seconds, end, tries, LIMIT_MS]
    told = vm.ask(PROGRAM, question, machine=machine, heap=HEAP, paths=library)
    stall, bare, error = min([one for one in told if end in one[2]] or told)
    wrong = []
    if end not in error:
        wrong.append(f"expected {end!r}, came {error!r}")
    elif stall > LIMIT_MS + bare:
        wrong.append(
            f"the loop stood still for {stall} ms, expected at most {LIMIT_MS} (without muster {bare} ms)"
        )
    return stall, bare, wrong


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("on", vm.machines())
def test_no_phase_of_an_exchange_stalls_a_loop(trial, request, on, phase):
    stall, bare, wrong = measured(request, on, phase, SECONDS if trial.full else SHORT_S)
    trial.tried(f"{on}, {phase}", wrong)
    if stall > LIMIT_MS:
        trial.note = f"{on}, {phase}: a stall of {stall} ms (without muster {bare} ms)"


def test_a_driver_that_blocks_is_seen(request, tmp_path):
    library = tmp_path / "lib"
    shutil.copytree(ROOT / "lib", library)
    with (library / "muster" / "net" / "aio.py").open("a") as f:
        f.write(
            "\n\nasync def run_async(generator, idle=None):\n"
            "    from .wait import run\n\n    return run(generator, idle)\n"
        )
    phases = list(PHASES)[::2]
    wrong = [measured(request, vm.CPYTHON, phase, SHORT_S, 1, [library])[2] for phase in phases]
    # A busy machine may hide one behind a stall of its own, or make it end elsewhere.
    assert sum("stood still" in str(faults) for faults in wrong) > len(phases) / 2
