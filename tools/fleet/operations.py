"""What each command does with its devices, as generators of outcomes.

A generator raises Failed when the whole run has to end. Devices that it has said nothing of
by then were not taken, unless the Failed is in doubt.
"""

from collections.abc import Iterator

from muster.clouds.baidu import MAX_IMPORT, Baidu
from muster.clouds.coze import Coze
from muster.clouds.feishu import Feishu

from .journal import DONE, FAILED, SENT, UNCONFIRMED, Outcome, Row
from .remedies import advice, fatal, sentence, strange
from .retry import TROUBLE, Caller, Failed, uncertain

_MALFORMED, _DUPLICATE, _ABSENT = "5", "7", "11"  # Baidu's codes
_EXISTS = "1785010"  # Feishu's


def refused(row: Row, failed: Failed) -> Outcome:
    """The outcome for a device with which only this one call failed; else raises."""
    error = failed.error
    if fatal(error):
        raise failed
    # In doubt it stays "sent", and the next run finds out.
    state = SENT if failed.doubt else FAILED
    return Outcome(row, state, sentence(error), failed.code, strange=strange(error))


class Import:
    """Devices into Baidu, up to 1000 in a call."""

    size = MAX_IMPORT
    gives: tuple[str, ...] = ()

    def __init__(self, call: Caller, cloud: Baidu) -> None:
        self._call, self._cloud = call, cloud

    def send(self, rows: list[Row]) -> Iterator[Outcome]:
        left, doubt = rows, False
        found: list[Outcome] = []

        def attempt() -> None:
            nonlocal left, doubt
            if doubt:
                # An answer was lost. What has arrived shall not be sent again.
                seen = [(row, self.look(row)) for row in left]
                found.extend(outcome for _, outcome in seen if outcome)
                left, doubt = [row for row, outcome in seen if not outcome], False
            if left:
                try:
                    self._cloud.import_devices([(row.known["ak"], row.known["sk"]) for row in left])
                except TROUBLE as e:
                    doubt = uncertain(e)
                    raise

        failed = None
        try:
            self._call(attempt)
        except Failed as e:
            failed = Failed(e.error, doubt)
        yield from found
        if failed is None:
            yield from (Outcome(row, DONE, "imported") for row in left)
        elif failed.code in (_MALFORMED, _DUPLICATE):
            yield from self._blame(left, failed)
        elif fatal(failed.error):
            raise failed
        else:
            yield from (refused(row, failed) for row in left)

    def _blame(self, rows: list[Row], failed: Failed) -> Iterator[Outcome]:
        """Finds the devices for which all were refused, and imports the others."""
        try:
            if len(rows) == 1:
                yield self._blamed(rows[0], failed)
            elif failed.code == _DUPLICATE and self.look(rows[0]) and self.look(rows[-1]):
                # Probably all are there, as when a journal was lost: asking takes less than dividing.
                found = [(row, self.look(row)) for row in rows]
                yield from (outcome for _, outcome in found if outcome)
                absent = [row for row, outcome in found if not outcome]
                if absent:
                    yield from self.send(absent)
            else:
                middle = len(rows) // 2
                yield from self.send(rows[:middle])
                yield from self.send(rows[middle:])
        except Failed as e:
            # Nothing says that a refused import has imported none.
            raise Failed(e.error, True) from None

    def _blamed(self, row: Row, failed: Failed) -> Outcome:
        if failed.code != _DUPLICATE:
            return refused(row, failed)
        note = f"Baidu says that this ak is there, and does not show it. {advice(failed.error)}"
        return self.look(row) or Outcome(row, FAILED, note, _DUPLICATE)

    def look(self, row: Row) -> Outcome | None:
        """What get() says of it; None if it is not there."""
        try:
            device = self._call(self._cloud.get, row.known["ak"])
        except Failed as e:
            if e.code == _ABSENT:
                return None
            raise Failed(e.error, True) from e
        return _compared(row, device.get("sk"))


def _compared(row: Row, key: object) -> Outcome:
    """A device that is there: with this row's key, with another, or nobody can tell."""
    if key == row.known["sk"]:
        return Outcome(row, DONE, "was there with this sk")
    # A key may be shown as stars, or not at all.
    if not isinstance(key, str) or not key or "*" in key:
        return Outcome(
            row,
            UNCONFIRMED,
            "exists, key unconfirmed: Baidu does not show its sk. See whether the device can call.",
            _DUPLICATE,
        )
    return Outcome(
        row,
        FAILED,
        "a device with this ak is there, with another sk. Give this one an ak that no other has, or "
        "correct its sk in the input.",
        _DUPLICATE,
    )


class Change:
    """One of Baidu's devices at a time: enable, disable or delete."""

    size = 1
    gives: tuple[str, ...] = ()

    def __init__(self, call: Caller, cloud: Baidu, command: str) -> None:
        self._call, self._cloud, self._command = call, cloud, command
        self._change = getattr(cloud, command)

    def send(self, rows: list[Row]) -> Iterator[Outcome]:
        for row in rows:
            try:
                self._call(self._change, row.known["ak"])
            except Failed as e:
                # An answer was lost, and the second attempt finds nothing left to delete.
                if self._command == "delete" and e.code == _ABSENT and e.doubt:
                    yield Outcome(row, DONE, "deleted")
                else:
                    yield refused(row, e)
            else:
                yield Outcome(row, DONE, self._command + "d")

    def look(self, row: Row) -> Outcome | None:
        """Whether it happened to a device of which nobody knows; None if it did not."""
        try:
            banned = self._call(self._cloud.get, row.known["ak"]).get("state") == "BAN"
        except Failed as e:
            if e.code != _ABSENT:
                raise Failed(e.error, True) from e
            happened = self._command == "delete"
        else:
            happened = self._command != "delete" and banned == (self._command == "disable")
        return Outcome(row, DONE, self._command + "d") if happened else None


class Register:
    """Device records in Feishu, one in a call. One that is sent twice "exists"."""

    size = 1
    look = None
    gives = ("device_record_id",)

    def __init__(self, call: Caller, cloud: Feishu) -> None:
        self._call, self._cloud = call, cloud

    def send(self, rows: list[Row]) -> Iterator[Outcome]:
        for row in rows:
            try:
                record = self._call(lambda known: self._cloud.create_device(**known), row.known)
            except Failed as e:
                if e.code == _EXISTS:
                    # After a lost answer it is ours, and its record's id went with the answer.
                    yield Outcome(row, DONE, "registered" if e.doubt else "was there", _EXISTS)
                else:
                    yield refused(row, e)
            else:
                yield Outcome(row, DONE, "registered", record=record)


class Bind:
    """Devices to a channel of Coze's. Binding one again changes nothing."""

    look = None
    gives: tuple[str, ...] = ()

    def __init__(
        self, call: Caller, cloud: Coze, connector_id: str, key: str, user_id: str | None, size: int
    ) -> None:
        self._call, self._cloud = call, cloud
        self._where = connector_id, key, user_id
        self.size = size

    def send(self, rows: list[Row]) -> Iterator[Outcome]:
        connector_id, key, user_id = self._where
        pairs = [(row.known["label"], row.known["value"]) for row in rows]
        try:
            self._call(self._cloud.bind_devices, connector_id, pairs, key, user_id)
        except Failed as e:
            yield from [refused(row, e) for row in rows]
        else:
            yield from (Outcome(row, DONE, "bound") for row in rows)


Work = Import | Change | Register | Bind
