"""Releases: PyJWT and cryptography judge what is signed, zlib what is deflated."""

import base64
import hashlib
import hmac
import json
import os
import stat
import time
import zlib

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption
from muster import config as configuration

from tools.cli.main import main
from tools.common import littlefs, vm
from tools.common.paths import ROOT
from tools.factory import release as releases
from tools.factory.keys import key_files, make_key, public_pem, read_private
from tools.factory.product import board_files

PKCS8 = serialization.PrivateFormat.PKCS8
WIFI_KEY = 'owl"on the roof'
SETUP_KEY = "GHJKMNPQRS"
CONFIG = {
    "productId": "1234567890123",
    "productKey": "tiger-in-the-mine",
    "deviceNo": "auto",
    "cmei": "111234560000011",
    "firmwareVersion": "1.0.0",
    "wifi": [{"ssid": "home", "key": WIFI_KEY}],
    "updates": {"url": "https://files.example/toys/manifest.jwt"},
}
SETTINGS = configuration.check(CONFIG)
MPY = b"M\x06\x00\x1f"


def run(*arguments, status=0):
    done = CliRunner().invoke(main, ["release", *map(str, arguments)])
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output and CONFIG["productKey"] not in done.output
    return done.output


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def other():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def product(key):
    """A board in small."""
    return {
        "/boot.py": b"# boot",
        "/main.py": b"import muster\n" * 100,
        "/lib/muster/__init__.mpy": MPY + b"init",
        "/lib/song.wav": bytes(range(256)) * 20,
        "/config.json": json.dumps(CONFIG).encode(),
        **key_files({"key": public_pem(key.public_key())}),
    }


@pytest.fixture
def make(tmp_path, key, product):
    def make(version="1.1.0", changes=None, signer=key, config=SETTINGS, **how):
        files = {path: data for path, data in {**product, **(changes or {})}.items() if data is not None}
        return releases.make(tmp_path / "out", signer, files, config, version, **how)

    make.folder = tmp_path / "out"
    return make


@pytest.fixture
def read(make, key):
    def read(*pairs):
        keys = {str(i): public_pem(pair.public_key()) for i, pair in enumerate(pairs or [key])}
        return releases.read(make.folder, keys, CONFIG["productId"])

    return read


def manifest(folder, key):
    """Its claims, by PyJWT."""
    token = (folder / "manifest.jwt").read_text()
    return jwt.decode(token, public_pem(key.public_key()), algorithms=["RS256"], audience="muster-update")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# What is made


def test_a_release_is_what_its_format_says(make, product, key):
    before = int(time.time())
    made = make("1.1.0 测试", days=30, rollout=25)
    claims = manifest(make.folder, key)
    assert claims == made.claims
    assert jwt.get_unverified_header((make.folder / "manifest.jwt").read_text()) == {
        "alg": "RS256",
        "typ": "JWT",
    }
    files = claims.pop("files")
    iat = claims.pop("iat")
    assert before <= iat <= time.time()
    assert claims == {
        "aud": "muster-update",
        "product": "1234567890123",
        "version": "1.1.0 测试",
        "build": 1,
        "mpy": 6,
        "micropython": [1, 26],
        "remove": ["/lib/muster/__init__.py"],
        "rollout": 25,
        "exp": iat + 30 * 86400,
    }
    released = {**product, "/build.json": made.files["/build.json"]}
    del released["/config.json"]
    assert [path for path, _, _ in files] == sorted(released)
    for path, size, digest in files:
        data = zlib.decompress((make.folder / digest).read_bytes(), wbits=-12)
        assert data == released[path] and len(data) == size and hashlib.sha256(data).hexdigest() == digest
    assert json.loads(released["/build.json"]) == {"version": "1.1.0 测试", "build": 1}
    assert {path.name for path in make.folder.iterdir()} == {
        "manifest.jwt",
        *(digest for *_, digest in files),
    }
    if os.name != "nt":
        assert {stat.S_IMODE(path.stat().st_mode) for path in make.folder.iterdir()} == {0o644}


