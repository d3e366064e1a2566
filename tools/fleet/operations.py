"""What each command on a batch does with its devices: what it reads of them, and how it sends them."""

from collections.abc import Callable, Iterator
from typing import Any

from muster.clouds import baidu, feishu

from .journal import DONE, FAILED, NOT_SENT, SENT, UNCONFIRMED, BatchDevice, DeviceOutcome
from .remedies import fatal, remedy, strange
from .retry import CallFailed, Retrier
from .session import FAULTS, uncertain

_MALFORMED, _DUPLICATE, _ABSENT = "5", "7", "11"  # Baidu's codes
_EXISTS = "1785010"  # Feishu's


class Operation:
    """A command on devices of one cloud, some in a call.

    command, cloud     the command's name; the cloud that its profile is for
    columns, optional  those that must be, and may be, in the header of the CSV
    shown_by           the columns by which a person knows a device, the best first
    gives              what its outcomes have besides, for programs
    size               devices in one call
    """

    command, cloud = "", "baidu"
    columns: tuple[str, ...] = ("ak",)
    optional: tuple[str, ...] = ()
    shown_by: tuple[str, ...] = ("ak",)
    gives: tuple[str, ...] = ()
    size = 1
    # What the cloud says of a device of which nobody knows whether it was sent, None if it was not; in place
    # of a function None where the cloud cannot be asked.
    look: Callable[[BatchDevice], DeviceOutcome | None] | None = None
    # A row's device: its names, none of which another has, and what is known. Raises ValueError.
    device: Callable[[dict[str, str]], tuple[list[str], dict[str, Any]]]
    # Yields what becomes of the devices. Raises CallFailed when the whole run has to end: devices that it has
    # said nothing of by then were not taken, unless the CallFailed is in doubt.
    send: Callable[[list[BatchDevice]], Iterator[DeviceOutcome]]

    def __init__(self, call: Retrier, cloud: Any) -> None:
        self._call, self._cloud = call, cloud

    def look_up(self, devices: list[BatchDevice]) -> Iterator[DeviceOutcome]:
        """Yields what the cloud says of the devices; "not sent" is one that is not there."""
        assert self.look
        for device in devices:
            yield self.look(device) or DeviceOutcome(device, NOT_SENT)


def refused(device: BatchDevice, failed: CallFailed) -> DeviceOutcome:
    """The outcome for a device with which only this one call failed; else raises."""
    if fatal(failed.error):
        raise failed
    # In doubt it stays "sent", and the next run finds out.
    state = SENT if failed.doubt else FAILED
    return DeviceOutcome(device, state, str(failed), failed.code, strange=strange(failed.error))


def in_doubt(failed: CallFailed) -> CallFailed:
    return CallFailed(failed.error, True, str(failed))


