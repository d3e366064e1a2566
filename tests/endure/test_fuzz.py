"""Fuzzing with hypothesis of all that reads what a server, a file or a person wrote.

What is tried on CPython is tried again in the MicroPython VM, in one process for many examples: the two
differ in their JSON, their base64, their stacks. The parsers of our own must come to the same on both.
"""

import contextlib
import json
import select
import shutil
import subprocess
from pathlib import Path

import h11
import jwt as pyjwt
import pytest
from baidubce.auth.bce_credentials import BceCredentials
from baidubce.auth.bce_v1_signer import sign
from endure import guided, profiles, strategies  # noqa: F401 - the profiles come before what is given
from endure.vm import readers
from endure.vm.readers import KEY, NOW, TOKEN
from hypothesis import given
from hypothesis import strategies as st
from muster import jwt, log
from muster.clouds import baidu

from tools.common import vm
from tools.common.paths import ROOT

HEAP = 8 << 20
HANGS_S = 60


class Twin:
    """A MicroPython that reads what it is given; started anew when it has ended."""

    def __init__(self, folder):
        self.folder = folder
        self.process = None

    def start(self):
        command = vm.command(Path(readers.__file__), heap=HEAP)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command, cwd=self.folder, env=vm.variables(), **pipes)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def read(self, reader, arguments):
        """What came of it there; None if it cannot be told: JSON or UTF-8 does not have it."""
        try:
            line = json.dumps([reader, arguments], ensure_ascii=False, allow_nan=False).encode()
        except ValueError:
            return None
        if self.process is None:
            self.start()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()
        # MicroPython makes something of half a pair that is no UTF-8.
        said = self.answer().decode("utf-8", "surrogatepass")
        try:
            good, found = json.loads(said)
        except ValueError:
            self.stop()
            pytest.fail(f"the VM ended: {said[-300:]}")
        assert good, f"in MicroPython: {found}"
        return [found]

    def answer(self):
        if not select.select([self.process.stdout], [], [], HANGS_S)[0]:
            return b"it hangs"
        first = self.process.stdout.readline()
        return first if first.startswith(b"[") else first + self.process.communicate()[0]


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A Twin, or None where there is no MicroPython."""
    if vm.MICROPYTHON not in vm.machines():
        yield None
    else:
        found = Twin(tmp_path_factory.mktemp("twin"))
        yield found
        found.stop()


@pytest.fixture(autouse=True)
def quiet_in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(log, "level", readers.SILENT)


def read_on_both(reader, arguments, twin):
    """How many machines have read it."""
    found = readers.read(reader, arguments)
    there = twin.read(reader, arguments) if twin else None
    if there and reader in readers.SAME:
        assert there == [json.loads(json.dumps(found))], "MicroPython does not come to the same"
    return 1 + (there is not None)


@pytest.mark.parametrize("what", strategies.STRATEGIES)
@given(data=st.data())
def test_nothing_that_can_be_read_does_harm(trial, twin, what, data):
    arguments = data.draw(strategies.STRATEGIES[what])
    trial.cases += read_on_both(what.partition(":")[0], arguments, twin)


def http_answer(raw, sizes=(1 << 16,), method="GET"):
    """As the reader has it: a list, or the text of a TransportError."""
    return readers.read("http_answer", (strategies.latin(raw), sizes, method))


@given(strategies.HTTP, strategies.SIZES, strategies.METHODS)
def test_an_answer_in_pieces(trial, raw, sizes, method):
    trial.cases += 1
    whole, pieces = http_answer(raw, method=method), http_answer(raw, sizes, method)
    # Only what comes on top of an answer, in one piece with it, shows that the connection is spoiled.
    assert pieces[:4] == whole[:4] if isinstance(pieces, list) else pieces == whole


@given(strategies.WELL_FORMED)
def test_an_answer_read_back(trial, parts):
    trial.cases += 1
    status, headers, body, cuts = parts
    framing = ["content-length", str(len(body))] if cuts is None else ["transfer-encoding", "chunked"]
    expected = sorted([framing, *([n, v] for n, v in headers.items())])
    assert http_answer(strategies.well_formed(*parts), (7, 1, 200)) == [
        status, "Fine", expected, body.hex(), True
    ]  # fmt: skip


@given(st.lists(strategies.HTTP, min_size=2, max_size=2))
def test_an_answer_that_h11_reads_too(trial, answers):
    for raw in answers:
        trial.cases += 1
        ours, theirs = http_answer(raw), read_by_h11(raw)
        # We are stricter here and there; but what both take has one body.
        if isinstance(ours, list) and theirs is not None:
            assert [ours[0], ours[3]] == theirs


def read_by_h11(raw):
    """[status, body in hex] as h11 reads an answer to a GET, None if it refuses."""
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


@given(strategies.CLAIMS)
def test_claims_signed_and_read(trial, claims):
    trial.cases += 1
    assert jwt.decode(jwt.encode(claims, KEY), KEY, now=NOW) == claims


@given(strategies.TOKENS)
def test_tokens_that_pyjwt_reads_too(trial, token):
    trial.cases += 1
    ours = readers.read("jwt_decode", (token, NOW))
    if isinstance(ours, dict):
        unchecked = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
        assert pyjwt.decode(token, KEY, ["HS256"], options=unchecked) == ours


@given(strategies.BCE_REQUESTS)
def test_bce_auth_v1_as_the_sdk_of_baidu_signs(trial, asked):
    trial.cases += 1
    key_id, secret, method, path, params, headers, timestamp, expires = asked
    signed = {n.encode(): v for n, v in headers.items() if n.lower() in ("host", "x-bce-date")}
    names = sorted(n.lower() for n in signed)
    credentials = BceCredentials(key_id, secret)
    theirs = sign(credentials, method.encode(), path.encode(), signed, params, timestamp, expires, names)
    assert baidu.authorization(*asked) == theirs.decode()


def pytest_generate_tests(metafunc):
    if "guided_by_coverage" in metafunc.fixturenames:
        full = metafunc.config.getoption("full")
        short = ["device_number_checked"]
        metafunc.parametrize("guided_by_coverage", strategies.STRATEGIES if full else short)


@guided.needs_atheris
def test_what_coverage_guides_to(trial, guided_by_coverage, tmp_path):
    runs, failure = guided.explore(guided_by_coverage, tmp_path, trial.seed, trial.full)
    trial.cases += runs
    trial.failures += [failure] if failure else []


# Whether what is wrong would be seen


@guided.needs_atheris
def test_what_coverage_guides_to_is_told_if_it_fails(tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(ROOT / "lib" / "muster", broken / "muster")
    (broken / "muster" / "cmei.py").write_text("def check(number):\n    raise KeyError(number)\n")
    runs, failure = guided.explore("device_number_checked", tmp_path, 1, False, broken)
    assert runs == 0 and "device_number_checked" in failure and "KeyError" in failure


@pytest.mark.skipif(vm.MICROPYTHON not in vm.machines(), reason="no MicroPython here")
def test_what_the_machines_do_not_agree_on_is_told(twin, monkeypatch):
    arguments = ("HTTP/1.1 204 No\r\n\r\n", [9], "GET")
    assert read_on_both("http_answer", arguments, twin) == 2
    assert read_on_both("device_number", ("1", "2"), twin) == 2
    assert read_on_both("event_data", ('"\ud800"',), twin) == 1
    with pytest.raises(AssertionError, match="in MicroPython: TypeError"):
        twin.read("http_answer", ())
    with pytest.raises(pytest.fail.Exception, match="the VM ended"):
        twin.process.kill()
        twin.read("http_answer", arguments)
    monkeypatch.setitem(readers.READERS, "http_answer", (lambda *_: "other", ()))
    with pytest.raises(AssertionError, match="does not come to the same"):
        read_on_both("http_answer", arguments, twin)


@pytest.mark.parametrize("wrong", [{"productKey": [KEY]}, {"wifi": [{"ssid": "home", "key": [TOKEN]}]}])
def test_a_secret_in_a_message_is_seen(monkeypatch, wrong):
    raw = {**strategies.CONFIGURATION, **wrong}
    assert readers.read("configuration", (raw,)) == "ConfigError"
    monkeypatch.setattr(readers.config, "_shown", lambda name, value: str(value))
    with pytest.raises(AssertionError):
        readers.read("configuration", (raw,))


def test_an_undocumented_exception_is_a_failure(monkeypatch):
    monkeypatch.setattr(readers.sse, "next_event", lambda before: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        readers.read("events", (["data: x"],))