def test_what_is_made_passes_its_check(make, read, other, key):
    make()
    for pairs in ([key], [other, key]):
        found, wrong = read(*pairs)
        assert found.claims["build"] == 1 and not wrong and found.files["/boot.py"] == b"# boot"


ON_A_BOARD = """
import deflate, hashlib, json, sys
from muster import jwt, manifest
now, pem, product = json.loads(sys.stdin.readline())
with open("manifest.jwt") as f:
    claims = jwt.decode(f.read(), pem, alg="RS256", now=now)
manifest.check(claims, product)
for path, size, digest in claims["files"]:
    with open(digest, "rb") as f:
        data = deflate.DeflateIO(f, deflate.RAW, 12).read()
    assert len(data) == size and hashlib.sha256(data).digest().hex() == digest, path
print(json.dumps(claims))
"""


@pytest.mark.skipif(vm.find_micropython() is None, reason="needs MicroPython")
def test_a_board_s_own_code_takes_it(make, product, key):
    make("测试", {"/empty": b"", "/large": os.urandom(20_000) * 2})
    pem = public_pem(key.public_key()).decode()
    told = vm.ask(ON_A_BOARD, [int(time.time()), pem, CONFIG["productId"]], folder=make.folder)
    assert told == manifest(make.folder, key)


def test_a_later_release_removes_what_earlier_ones_had(make, read, key):
    make(changes={"/lib/a.mpy": MPY + b"a", "/lib/b.mpy": MPY + b"b"})
    assert make(changes={"/lib/b.mpy": MPY + b"B"}).changed == ("/build.json", "/lib/b.mpy")
    claims = manifest(make.folder, key)
    assert claims["build"] == 2
    always = ["/lib/muster/__init__.py"]
    assert claims["remove"] == ["/lib/a.mpy", "/lib/a.py", "/lib/b.py", *always]
    make(version="3")
    assert manifest(make.folder, key)["remove"] == [
        "/lib/a.mpy",
        "/lib/a.py",
        "/lib/b.mpy",
        "/lib/b.py",
        *always,
    ]
    make(changes={"/lib/a.py": b"a = 1"})
    assert manifest(make.folder, key)["remove"] == ["/lib/a.mpy", "/lib/b.mpy", "/lib/b.py", *always]
    assert not read()[1]
    old = hashlib.sha256(MPY + b"b").hexdigest()
    assert (
        zlib.decompress((make.folder / old).read_bytes(), wbits=-12) == MPY + b"b"
    )  # for those that fetch it now


def test_another_rollout_is_of_the_same_build(make, read, key, other):
    made = make(rollout=10, days=1)
    kept = contents(make.folder)
    offered = releases.offer(make.folder, key, 50)
    claims = manifest(make.folder, key)
    assert claims == offered.claims and "exp" not in claims
    assert claims | {"rollout": 10, "iat": made.claims["iat"], "exp": made.claims["exp"]} == made.claims
    assert claims["rollout"] == 50 and not read()[1]
    assert contents(make.folder) | {"manifest.jwt": b""} == kept | {"manifest.jwt": b""}
    past = int(time.time()) - 99
    signed(make, key, iat=past - 1, exp=past)
    with pytest.raises(ValueError, match="has expired"):
        read()
    claims = releases.offer(make.folder, key, 100, days=2).claims
    assert claims["exp"] == claims["iat"] + 2 * 86400 and not read()[1]

    before = contents(make.folder)
    with pytest.raises(ValueError, match="signature does not fit"):
        releases.offer(make.folder, other, 100)
    digest = hashlib.sha256(b"# boot").hexdigest()
    (make.folder / digest).unlink()
    with pytest.raises(ValueError, match=f"/boot.py: {digest} cannot be read.*`release check` tells"):
        releases.offer(make.folder, key, 100)
    (make.folder / digest).write_bytes(before[digest])
    assert contents(make.folder) == before
    (make.folder / "manifest.jwt").unlink()
    with pytest.raises(ValueError, match=r"manifest\.jwt is not there"):
        releases.offer(make.folder, key, 100)


