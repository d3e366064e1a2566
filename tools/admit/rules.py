"""The points of China Mobile's document, in its order and its words.

终端智能体服务管理平台设备接入协议 V1.0 (2025/5/13)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.admit import cmeis, fetch, heartbeat, product, times
from tools.admit.facts import CUT, REBOOT, TORN, Facts, Unseen
from tools.admit.verdict import Verdict, failed, unseen

DOCUMENT = "终端智能体服务管理平台设备接入协议 V1.0 (2025/5/13)"
SILENT = (
    "Nothing public says how the platform itself tests a product. This check follows the document alone; "
    "what the platform's people look at besides, only they can say."
)


@dataclass(frozen=True)
class Rule:
    """One point of the document.

    section  its heading, with its number where it has one
    quote    the document's words
    asks     what they ask of a product, in a few words
    judge    says whether the facts are so; raises Unseen. A text says why nobody can tell from here
    keys     of the configuration: the point fails when one of them is refused
    """

    section: str
    quote: str
    asks: str
    judge: Callable[[Facts], Verdict] | str
    keys: tuple[str, ...] = ()

    def verdict(self, facts: Facts) -> Verdict:
        for key in self.keys:
            if key in facts.refused:
                return failed(
                    facts.refused[key], f'correct "{key}" in config.json or in its row of the batch'
                )
        if isinstance(self.judge, str):
            return unseen(self.judge)
        try:
            return self.judge(facts)
        except Unseen as e:
            return unseen(str(e))


PLATFORM = "AI 设备管理接入流程"
SITES = "环境配置"
FETCH = "获取设备信息接口"
FETCH_BODY = f"{FETCH} · Body 参数"
HEARTBEAT = "心跳上报接口"
STRATEGY = f"{HEARTBEAT} · 策略2"
BODY = f"{HEARTBEAT} · Body 参数"
PARAMS = f"{HEARTBEAT} · params 参数"
QUESTION = "常见问题 Q&A"
CMEI = f"CMEI 编码规则; {QUESTION} 7"

RULES = (
    Rule(
        f"{PLATFORM} 1; {QUESTION} 2",
        "在平台创建产品……得到产品ID和产品秘钥",
        "The configuration has the product's id and key.",
        product.has_id_and_key,
        ("productId", "productKey"),
    ),
    Rule(
        f"{PLATFORM} 1",
        "导入测试批次适配设备",
        "The platform knows the device.",
        product.is_imported,
    ),
    Rule(
        f"{PLATFORM} 2",
        "使用……产品ID和产品秘钥调用获取设备信息接口，得到设备ID和设备密钥",
        "The first start fetches the device's id and secret.",
        fetch.comes_first,
    ),
    Rule(
        f"{PLATFORM} 3",
        "使用……得到的设备ID、设备密钥调用心跳接口上报设备数据",
        "Heartbeats carry the id and the secret that were fetched.",
        heartbeat.has_what_was_fetched,
    ),
    Rule(
        f"{SITES}; {QUESTION} 1",
        "直接使用正式环境适配：https://ivs.chinamobiledevice.com:11443",
        "The product calls the production address.",
        product.calls_production,
        ("baseUrl",),
    ),
    Rule(
        SITES,
        "正式环境 https://……",
        "The product can verify the platform's certificate.",
        product.verifies,
    ),
    Rule(
        f"{FETCH} · 接口信息",
        "v2/customer/device/secret/info  POST  application/json",
        "The secret is fetched by this call.",
        fetch.is_this_call,
    ),
    Rule(
        f"{FETCH} · 注意",
        "如果已经获取过了设备信息，就不用再调用此接口",
        "The secret is fetched once.",
        fetch.happens_once,
    ),
    Rule(
        f"{FETCH} · 注意",
        "……除非本地数据已清除或设备号有变更",
        "A reboot keeps the secret: it is not fetched again.",
        fetch.not_after(REBOOT),
    ),
    Rule(
        f"{FETCH} · 注意",
        "……除非本地数据已清除或设备号有变更",
        "A power cut keeps the secret: it is not fetched again.",
        fetch.not_after(CUT),
    ),
    Rule(
        f"{FETCH} · 注意",
        "……除非本地数据已清除或设备号有变更",
        "A power cut in the middle of a flash write keeps the secret: it is not fetched again.",
        fetch.not_after(TORN),
    ),
    Rule(
        f"{FETCH}、{HEARTBEAT} · Header 参数",
        "X-AI-IP  非设备接入时必传  设备 IP 地址",
        "A device leaves the header out, or puts an IP address there.",
        product.has_header,
    ),
    Rule(
        FETCH_BODY,
        "deviceNoType  设备号类型（三选一）：SN、IMEI、CMEI",
        "The type of the device number is one of three.",
        fetch.has_type,
        ("deviceNoType",),
    ),
    Rule(
        FETCH_BODY,
        "deviceNo  设备号，产品内唯一标识设备的字串",
        "Each device has a number of its own.",
        product.numbers_differ,
        ("deviceNo",),
    ),
    Rule(
        FETCH_BODY,
        "deviceNoType、deviceNo、productId、productKey  string  是",
        "The fetch carries these four, as configured.",
        fetch.has_body,
    ),
    Rule(
        f"{QUESTION} 4",
        "拿产品ID作为设备号……不推荐使用此方案",
        "The product's id is not the number of a device that has one of its own.",
        product.id_is_no_number,
    ),
    Rule(
        f"{HEARTBEAT} · 要求; {QUESTION} 3",
        "除设备无法连接网络外，24小时至少上报一次",
        "No more than 24 hours pass between two heartbeats.",
        times.never_over_a_day,
        ("period", "deadline", "spread"),
    ),
    Rule(
        f"{STRATEGY} · 实施步骤 1",
        "设备首次启动时，向平台上报数据并记录上报时间 T_current",
        "The first start reports, and the time is kept.",
        times.begins_at_once,
    ),
    Rule(
        f"{STRATEGY} · 实施步骤 2",
        "T_next = T_current + 12小时 + 随机偏移量（-15分钟 到 +15分钟）",
        "The next report follows the document's reference, or a way of the maker's own (Q3).",
        times.follows_the_reference,
    ),
    Rule(
        f"{STRATEGY} · 实施步骤 3",
        "根据计算出的 T_next 设置定时任务，确保在该时间点上报数据",
        "Reports come at T_next, also after a reboot and a power cut.",
        times.comes_when_due,
    ),
    Rule(
        f"{HEARTBEAT} · 注意",
        "避免固定时间集中上报，造成服务器压力过大",
        "The time of a report has a random part.",
        times.is_spread,
        ("jitter",),
    ),
    Rule(
        f"{HEARTBEAT} · 接口信息",
        "v2/customer/device/report  POST  application/json",
        "Heartbeats go to this call.",
        heartbeat.is_this_call,
    ),
    Rule(
        BODY,
        "deviceId、deviceSecret、productId、productKey、params  是",
        "A heartbeat carries these five, as configured.",
        heartbeat.has_body,
    ),
    Rule(
        PARAMS,
        'innerIp  string[]  如无法获取，可以传 ["127.0.0.1"]',
        "A list of IP addresses.",
        heartbeat.has_inner_ip,
    ),
    Rule(
        PARAMS,
        "netSpeed  如无法获取，可以传固定值 0Mbps",
        "A speed such as 0Mbps.",
        heartbeat.has_net_speed,
    ),
    Rule(
        PARAMS,
        "netType  如：wifi、5G、ethernet",
        "The type of the network is named.",
        heartbeat.has_text("netType"),
        ("netType",),
    ),
    Rule(
        PARAMS,
        "platform  操作系统  如：Android11、RTOS",
        "The operating system is named.",
        heartbeat.has_text("platform"),
        ("platform",),
    ),
    Rule(
        PARAMS,
        "sdkVersion  固定 ai_ 前缀；使用 API 传 ai_http_1.0",
        "The version of the SDK is the one for devices that call the API.",
        heartbeat.has_sdk_version,
        ("sdkVersion",),
    ),
    Rule(
        PARAMS,
        "firmwareVersion  设备固件版本",
        "The firmware's version is named, as configured.",
        heartbeat.has_firmware_version,
        ("firmwareVersion",),
    ),
    Rule(
        PARAMS,
        'imei  蜂窝类产品必传，获取不了传空字符串 ""',
        "A cellular product sends its IMEI, another the empty text.",
        heartbeat.has_imei,
        ("imei",),
    ),
    Rule(
        PARAMS,
        "cmei  设备 CMEI（15位）  非蜂窝类产品必传",
        "The CMEI has 15 digits; the empty text is for cellular products.",
        heartbeat.has_cmei,
    ),
    Rule(
        PARAMS,
        'mac  格式：xx-xx-xx-xx-xx-xx，如无法获取传空字符串 ""',
        "The MAC has six pairs of hexadecimal digits with hyphens between them.",
        heartbeat.has_mac,
    ),
    Rule(
        f"{PARAMS}; {QUESTION} 5",
        "是否必填：是；部分参数无法获取时，传默认值",
        "All nine parameters are there, and no other.",
        heartbeat.has_all_params,
    ),
    Rule(
        f"{HEARTBEAT} · 返回值",
        "code  成功: 200，其他值为异常",
        "Every heartbeat is accepted.",
        heartbeat.is_accepted,
    ),
    Rule(
        CMEI,
        "非蜂窝类产品 CMEI 码为 15 位",
        "Every CMEI has 15 digits.",
        cmeis.have_15_digits,
    ),
    Rule(
        CMEI,
        "11  非蜂窝智能硬件标识位，固定为 11",
        "Every CMEI begins with 11.",
        cmeis.begin_with_11,
    ),
    Rule(
        CMEI,
        "123456  随机码，用来区分产品品牌与型号，由中国移动统一分配",
        "All CMEIs of the product begin with the same eight digits, its TUI.",
        cmeis.have_one_tui,
    ),
    Rule(
        CMEI,
        "前 8 位是 TUI 码，厂商在营销系统提交产品报备后系统自动分配",
        "The TUI is the one that the product was given.",
        "the TUI is in the marketing system alone: compare it there with the first eight digits",
    ),
    Rule(
        CMEI,
        "123456  序列号，厂家自行填写，标识产品唯一性",
        "No two devices have the same CMEI, whatever its last digit.",
        cmeis.differ,
    ),
    Rule(
        f"{QUESTION} 6",
        "软件同步写入，心跳上报时 CMEI 码必须上传",
        "Heartbeats carry the CMEI of the configuration or of the device's row of the batch.",
        cmeis.are_sent,
    ),
    Rule(
        f"{QUESTION} 6",
        "CMEI 码要在硬件及外包装盒体现",
        "The device and its box show the CMEI.",
        "only eyes can see it: compare the labels of the device and of its box with the batch",
    ),
    Rule(
        f"{QUESTION} 6",
        "并在入库测试时检查确认",
        "The CMEI is confirmed in the platform's own test.",
        "the platform does that, and nothing public says how",
    ),
    Rule(
        f"{QUESTION} 8",
        "查看心跳上报的数据可在沟通群联系终端智能体服务管理平台对接人",
        "The platform shows the heartbeats that it has received.",
        "ask the platform's contact in your group for the data of the device that was tested",
    ),
)
