"""What several parts of what a device must outlive use."""

import pytest
from devices import DEVICE
from endure.lab import SECOND, Lab

from tools.cloud import Cloud


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Cloud([DEVICE, SECOND], issued_days_ago=30) as cloud:
        yield Lab(cloud, tmp_path_factory.mktemp("lab"))
