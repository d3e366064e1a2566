"""Every command of README.md and docs/ does what its page says: it is typed as it stands.

A story follows one or more pages, in terminals of its own. What no story can type stands in NOT_HERE.
"""

import json
import re
import shutil
import ssl
import urllib.request
from collections import Counter

import pages
import pexpect
import pytest
from devices import SECRET_INFO
from terminals import Terminals

from tools.board import Board
from tools.cloud import Cloud
from tools.common.littlefs import build
from tools.common.paths import ROOT
from tools.common.vm import find_micropython
from tools.factory.library import library
from tools.factory.product import BLOCKS, board_files

FIRMWARE = "--firmware ESP32_GENERIC_S3-….bin --config config.json"
# Why it cannot be typed here, and what.
NOT_HERE = {
    "it is what runs this": ["python3 -m tools test", "python3 -m tools test --full"],
    "half a minute; test_demo.py runs it": ["python3 -m tools demo"],
    "a minute; test_storm.py runs it": ["python3 -m tools storm"],
    "six minutes; test_bench.py and its neighbours run its parts": ["python3 -m tools bench"],
    "minutes; test_simulate.py runs it for fewer devices": [
        "python3 -m tools simulate --devices 1000000 --days 3 --plot load.png",
    ],
    "ten seconds; test_admission.py runs it, also on a board": [
        "python3 -m tools admit --config config.json --identities batch.csv -o report.html",
        "python3 -m tools admit --port /dev/ttyACM0 --identities batch.csv",
    ],
    "the only board that is plugged in; test_deploy.py and test_doctor.py name a port": [
        "python3 -m tools deploy",
        "python3 -m tools repl",
        "python3 -m tools doctor",
    ],
    "a real board, with MicroPython for it; test_flash.py has bare virtual ones": [
        f"python3 -m tools flash --board ESP32_GENERIC_S3 --port /dev/ttyACM0 --erase {FIRMWARE}",
        f"python3 -m tools flash --board ESP32_GENERIC_S3 --all --erase {FIRMWARE} --identities batch.csv",
        f"python3 -m tools flash {FIRMWARE} --keys release.pub.pem",
    ],
    "somebody's web server": [
        "scp toys/[0-9a-f]* files.example.com:/var/www/toys/ && "
        "scp toys/manifest.jwt files.example.com:/var/www/toys/",
    ],
}
LISTED = {command for commands in NOT_HERE.values() for command in commands}


def without_a_board(terminals):
    """One box and one board: flashed, under a bad server, at its prompt; and the accounts in the box."""
    terminals.write("config.json", json.dumps(product()))
    terminals.write("devices.csv", pages.block_after("README.md", "this `devices.csv`:"))
    follow(terminals, "README.md")
    prompt = follow(terminals, "docs/repl.md")[-1]
    start_again(prompt)
    assert fetched(terminals) == {"AI-0001": 1}, "started again, it does not fetch its secret a second time"
    type_at(prompt, terminals)

    for name in ("maker.toml", "ca.pem"):
        shutil.copy(terminals.folder / "cloud" / name, terminals.folder)
    terminals.write("keys.csv", "ak,sk\nAI-0003,k3\n")
    *said, imported, bound = follow(terminals, "docs/operator.md")
    assert "1 │ imported" in said[2] and "2 │ imported" in imported and "1 │ bound" in bound


def start_again(prompt):
    """Starts the board's programs, and stops the agent."""
    prompt.expect_exact("Ctrl-]")
    prompt.send("\x04")
    prompt.expect_exact("the next report is due")
    prompt.send("\x03")
    prompt.expect_exact(">>> ")


def type_at(prompt, terminals):
    """Types what docs/repl.md types, looks for what it says comes of it, and leaves the prompt."""
    for pasted, text, expected in pages.at_the_prompt("docs/repl.md"):
        text = terminals.here(text)
        prompt.send(f"\x05{text}\x04" if pasted else f"{text}\r")
        prompt.expect_exact(">>> ")
        said = prompt.before.replace("\r\n", "\n")
        assert "Traceback" not in said, said
        for piece in re.split(", |…|[{}]", "\n".join(expected)):
            # Which device, and when, is another each time.
            like = re.sub("[0-9a-f]{16}|[0-9]+", "[0-9a-f]+", re.escape(piece))
            assert re.search(like, said), (piece, said)
    prompt.send("\x1d")
    prompt.expect(pexpect.EOF)


