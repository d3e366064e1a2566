"""The clouds in a box, in a thread beside the tests or the command that wants them."""

import contextlib
import secrets
import sqlite3
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import filelock

from tools.common.certificates import keep_root

from .app import make_app
from .codes import FEISHU_SCOPE
from .coze import oauth
from .devices import Device
from .misbehave import Misbehaviour, Switch
from .serving import is_loopback, listening, own_addresses, serving
from .state import State
from .tls import Kind, server_contexts
from .traffic import OnRequest

# Every name below localhost is this computer. This one shows the good certificate whatever the box was told,
# so that it can be told otherwise: curl and browsers find it without being told where it is.
STEADY = "box.localhost"


class Cloud:
    """The clouds in a box, for as long as a `with` block lasts.

    Args:
        devices: what to import: `Device`s, or dicts of their fields.
        data: a folder that keeps the CA and the state from one start to the next; without it
            the state is in memory and the CA in a temporary folder.
        port: TCP port; 0 takes a free one.
        host: the address to listen on beside localhost; 0.0.0.0 are all of this computer. The certificate
            names them.
        issued_days_ago: the age of the server's certificate, in days.
        on_call: is handed each call's row when the call is over, in the server's thread.
        now: tells the clouds the Unix time.
        release: a folder of `python3 -m tools release`, offered at /release/.
        on_request: is handed each call's method, path, header and body before it is answered, in the
            server's thread. They hold secrets.

    Attributes:
        url: such as `https://localhost:34567`.
        urls: that, and those at which other computers and boards reach it.
        misbehave_url: of /misbehave, with the good certificate whatever the others are shown.
        token: what /misbehave wants, as `Authorization: Bearer TOKEN`, where others reach it; else None.
        ca_pem: the path of the CA's certificate.
        ca_der: the CA's certificate as DER, for the board.

    Raises:
        OSError: the port is taken, the address is not this machine's, or the folder cannot be used.
        ValueError: the folder's CA is damaged, or a device is wrong.
    """

    url: str
    urls: list[str]
    misbehave_url: str
    token: str | None
    ca_pem: Path
    ca_der: bytes

    def __init__(
        self,
        devices: Iterable[Device | dict[str, Any]] = (),
        data: str | PathLike[str] | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
        issued_days_ago: float = 1,
        on_call: Callable[[dict[str, Any]], None] = lambda row: None,
        now: Callable[[], float] = time.time,
        release: Path | None = None,
        on_request: OnRequest = lambda *request: None,
    ) -> None:
        self._devices = [device if isinstance(device, Device) else Device(**device) for device in devices]
        self._data, self._port, self._host = data, port, host
        self._issued_days_ago, self._on_call, self._now = issued_days_ago, on_call, now
        self._release, self._on_request = release, on_request
        self._switch = Switch()

    def __enter__(self) -> "Cloud":
        with contextlib.ExitStack() as stack:
            # First of all: without its port, it leaves nothing behind.
            sockets = stack.enter_context(listening(self._host, self._port))
            folder = stack.enter_context(_folder(self._data))
            self._state = stack.enter_context(_state(folder if self._data else None, self._now))
            self._state.products.add(self._devices)

            reached = own_addresses() if self._host == "0.0.0.0" else [self._host]
            names = list(dict.fromkeys(["localhost", "127.0.0.1", "::1", STEADY, *reached]))
            root = keep_root(folder, "muster cloud in a box")
            self.ca_pem, self.ca_der = folder / "ca.pem", root.der
            tls = self._tls(server_contexts(root, names, self._issued_days_ago))

            port = sockets[0].getsockname()[1]
            others = [name for name in reached if not is_loopback(name)]
            self.urls = [_url(name, port) for name in ("localhost", *others)]
            self.url = self.urls[0]
            self.misbehave_url = _url(STEADY, port) + "/misbehave"
            self.token = None if is_loopback(self._host) else secrets.token_hex(16)

            told = self._on_call, self._on_request
            app = make_app(self._state, self._switch, names, *told, self._release, self.token)
            stack.enter_context(serving(app, sockets, tls))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _tls(self, context_of: Callable[[Kind], ssl.SSLContext]) -> ssl.SSLContext:
        # OpenSSL asks it in every handshake, with no name when the caller gave none.
        def choose(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
            connection.context = context_of("good" if name == STEADY else self._switch.for_handshake())

        context = context_of("good")
        context.sni_callback = choose
        return context

    def add_device(self, **device: Any) -> None:
        """Imports one more device; takes the fields of `Device`."""
        self._state.products.add([Device(**device)])

    def add_ai_token(self, token: str, product_id: str) -> None:
        """Lets a product's devices call China Mobile's language model with this AI token."""
        self._state.products.add_ai_token(token, product_id)

    def ai_tokens(self) -> list[tuple[str, str]]:
        """Pairs of productId and AI token, one or more for each product: one without is given one."""
        return self._state.products.ai_tokens()

    def product_key(self, product_id: str) -> str | None:
        """The key of a product; None if the platform does not know it."""
        product = self._state.products.product(product_id)
        return product["product_key"] if product else None

    def device(self, product_id: str, device_no: str) -> dict[str, Any] | None:
        """What the platform keeps of a device, such as device_id and device_secret."""
        return self._state.products.device(product_id, device_no)

    def add_coze_app(self, client_id: str, key_id: str, public_key: str, may_bind: bool = False) -> None:
        """Registers a key of a Coze OAuth app.

        Args:
            client_id: the app's id, the JWT's `iss`.
            key_id: the public key's fingerprint, the JWT's `kid`.
            public_key: PEM.
            may_bind: its tokens have the permission bindConnectorConfig.

        Raises:
            ValueError: it is not an RSA public key.
        """
        oauth.check_public_key(public_key)
        self._state.coze.add_app(client_id, key_id, public_key, may_bind)

    def new_coze_app(self, may_bind: bool = False) -> dict[str, str]:
        """Makes a Coze OAuth app with a key of 2048 bits, as Coze's console does.

        Returns: client_id, key_id and private_key (PEM, PKCS#8).
        """
        app = oauth.new_app()
        self.add_coze_app(app["client_id"], app["key_id"], app.pop("public_key"), may_bind)
        return app

    def add_coze_token(self, token: str, expires: float | None = None, may_bind: bool = False) -> None:
        """Accepts a ready Coze token, such as `pat_...`, until a Unix time or for ever."""
        self._state.coze.add_token(token, expires, may_bind)

    def add_coze_channel(self, connector_id: str, key: str | None = "device_id") -> None:
        """Adds a channel to which devices are bound under `key`; without one, Coze does not allow it yet."""
        self._state.coze.add_channel(connector_id, key)

    def add_baidu_account(self, fc: str, pk: str, quota: int = 100_000) -> dict[str, str]:
        """Opens an account with Baidu, with one vendor and one product of it, as Baidu's console does.

        Args:
            fc: the vendor; it has one account.
            pk: the product.
            quota: how many devices may ever be imported.

        Returns: access_key_id, secret_access_key, fc and pk.

        Raises:
            ValueError: the vendor has an account already.
        """
        account = self._state.baidu.add_account(fc, pk, quota)
        return {name: account[name] for name in ("access_key_id", "secret_access_key", "fc", "pk")}

    def baidu_devices(self) -> Iterator[dict[str, Any]]:
        """Every device that Baidu has, in the order of import: fc, pk, ak, sk and state.

        And `received`, how many imports its ak was in (those that the box was told to answer
        instead of reading them are not counted), and `imported`, how many of them succeeded.
        """
        return self._state.baidu.devices()

    def use_baidu_device(self, fc: str, ak: str) -> None:
        """Makes a device ACTIVATED, as its own first call to Baidu's voice services does."""
        self._state.baidu.activate(fc, ak)

    def add_feishu_app(
        self, scopes: Iterable[str] = (FEISHU_SCOPE,), token_s: int = 7200, per_second: int = 10
    ) -> dict[str, str]:
        """Makes an app of Feishu's one tenant, as Feishu's console does.

        Args:
            scopes: its permissions; without the default one it cannot create records.
            token_s: life of its tokens, in seconds.
            per_second: its calls that Feishu takes in a second.

        Returns: app_id and app_secret.
        """
        app = self._state.feishu.add_app(scopes, token_s, per_second)
        return {name: app[name] for name in ("app_id", "app_secret")}

    def feishu_records(self) -> Iterator[dict[str, Any]]:
        """Every device record, in the order of creation: its id, when it was created, its fields."""
        return self._state.feishu.records()

    def state(self) -> dict[str, Any]:
        """What GET /state answers."""
        return {**self._state.summary(), "misbehaviour": self._switch.shown()}

    def calls(self, path: str | None = None) -> list[dict[str, Any]]:
        """Every call that arrived, oldest first; with a path, only those to it."""
        return self._state.calls(path)

    def misbehave(self, **how: Any) -> None:
        """Gets things wrong from now on; takes the fields of `Misbehaviour`."""
        self._switch.set(Misbehaviour(**how))

    def behave(self) -> None:
        self._switch.set(None)


def _url(name: str, port: int) -> str:
    return f"https://[{name}]:{port}" if ":" in name else f"https://{name}:{port}"


@contextlib.contextmanager
def _folder(data: str | PathLike[str] | None) -> Iterator[Path]:
    """The folder for the CA and the state, which is this box's alone; a temporary one if none is named."""
    if data is None:
        with tempfile.TemporaryDirectory(prefix="muster-cloud-") as name:
            yield Path(name)
        return
    folder = Path(data)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = filelock.FileLock(folder / "lock").acquire(timeout=0)
    except filelock.Timeout:
        what = "is in use by another box; end that one, or choose another folder with --data."
        raise OSError(f"{folder} {what}") from None
    with lock:
        yield folder


@contextlib.contextmanager
def _state(folder: Path | None, now: Callable[[], float]) -> Iterator[State]:
    """The state in a folder, or in memory."""
    file = folder / "cloud.sqlite3" if folder else None
    try:
        if file:
            file.touch(mode=0o600)  # it holds the devices' secrets
        state = State(file or ":memory:", now)
    except (OSError, sqlite3.Error) as error:
        raise OSError(f"{file} cannot be used to keep the state: {error}.") from None
    with contextlib.closing(state):
        yield state
