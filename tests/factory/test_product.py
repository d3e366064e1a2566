"""What goes onto a board."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tools.common import littlefs
from tools.common.paths import ROOT
from tools.common.vm import find_micropython
from tools.factory.keys import public_pem
from tools.factory.product import CLOUDS, board_files, board_image, library


@pytest.fixture(scope="module")
def authorities():
    """Three CA certificates, as PEM."""
    return [trustme.CA().cert_pem.bytes() for _ in range(3)]


def der_of(pem):
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@pytest.fixture
def tree(tmp_path):
    """A repository in small: an agent, clouds, what only one of them needs, and a file of one's own."""
    files = {
        "boot.py": "# boot",
        "main.py": "import muster\nimport own",
        "lib/own.py": "from muster import extra",
        "lib/muster/__init__.py": "",
        "lib/muster/agent.py": "def run():\n    from .clouds import chinamobile\n    from . import update",
        "lib/muster/extra.py": "",
        "lib/muster/jwt.py": "",
        "lib/muster/clouds/__init__.py": "from ..errors import Error",
        "lib/muster/clouds/chinamobile.py": "",
        "lib/muster/clouds/coze.py": "def token():\n    from .. import jwt",
        "lib/muster/clouds/baidu.py": "",
        "lib/muster/errors.py": "",
        "lib/muster/unused.py": "",
        "lib/muster/update.py": "def verify():\n    from . import jwt\n    from .net import stream",
        "lib/muster/trial.py": "",
        "lib/muster/net/__init__.py": "",
        "lib/muster/net/stream.py": "from . import response",
        "lib/muster/net/response.py": "",
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


def test_another_program_in_place_of_main_py_takes_along_what_it_imports(tree, tmp_path_factory):
    program = tmp_path_factory.mktemp("elsewhere") / "toy.py"
    program.write_text("from muster.clouds import baidu")
    assert names(library([], tree, program), tree) == AGENT | {"muster/clouds/baidu.py"}
    files = board_files({}, root=tree, main=program)
    assert files["/main.py"] == program.read_bytes() and "/toy.py" not in files
    assert "/lib/muster/clouds/baidu.mpy" in files
    program.write_text("from muster import (")
    with pytest.raises(ValueError, match="toy\\.py does not compile: line 1"):
        board_files({}, root=tree, main=program)


def test_what_updates_need_goes_along_only_with_them(tree):
    (tree / "main.py").write_text("import muster\nimport own\nfrom muster import update")
    assert names(library(CLOUDS, tree), tree).isdisjoint({"muster/update.py", "muster/trial.py"})
    theirs = {f"muster/{name}.py" for name in ("update", "trial", "jwt")}
    streams = {f"muster/net/{name}.py" for name in ("__init__", "stream", "response")}
    assert names(library(["updates"], tree), tree) == AGENT | theirs | streams


SETUP = {"setup": {"key": "GHJKMNPQRS"}}


def test_a_product_without_set_up_carries_no_file_of_it_although_the_agent_loads_it(tree):
    hooks = "import muster\nimport own\nfrom muster.portal import home, networks, settings\n"
    (tree / "main.py").write_text(hooks)
    without = set(board_files({}, root=tree))
    portal = tree / "lib/muster/portal"
    portal.mkdir()
    for name in ("__init__", "dns", "home", "networks", "radio", "settings", "web"):
        (portal / f"{name}.py").write_text("from .. import jwt" if name == "home" else "")
    shutil.copytree(ROOT / "firmware", tree / "firmware")
    for config in ({}, {"setup": {}}, {"clouds": [], "setup": None}):
        assert set(board_files(config, root=tree)) == without
    more = set(board_files(SETUP, root=tree)) - without
    files = {f"/lib/muster/portal/{path.stem}.mpy" for path in portal.iterdir()}
    assert more == files | {"/lib/muster/jwt.mpy", "/setup.html.gz"}


def test_the_image_s_list_of_a_product_without_set_up_has_nothing_of_it():
    without, with_it = board_files({}), board_files(SETUP)
    assert not [path for path in without if "portal" in path or "setup" in path]
    assert {path for path in with_it if "portal" in path} == {
        f"/lib/muster/portal/{path.stem}.mpy" for path in (ROOT / "lib/muster/portal").glob("*.py")
    }
    assert b"<form" in gzip.decompress(with_it["/setup.html.gz"])


def test_what_only_programs_need_stays_out_although_others_import_it(tree):
    (tree / "lib/muster/agent.py").write_text(
        (tree / "lib/muster/agent.py").read_text() + ", net\nfrom .net import stream"
    )
    assert names(library([], tree), tree) == AGENT | {"muster/net/__init__.py"}


def test_all_parts_are_the_whole_library():
    assert library() == sorted((ROOT / "lib").rglob("*.py"))
    small = {path.name for path in library([])}
    assert "chinamobile.py" in small and not small & {"coze.py", "baidu.py", "feishu.py", "jwt.py", "rsa.py"}


def test_what_programs_need_goes_along_with_one_that_may_use_it(tree):
    shutil.rmtree(tree / "lib")
    shutil.copytree(ROOT / "lib", tree / "lib")
    for program, there in (("import muster", False), ("import muster\nmuster.http.get('x')", True)):
        (tree / "main.py").write_text(program)
        names = {path.name for path in library([], tree)}
        assert ("response.py" in names, "redirect.py" in names, "jiutian.py" in names) == (there,) * 3
        assert {"http.py", "foreign.py"} <= names


def test_a_board_gets_its_program_its_configuration_and_der_roots(tree, authorities):
    (tree / "box.pem").write_bytes(authorities[0])
    (tree / "roots").mkdir()
    (tree / "roots" / "inside.pem").write_bytes(authorities[1])
    ders = [der_of(pem) for pem in authorities]

    files = board_files(
        {"productKey": "秘", "clouds": ["coze"]},
        {"path": tree / "box.pem", "pem": authorities[1], "der": ders[2]},
        root=tree,
    )
    library = {f"/lib/{name.removesuffix('.py')}.mpy" for name in AGENT}
    library |= {"/lib/muster/clouds/coze.mpy", "/lib/muster/jwt.mpy"}
    roots = ["/roots/path.der", "/roots/pem.der", "/roots/der.der"]
    assert set(files) == {"/boot.py", "/main.py", "/config.json"} | library | set(roots)
    assert [files[name] for name in roots] == ders
    assert json.loads(files["/config.json"]) == {"productKey": "秘", "clouds": ["coze"]}

    (tree / "config.json").write_text('{"a": 1}')
    files = board_files(tree / "config.json", [tree / "box.pem", tree / "roots"], root=tree, source=True)
    assert files["/config.json"] == b'{"a": 1}'
    assert [files["/roots/box.der"], files["/roots/inside.der"]] == ders[:2]
    assert files["/lib/own.py"] == b"from muster import extra"
    assert "/lib/muster/clouds/coze.py" not in files


def roots_of(tree, *paths):
    files = board_files({}, [tree / path for path in paths], root=tree)
    return {path: data for path, data in files.items() if path.startswith("/roots/")}


def test_no_root_is_lost_to_another_of_its_name(tree, authorities):
    for folder, pem in zip("abc", authorities, strict=True):
        (tree / folder).mkdir()
        (tree / folder / "ca.pem").write_bytes(pem)
    (tree / "a" / "twice.pem").write_bytes(authorities[0])
    (tree / "bundle.pem").write_bytes(b"# two\n" + authorities[1] + b"# of them\n" + authorities[2])

    a, b, c = (der_of(pem) for pem in authorities)
    distinct = {
        f"/roots/{name}-{hashlib.sha256(der).hexdigest()[:8]}.der": der
        for name, der in (("ca", a), ("ca", b), ("ca", c), ("bundle", b), ("bundle", c))
    }
    cas = {path: der for path, der in distinct.items() if path.startswith("/roots/ca-")}
    assert roots_of(tree, "a/ca.pem", "b/ca.pem", "c/ca.pem") == cas
    assert roots_of(tree, "c", "b", "a", "bundle.pem") == cas
    bundled = {path: der for path, der in distinct.items() if path not in cas}
    assert roots_of(tree, "bundle.pem") == bundled
    assert roots_of(tree, "bundle.pem", "a") == bundled | {"/roots/ca.der": a}


def test_what_a_computer_leaves_in_folders_stays_out(tree, authorities, capsys):
    for name in ("roots/.DS_Store", "roots/.ca.pem", "roots/Thumbs.db", "roots/empty.pem", "roots/README"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(authorities[1] if name.endswith("ca.pem") else name[6:6].encode())
    (tree / "roots" / "ca.pem").write_bytes(authorities[0])
    for name in (
        "lib/.DS_Store",
        "lib/._own.py",
        "lib/.notes/a.py",
        "lib/.notes/b.txt",
        "lib/muster/._agent.py",
    ):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(b"\0\5\x16\7")
    assert roots_of(tree, "roots") == {"/roots/ca.der": der_of(authorities[0])}
    assert roots_of(tree, "roots")
    assert not [path for path in board_files({}, [], root=tree, source=True) if "/." in path]
    # Named by itself, it is meant; but no name on a board begins with a dot.
    assert roots_of(tree, "roots/.ca.pem") == {"/roots/ca.der": der_of(authorities[1])}
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" is not")[0] for line in said] == [
        f"left out: the CA root {tree / 'roots' / name}" for name in ("README", "Thumbs.db", "empty.pem")
    ]
    with pytest.raises(ValueError, match=r"Thumbs\.db is not a certificate"):
        roots_of(tree, "roots/Thumbs.db")


