"""The clouds in a box, and an operator."""

import pytest
from operators import FleetOperator

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
    return FleetOperator(box, tmp_path)


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(retry, "BACKOFF_S", 0.001)


@pytest.fixture
def anyone(monkeypatch):
    """Keys in the environment, of an account that nobody will ask for."""
    for key in ("BAIDU_ACCESS_KEY_ID", "BAIDU_SECRET_ACCESS_KEY", "BAIDU_FC", "BAIDU_PK"):
        monkeypatch.setenv(f"MUSTER_{key}", "known")
    for key in ("FEISHU_APP_ID", "FEISHU_APP_SECRET", "COZE_TOKEN"):
        monkeypatch.setenv(f"MUSTER_{key}", "known")
    monkeypatch.setenv("MUSTER_BAIDU_BASE_URL", "https://localhost:9")
