"""Which manifests a board follows: a signature alone is not enough."""

import sys

from helpers import raises
from muster import clock, update
from muster import manifest as rules
from muster.errors import Error
from muster.flow import PIECE, Answer

PRODUCT = "1234567890123"
DIGEST = "0123456789abcdef" * 4


def manifest(*paths, **more):
    claims = {
        "aud": "muster-update",
        "product": PRODUCT,
        "version": "1.2.0",
        "build": 7,
        "mpy": 6,
        "micropython": [1, 26],
        "files": [[path, 10, DIGEST] for path in ("/boot.py", "/build.json") + paths],
        "remove": ["/lib/muster/agent.py"],
        "rollout": 100,
        "iat": 1790000000,
    }
    claims.update(more)
    return claims


def refused(claims, fragment):
    text = str(raises(Error, rules.check, claims, PRODUCT))
    assert fragment in text, text
    assert len(text) < 200, text


def test_a_manifest_as_it_should_be():
    rules.check(manifest(), PRODUCT)
    rules.check(manifest(exp=1800000000, more="of a later muster"), PRODUCT)
    rules.check(manifest(rollout=0, remove=[], version="1.2.0 \u6d4b\u8bd5"), PRODUCT)
    names = ("/" + "x" * 99, "/a b.txt", "/lib/a.b/c..d", "/configs/config.json", "/lib/state/x", "/.hidden")
    rules.check(manifest(*names), PRODUCT)


def test_what_is_no_object_is_refused():
    for claims in (None, [], "x", 5):
        refused(claims, "JSON object")


def test_every_claim_must_be_there():
    for name in manifest():
        claims = manifest()
        del claims[name]
        refused(claims, "manifest's %s is" % name)


def test_claims_of_a_wrong_type_or_range_are_named():
    for name, values in (
        ("aud", ("muster", ["muster-update"], 1)),
        ("product", ("1234567890124", 1234567890123, "")),
        ("version", ("", "x" * 65, 1.2, "1\n2", "1\x1b[2J", "\ud800")),
        ("build", (0, -1, True, "7", 7.0, 1000000000)),
        ("mpy", (0, 256, True, "6")),
        ("micropython", ([1], [1, 26, 0], [1, -1], [1, 26.0], [True, 26], "1.26", 1)),
        ("rollout", (-1, 101, True, 50.0)),
        ("iat", (0, True, "now", 1790000000.0, 1 << 32)),
        ("remove", ({}, "/a", "")),
    ):
        for value in values:
            refused(manifest(**{name: value}), "manifest's %s is" % name)


def test_files_of_a_wrong_shape_are_refused():
    for file in (
        ["/a", 10],
        ["/a", 10, DIGEST, 0],
        {"/a": 10},
        "/a.",
        ["/a", -1, DIGEST],
        ["/a", True, DIGEST],
        ["/a", 1 << 24, DIGEST],
        ["/a", 10, DIGEST[1:]],
        ["/a", 10, DIGEST + "0"],
        ["/a", 10, DIGEST.upper()],
        ["/a", 10, "g" * 64],
        ["/a", 10, 64],
    ):
        refused(manifest(files=manifest()["files"] + [file]), "manifest's files is")
    refused(manifest(files={}), "manifest's files is")


def test_paths_that_no_release_may_have():
    for path in (
        "",
        "/",
        "a",
        "lib/a",
        "//a",
        "/a//b",
        "/a/",
        "/.",
        "/./a",
        "/a/..",
        "/../a",
        "/a/../b",
        "/a~",
        "/~/a",
        "/a\\b",
        '/a"',
        "/a\n",
        "/\x00",
        "/\x7f",
        "/\u6587",
        "/\ud800",
        "/" + "x" * 100,
        "/config.json",
        "/Config.JSON",
        "/config.json/a",
        "/state",
        "/state/credentials.0",
        "/State/x",
        "/update/x",
        "/update",
        5,
        None,
        ["/a"],
    ):
        refused(manifest(path), "must not name this path")
        refused(manifest(remove=[path]), "must not name this path")


def test_no_path_is_there_twice():
    for path, again in (("/a", "/a"), ("/a", "/A"), ("/lib/x.py", "/LIB/x.py")):
        refused(manifest(path, again), "has it twice: " + again)
        refused(manifest(path, remove=[again]), "has it twice: " + again)
    refused(manifest(remove=["/boot.py"]), "has it twice: /boot.py")


def test_no_file_is_a_folder():
    for file, inside in (("/a", "/a/b"), ("/a", "/A/b/c/d"), ("/lib/x", "/lib/x/y")):
        refused(manifest(file, inside), "a folder of others: " + file)
        refused(manifest(inside, file), "a folder of others: " + file)
        refused(manifest(inside, remove=[file]), "a folder of others: " + file)
    rules.check(manifest("/a/b", "/a/c", "/ab", "/abc/d"), PRODUCT)


def test_a_release_starts_and_knows_its_build():
    for kept in ("/boot.py", "/build.json"):
        refused(manifest(files=[[kept, 10, DIGEST]]), "lacks /boot.py or /build.json")


def test_a_manifest_is_followed_in_its_time_and_by_its_board_alone():
    now = clock.now()
    mpy = getattr(sys.implementation, "_mpy", 6) & 0xFF
    for more in ({}, {"exp": now + 60}, {"exp": now - 80000}, {"iat": now + 80000}):
        rules.follow(manifest(**dict({"iat": now, "mpy": mpy}, **more)), PRODUCT)
    for more, fragment in (
        ({"exp": now - 90000}, "has expired"),
        ({"exp": "never"}, "manifest's exp is"),
        ({"iat": now + 90000}, "is the clock right?"),
        ({"micropython": [99, 0]}, "MicroPython from"),
        ({"product": "another"}, "manifest's product is"),
    ):
        claims = manifest(**dict({"iat": now, "mpy": mpy}, **more))
        assert fragment in str(raises(Error, rules.follow, claims, PRODUCT))


def fetched(headers, pieces):
    """(the manifest, its ETag) of an answer that comes in these pieces."""
    found = []
    flow = update._manifest("https://127.0.0.1/manifest.jwt", {}, None, found)
    assert next(flow).stream
    assert flow.send(Answer(200, headers, None, None)) == PIECE
    try:
        for piece in pieces + [b""]:
            assert flow.send(piece) == PIECE
    except StopIteration as e:
        return bytes(found[0]), e.value


def test_a_manifest_is_whole_whatever_is_said_of_its_length():
    for length in ({}, {"content-length": "6"}, {"content-length": "9"}, {"content-length": "6, 6"}):
        assert fetched(dict(length, etag='"1"'), [b"abc", b"def"]) == (b"abcdef", '"1"')
    assert fetched({"content-length": "16384"}, [bytes(1024)] * 16) == (bytes(16384), "")
    for length in ({}, {"content-length": "17408"}, {"content-length": "9" * 15}):
        assert "longer than" in str(raises(Error, fetched, length, [bytes(1024)] * 17))