def test_what_has_not_changed_is_no_other_build(make):
    make()
    before = contents(make.folder)
    for build in (None, 1):
        with pytest.raises(ValueError, match=r"nothing has changed since build 1, .*`release rollout`"):
            make(build=build, rollout=50)
    assert contents(make.folder) == before
    assert make(build=5).claims["build"] == 5  # asked for, it is a build of its own
    assert make(version="1.1.1").claims["build"] == 6


def test_a_build_rises(make):
    assert make(build=40).claims["build"] == 40
    for build in (1, 39, 40):
        with pytest.raises(ValueError, match=r"build 40 already.* leave out --build for 41"):
            make(version="2", build=build)
    assert make(version="2").claims["build"] == 41


def test_files_that_are_right_are_left_alone_and_damaged_ones_are_mended(make, read):
    make()
    boot = make.folder / hashlib.sha256(b"# boot").hexdigest()
    inode, right = boot.stat().st_ino, boot.read_bytes()
    make("2")
    assert boot.stat().st_ino == inode
    boot.write_bytes(right[:-1])
    assert [*read()[1]] == ["/boot.py"]
    make("3")
    assert boot.read_bytes() == right and not read()[1]


def test_whenever_it_is_stopped_the_folder_offers_the_old_release_or_the_new(make, read, monkeypatch):
    make()
    write, written, failing = releases.on_disk.write, [], set()

    def stopping(path, *rest):
        if path.name in failing:
            raise OSError("the disk is full")
        written.append(path.name)
        write(path, *rest)

    monkeypatch.setattr(releases.on_disk, "write", stopping)
    new = {f"/lib/{i}.txt": b"%d" % i for i in range(3)}
    for name in [*(hashlib.sha256(data).hexdigest() for data in new.values()), "manifest.jwt"]:
        failing.add(name)
        with pytest.raises(OSError, match="full"):
            make("2", new)
        found, wrong = read()
        assert found.claims["build"] == 1 and not wrong
        failing.clear()
    make("2", new)
    assert written[-1] == "manifest.jwt" and read()[0].claims["build"] == 2


def test_a_folder_with_another_manifest_is_left_alone(make, product):
    make()
    for text, why in (
        ("garbage", "no manifest of an earlier release: name another folder"),
        ("a.bm90IGpzb24.c", "no manifest"),
        ("a.e30.c", "no manifest"),
        ("a.W10.c", "no manifest"),
        ("a.eyJwcm9kdWN0IjoiMSJ9.c", r"no manifest .*\(.*aud"),
        ("", "no manifest"),
    ):
        (make.folder / "manifest.jwt").write_text(text)
        with pytest.raises(ValueError, match=why):
            make("2")
        assert (make.folder / "manifest.jwt").read_text() == text


def test_a_folder_of_another_product_is_left_alone(make):
    make()
    with pytest.raises(ValueError, match=r"releases of the product 1234567890123, and the .* 9876543210987"):
        make("2", config=configuration.check({**CONFIG, "productId": "9876543210987"}))


# What must not be released


