"""The operator's commands called wrongly, and whose keys they use."""

import re
import subprocess
import sys

import pytest
from operators import COMMANDS, fleet

from tools.common.paths import ROOT
from tools.fleet import profile


def test_help_of_every_command_names_its_keys():
    listed = fleet("--help")
    assert listed.exit_code == 0 and "chmod 600" in listed.stdout
    _, baidu, feishu, coze = re.split("\n(?:Baidu|Feishu|Coze):\n", listed.stdout)
    assert re.findall(r"^  (\w+)", baidu + feishu + coze, re.MULTILINE) == list(COMMANDS)
    assert "register" in feishu and "bind" in coze
    for command in COMMANDS:
        told = fleet(command, "--help")
        assert told.exit_code == 0 and "MUSTER_" in told.stdout and "--profile" in told.stdout
        assert f"Example:\n    python3 -m tools fleet {command} " in told.stdout


def test_the_other_commands_do_not_wait_for_fleet():
    heavy = "{'requests', 'tenacity', 'sqlite3', 'pyrate_limiter', 'rich'}"
    code = f"import tools.cli.main, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


RECORD = "device_system,device_ownership,device_status,"
BIND = ("--connector-id", "c")


@pytest.fixture
def batch(anyone, tmp_path):
    """Gives a command on a file with this content; nothing but the file is left in its folder."""
    path = tmp_path / "batch.csv"

    def batch(command, content, *arguments):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        done = fleet(command, path, *arguments)
        assert list(tmp_path.iterdir()) == [path]
        return done

    return batch


@pytest.mark.parametrize(
    ("command", "content", "said"),
    [
        ("import", "", "line 1 of {} must name the columns, separated by commas, and ak and sk are not"),
        ("import", "ak\na1\n", "and sk is not among them"),
        ("import", "ak,sk,ak\na1,s1,a1\n", "has the column ak twice"),
        ("import", "ak,sk\n", "no devices under it"),
        ("import", "ak,sk\na1\na2,s2\n", "line 2: 1 field, and the header has 2"),
        ("import", "ak,sk\na1,s1\n\na2,s2,s3\n", "line 4: 3 fields, and the header has 2"),
        ("import", 'ak,sk\na1,s1\n"a,2",s2\n', "line 3: the ak of device 'a,2' has a comma"),
        ("import", 'ak,sk\n"a\n1",s1\na2,"s""2"\n', "line 4: the sk of device 'a2' has a comma, a quote"),
        ("import", "ak,sk\na1,s1\na2,s2\na1,s3\n", "line 4: the same device as in line 2"),
        ("import", "ak,sk\na1,\n", "line 2: the sk of device 'a1' is missing"),
        ("import", 'ak,sk\na1,"s1\n', "not CSV"),
        ("import", b"ak,sk\na1,s1\n\xc9\xe8\xb1\xb8,s2\n", "line 3: cell A3 (ak) is neither ASCII nor UTF-8"),
        ("disable", "ak\n.\n", 'line 2: ak is a text other than ".", ".." and blanks'),
        ("register", "device_system,serial_number\n1,S\n", "device_ownership and device_status are not"),
        ("register", RECORD + "aaid\nRTOS,0,0,A\n", "device_system is a"),
        ("register", RECORD + "aaid\n0,0,0,A\n", "1 (Windows), 2 (macOS)"),
        ("register", RECORD + "aaid\n4,0,0,A\n", "needs android_id"),
        (
            "register",
            RECORD + "uuid,serial_number\n1,0,0,U,S\n2,0,0,U,S\n1,0,0,V,S\n",
            "line 4: the same device as in line 2",
        ),
        ("bind", "label,value\nlamp,\n", "line 2: value is empty"),
        ("bind", "label,value\nlamp,v\nradio,v\n", "line 3: the same device as in line 2"),
    ],
)
def test_every_bad_row_is_named_and_nothing_is_sent(batch, tmp_path, command, content, said):
    done = batch(command, content, *(BIND if command == "bind" else ()))
    assert done.exit_code == 2 and "Nothing was sent" in done.stderr
    assert said.format(tmp_path / "batch.csv") in done.stderr


def test_all_bad_rows_are_told_at_once_and_no_key(batch):
    done = batch("import", 'ak,sk\na1,"top,secret"\na2,s2\na2,top-secret\na3\n')
    assert "3 rows are wrong" in done.stderr and done.stderr.count("\n  line ") == 3
    assert "secret" not in done.stderr + batch("import", "a1,top-secret\n").stderr


@pytest.mark.parametrize("rate", ["inf", "nan", "0", "1e-320", "much"])
def test_a_rate_that_is_none(batch, rate):
    done = batch("import", "ak,sk\na1,s1\n", "--rate", rate)
    assert done.exit_code == 2 and "--rate" in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [(("list", "--page-size", 1001), "1<=x<=1000"), (("import", "none.csv"), "does not exist")],
)
def test_a_page_larger_than_baidu_gives_and_a_missing_file(anyone, command, said):
    done = fleet(*command)
    assert done.exit_code == 2 and said in done.stderr


