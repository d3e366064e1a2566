"""firmware/boards.toml and partition tables, judged by esptool."""

import pytest
from esptool.targets import CHIP_DEFS

from tools.board.firmware import PARTITIONS, firmware, partition_table
from tools.common import boards

TYPES = boards.board_types()
ESP32, S3 = TYPES["ESP32_GENERIC"], TYPES["ESP32_GENERIC_S3"]
# MicroPython 1.25 and earlier, on 4 MB.
OLD = (*PARTITIONS, ("vfs", 1, 0x81, 0x200000, 0x1F0000))


def test_the_firmware_goes_where_esptool_says_that_the_bootloader_is():
    assert {t.offset for t in TYPES.values()} == {0x0, 0x1000, 0x2000}
    for board in TYPES.values():
        assert board.offset == CHIP_DEFS[board.chip].BOOTLOADER_FLASH_OFFSET, board.name


def test_every_chip_that_has_wifi_is_there_and_none_without():
    chips = {board.chip for board in TYPES.values()}
    assert chips == {"esp32", "esp32s2", "esp32s3", "esp32c3", "esp32c5", "esp32c6", "esp32p4"}
    assert all(board.wifi for board in TYPES.values() if board.chip == "esp32p4")


@pytest.mark.parametrize("name", TYPES)
def test_a_firmware_is_known_for_its_board_and_no_other_chip(name):
    board = TYPES[name]
    data = firmware(board)
    assert [partition.name for partition in boards.check_firmware(data, board)] == [
        row[0] for row in PARTITIONS
    ]
    other = ESP32 if board.chip != "esp32" else S3
    with pytest.raises(ValueError, match=f"it is for {CHIP_DEFS[board.chip].CHIP_NAME}; expected"):
        boards.check_firmware(data, other)


def test_what_is_no_firmware_is_said():
    for data in (b"", b"{}", bytes(100000), firmware(ESP32)[:5000]):
        with pytest.raises(ValueError, match="it is no ESP32 firmware; expected ESP32_GENERIC"):
            boards.check_firmware(data, ESP32)
    torn = bytearray(firmware(ESP32))
    torn[0x7000 + 8] ^= 1
    with pytest.raises(ValueError, match="its partition table is damaged"):
        boards.check_firmware(bytes(torn), ESP32)
    with pytest.raises(ValueError, match="there is no partition table in it"):
        boards.check_firmware(firmware(ESP32, table=b"\xff" * 64), ESP32)


@pytest.mark.parametrize("megabytes", [4, 8, 16, 32])
def test_since_1_26_the_file_system_ends_where_the_flash_does(megabytes):
    partitions = boards.table_in(firmware(S3), S3.offset)
    region = boards.filesystem(partitions, megabytes * boards.MB)
    assert region == (0x200000, megabytes * boards.MB - 0x200000)


def test_until_1_25_it_is_the_partition_that_is_called_vfs():
    partitions = boards.table_in(firmware(ESP32, table=partition_table(OLD)), ESP32.offset)
    assert boards.filesystem(partitions, 16 * boards.MB) == (0x200000, 0x1F0000)


def test_a_flash_that_is_too_small_is_said():
    partitions = boards.table_in(firmware(ESP32), ESP32.offset)
    with pytest.raises(ValueError, match="no room for a file system on 2 MB of flash"):
        boards.filesystem(partitions, 2 * boards.MB)


def test_a_table_behind_a_larger_bootloader_is_found():
    data = b"\xff" * 0x9000 + partition_table(PARTITIONS)
    assert boards.table_in(b"\xe9".ljust(0x9000, b"\xff") + partition_table(PARTITIONS))[0].name == "nvs"
    assert boards.table_in(data[0x8000:], 0x8000)[0].name == "nvs"


def test_new_firmware_leaves_what_devices_keep_in_nvs():
    data = firmware(ESP32, app=b"app")
    parts = boards.firmware_parts(data, ESP32.offset)
    written = {address for start, content in parts for address in range(start, start + len(content))}
    assert not written & set(range(0x9000, 0x10000))
    assert parts[-1] == (0x10000, b"app")
    assert b"".join(content for _, content in parts) == data[:0x8000] + b"app"


@pytest.mark.parametrize(
    "row",
    [
        'chip = "esp32"\noffset = 0\nfirmware = "X"',
        'chip = "esp32"\noffset = 0\nfirmware = "X"\nflash = []',
        'chip = "esp32"\noffset = 0\nfirmware = "X"\nflash = 4',
        'chip = "esp32"\noffset = "0x0"\nfirmware = "X"\nflash = [4]',
        'chip = "esp32"\nfirmware = "X"\nflash = [4]',
        'chip = "esp32"\noffset = 0\nfirmware = "X"\nflash = [4]\npsram = 8',
    ],
)
def test_a_row_of_ones_own_that_is_wrong_is_said(tmp_path, monkeypatch, row):
    monkeypatch.setattr(boards, "BOARDS", tmp_path / "boards.toml")
    boards.BOARDS.write_text(f"[MINE]\n{row}\n")
    with pytest.raises(ValueError, match=r"the row MINE of .*boards\.toml is wrong: expected chip, offset"):
        boards.board_types()


def test_boards_that_are_no_toml_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(boards, "BOARDS", tmp_path / "boards.toml")
    boards.BOARDS.write_text("[MINE\n")
    with pytest.raises(ValueError, match=r"boards\.toml is not TOML: "):
        boards.board_types()