@pytest.mark.parametrize("path", ["/lib/own.py", "/lib/own.mpy", "/data.bin"])
def test_a_file_with_a_secret_is_refused_by_name(make, key, path):
    pem, der = (key.private_bytes(form, PKCS8, NoEncryption()) for form in (Encoding.PEM, Encoding.DER))
    pkcs1 = key.private_bytes(Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, NoEncryption())
    locked = key.private_bytes(Encoding.PEM, PKCS8, BestAvailableEncryption(b"secret"))
    elliptic = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    for secret in (pem, pkcs1, locked, elliptic):
        with pytest.raises(ValueError, match=f"^{path} holds a private key, and everybody can read"):
            make(changes={path: MPY + b"x" + secret + b"y"})
    with pytest.raises(ValueError, match=f"^{path} holds a private key"):
        make(changes={path: der})
    config = configuration.check({**CONFIG, "setup": {"key": SETUP_KEY}})
    for secret in (CONFIG["productKey"], WIFI_KEY, json.dumps(WIFI_KEY), SETUP_KEY):
        with pytest.raises(ValueError, match=f"^{path} holds a secret of the configuration") as told:
            make(changes={path: MPY + b"key = " + secret.encode()}, config=config)
        assert secret not in str(told.value)
    assert not make.folder.exists()


def test_what_is_a_device_s_own_is_refused(make):
    for path in (
        "/state/credentials.0",
        "/state/networks.1",
        "/update/x",
        "/lib/x~",
        "/lib/文",
        "/BOOT.py",
        "/boot.py/x",
    ):
        with pytest.raises(ValueError, match="the manifest"):
            make(changes={path: b"x"})
    with pytest.raises(ValueError, match=r"lacks /boot.py"):
        make(changes={"/boot.py": None})
    for version in ("", "x" * 65, "1\n2"):
        with pytest.raises(ValueError, match="version"):
            make(version)
    assert not make.folder.exists()


def test_mpy_files_are_of_one_version(make, read, key):
    with pytest.raises(ValueError, match="versions 5 and 6, and no board takes both"):
        make(changes={"/lib/own.mpy": b"M\x05"})
    assert make(changes={"/lib/muster/__init__.mpy": b"M\x07"}).claims["mpy"] == 7
    assert make("2", {"/lib/muster/__init__.mpy": None}).claims["mpy"] == 6


def test_a_manifest_that_no_board_could_read_is_not_made(make):
    with pytest.raises(ValueError, match="characters, and a board takes 16,384: release fewer"):
        make(changes={f"/lib/file{i}.txt": b"%d" % i for i in range(150)})


def test_a_key_that_devices_would_not_know_signs_nothing(make, key, other):
    with pytest.raises(ValueError, match="the public part of --key is not among --keys"):
        make(signer=other)
    both = key_files({"old": public_pem(key.public_key()), "new": public_pem(other.public_key())})
    make(changes=both)
    make("2", both, signer=other)
    own = key_files({"new": public_pem(other.public_key())})
    old = {path: None for path in both if path not in own}
    claims = make("3", {**own, **old}, signer=other).claims
    assert claims["build"] == 3 and set(old) < set(claims["remove"])


# What check finds


def test_each_file_that_is_wrong_is_named(make, read):
    make(changes={"/empty": b""})
    good = contents(make.folder)
    name = hashlib.sha256(b"# boot").hexdigest()
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    far = os.urandom(5000) * 2  # repeats from farther than a board's window
    for damaged, why in (
        (None, "cannot be read: No such file"),
        (good[name][:-1], "is cut short"),
        (b"", "is cut short"),
        (good[name] + b"x", "behind its end"),
        (b"\xff" + good[name][1:], "is not deflated, or damaged"),
        (zlib.compress(b"# boot"), "is not deflated, or damaged|is cut short|longer"),
        (deflated(b"# moot"), "another SHA-256"),
        (deflated(b"# boo"), "has 5 bytes, and the manifest says 6"),
        (deflated(b"# boot and more"), "longer than the 6 bytes"),
        (deflated(bytes(50_000_000)), "longer than the 6 bytes"),
        (raw.compress(far) + raw.flush(), "is not deflated, or damaged|longer"),
    ):
        if damaged is None:
            (make.folder / name).unlink()
        else:
            (make.folder / name).write_bytes(damaged)
        found, wrong = read()
        assert [*wrong] == ["/boot.py"] and "/boot.py" not in found.files
        assert any(part in wrong["/boot.py"] for part in why.split("|")), wrong
        assert name in wrong["/boot.py"]
        (make.folder / name).write_bytes(good[name])
    assert read()[1] == {}