class ImportDevices(Operation):
    """Devices into Baidu, up to 1000 in a call."""

    command, columns, size = "import", ("ak", "sk"), baidu.MAX_IMPORT

    @classmethod
    def device(cls, texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
        baidu.row(texts["ak"], texts["sk"])
        return [texts["ak"]], texts

    def send(self, devices: list[BatchDevice]) -> Iterator[DeviceOutcome]:
        left, doubt = devices, False
        found: list[DeviceOutcome] = []

        def attempt() -> None:
            nonlocal left, doubt
            if doubt:
                # An answer was lost. What has arrived shall not be sent again.
                there, left = self._sort(left)
                found.extend(there)
                doubt = False
            if left:
                try:
                    self._cloud.import_devices([(one.known["ak"], one.known["sk"]) for one in left])
                except FAULTS as e:
                    doubt = uncertain(e)
                    raise

        failed = None
        try:
            self._call(attempt)
        except CallFailed as e:
            failed = CallFailed(e.error, doubt, str(e))
        yield from found
        if failed is None:
            yield from (DeviceOutcome(device, DONE, "imported") for device in left)
        elif failed.code in (_MALFORMED, _DUPLICATE):
            yield from self._blame(left, failed)
        else:
            yield from [refused(device, failed) for device in left]

    def _sort(self, devices: list[BatchDevice]) -> tuple[list[DeviceOutcome], list[BatchDevice]]:
        """The outcomes of those that are there, and those that are not."""
        looks = [(device, self.look(device)) for device in devices]
        return [seen for _, seen in looks if seen], [device for device, seen in looks if not seen]

    def _blame(self, devices: list[BatchDevice], failed: CallFailed) -> Iterator[DeviceOutcome]:
        """Finds the devices for which all were refused, and imports the others."""
        try:
            if len(devices) == 1:
                yield self._blamed(devices[0], failed)
            elif failed.code == _DUPLICATE and self.look(devices[0]) and self.look(devices[-1]):
                # Probably all are there, as when a journal was lost: asking takes less than dividing.
                there, absent = self._sort(devices)
                yield from there
                if absent:
                    yield from self.send(absent)
            else:
                middle = len(devices) // 2
                yield from self.send(devices[:middle])
                yield from self.send(devices[middle:])
        except CallFailed as e:
            # Nothing says that a refused import has imported none.
            raise in_doubt(e) from None

    def _blamed(self, device: BatchDevice, failed: CallFailed) -> DeviceOutcome:
        if failed.code != _DUPLICATE:
            return refused(device, failed)
        note = f"Baidu says that this ak is there, and does not show it. {remedy(failed.error)}"
        return self.look(device) or DeviceOutcome(device, FAILED, note, _DUPLICATE)

    def look(self, device: BatchDevice) -> DeviceOutcome | None:
        try:
            key = self._call(self._cloud.get, device.known["ak"]).get("sk")
        except CallFailed as e:
            if e.code == _ABSENT:
                return None
            raise in_doubt(e) from e
        if key == device.known["sk"]:
            return DeviceOutcome(device, DONE, "was there with this sk")
        # A key may be shown as stars, or not at all.
        if not isinstance(key, str) or not key or "*" in key:
            state = UNCONFIRMED
            note = "exists, key unconfirmed: Baidu does not show its sk. See whether the device can call."
        else:
            state = FAILED
            note = (
                "a device with this ak is there, with another sk. Give this one an ak that no other has, or "
                "correct its sk in the input."
            )
        return DeviceOutcome(device, state, note, _DUPLICATE)


class ChangeDevices(Operation):
    """One of Baidu's devices at a time."""

    @classmethod
    def device(cls, texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
        baidu.row(texts["ak"], "-")  # what could not be imported cannot be there
        return [texts["ak"]], texts

    def send(self, devices: list[BatchDevice]) -> Iterator[DeviceOutcome]:
        for device in devices:
            try:
                self._call(getattr(self._cloud, self.command), device.known["ak"])
            except CallFailed as e:
                # An answer was lost, and the second attempt finds nothing left to delete.
                if self.command == "delete" and e.code == _ABSENT and e.doubt:
                    yield self._done(device)
                else:
                    yield refused(device, e)
            else:
                yield self._done(device)

    def look(self, device: BatchDevice) -> DeviceOutcome | None:
        try:
            banned = self._call(self._cloud.get, device.known["ak"]).get("state") == "BAN"
        except CallFailed as e:
            if e.code != _ABSENT:
                raise in_doubt(e) from e
            happened = self.command == "delete"
        else:
            happened = self.command != "delete" and banned == (self.command == "disable")
        return self._done(device) if happened else None

    def _done(self, device: BatchDevice) -> DeviceOutcome:
        return DeviceOutcome(device, DONE, self.command + "d")


class EnableDevices(ChangeDevices):
    command = "enable"


class DisableDevices(ChangeDevices):
    command = "disable"


class DeleteDevices(ChangeDevices):
    command = "delete"


class RegisterDevices(Operation):
    """Device records in Feishu, one in a call. One that is sent twice "exists"."""

    command, cloud = "register", "feishu"
    columns = ("device_system", "device_ownership", "device_status")
    optional = shown_by = feishu.IDENTITY
    gives = ("device_record_id",)

    @classmethod
    def device(cls, texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
        for name in cls.columns:
            if not texts[name].isdecimal():
                raise ValueError(f"{name} is a number, unlike {texts[name]!r}")
        numbers = {name: int(texts[name]) for name in cls.columns}
        body = feishu.record(**numbers, **{name: texts.get(name, "") for name in cls.optional})
        # A MAC may be that of a dock or an adapter, and go from one computer to the next.
        own = [name for name in feishu.IDENTITY if name in body and name != "mac_address"]
        return [f"{body['device_system']}/{name}/{body[name]}" for name in own], body

    def send(self, devices: list[BatchDevice]) -> Iterator[DeviceOutcome]:
        for device in devices:
            try:
                record = self._call(lambda known: self._cloud.create_device(**known), device.known)
            except CallFailed as e:
                if e.code == _EXISTS:
                    # After a lost answer it is ours, and its record's id went with the answer.
                    yield DeviceOutcome(device, DONE, "registered" if e.doubt else "was there", _EXISTS)
                else:
                    yield refused(device, e)
            else:
                yield DeviceOutcome(device, DONE, "registered", record=record)


class BindDevices(Operation):
    """Devices to a channel of Coze's. Binding one again changes nothing."""

    command, cloud = "bind", "coze"
    columns, shown_by = ("label", "value"), ("value",)

    def __init__(self, call: Retrier, cloud: Any, channel: tuple[str, str, str | None], size: int) -> None:
        super().__init__(call, cloud)
        self.size, self._channel = size, channel

    @classmethod
    def device(cls, texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
        for name in cls.columns:
            if not texts[name]:
                raise ValueError(f"{name} is empty")
        return [texts["value"]], texts

    def send(self, devices: list[BatchDevice]) -> Iterator[DeviceOutcome]:
        connector_id, key, user_id = self._channel
        pairs = [(one.known["label"], one.known["value"]) for one in devices]
        try:
            self._call(self._cloud.bind_devices, connector_id, pairs, key, user_id)
        except CallFailed as e:
            yield from [refused(device, e) for device in devices]
        else:
            yield from (DeviceOutcome(device, DONE, "bound") for device in devices)


OPERATIONS: dict[str, type[Operation]] = {
    one.command: one
    for one in (ImportDevices, EnableDevices, DisableDevices, DeleteDevices, RegisterDevices, BindDevices)
}