@pytest.mark.skipif(find_micropython() is None, reason="needs MicroPython, whose TLS is the board's")
def test_a_root_that_the_board_s_tls_does_not_take_is_refused_by_name(tree, authorities, unusable_roots):
    good = tree / "good.pem"
    good.write_bytes(authorities[0] + authorities[1])
    for path in unusable_roots.values():
        with pytest.raises(ValueError, match=f"mbedTLS. does not take the CA root {path}: leave it out"):
            board_files({}, [good, Path(path), good], root=tree, source=True)
    folder = Path(path).parent
    with pytest.raises(ValueError, match=rf"{folder}/constrained\.der"):
        board_files({}, [folder], root=tree, source=True)


def test_a_folder_without_roots_is_a_sentence(tree, authorities):
    (tree / "roots" / "inside").mkdir(parents=True)
    (tree / "roots" / "inside" / "ca.pem").write_bytes(authorities[0])
    with pytest.raises(ValueError, match=r"roots has no CA roots: expected files in it, not in folders"):
        roots_of(tree, "roots")


def test_what_else_lies_in_lib_goes_along_as_it_is(tree):
    for path in ("lib/own/data.txt", "lib/own/__pycache__/x.pyc", "lib/__pycache__/own.pyc"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(b"as it is")
    for source in (False, True):
        files = board_files({}, root=tree, source=source)
        assert [path for path, data in files.items() if data == b"as it is"] == ["/lib/own/data.txt"]
        assert not [path for path in files if "notes" in path]


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
        f"import {name}\n"
        for name in dotted
        if not name.endswith(("__init__", "openssl"))  # that one is CPython's
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


@pytest.mark.parametrize("wrong", ["99999999999999999999", "yesterday", "-1", "1.5"])
def test_a_source_date_epoch_that_is_none_is_a_sentence(monkeypatch, wrong):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
    with pytest.raises(ValueError, match="expected seconds since 1970"):
        board_image({})


def test_the_device_keeps_its_own_records_and_nothing_else():
    image = board_image({}, before={"/state/credentials.0": b"kept", "/old.py": b"gone"})
    files = littlefs.read(image)
    assert files["/state/credentials.0"] == b"kept"
    assert "/old.py" not in files


def released(root):
    files = board_files({}, root=root, source=True)
    return files["/lib/muster/clock.py"]


@pytest.mark.parametrize("committed", [1795305601, 1795305599])
def test_an_image_is_released_when_its_last_commit_was_made_and_never_before_its_source_says(tree, committed):
    (tree / "lib/muster/agent.py").write_text("from . import clock")
    (tree / "lib/muster/clock.py").write_text("# RELEASED = 1\nRELEASED = 1795305600  # then\n")
    assert released(tree) == b"# RELEASED = 1\nRELEASED = 1795305600  # then\n"
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "A release"]):
        subprocess.run(
            ["git", "-c", "user.name=n", "-c", "user.email=n@localhost", "-C", tree, *arguments],
            env=os.environ | {"GIT_COMMITTER_DATE": f"{committed} +0000"},
            check=True,
        )
    assert b"\nRELEASED = %d  # then" % max(1795305600, committed) in released(tree)