def deflated(data):
    deflating = zlib.compressobj(9, zlib.DEFLATED, -12)
    return deflating.compress(data) + deflating.flush()


def signed(make, key, alg="RS256", **claims):
    """Puts a manifest with other claims into the folder, signed by PyJWT."""
    known = jwt.decode((make.folder / "manifest.jwt").read_text(), options={"verify_signature": False})
    pem = key.private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    token = jwt.encode({**known, **claims}, None if alg == "none" else pem, algorithm=alg)
    (make.folder / "manifest.jwt").write_text(token)


def test_a_manifest_that_no_board_follows_is_refused(make, read, key, other):
    with pytest.raises(ValueError, match=r"manifest\.jwt is not there: `release` makes it"):
        read()
    make()
    good = (make.folder / "manifest.jwt").read_text()
    now = int(time.time())
    for claims, why in (
        ({"exp": now - 1}, "has expired"),
        ({"iat": now + 9999}, "not valid yet"),
        ({"aud": "another"}, "aud"),
        ({"product": "9876543210987"}, "product"),
        ({"build": 0}, "build"),
        ({"files": []}, "lacks /boot.py"),
        ({"files": [["/../x", 1, "0" * 64], *manifest(make.folder, key)["files"]]}, "must not name"),
    ):
        signed(make, key, **claims)
        with pytest.raises(ValueError, match=why):
            read()
        with pytest.raises(ValueError, match=why):
            read(other, key)
        (make.folder / "manifest.jwt").write_text(good)
    with pytest.raises(ValueError, match="signature does not fit"):
        read(other)
    signed(make, other)
    with pytest.raises(ValueError, match="signature does not fit"):
        read()
    signed(make, key, "none")
    with pytest.raises(ValueError, match="signature does not fit"):
        read()
    # With the public key as the secret of an HMAC.
    head, body, _ = good.split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()
    mac = hmac.digest(public_pem(key.public_key()), f"{head}.{body}".encode(), "sha256")
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    for token in (
        forged,
        "",
        "x",
        "a.b",
        "....",
        "文.文.文",
        good[:-1],
        good + "\n",
        "x" * 20000,
        "." * 99999,
    ):
        (make.folder / "manifest.jwt").write_text(token)
        with pytest.raises(ValueError, match=r"manifest\.jwt: .*JWT"):
            read()
    (make.folder / "manifest.jwt").write_text(good)
    assert not read()[1]
    with pytest.raises(ValueError, match="give --keys"):
        releases.read(make.folder, {}, CONFIG["productId"])


def test_a_release_that_contradicts_itself_is_found(make, read, key):
    make()
    signed(make, key, version="1.2.0", mpy=7)
    assert read()[1] == {
        "/build.json": "it does not tell the manifest's version and build",
        "/lib/muster/__init__.mpy": "it is no .mpy file of version 7, as the manifest says",
    }


# The keys


def test_a_pair_of_keys_is_made_once_and_only_its_owner_reads_the_private_one(tmp_path):
    path = tmp_path / "release.pem"
    said = run("key", "-o", path)
    assert f"{path}: the private key" in said and "--keys" in said
    private = read_private(path)
    assert private.key_size == 3072
    assert (tmp_path / "release.pub.pem").read_bytes() == public_pem(private.public_key())
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = contents(tmp_path)
    assert "release.pem is there, and is never overwritten" in run("key", "-o", path, status=1)
    path.unlink()
    assert "release.pub.pem is there, and is never overwritten" in run("key", "-o", path, status=1)
    del before["release.pem"]
    assert contents(tmp_path) == before
    known = json.loads(run("key", "-o", tmp_path / "a.pem", "--json"))
    assert known == {"private": str(tmp_path / "a.pem"), "public": str(tmp_path / "a.pub.pem")}
    assert "cannot be written" in run("key", "-o", tmp_path / "nowhere/a.pem", status=1)


