"""What a buyer sees: the set-up page of a board, in a real browser on a phone and on a computer.

The browser takes the board's access point for the Internet's one 192.168.4.1, and nothing else knows of it.
"""

import contextlib
import functools
import re
import shutil

import pytest
from devices import DEVICE, hourly
from programs import needs_faketime, needs_micropython

from tools.board import Board
from tools.cloud import Cloud
from tools.factory.product import board_image

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here: it is for Linux on x86-64")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
expect = sync_api.expect
expect.set_options(timeout=20000)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    needs_micropython,
    needs_faketime,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: on Debian, apt-get install chromium"),
]

PAGE = "http://192.168.4.1/"
PHONE, COMPUTER = {"width": 360, "height": 640}, {"width": 1280, "height": 800}
# What a screen reader would read.
LISTEN = """() => {
    window.heard = []
    const output = document.querySelector('output')
    new MutationObserver(() => window.heard.push(output.textContent)).observe(output, {childList: true})
}"""
# Tries a network that is not there until nothing more is tried. Returns the tries left.
USE_UP = """async () => {
    for (;;) {
        const body = JSON.stringify({ ssid: '61', key: '' }), headers = { 'Content-Type': 'application/json' }
        const answer = await fetch('/', { method: 'POST', headers, body })
        if (answer.status == 429) return (await answer.json()).tries
        await new Promise(done => setTimeout(done, 200))
    }
}"""
GBK = "咖啡馆".encode("gbk")
SCRIPT = "<script>alert(1)</script>"
KEY = "correct horse"
# The strongest first, as the page has them.
AIR = [
    {"ssid": "家里的 Wi-Fi", "key": KEY, "rssi": -48, "channel": 6, "join_s": 0.3},
    {"ssid": "ChinaNet-Xq7d", "key": KEY, "rssi": -57, "channel": 1, "join_s": 0.3},
    {"ssid": "silent", "key": KEY, "rssi": -63, "answers": False},
    {"ssid_hex": GBK.hex(), "rssi": -66, "join_s": 0.3},
    {"ssid": SCRIPT, "key": KEY, "rssi": -74},
    {"ssid": "n" * 32, "key": KEY, "rssi": -85},
    {"ssid": "hidden", "key": KEY, "rssi": -60, "hidden": True, "join_s": 0.3},
]
NAMES = ["家里的 Wi-Fi", "ChinaNet-Xq7d", "silent", "咖啡馆", SCRIPT, "n" * 32]


@contextlib.contextmanager
def visited(playwright, folder, cloud, **changes):
    """A board at its buyer's, and a browser that sees it there: (board, function that opens the page)."""
    config = hourly(cloud, **{"wifi": [], "setup": {"key": "ABCDE23456"}, **changes})
    with Board(folder, board_image(config, [cloud.ca_pem]), air=AIR) as board:
        board.wait_for_portal()
        board.stations(1)
        rule = f"MAP 192.168.4.1:80 127.0.0.1:{board.access_point['80']}"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--host-resolver-rules={rule}"])
        yield board, functools.partial(opened, browser)
        browser.close()


@contextlib.contextmanager
def opened(browser, language="en-US", size=PHONE, **how):
    """The page in a browser of its own. What goes wrong in it, or is asked for elsewhere, is an error."""
    wrong = []
    with browser.new_context(locale=language, viewport=size, **how) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message) or dialog.dismiss())
        page.on("request", lambda request: request.url.startswith(PAGE) or wrong.append(request.url))
        page.on("console", lambda message: "Security Policy" in message.text and wrong.append(message.text))
        page.goto(PAGE)
        page.evaluate(LISTEN)
        yield page
        assert not wrong
        assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0


@pytest.fixture(scope="module")
def playwright():
    with sync_api.sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def home(playwright, tmp_path_factory):
    """For all that does not end in success: (board, function that opens its page)."""
    with (
        Cloud([DEVICE], issued_days_ago=30) as box,
        visited(playwright, tmp_path_factory.mktemp("home"), box) as found,
    ):
        yield found


def says(page):
    return page.get_by_role("status")


