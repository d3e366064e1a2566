"""What goes onto a board."""

import json
import subprocess

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tools.board import find_micropython
from tools.factory import littlefs
from tools.factory.product import CLOUDS, ROOT, board_files, board_image, library


@pytest.fixture(scope="module")
def root():
    return trustme.CA().cert_pem.bytes()


@pytest.fixture
def tree(tmp_path):
    """A repository in small: an agent, clouds, what only one of them needs, and a file of one's own."""
    files = {
        "boot.py": "# boot",
        "main.py": "import muster\nimport own",
        "lib/own.py": "from muster import extra",
        "lib/muster/__init__.py": "",
        "lib/muster/agent.py": "def run():\n    from .clouds import chinamobile",
        "lib/muster/extra.py": "",
        "lib/muster/jwt.py": "",
        "lib/muster/clouds/__init__.py": "from ..errors import Error",
        "lib/muster/clouds/chinamobile.py": "",
        "lib/muster/clouds/coze.py": "def token():\n    from .. import jwt",
        "lib/muster/clouds/baidu.py": "",
        "lib/muster/errors.py": "",
        "lib/muster/unused.py": "",
        "lib/muster/notes.txt": "not for the board",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def names(paths, root):
    return {path.relative_to(root / "lib").as_posix() for path in paths}


AGENT = {
    "muster/__init__.py",
    "muster/agent.py",
    "muster/clouds/__init__.py",
    "muster/clouds/chinamobile.py",
    "muster/errors.py",
    "muster/extra.py",
    "own.py",
}


def test_only_the_clouds_that_are_used_go_along_with_what_they_need(tree):
    assert names(library([], tree), tree) == AGENT
    assert names(library(["coze"], tree), tree) == AGENT | {"muster/clouds/coze.py", "muster/jwt.py"}


def test_a_cloud_that_main_py_imports_is_used(tree):
    (tree / "main.py").write_text("import muster\nfrom muster.clouds import baidu\nimport own")
    assert names(library([], tree), tree) == AGENT | {"muster/clouds/baidu.py"}


def test_all_clouds_are_the_whole_library():
    assert library(CLOUDS) == sorted((ROOT / "lib").rglob("*.py"))
    small = {path.name for path in library([])}
    assert "chinamobile.py" in small and not small & {"coze.py", "baidu.py", "feishu.py", "jwt.py", "rsa.py"}


def test_a_board_gets_its_program_its_configuration_and_der_roots(tree, root):
    (tree / "box.pem").write_bytes(root)
    (tree / "roots").mkdir()
    (tree / "roots" / "inside.pem").write_bytes(root)
    der = x509.load_pem_x509_certificate(root).public_bytes(Encoding.DER)

    files = board_files(
        {"productKey": "秘", "clouds": ["coze"]},
        {"pem": root, "der": der, "path": tree / "box.pem"},
        root=tree,
    )
    library = {f"/lib/{name.removesuffix('.py')}.mpy" for name in AGENT}
    library |= {"/lib/muster/clouds/coze.mpy", "/lib/muster/jwt.mpy"}
    roots = {"/roots/der.der", "/roots/path.der", "/roots/pem.der"}
    assert set(files) == {"/boot.py", "/main.py", "/config.json"} | library | roots
    assert {files[name] for name in roots} == {der}
    assert json.loads(files["/config.json"]) == {"productKey": "秘", "clouds": ["coze"]}

    (tree / "config.json").write_text('{"a": 1}')
    files = board_files(tree / "config.json", [tree / "box.pem", tree / "roots"], root=tree, source=True)
    assert files["/config.json"] == b'{"a": 1}'
    assert files["/roots/box.der"] == files["/roots/inside.der"] == der
    assert files["/lib/own.py"] == b"from muster import extra"
    assert "/lib/muster/clouds/coze.py" not in files


def test_a_root_that_is_no_certificate_is_a_sentence(tree):
    with pytest.raises(ValueError, match="the CA root 'nonsense' is not a certificate"):
        board_files({}, {"nonsense": b"nonsense"}, root=tree)


def test_a_file_that_does_not_compile_is_named(tree):
    (tree / "lib/own.py").write_text("def f(:\n")
    with pytest.raises(ValueError, match=r"own\.py does not compile: line 1: "):
        board_files({}, root=tree)
    (tree / "lib/own.py").write_text("async def f():\n    yield [x async for x in y]\n")
    with pytest.raises(ValueError, match=r"own\.py does not compile: SyntaxError"):
        board_files({}, root=tree)


@pytest.mark.skipif(find_micropython() is None, reason="needs MicroPython")
def test_the_vm_runs_what_was_compiled(tmp_path):
    for path, content in board_files({"clouds": list(CLOUDS)}).items():
        target = tmp_path / path.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    modules = sorted(path.relative_to(tmp_path / "lib") for path in (tmp_path / "lib").rglob("*.mpy"))
    dotted = ["muster." + ".".join(path.with_suffix("").parts[1:]) for path in modules]
    program = "import muster\n" + "".join(
        f"import {name}\n" for name in dotted if not name.endswith("__init__")
    )
    program += "import sys; print(sys.modules['muster.agent'].__file__)"
    done = subprocess.run(
        [*find_micropython().command, "-c", program],
        env={"MICROPYPATH": f"{tmp_path}/lib:.frozen"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == f"{tmp_path}/lib/muster/agent.mpy", done.stderr


def test_source_date_epoch_makes_the_same_bytes_everywhere(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    first = board_image({"deviceNo": "1"})
    for path in (ROOT / "boot.py", ROOT / "main.py"):
        assert path.exists()
    assert board_image({"deviceNo": "1"}) == first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000001")
    assert board_image({"deviceNo": "1"}) != first


def test_the_device_keeps_its_own_records_and_nothing_else():
    image = board_image({}, before={"/state/credentials.0": b"kept", "/old.py": b"gone"})
    files = littlefs.read(image)
    assert files["/state/credentials.0"] == b"kept"
    assert "/old.py" not in files