def test_a_computer_whose_clock_stands_before_the_release_builds_nothing(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1795305599)
    with pytest.raises(
        ValueError, match=r"2026-11-2.* which is before the library's release .*: set the clock"
    ):
        board_files({})


UPDATES = {"updates": {"url": "https://files.example/manifest.jwt"}}


@pytest.fixture(scope="module")
def pairs():
    """RSA keys."""
    return [rsa.generate_private_key(65537, 2048) for _ in range(2)]


def keys_of(tree, keys, config=UPDATES):
    files = board_files(config, keys=keys, root=tree, source=True)
    return {path: data for path, data in files.items() if path.startswith("/keys/")}


def test_a_board_gets_public_keys_by_their_fingerprints(tree, pairs):
    pems = [public_pem(pair.public_key()) for pair in pairs]
    by_name = {f"/keys/{hashlib.sha256(pem).hexdigest()[:16]}.pem": pem for pem in pems}
    (tree / "keys").mkdir()
    for name, pair in zip("ab", pairs, strict=True):
        pkcs1 = pair.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        (tree / f"keys/{name}.pub.pem").write_bytes(pkcs1)
    (tree / "keys/notes.txt").write_text("no key")
    (tree / "both.pem").write_bytes(b"# two\n" + pems[0] + pems[1])
    for given in (
        [tree / "keys"],
        [tree / "both.pem", tree / "keys/a.pub.pem"],
        dict(zip("xy", pems, strict=True)),
    ):
        assert keys_of(tree, given) == by_name
    assert keys_of(tree, {"a": pems[0]}).items() < by_name.items()