def heard(page):
    """What the page has said since it came, once each."""
    return page.evaluate("window.heard")


def network(page, name):
    return page.get_by_role("radio", name=name)


def password(page):
    return page.get_by_role("textbox", name=re.compile("Password|密码"))


def give(page, name, key=None):
    """Chooses a network and sends its password."""
    network(page, name).check()
    if key is not None:
        password(page).fill(key)
    page.get_by_role("button", name=re.compile("Connect|连接")).click()


def outlast(board, page):
    """Lets the time pass that a try takes, and the wait before its second."""
    while says(page).get_attribute("data-state") == "trying":
        board.pass_time(4)
        page.wait_for_timeout(300)


def test_it_shows_the_networks_by_strength_in_the_buyer_s_language(home):
    _, page = home
    for language, title, others, locked in (
        ("zh-CN", "选择家里的 Wi-Fi", "其他网络…", "家里的 Wi-Fi 🔒 4/4"),
        ("en-GB", "Choose your Wi-Fi", "Other network…", "家里的 Wi-Fi 🔒 4/4"),
    ):
        with page(language=language) as seen:
            expect(seen.get_by_role("heading", name=title, exact=True)).to_be_visible()
            rows = seen.get_by_role("radiogroup", name=title).get_by_role("radio")
            expect(rows).to_have_count(len(NAMES) + 1)
            assert seen.locator("bdi").all_text_contents() == NAMES
            assert seen.locator("script").count() == 1, "a name is text, never markup"
            expect(network(seen, others)).to_be_visible()
            expect(network(seen, locked)).to_be_visible()
            expect(network(seen, "咖啡馆 3/4")).to_be_visible()  # and open
            assert seen.locator("html").get_attribute("lang") == language[:2]


def test_a_wrong_password_is_likely_and_the_answer_outlives_the_phone_s_page(home):
    board, page = home
    with page() as seen:
        give(seen, "家里的 Wi-Fi", "wrong password")
        outlast(board, seen)
        expect(says(seen)).to_contain_text("probably a wrong password. Check it")
        assert heard(seen)[-2:] == ["Connecting…", says(seen).text_content()]
        expect(password(seen)).to_be_focused()
        network(seen, "咖啡馆").check()
        expect(says(seen)).to_have_text("")  # it was said of another
    # The phone has lost the access point, and comes back to a new page.
    with page(language="zh-CN") as seen:
        expect(says(seen)).to_contain_text("多半是密码不对")
        expect(network(seen, "家里的 Wi-Fi")).to_be_checked()


def test_a_network_that_is_not_there_is_not_found(home):
    _, page = home
    with page() as seen:
        network(seen, "Other network").check()
        seen.get_by_role("textbox", name="Name of the hidden network").fill("不在")
        give(seen, "Other network", KEY)
        expect(says(seen)).to_contain_text("Network not found. Go nearer")
        seen.reload()
        expect(seen.get_by_role("textbox", name="Name of the hidden network")).to_have_value("不在")


def test_a_router_that_gives_no_address_is_told(home):
    board, page = home
    with page(language="zh-CN") as seen:
        give(seen, "silent", KEY)
        outlast(board, seen)
        expect(says(seen)).to_have_text("路由器没有应答。请重启路由器，然后再试。")


def test_a_password_is_shown_on_request_and_a_short_one_not_sent(home):
    _, page = home
    with page() as seen:
        give(seen, "ChinaNet-Xq7d", "short")
        key = password(seen)
        assert key.evaluate("input => input.validity.tooShort") and key.get_attribute("type") == "password"
        assert "Connecting…" not in heard(seen)
        seen.get_by_role("checkbox", name="Show password").check()
        assert key.get_attribute("type") == "text"
        network(seen, "咖啡馆").check()
        expect(key).to_be_hidden()


def test_it_scans_again(home):
    board, page = home
    with page() as seen:
        expect(network(seen, SCRIPT)).to_be_visible()
        board.set_air([*AIR, {"ssid": "the new router", "key": KEY, "rssi": -40}])
        seen.get_by_role("button", name="Scan again").click()
        expect(network(seen, "the new router")).to_be_visible()
        assert "Scanning…" in heard(seen)
        expect(says(seen)).not_to_have_text("Scanning…")
        assert seen.locator("bdi").all_text_contents() == ["the new router", *NAMES]
        board.set_air(AIR)
        seen.get_by_role("button", name="Scan again").click()
        expect(network(seen, "the new router")).to_be_hidden()


