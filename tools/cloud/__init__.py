"""The clouds in a box: what the vendors run, strict about their documents, on a laptop.

with Cloud(devices=[Device("1234567890123", "key", "SN", "AI0001")]) as cloud:
    requests.post(cloud.url + "/v2/customer/device/secret/info", verify=cloud.ca_pem, json=...)
    app = cloud.new_coze_app()  # client_id, key_id and private_key, for signing JWTs
    account = cloud.add_baidu_account("jagu79", "u2wdh3wm")  # access_key_id, secret_access_key, fc, pk
    feishu = cloud.add_feishu_app()  # app_id and app_secret
    cloud.misbehave(status=503, times=2)
"""

from .box import Cloud
from .devices import Device, read_devices

__all__ = ["Cloud", "Device", "read_devices"]
