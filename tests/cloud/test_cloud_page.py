"""What a person sees of 5,000 devices: the box's page in a real browser, on a phone and on a computer."""

import contextlib
import re
import shutil
import time

import pytest

from tools.cloud import Cloud, Device
from tools.cloud.state import State

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here: it is for Linux on x86-64")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
expect = sync_api.expect
expect.set_options(timeout=20000)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: on Debian, apt-get install chromium"
)

PHONE, COMPUTER = {"width": 360, "height": 640}, {"width": 1280, "height": 800}
DAY = 86400
SCRIPT = "<script>alert(1)</script>"
TITLES = ("Coze", "Baidu", "Feishu", "Calls", "China Mobile")
# Of 5,000 devices the first 20 are overdue, the next 100 report, 5 have enrolled; the last have other names.
OVERDUE, REPORTING, ENROLLED = 20, 100, 5
NUMBERS = [f"AI-2611-{n:05}" for n in range(1, 4999)] + ["会说话的小熊-1", SCRIPT]


def lived(file):
    """The state of a box that has run for days."""
    now = time.time()
    clock = [now - 9 * DAY]
    with contextlib.closing(State(file, lambda: clock[0])) as state:
        state.products.add(Device("1234567890123", "k3y", "SN", number) for number in NUMBERS)
        known = [device["deviceId"] for device in state.products.devices()]
        for n, device in enumerate(known[: OVERDUE + REPORTING + ENROLLED]):
            clock[0] = now - (9 * DAY if n < OVERDUE + REPORTING else 60)
            state.products.secret_fetched(device)
            clock[0] = now - (8 * DAY + n if n < OVERDUE else n)
            if n < OVERDUE + REPORTING:
                told = {"firmwareVersion": f"1.0.{n}", "netType": "WiFi", "innerIp": ["10.0.0.7"], "cmei": ""}
                state.products.reported(device, told)
        for n in range(30):
            state.coze.bill(NUMBERS[n], "N/A", "/v3/chat")
            call = state.call_arrived("/v3/chat")
            state.call_ended(call, device=NUMBERS[n], status=200, code="0", reason="成功")
        state.coze.bind("1", [("小熊", number) for number in NUMBERS[:30]], None)
        state.baidu.add_account("jagu79", "u2wdh3wm", 1000)


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    folder = tmp_path_factory.mktemp("box")
    lived(folder / "cloud.sqlite3")
    with Cloud(data=folder) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(box, browser):
    """Opens the page. What goes wrong in it, or is asked for elsewhere, is an error."""
    wrong = []
    with contextlib.ExitStack() as opened:

        def page(path="/", size=PHONE, **how):
            context = browser.new_context(viewport=size, ignore_https_errors=True, **how)
            page = opened.enter_context(context).new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("dialog", lambda dialog: wrong.append(dialog.message) or dialog.dismiss())
            page.on("request", lambda asked: asked.url.startswith(box.url + "/") or wrong.append(asked.url))
            page.on("console", lambda said: "Security Policy" in said.text and wrong.append(said.text))
            page.goto(box.url + path)
            return page

        yield page
    assert not wrong


def rows(page):
    return page.locator("tbody tr")


def search(page):
    return page.get_by_role("searchbox")


def test_overdue_devices_come_first_and_what_was_never_seen_is_folded(page):
    seen = page()
    expect(seen.get_by_role("link", name="China Mobile")).to_contain_text("20")
    expect(rows(seen)).to_have_count(100)  # of 5,000: the page stays quick
    assert len(seen.content()) < 100_000
    assert rows(seen).locator("b").all_text_contents()[: OVERDUE + 1] == [*NUMBERS[19::-1], NUMBERS[20]]
    assert rows(seen).locator(".bad").count() == OVERDUE
    expect(seen.get_by_text("AI-2611-00126", exact=True)).to_be_hidden()
    seen.get_by_text(re.compile("4,875 not seen")).click()
    expect(seen.get_by_text("AI-2611-00126", exact=True)).to_be_visible()
    seen.get_by_role("link", name="show more").last.click()
    expect(rows(seen)).to_have_count(OVERDUE + REPORTING + ENROLLED)


def test_what_is_typed_is_found_at_once_and_stays_while_the_page_renews_itself(page, box):
    seen = page(size=COMPUTER)
    search(seen).fill("1.0.7")
    expect(rows(seen)).to_have_count(11)  # and 1.0.70 to 1.0.79
    assert seen.url.endswith("?part=chinamobile&find=1.0.7")
    search(seen).fill("小熊")
    expect(seen.locator("main li b")).to_have_text("会说话的小熊-1")  # not folded: there is nothing else
    expect(rows(seen)).to_have_count(0)
    search(seen).fill("script>")
    expect(seen.locator("main li b")).to_have_text(SCRIPT)
    search(seen).fill("no such")
    expect(rows(seen)).to_have_text("Nothing here has “no such” in it.")
    expect(search(seen)).to_be_focused()
    search(seen).fill("")
    expect(rows(seen)).to_have_count(100)
    seen.locator("summary").click()
    before = seen.locator("main").evaluate_handle("main => main")
    box.misbehave(status=503)
    try:
        expect(seen.get_by_text("Told to misbehave: status 503")).to_be_visible()
    finally:
        box.behave()
    assert not before.evaluate("main => main.isConnected"), "it was drawn anew"
    expect(seen.get_by_text("AI-2611-00126", exact=True)).to_be_visible()  # still unfolded
    seen.context.set_offline(True)
    search(seen).fill("AI")
    expect(seen.get_by_role("status")).to_have_text("the box does not answer")
    seen.context.set_offline(False)
    search(seen).fill("")
    expect(seen.get_by_role("status")).to_have_text("live")


def test_one_cloud_at_a_time_fits_both_screens_by_day_and_night(page):
    seen = page("/?find=AI-2611-0000")
    for title in TITLES:
        seen.get_by_role("link", name=re.compile(f"^{title}")).click()
        expect(seen.locator("nav [aria-current]")).to_contain_text(title)
        for size in (COMPUTER, PHONE):
            seen.set_viewport_size(size)
            assert seen.evaluate("document.documentElement.scrollWidth <= innerWidth"), title
    expect(rows(seen)).to_have_count(9)
    assert seen.locator("nav a").first.bounding_box()["height"] >= 40
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        seen.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(seen, options=rules)
        assert not found.violations_count, found.generate_report()


def test_it_searches_without_javascript(page):
    seen = page("/?part=coze", java_script_enabled=False)
    expect(rows(seen)).to_have_count(30 + 30)  # who used it, and who is bound
    search(seen).fill("-00007")
    search(seen).press("Enter")
    expect(rows(seen)).to_have_count(1 + 1)
    seen.get_by_role("link", name="Calls").click()
    expect(rows(seen)).to_have_count(1)
    assert "成功" in rows(seen).inner_text()