def test_a_phone_that_has_left_is_told_what_to_do_and_goes_on_when_it_is_back(home):
    _, page = home
    with page() as seen:
        expect(network(seen, "家里的 Wi-Fi")).to_be_visible()
        before = says(seen).text_content()
        seen.context.set_offline(True)
        expect(says(seen)).to_contain_text("has left the device's Wi-Fi. Join it again.")
        seen.context.set_offline(False)
        expect(says(seen)).to_have_text(before)


def test_the_form_works_without_javascript(home):
    board, page = home
    with page(java_script_enabled=False) as seen:
        assert seen.get_by_role("option").all_text_contents() == [
            GBK.hex() if n == 3 else name for n, name in enumerate(NAMES)
        ]
        seen.get_by_role("combobox").select_option("ChinaNet-Xq7d")
        seen.get_by_label("密码 Password").fill("wrong password")
        seen.get_by_role("button", name="连接 Connect").click()
        while says(seen).get_attribute("data-state") == "trying":
            board.pass_time(4)
            seen.get_by_role("link", name="刷新 Reload").click()
        shown = says(seen).aria_snapshot()
        assert "多半是密码不对" in shown and "probably a wrong password" in shown


def test_when_no_tries_are_left_each_one_more_is_told_so(playwright, tmp_path):
    with (
        Cloud([DEVICE], issued_days_ago=30) as box,
        visited(playwright, tmp_path, box) as (_, page),
        page() as seen,
    ):
        assert seen.evaluate(USE_UP) == 0
        for _ in range(2):
            give(seen, "ChinaNet-Xq7d", KEY)
            expect(says(seen)).to_contain_text("No tries left. Restart the device")
            expect(says(seen)).to_have_attribute("data-state", "busy")


def test_it_reads_well_in_both_languages_by_day_and_night_on_both_screens(home, tmp_path):
    _, page = home
    for language in ("zh-CN", "en-US"):
        with page(language=language) as seen:
            network(seen, "ChinaNet-Xq7d").check()
            for target in seen.locator("label:visible, button:visible").all():
                assert target.bounding_box()["height"] >= 44
            for scheme in ("light", "dark"):
                seen.emulate_media(color_scheme=scheme)
                found = axe.Axe().run(seen)
                assert not found.violations_count, found.generate_report()
                for name, size in (("computer", COMPUTER), ("phone", PHONE)):
                    seen.set_viewport_size(size)
                    assert seen.evaluate("document.documentElement.scrollWidth <= innerWidth")
                    seen.screenshot(path=tmp_path / f"{language}-{scheme}-{name}.png")


def test_joined_without_the_platform_then_by_a_hidden_network_to_the_first_heartbeat(playwright, tmp_path):
    with Cloud([DEVICE], data=tmp_path / "box", issued_days_ago=30) as box:
        port = int(box.url.rpartition(":")[2])
        switched_on = visited(playwright, tmp_path / "board", box)
    with switched_on as (board, page), page(language="zh-CN", size=COMPUTER) as seen:
        give(seen, "咖啡馆")
        expect(says(seen)).to_contain_text("已连上，但平台没有应答。")
        with Cloud([DEVICE], data=tmp_path / "box", port=port) as box:
            network(seen, "其他网络").check()
            seen.get_by_role("textbox", name="隐藏网络的名称").fill("hidden")
            give(seen, "其他网络", KEY)
            expect(says(seen)).to_have_text("设备已上线，可以关闭此页面。")
            expect(seen.get_by_role("button")).to_have_count(0)
            seen.screenshot(path=tmp_path / "reached.png")
            board.pass_time(15)
            board.wait_for("enrolled")
            board.wait_for("reported")
            assert box.state()["devices"][0]["params"]["netType"] == "wifi"
        board.cut_power()
        assert KEY not in board.output