# Whose account it is


def test_a_profile_from_windows_with_blanks_of_a_web_page(tmp_path):
    text = "\ufeff" + WHOLE.replace('"i"', '"\u00a0i\u200b"').replace("\n", "\r\n")
    keys = profile.load("baidu", profile_of(tmp_path, text))
    assert keys == {"access_key_id": "i", "secret_access_key": "top-secret", "fc": "f", "pk": "p"}


def profile_of(tmp_path, text, mode=0o600):
    path = tmp_path / "p.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


WHOLE = '[baidu]\naccess_key_id = "i"\nsecret_access_key = "top-secret"\nfc = "f"\npk = "p"\n'


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (WHOLE, 0o640, "chmod 600"),
        (WHOLE, 0o604, "others than you can reach it (mode 604)"),
        (WHOLE.replace("fc", "fx"), 0o600, "unknown key fx of [baidu]"),
        (WHOLE.replace("secret_access", "secret_acess"), 0o600, "did you mean secret_access_key?"),
        (WHOLE.replace('"top-secret"', "12345"), 0o600, "secret_access_key in"),
        (WHOLE.replace('"p"', '" "'), 0o600, "Baidu needs pk under [baidu]"),
        (WHOLE.replace('"p"', '"."'), 0o600, 'pk is a text other than "."'),
        (WHOLE + 'base_url = "http://x"\n', 0o600, "must begin with https://"),
        ('ca = "none.pem"\n' + WHOLE, 0o600, "no such file of CA certificates"),
        ('ca = "p.toml"\n' + WHOLE, 0o600, "p.toml, which holds no CA certificate"),
        ("baidu = 1\n", 0o600, "must be a table"),
        ("[baidu\n", 0o600, "is not TOML"),
        ("", 0o600, "Baidu needs access_key_id and secret_access_key and fc and pk under"),
    ],
)
def test_a_wrong_profile_is_refused_without_a_word_of_its_secrets(tmp_path, text, mode, said):
    done = fleet("show", "ak", "--profile", profile_of(tmp_path, text, mode))
    assert done.exit_code == 2 and said in done.stderr
    assert "top-secret" not in done.stderr and "12345" not in done.stderr


def test_a_missing_profile_and_missing_variables(tmp_path, monkeypatch):
    done = fleet("list", "--profile", tmp_path / "none")
    assert done.exit_code == 2 and "No such file" in done.stderr
    monkeypatch.setenv("MUSTER_BAIDU_FC", "f")
    done = fleet("list")
    assert done.exit_code == 2 and "set MUSTER_BAIDU_ACCESS_KEY_ID and" in done.stderr
    assert "MUSTER_BAIDU_FC" not in done.stderr


def test_two_accounts_do_not_mix(anyone, tmp_path):
    incomplete = profile_of(tmp_path, WHOLE.replace('pk = "p"\n', ""))
    assert fleet("list", "--profile", incomplete).exit_code == 2


def test_a_ready_token_of_feishus_needs_a_tenant_to_be_journalled_under(tmp_path):
    file = tmp_path / "batch.csv"
    file.write_text(RECORD + "aaid\n6,0,0,A\n")
    keys = '[feishu]\ntoken = "t-1"\n'
    done = fleet("register", file, "--profile", profile_of(tmp_path, keys))
    assert "Feishu needs tenant_key" in done.stderr
    keys += 'tenant_key = "k"\n'
    assert fleet("register", file, "--profile", profile_of(tmp_path, keys), "--dry-run").exit_code == 0


def test_a_coze_key_that_is_none(batch, tmp_path_factory):
    keys = '[coze]\nclient_id = "c"\nkey_id = "k"\nprivate_key = "top-secret"\n'
    profile = profile_of(tmp_path_factory.mktemp("profile"), keys)
    done = batch("bind", "label,value\nlamp,v\n", *BIND, "--profile", profile)
    assert done.exit_code == 2 and "top-secret" not in done.stderr


def test_keys_from_the_environment(operator, monkeypatch):
    for key, value in {**operator.keys, "base_url": operator.box.url}.items():
        monkeypatch.setenv(f"MUSTER_BAIDU_{key}".upper(), value)
    monkeypatch.setenv("MUSTER_CA", str(operator.box.ca_pem))
    assert fleet("import", operator.batch(1)).exit_code == 0
    assert list(operator.devices()) == ["ak00000"]


def test_a_netrc_does_not_replace_the_signature(operator, monkeypatch):
    netrc = operator.folder / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert operator("import", operator.batch(1)).exit_code == 0