def test_a_key_that_cannot_sign_is_told(tmp_path, key):
    path = tmp_path / "key.pem"
    pem = key.private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    weak = rsa.generate_private_key(65537, 1024)
    for data, why in (
        (public_pem(key.public_key()), "it is a public key"),
        (b"", "expected a private key in PEM"),
        (pem[:500], "expected a private key in PEM"),
        (
            key.private_bytes(Encoding.PEM, PKCS8, BestAvailableEncryption(b"x")),
            "is encrypted: decrypt it first",
        ),
        (
            ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PKCS8, NoEncryption()),
            "no RSA key",
        ),
        (weak.private_bytes(Encoding.PEM, PKCS8, NoEncryption()), "1024 bits, and can be broken"),
    ):
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(ValueError, match=f"key.pem .*{why}") as told:
            read_private(path)
        assert "MII" not in str(told.value)
    path.write_bytes(pem)
    assert read_private(path).private_numbers() == key.private_numbers()
    for mode in (0o640, 0o604, 0o666):
        path.chmod(mode)
        if os.name != "nt":
            with pytest.raises(ValueError, match=r"others than you can reach it .*\n  chmod 600"):
                read_private(path)


# The command


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A maker's folder: a pair of keys and a configuration."""
    place = tmp_path_factory.mktemp("maker")
    make_key(place / "release.pem")
    (place / "config.json").write_text(json.dumps(CONFIG))
    return place


def given(place, *more):
    return ("--key", place / "release.pem", "--config", place / "config.json", "-o", place / "out", *more)


def test_a_maker_s_first_releases(place):
    said = run(*given(place, "--version", "1.1.0"))
    assert "version 1.1.0, build 1, " in said and "for 100% of the devices that look at https://files" in said
    public, config = place / "release.pub.pem", place / "config.json"
    product = board_files(config, [ROOT / "firmware/roots"], keys=[public])
    verify = ("check", place / "out", "--keys", public, "--config", config)
    found, wrong = releases.read(place / "out", key_files([public]), CONFIG["productId"])
    assert not wrong and "/lib/muster/update.mpy" in found.files
    del product["/config.json"]
    assert found.files == {**product, "/build.json": found.files["/build.json"]}
    assert run(*verify) == f"version 1.1.0, build 1: all of its {len(found.files)} files are right\n"
    assert "nothing has changed since build 1" in run(*given(place, "--version", "1.1.0"), status=1)
    said = run("rollout", place / "out", 10, "--key", place / "release.pem")
    assert said == f"{place / 'out'}: version 1.1.0, build 1, for 10% of the devices\n"
    known = json.loads(
        run("rollout", place / "out", 0, "--key", place / "release.pem", "--days", 1, "--json")
    )
    assert (known["build"], known["rollout"], known["exp"] - known["iat"]) == (1, 0, 86400)
    known = json.loads(run(*given(place, "--version", "1.2.0", "--days", 9, "--json")))
    assert (known["build"], known["changed"]) == (2, ["/build.json"])
    assert known["exp"] == known["iat"] + 9 * 86400
    (place / "out" / hashlib.sha256(found.files["/main.py"]).hexdigest()).write_bytes(b"")
    said = run(*verify, status=1)
    assert "/main.py: " in said and f"1 of its {len(found.files)} files wrong" in said
    assert [*json.loads(run(*verify, "--json", status=1))["wrong"]] == ["/main.py"]