def test_no_private_key_and_no_weak_one_goes_onto_a_board(tree, pairs):
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    private = pairs[0].private_bytes(*plain)
    elliptic = ec.generate_private_key(ec.SECP256R1()).public_key()
    weak = rsa.generate_private_key(65537, 1024).public_key()
    public = public_pem(pairs[0].public_key())
    (tree / "keys").mkdir()
    for name, data, why in (
        ("private", private, "holds a private key, which must never come near a board"),
        ("pair", public + private, "holds a private key"),
        ("elliptic", elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "no RSA key"),
        ("weak", public_pem(weak), "1024 bits, and can be broken"),
        ("root", trustme.CA().cert_pem.bytes(), "no public key"),
        ("cut", public[:-60], "no public key"),
        ("damaged", public[:30] + b"AAAA" + public[34:], "no public key"),
        ("empty", b"", "no public key"),
    ):
        file = tree / "keys" / f"{name}.pem"
        file.write_bytes(data)
        for given in ([file], [tree / "keys"]):
            with pytest.raises(ValueError, match=f"{name}\\.pem .*({why})") as told:
                keys_of(tree, given)
            assert "MII" not in str(told.value)
        file.unlink()
    with pytest.raises(ValueError, match="keys has no public keys"):
        keys_of(tree, [tree / "keys"])


def test_updates_and_keys_belong_together(tree, pairs):
    given = {"key": public_pem(pairs[0].public_key())}
    with pytest.raises(ValueError, match=r"has \"updates\", .*release key.* give its .pub.pem with --keys"):
        keys_of(tree, ())
    with pytest.raises(ValueError, match='the configuration has no "updates": add it, or leave out --keys'):
        keys_of(tree, given, {})
    assert keys_of(tree, (), {}) == keys_of(tree, None) == {}
    assert "/lib/muster/trial.py" in board_files(UPDATES, keys=given, root=tree, source=True)
    assert "/lib/muster/trial.py" not in board_files({}, root=tree, source=True)
