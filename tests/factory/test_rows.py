"""What spreadsheets do to CSV files: put right where it is certain what was meant, else refused."""

import io

import pytest

from tools.common import rows


def read(content, optional=("label",)):
    found = []
    raw = content if isinstance(content, bytes) else content.encode()
    unused = rows.read(
        io.BytesIO(raw),
        "d.csv",
        ("deviceNo", "sk"),
        optional,
        lambda _, row: found.append(row),
        words=("label",),
    )
    return [tuple(row.values()) for row in found], unused


def refused(content):
    with pytest.raises(ValueError, match=r"d\.csv") as e:
        read(content)
    return str(e.value)


@pytest.mark.parametrize(
    "cell",
    [
        "'0012345",
        '="0012345"',
        '"=""0012345"""',
        " 0012345\t",
        "\u00a00012345\u00a0",
        "\u200b0012345\ufeff",
        "\u30000012345",
        "００１２３４５",
    ],
)
def test_what_is_certain_is_taken(cell):
    assert read(f"deviceNo,sk\n{cell},key\n")[0] == [("0012345", "key")]


@pytest.mark.parametrize(
    "cell", ["音箱（１）", "it's", "1E10", "AI-2611-00001", "26E-00001", "1.25", "0012345", "2.0.1"]
)
def test_what_no_spreadsheet_made_stays(cell):
    assert read(f"deviceNo,sk\n{cell},key\n")[0] == [(cell, "key")]


def test_words_are_not_taken_for_numbers():
    assert read("deviceNo,sk,label\nA,k,1.0\nB,k,'90s\n")[0] == [("A", "k", "1.0"), ("B", "k", "'90s")]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        *((number, "is " + number) for number in ("8.9E+19", "1.00E+11", "1e-05", "89012345678.0")),
        *((number, "is " + number) for number in ("89012345678.00", "#NAME?", "#N/A", "########")),
        ('"89,012,345"', "is 89,012,345"),
        ('"8,9E+19"', "is 8,9E+19"),
        ("12\u200b34", "has a character that nobody sees, U+200B"),
        ("12\u00a034", "has a character that nobody sees, U+00A0"),
        ('"12\n34"', "has a character that nobody sees, U+000A"),
    ],
)
def test_what_is_not_certain_is_refused_with_its_cell(cell, said):
    told = refused(f"备注,deviceNo,sk\n,A,key\n,,\n,{cell},key\n")
    assert f"line 4: cell B4 (deviceNo) {said}" in told
    assert "nobody sees" in told or "Format the column as text" in told


def test_no_key_is_shown():
    told = refused("deviceNo,sk\nA,8.9E+19\n")
    assert "cell B2 (sk) is ***" in told and "8.9" not in told


def test_the_27th_column_is_aa():
    assert "cell AB2 (sk)" in refused("x" + ",x" * 25 + ",deviceNo,sk\n" + "," * 26 + "A,1E+10\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_separators_and_what_is_empty(encoding, separator, capsys):
    lines = ["编号,deviceNo,sk,,", ",,,,", "客厅,A1,k1,,,", "", "卧室,A2,k2,,", " ,,,,"]
    text = "\r\n".join(lines).replace(",", separator)
    assert read(text.encode(encoding)) == ([("A1", "k1"), ("A2", "k2")], ["编号"])
    assert capsys.readouterr().err == "Columns of d.csv that are not used: 编号.\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("deviceNo,sk\n音箱,k\n".encode("gb18030"), "cell A2 (deviceNo) is neither ASCII nor UTF-8"),
        (b"deviceNo,sk\nA,k\ncaf\xe9,k\n", "line 3 of d.csv is not UTF-8: save the file as CSV UTF-8"),
        ("deviceNo,sk\nA,k\n".encode("utf-16")[:-1], "not UTF-8"),
        (b"PK\x03\x04 and so on", "d.csv is a workbook and no CSV: save it as CSV UTF-8"),
        ("deviceNo,sk,deviceNo\nA,k,B\n", "has the column deviceNo twice"),
        ("A,top-secret\n", "deviceNo and sk are not among them"),
        ("", "deviceNo and sk are not among them"),
        ("deviceNo,sk\n,\n", "no devices under it"),
    ],
)
def test_a_file_that_is_refused(content, said):
    told = refused(content)
    assert said in told and "secret" not in told


def test_a_column_that_may_be_misspelt_is_named_with_what_it_may_be(capsys):
    read("deviceNo,sk,Lable,lable,SK2,a\x1b[31m,label2\nA,k,,,,,\n")
    told = capsys.readouterr().err
    assert "Lable (did you mean label?), lable (did you mean label?), SK2, 'a\\x1b[31m'" in told
    read("deviceNo,sk,cmie,deviceN0\nA,k,,\n", optional=("cmei",))
    assert "cmie (did you mean cmei?), deviceN0." in capsys.readouterr().err


def test_of_many_wrong_rows_the_first_are_shown():
    told = refused("deviceNo,sk\n" + "1E+10,k\n" * 500)
    assert "500 rows are wrong" in told and told.count("\n") == 21 and "and 480 more" in told
