"""The box as a program: in a thread beside the tests, or in the foreground for a person."""

import contextlib
import errno
import os
import signal
import socket
import sqlite3
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from os import PathLike
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any

import click
import uvicorn
from rich.console import Console
from rich.markup import escape
from uvicorn.protocols.http.h11_impl import H11Protocol

from tools.common.certificates import keep_root

from .accounts import keep_profile, write_ai_tokens
from .app import make_app, told
from .coze import oauth
from .devices import Device, read_devices
from .feishu.answer import SCOPE
from .misbehave import Misbehaviour, Switch
from .page import GOOD_CODES
from .state import State
from .tls import server_contexts

EXAMPLE_PRODUCT = "1234567890123"
EXAMPLE_DEVICE = "MUSTER-0001"
EXAMPLE_CHANNEL = "1"


class Protocol(H11Protocol):
    """uvicorn's HTTP, with the connection within reach of a misbehaviour."""

    def connection_made(self, transport: Any) -> None:
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)

    def shutdown(self) -> None:
        # A TLS connection that is closed waits for the other side's goodbye, up to 30 s.
        self.transport.abort()


class Cloud:
    """The clouds in a box, for as long as a `with` block lasts.

    Args:
        devices: what to import: `Device`s, or dicts of their fields.
        data: a folder that keeps the CA and the state from one start to the next; without it
            the state is in memory and the CA in a temporary folder.
        port: TCP port; 0 takes a free one.
        host: the address to listen on, which the certificate names as well.
        issued_days_ago: the age of the server's certificate, in days.
        on_call: is handed each call's row when the call is over, in the server's thread.

    Attributes:
        url: such as `https://localhost:34567`.
        ca_pem: the path of the CA's certificate.
        ca_der: the CA's certificate as DER, for the board.

    Raises:
        click.ClickException: the port is taken, the address is not this machine's, or the folder is
            another box's.
    """

    url: str
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
    ) -> None:
        self._devices = [device if isinstance(device, Device) else Device(**device) for device in devices]
        self._data, self._port, self._host = data, port, host
        self._issued_days_ago, self._on_call = issued_days_ago, on_call
        self._switch = Switch()

    def __enter__(self) -> "Cloud":
        with contextlib.ExitStack() as stack:
            # First of all: without its port, it leaves nothing behind.
            sockets = listen(self._host, self._port)
            for listener in sockets:
                stack.callback(listener.close)
                # asyncio does it only for sockets that name TCP, which create_server()'s do not;
                # every answer would wait 40 ms for an acknowledgement.
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            folder, file = self._folder(stack)
            try:
                if isinstance(file, Path):
                    file.touch(mode=0o600)  # it holds the devices' secrets
                self._state = State(file)
            except (OSError, sqlite3.Error) as error:
                raise click.ClickException(f"{file} cannot be used to keep the state: {error}.") from None
            stack.callback(self._state.close)
            self._state.add(self._devices)

            names = list(dict.fromkeys(["localhost", "127.0.0.1", "::1", self._host]))
            root = keep_root(folder, "muster cloud in a box")
            self.ca_pem, self.ca_der = folder / "ca.pem", root.der
            self._contexts = server_contexts(root, names, self._issued_days_ago)

            name = "localhost" if self._host == "127.0.0.1" else self._host
            port = sockets[0].getsockname()[1]
            self.url = f"https://[{name}]:{port}" if ":" in name else f"https://{name}:{port}"

            self._start(stack, sockets, names)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _folder(self, stack: contextlib.ExitStack) -> tuple[Path, Path | str]:
        if self._data is None:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-cloud-"))), ":memory:"
        folder = Path(self._data)
        folder.mkdir(parents=True, exist_ok=True)
        _lock(folder, stack)
        return folder, folder / "cloud.sqlite3"

    def _start(self, stack: contextlib.ExitStack, sockets: list[socket.socket], names: list[str]) -> None:
        config = uvicorn.Config(
            make_app(self._state, self._switch, names, self._on_call),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            server_header=False,
            proxy_headers=False,
            ssl_context_factory=lambda config, default: self._tls(),
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=(sockets,), name="cloud", daemon=True)

        def stop() -> None:
            server.should_exit = True
            thread.join()

        thread.start()
        stack.callback(stop)
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the cloud's server ended while it started")
            time.sleep(0.002)

    def _tls(self) -> ssl.SSLContext:
        contexts = self._contexts

        # OpenSSL asks it in every handshake, with no name when the caller gave none.
        def choose(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
            connection.context = contexts[self._switch.for_handshake()]

        context = contexts["good"]
        context.sni_callback = choose
        return context

    def add_device(self, **device: Any) -> None:
        """Imports one more device; takes the fields of `Device`."""
        self._state.add([Device(**device)])

    def add_ai_token(self, token: str, product_id: str) -> None:
        """Lets a product's devices call China Mobile's language model with this AI token."""
        self._state.add_ai_token(token, product_id)

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
        self, scopes: Iterable[str] = (SCOPE,), token_s: int = 7200, per_second: int = 10
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
        return {**self._state.summary(), "misbehaviour": told(self._switch)}

    def calls(self, path: str | None = None) -> list[dict[str, Any]]:
        """Every call that arrived, oldest first; with a path, only those to it."""
        return self._state.calls(path)

    def misbehave(self, **how: Any) -> None:
        """Gets things wrong from now on; takes the fields of `Misbehaviour`."""
        self._switch.set(Misbehaviour(**how))

    def behave(self) -> None:
        self._switch.set(None)


def listen(host: str, port: int) -> list[socket.socket]:
    """Opens the listening sockets: for 127.0.0.1 on ::1 too, since localhost may mean either."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sockets = [socket.create_server((host, port), family=family)]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise click.ClickException(
                f"port {port} of {host} is in use; end what uses it, or choose another with --port."
            ) from None
        raise click.ClickException(f"cannot listen on {host}, port {port}: {error.strerror}.") from None
    if host == "127.0.0.1":
        # Without IPv6 the one socket is all there is to listen on.
        with contextlib.suppress(OSError):
            same = sockets[0].getsockname()[1]
            sockets.append(socket.create_server(("::1", same), family=socket.AF_INET6))
    return sockets


def _lock(folder: Path, stack: contextlib.ExitStack) -> None:
    """Keeps a folder to one box, until the stack is closed or the process is gone."""
    if os.name == "nt":
        return
    import fcntl

    lock = stack.enter_context((folder / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise click.ClickException(
            f"{folder} is in use by another box; end that one, or choose another folder with --data."
        ) from None
    # A process that another thread is about to start holds a copy of it for a moment.
    stack.callback(fcntl.flock, lock, fcntl.LOCK_UN)


def serve(
    devices_csv: str | PathLike[str] | None = None,
    port: int = 0,
    data: str | PathLike[str] | None = None,
    host: str = "127.0.0.1",
) -> None:
    """Runs the box in the foreground until Ctrl-C or SIGTERM, with a line for each call.

    Args:
        devices_csv: see `read_devices`; without it there is one example device.
        port, data, host: see `Cloud`.

    Raises:
        click.ClickException: the file is wrong, or the port is taken.
        ValueError: the data folder has a profile that cannot be read.
    """
    # A terminal without Chinese characters shows the clouds' words in another way.
    sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(highlight=False)

    def say(text: str) -> None:
        # A call waits for its line, and is answered even if nobody reads on.
        with contextlib.suppress(OSError, SystemExit):
            # Soft wrapping leaves a long path in one piece, for a person or a program to take.
            console.print(text, soft_wrap=True)

    try:
        devices = read_devices(devices_csv) if devices_csv else []
    except OSError as error:
        raise click.ClickException(f"{devices_csv} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None

    # A shell that starts it in the background makes it ignore SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Cloud(devices, data, port, host, on_call=lambda row: say(_line(row))) as cloud,
    ):
        if devices_csv is None:
            _add_example(cloud, say)
        count = len(cloud.state()["devices"])
        say(f"The clouds in a box, {count} device{'s' * (count != 1)}. Ctrl-C ends it.")
        say(f"  platform  [bold]{cloud.url}[/]")
        say(f"  page      [bold]{cloud.url}/[/]")
        maker, tokens = (escape(str(path)) for path in _keep_accounts(cloud))
        say(f"  fleet     [bold]{maker}[/]  (--profile; bind with --connector-id {EXAMPLE_CHANNEL})")
        say(f"  AI tokens [bold]{tokens}[/]  (productId, token)")
        say(f"  CA        [bold]{escape(str(cloud.ca_pem))}[/]  (ca.der beside it, for the board)\n")
        while True:
            time.sleep(1)  # short, because a longer one would hold up Ctrl-C on Windows


def _add_example(cloud: Cloud, say: Callable[[str], None]) -> None:
    known = cloud._state.product(EXAMPLE_PRODUCT)
    key = known["product_key"] if known else token_hex(16)
    cloud.add_device(
        product_id=EXAMPLE_PRODUCT, product_key=key, device_no_type="SN", device_no=EXAMPLE_DEVICE
    )
    say("No --devices file, so here is an example device for a configuration:")
    say(f"  productId {EXAMPLE_PRODUCT}   productKey {key}   deviceNoType SN   deviceNo {EXAMPLE_DEVICE}")


def _keep_accounts(cloud: Cloud) -> tuple[Path, Path]:
    """Opens the accounts that are not there yet; returns the files that they all stand in."""
    maker, tokens = (cloud.ca_pem.with_name(name) for name in ("maker.toml", "ai-tokens.csv"))
    accounts = {
        "baidu": partial(cloud.add_baidu_account, token_hex(3), token_hex(4)),
        "feishu": cloud.add_feishu_app,
        "coze": partial(cloud.new_coze_app, may_bind=True),
    }
    keep_profile(maker, cloud.url, accounts)
    cloud.add_coze_channel(EXAMPLE_CHANNEL)
    products = "SELECT product_id FROM products WHERE product_id NOT IN (SELECT product_id FROM ai_tokens)"
    for row in cloud._state.run(products):
        cloud.add_ai_token(token_hex(16), row["product_id"])
    known = cloud._state.run("SELECT product_id, token FROM ai_tokens ORDER BY rowid")
    write_ai_tokens(tokens, [(row["product_id"], row["token"]) for row in known])
    return maker, tokens


def _line(row: dict[str, Any]) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(row["time"]))
    colour = "green" if row["code"] in GOOD_CODES else "red"
    verdict = " ".join(str(part) for part in (row["code"], row["reason"]) if part)
    called = f"{row['device'] or '-':<16}  {row['path']}"
    return f"[dim]{clock}[/]  {escape(called)}  [{colour}]{escape(verdict)}[/]"
