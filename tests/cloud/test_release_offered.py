"""The folder of a release at /release/, as any static web server offers it."""

import pytest
import requests
from wire import trusting

from tools.cloud import Cloud

MANIFEST = b"a.manifest.jwt"
FILE = bytes(range(256)) * 100
NAME = "0" * 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    (folder / "manifest.jwt").write_bytes(MANIFEST)
    (folder / NAME).write_bytes(FILE)
    (folder.parent / "secret").write_bytes(b"not for everybody")
    return folder


@pytest.fixture(scope="module")
def offering(folder):
    with Cloud(release=folder) as cloud, trusting(cloud) as session:

        def get(path, **headers):
            return session.get(f"{cloud.url}/release/{path}", headers=headers, timeout=10)

        yield cloud, get


def test_a_manifest_is_sent_once(offering, folder):
    _, get = offering
    answer = get("manifest.jwt")
    assert (answer.status_code, answer.content) == (200, MANIFEST)
    tag = answer.headers["ETag"]
    again = get("manifest.jwt", **{"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert get("manifest.jwt", **{"If-None-Match": '"other"'}).content == MANIFEST
    (folder / "manifest.jwt").write_bytes(MANIFEST + b".new")
    try:
        assert get("manifest.jwt", **{"If-None-Match": tag}).content == MANIFEST + b".new"
    finally:
        (folder / "manifest.jwt").write_bytes(MANIFEST)


def test_a_fetch_is_resumed(offering):
    _, get = offering
    rest = get(NAME, Range="bytes=10000-")
    assert (rest.status_code, rest.content) == (206, FILE[10000:])
    assert rest.headers["Content-Range"] == f"bytes 10000-{len(FILE) - 1}/{len(FILE)}"
    assert get(NAME).content == FILE
    assert get(NAME, Range=f"bytes={len(FILE)}-").status_code == 416


def test_it_offers_nothing_else(offering):
    _, get = offering
    for path in ("", "other", "../secret", "%2e%2e/secret", "..%2fsecret"):
        answer = get(path)
        assert answer.status_code == 404 and b"not for everybody" not in answer.content, path


def test_what_is_fetched_is_logged_and_can_go_wrong(offering):
    cloud, get = offering
    get("manifest.jwt")
    last = cloud.calls("/release/manifest.jwt")[-1]
    assert (last["status"], last["code"], last["reason"]) == (200, "200", "streamed")
    cloud.misbehave(status=503, path=f"/release/{NAME}")
    assert get(NAME).status_code == 503 and get("manifest.jwt").status_code == 200
    cloud.misbehave(connection="truncate", after=100, path=f"/release/{NAME}")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(NAME)
    cloud.behave()
    assert get(NAME).content == FILE


def test_without_a_release_there_is_none(cloud, session):
    assert session.get(f"{cloud.url}/release/manifest.jwt", timeout=10).status_code == 404
