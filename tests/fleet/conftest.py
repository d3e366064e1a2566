"""The clouds in a box, and an operator."""

import pytest
from operators import Operator

from tools.cloud import Cloud
from tools.fleet import retry


@pytest.fixture(scope="module")
def running():
    with Cloud() as box:
        yield box


@pytest.fixture
def box(running):
    running.behave()
    yield running
    running.behave()


@pytest.fixture
def operator(box, tmp_path):
    return Operator(box, tmp_path)


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(retry, "BACKOFF_S", 0.001)


@pytest.fixture
def anyone(monkeypatch):
    """Keys in the environment, of an account that nobody will ask for."""
    for key in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "FC", "PK"):
        monkeypatch.setenv(f"MUSTER_BAIDU_{key}", "known")
    monkeypatch.setenv("MUSTER_BAIDU_BASE_URL", "https://localhost:9")
    for key in ("APP_ID", "APP_SECRET"):
        monkeypatch.setenv(f"MUSTER_FEISHU_{key}", "known")
    monkeypatch.setenv("MUSTER_COZE_TOKEN", "known")