def with_mpremote(terminals):
    """mpremote alone puts the whole product onto a board."""
    tree = terminals.folder
    for folder in ("lib", "firmware/roots"):
        shutil.copytree(ROOT / folder, tree / folder)
    for name in ("boot.py", "main.py"):
        shutil.copy(ROOT / name, tree)
    (tree / "config.json").write_text('{"clouds": ["coze", "baidu", "feishu"]}')
    (tree / "lib/muster/__pycache__").mkdir(exist_ok=True)
    with Board(tree / "board", build({}, BLOCKS, 0)) as board:
        board.wait_for(">>> ")
        terminals.instead["/dev/ttyACM0"] = board.port
        follow(terminals, "docs/board.md")
        found = board.files()
    shipped = board_files(tree / "config.json", [tree / "firmware/roots"], tree, source=True)
    # All of lib is copied, what this configuration does not ask for as well.
    assert found == shipped | {
        f"/lib/{path.relative_to(tree / 'lib')}": path.read_bytes() for path in library(root=tree)
    }


def a_factorys_day(terminals):
    """A batch in the box, two boards of it flashed at once, and its labels."""
    terminals.write("config.json", json.dumps(product()))
    follow(terminals, "docs/factory.md")
    assert fetched(terminals) == {"AI-2611-00001": 1, "AI-2611-00002": 1}


def at_the_buyers_home(terminals):
    """A batch with keys for its access points, its labels, and the set-up page."""
    example = pages.block_after("docs/home.md", "types its password")
    setup = json.loads(example.replace(",\n  …", ""))
    del setup["setup"]["key"]  # "For a batch leave it out there"
    terminals.write("config.json", json.dumps(product(**setup)))
    *_, said = follow(terminals, "docs/home.md")
    assert "networks in reach, and their passwords" in said
    with urllib.request.urlopen(said.split()[-1]) as page:
        assert page.status == 200


def a_release(terminals):
    """A key, and a release: made, checked, offered to all and to nobody; and one that a board takes."""
    elsewhere, here = re.findall('`("updates": .*?)`', pages.text("docs/releases.md"))
    terminals.write("devices.csv", pages.block_after("README.md", "this `devices.csv`:"))
    terminals.write("config.json", json.dumps(product(**json.loads(f"{{{here}}}"))))
    with Cloud(data=terminals.folder / "cloud"):
        pass  # whoever follows the page has had it on before
    assert elsewhere.startswith('"updates": {"url": "https://files.example.com/')
    _, made, checked, to_all, to_none, *_, prompt = follow(terminals, "docs/releases.md")
    assert "for 5% of the devices" in made and "files are right" in checked
    assert "for 100% of the devices" in to_all and "for 0% of the devices" in to_none
    prompt.expect_exact("Ctrl-]")
    prompt.send("\x03")
    prompt.expect_exact(">>> ")
    for _, text, expected in pages.at_the_prompt("docs/releases.md"):
        prompt.send(f"{text}\r")
        for line in expected or [">>> "]:
            prompt.expect_exact(line)


# Which pages each follows.
STORIES = {
    without_a_board: ["README.md", "docs/repl.md", "docs/operator.md"],
    with_mpremote: ["docs/board.md"],
    a_factorys_day: ["docs/factory.md"],
    at_the_buyers_home: ["docs/home.md"],
    a_release: ["docs/releases.md"],
}


@pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_what_is_typed_does_what_the_page_says(story, tmp_path):
    with Terminals(tmp_path) as terminals:
        story(terminals)
    assert set(terminals.typed) == {command for name in STORIES[story] for command in to_type(name)}


def test_every_command_is_typed_or_listed():
    followed = {name for names in STORIES.values() for name in names}
    left = {name: to_type(name) for name in pages.NAMES if name not in followed}
    assert not {name: found for name, found in left.items() if found}


def test_what_is_listed_stands_in_a_page():
    assert not LISTED - {command for name in pages.NAMES for command in pages.commands(name)}


def to_type(name):
    """The page's commands; curl's not, where there is none."""
    lacking = () if shutil.which("curl") else ("curl ",)
    found = [command for command in pages.commands(name) if command not in LISTED]
    return [command for command in found if not command.startswith(lacking)]


def follow(terminals, name):
    """Types the page's commands in their order, and returns what came of each."""
    return [terminals.type(command) for command in to_type(name)]


def product(**changes):
    """The config.json of "Without a board"."""
    return {**json.loads(pages.block_after("README.md", "This `config.json`, whose Wi-Fi")), **changes}


def fetched(terminals):
    """How often each device has fetched its secret from the box."""
    ca = ssl.create_default_context(cafile=terminals.folder / "cloud/ca.pem")
    with urllib.request.urlopen(f"https://localhost:{terminals.port}/state", context=ca) as answer:
        calls = json.load(answer)["calls"]
    return Counter(call["device"] for call in calls if call["path"] == SECRET_INFO)
