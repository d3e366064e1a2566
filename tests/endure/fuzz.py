"""Fuzzing with hypothesis of all that reads what a server, a file or a person wrote.

What is tried on CPython is tried again in the MicroPython VM, in one process: the two differ in their JSON,
their base64, their stacks. The parsers of our own must come to the same on both.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Callable

import hypothesis
from endure import fuzz_vm, guided, strategies
from endure.fuzz_vm import KEY, NOW
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from muster import log

from tools.cli.verdict import SEED, Verdict
from tools.common.paths import ROOT
from tools.common.vm import find_micropython

SHORT, FULL = 10, 600
HEAP = "8m"
VM_TIMEOUT_S = 600

# Its tables of Unicode take seconds: made once, not again in each folder that a process starts in.
set_hypothesis_home_dir(ROOT / ".hypothesis")


class Fuzz:
    """Explores one function after another, so many examples of each, and keeps them for the other machine."""

    def __init__(self, examples: int, seed: int) -> None:
        self.examples, self.seed = examples, seed
        self.cases = 0
        self.failures: list[str] = []
        self.tried: dict[str, list[tuple[list, object]]] = {}

    def explore(self, name: str, strategy: st.SearchStrategy, function: Callable, times: int = 1) -> None:
        """Calls function(example) for many examples; a failure is told with the smallest one."""
        last: list = []

        def run(example: object) -> None:
            self.cases += 1
            last[:] = [example]
            function(example)

        found = settings(
            max_examples=self.examples * times,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            print_blob=False,
        )(given(strategy)(run))
        try:
            hypothesis.seed(self.seed)(found)()
        except Exception as e:
            problem = f"{type(e).__name__}: {e}".partition("\n")[0]
            self.failures.append(f"{name}({_short(last)}) on CPython: {problem[:300]}")

    def attempt(self, name: str, strategy: st.SearchStrategy) -> None:
        tried = self.tried.setdefault(name, [])

        def function(arguments: tuple) -> None:
            tried.append((list(arguments), fuzz_vm.attempt(name, arguments)))

        # The clouds have sixteen calls, each with answers of its own.
        self.explore(name, strategy, function, 6 if name == "cloud" else 1)


def to_be_fed(strategy: st.SearchStrategy, function: Callable) -> Callable[[bytes], object]:
    """What makes an example of bytes, and calls function with it."""
    fed = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    return fed(given(strategy)(function)).hypothesis.fuzz_one_input


def _short(example: object) -> str:
    text = repr(example)
    return text if len(text) < 600 else f"{text[:300]} ... {text[-200:]}"


def run(full: bool, tell: Callable[[str], None], seed: int = SEED) -> Verdict:
    fuzz = Fuzz(FULL if full else SHORT, seed)
    level, log.level = log.level, fuzz_vm.SILENT
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, strategy in strategies.strategies(folder).items():
                tell(f"{name} on CPython")
                fuzz.attempt(name, strategy)
            tell("what two readers must agree on")
            _agreements(fuzz)
            note = _replay(fuzz, folder, tell)
            if full:
                cases, failures, more = guided.explore([*fuzz_vm.ATTEMPTS], seed, tell)
                fuzz.cases += cases
                fuzz.failures += failures
                note += f", {more}"
    finally:
        log.level = level
    return Verdict("fuzz", fuzz.cases, fuzz.failures, note=f"seed {seed}; {note}")


def _agreements(fuzz: Fuzz) -> None:
    """Round trips, and what other people's code says to the same."""

    def pieces(example: tuple) -> None:
        raw, sizes, method = example
        whole = fuzz_vm.http_answer(strategies.latin(raw), [1 << 16], method)
        # Only what comes on top of an answer, in one piece with it, shows that the connection is spoiled.
        found = fuzz_vm.http_answer(strategies.latin(raw), sizes, method)
        assert found[:4] == whole[:4] if isinstance(found, list) else found == whole

    def read_back(example: tuple) -> None:
        status, headers, body, cuts = example
        found = fuzz_vm.http_answer(strategies.latin(strategies.well_formed(*example)), [7, 1, 200], "GET")
        framing = [["content-length", str(len(body))]] if cuts is None else [["transfer-encoding", "chunked"]]
        assert found == [
            status,
            "Fine",
            sorted([[n, v] for n, v in headers.items()] + framing),
            body.hex(),
            True,
        ]

    def with_h11(raw: bytes) -> None:
        ours, theirs = fuzz_vm.http_answer(strategies.latin(raw), [1 << 16], "GET"), _h11(raw)
        # We are stricter here and there; but what both take has one body.
        if isinstance(ours, list) and theirs is not None:
            assert [ours[0], ours[3]] == theirs

    def signed_and_read(claims: dict) -> None:
        assert fuzz_vm.jwt.decode(fuzz_vm.jwt.encode(claims, KEY), KEY, now=NOW) == claims

    def as_pyjwt(token: str) -> None:
        import jwt as pyjwt

        ours = fuzz_vm.jwt_decode(token, NOW)
        if isinstance(ours, dict):
            options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
            options |= {"verify_iss": False, "verify_sub": False, "verify_jti": False}
            assert pyjwt.decode(token, KEY, ["HS256"], options=options) == ours  # type: ignore[arg-type]

    def as_the_sdk(request: tuple) -> None:
        assert fuzz_vm.baidu.authorization(*request) == _signed_by_the_sdk(*request)

    answers = st.tuples(strategies.HTTP, strategies.SIZES, strategies.METHODS)
    fuzz.explore("an answer in pieces", answers, pieces)
    fuzz.explore("an answer read back", strategies.WELL_FORMED, read_back)
    fuzz.explore("an answer that h11 reads too", strategies.HTTP, with_h11, 2)
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3),
    )
    names = st.text().filter(lambda name: name not in ("exp", "nbf", "iat"))
    claims = st.dictionaries(names, values.filter(strategies.has_no_surrogates), max_size=4)
    claims = claims.filter(strategies.has_no_surrogates)
    fuzz.explore("claims signed and read", claims, signed_and_read)
    fuzz.explore("tokens that PyJWT reads too", strategies.tokens(), as_pyjwt)
    fuzz.explore("bce-auth-v1 as Baidu's SDK signs", strategies.bce_requests(), as_the_sdk)