def test_an_image_begins_with_a_release(place, tmp_path):
    run(*given(place, "--version", "1.0.0", "-o", tmp_path / "out"))
    config, public = place / "config.json", place / "release.pub.pem"

    def image(*more, status=0):
        arguments = [
            "image",
            "--config",
            config,
            "--release",
            tmp_path / "out",
            "-o",
            tmp_path / "a.img",
            *more,
        ]
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert done.exit_code == status, done.output
        return done.output

    image("--keys", public)
    files = littlefs.read((tmp_path / "a.img").read_bytes())
    found, _ = releases.read(tmp_path / "out", key_files([public]), CONFIG["productId"])
    assert files == {**found.files, "/config.json": config.read_bytes()}
    assert json.loads(files["/build.json"]) == {"version": "1.0.0", "build": 1}
    assert "give --keys" in image(status=1)
    assert "--roots says nothing beside --release" in image("--keys", public, "--roots", public, status=2)
    assert "--mpy says nothing beside --release" in image("--keys", public, "--source", status=2)
    assert "--main says nothing beside --release" in image("--keys", public, "--main", public, status=2)
    (tmp_path / "plain.json").write_text(json.dumps({**CONFIG, "updates": {}}))
    assert 'no "updates"' in image("--keys", public, "--config", tmp_path / "plain.json", status=1)
    (tmp_path / "out" / hashlib.sha256(files["/main.py"]).hexdigest()).unlink()
    assert "/main.py: " in image("--keys", public, status=1)


def test_a_product_with_set_up_is_released_without_a_key_of_any_device(place, tmp_path):
    def configured(file, **setup):
        (tmp_path / file).write_text(json.dumps({**CONFIG, "wifi": [], "setup": setup}))
        return tmp_path / file

    out = tmp_path / "out"
    run(*given(place, "--version", "1", "--config", configured("product.json", name="Bear"), "-o", out))
    public, config = place / "release.pub.pem", configured("device.json", name="Bear", key=SETUP_KEY)
    found, _ = releases.read(out, key_files([public]), CONFIG["productId"])
    product = board_files(config, [ROOT / "firmware/roots"], keys=[public])
    assert set(found.files) - {"/build.json"} == set(product) - {"/config.json"}
    assert {"/setup.html.gz", "/lib/muster/portal/settings.mpy"} < set(found.files)
    assert not any(SETUP_KEY.encode() in data for data in found.files.values())
    # A board whose configuration has it could not start with a release that lacks it.
    taken = {"keys": key_files([public]), "config": json.loads(config.read_text())}
    assert releases.product(out, **taken) == found.files
    run(*given(place, "--version", "1", "-o", tmp_path / "other"))
    with pytest.raises(ValueError, match=r'has "setup", and .*other no set-up page'):
        releases.product(tmp_path / "other", **taken)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_a_virtual_board_gets_the_keys_too(place, tmp_path):
    from tools.cli.board import prepare

    files = prepare(tmp_path, place / "config.json", keys=[place / "release.pub.pem"]).files()
    assert key_files([place / "release.pub.pem"]).items() < files.items()
    assert any(path.startswith("/lib/muster/update.") for path in files)


def test_what_is_called_wrongly_is_told(place, tmp_path):
    assert "Missing --key, --config, --version, --output" in run(status=2)
    assert "Missing --version:" in run(*given(place), status=2)
    assert "101" in run(*given(place, "--version", "1", "--rollout", 101), status=2)
    assert "0" in run(*given(place, "--version", "1", "--build", 0), status=2)
    (tmp_path / "plain.json").write_text(json.dumps({**CONFIG, "updates": {}}))
    said = run(*given(place, "--version", "1", "--config", tmp_path / "plain.json"), status=1)
    assert 'has no "updates", so that no device looks' in said
    said = run(*given(place, "--version", "1", "--keys", place / "release.pem"), status=1)
    assert "holds a private key, which must never come near a board" in said
    run(*given(place, "--version", "1", "-o", tmp_path / "out"))
    assert "give --keys" in run("check", tmp_path / "out", "--config", place / "config.json", status=1)