def _h11(raw: bytes) -> list | None:
    """[status, body in hex] as h11 reads an answer to a GET, None if it refuses."""
    import h11

    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "host")]))
    connection.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        connection.receive_data(raw)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return [status, body.hex()]
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


def _signed_by_the_sdk(
    access_key_id: str,
    secret: str,
    method: str,
    path: str,
    params: dict,
    headers: dict,
    timestamp: int,
    expires: int,
) -> str:
    from baidubce.auth.bce_credentials import BceCredentials
    from baidubce.auth.bce_v1_signer import sign

    signed = {n.encode(): v for n, v in headers.items() if n.lower() in ("host", "x-bce-date")}
    credentials = BceCredentials(access_key_id, secret)
    return sign(
        credentials,
        method.encode(),
        path.encode(),
        signed,
        params,
        timestamp,
        expires,
        sorted(n.lower() for n in signed),
    ).decode()


def _replay(fuzz: Fuzz, folder: str, tell: Callable[[str], None]) -> str:
    """Tries it all again in the VM. Returns how much that was."""
    micropython = find_micropython()
    if micropython is None:
        return "no MicroPython here, so on CPython alone"
    lines, expected = [], []
    for name, tried in fuzz.tried.items():
        for arguments, found in tried:
            # What JSON or UTF-8 does not have cannot be told to the VM.
            with contextlib.suppress(ValueError):
                line = json.dumps([name, arguments], ensure_ascii=False, allow_nan=False)
                lines.append(line.encode())
                expected.append((name, arguments, found))
    tell(f"{len(lines)} of these again in MicroPython")
    done = subprocess.run(
        [*micropython.command, "-X", f"heapsize={HEAP}", fuzz_vm.__file__, folder],
        input=b"\n".join(lines) + b"\n",
        env={"MICROPYPATH": f"{ROOT / 'lib'}:.frozen"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=VM_TIMEOUT_S,
    )
    told = []
    # MicroPython makes something of half a pair that is no UTF-8.
    output = done.stdout.decode("utf-8", "surrogatepass").split("\n")
    for line, said in zip(lines, output, strict=False):
        try:
            told.append(json.loads(said))
        except ValueError:
            end = " ".join(output[len(told) :])[-300:]
            fuzz.failures.append(f"the VM ended in {_short(line.decode())}: {end}")
            break
    fuzz.cases += len(told)
    known: set[str] = set()
    for (name, arguments, found), (good, there) in zip(expected, told, strict=False):
        problem = None
        if not good:
            problem = str(there)
        elif name in fuzz_vm.SAME and there != json.loads(json.dumps(found)):
            problem = f"{_short(there)} there, {_short(found)} on CPython"
        # One of a kind is enough to read.
        if problem and f"{name}{problem[:20]}" not in known:
            known.add(f"{name}{problem[:20]}")
            fuzz.failures.append(f"{name}({_short(arguments)}) in MicroPython: {problem}")
    return f"{len(told)} of them in MicroPython"
