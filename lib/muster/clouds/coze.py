"""Coze: tokens signed on the device, the eight calls that spend resources, and binding devices.

Follows 上报硬件设备信息 (device information in the JWT or in a header), 绑定设备 (binding)
and Coze's public documentation of OAuth JWT (channel) and of each call.
"""

import binascii
import os

from .. import clock
from ..errors import CloudError
from ..flow import BODY, PIECE, Request, driver
from ..jsontext import dumps, loads
from ..redact import Masked
from ..sse import next_event
from . import field_text
from .refusals import checked, header, refusal
from .tokens import Tokens, is_token

PRODUCTION = "https://api.coze.cn"

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_S = 600  # a JWT is for one exchange, at once
_MARGIN_S = 60  # a token is renewed that long before it expires
_EXPIRED = (401, "4100", "4101", "700012006")

_MAX_SPEECH = 1024
_MAX_AUDIO = 10 * 1024 * 1024
_MAX_CHAT_MESSAGES = 100
_MAX_FLOW_MESSAGES = 50

# Ends of a stream. A question back to the caller ends one too, and is no failure.
_CHAT_ENDS = ("done", "conversation.chat.requires_action")
_FLOW_ENDS = ("Done", "Interrupt")

_BIND_HINT = (
    "; binding needs a token with the permission bindConnectorConfig, a channel for which Coze has "
    "switched device binding on, and the key agreed on with Coze (here %r)"
)


class Coze:
    """Coze's API, for one device.

    session                    see muster.clouds
    client_id, key_id          the OAuth app and the fingerprint of its public key
    private_key                the app's key: PEM text, or a muster.rsa.PrivateKey. With alg="HS256"
                               the secret shared with a gateway of your own
    token                      instead of those: a ready token (central management)
    device_id, custom_consumer whom Coze bills: in the JWT, or with a ready token in a header
    session_name               keeps the conversations of one token's users apart
    duration_s                 how long a token shall last, 1 to 86399
    scope                      what a token may do; None for all that the app may
    now                        a function that returns Unix seconds

    All methods raise TransportError, or CloudError with Coze's code, words and log id;
    ValueError for what its documents do not allow.
    """

    def __init__(
        self, session, client_id=None, key_id=None, private_key=None, token=None, device_id=None,
        custom_consumer=None, session_name=None, duration_s=900, scope=None, base_url=PRODUCTION,
        alg="RS256", now=clock.now,
    ):  # fmt: skip
        if not token and not (client_id and private_key and (key_id or alg != "RS256")):
            raise ValueError("Coze needs client_id, key_id and private_key, or a token")
        if not 1 <= duration_s <= 86399:
            raise ValueError("duration_s is from 1 to 86399 seconds, unlike %r" % duration_s)
        self._session = driver(session)
        self._client_id = client_id
        self._key_id = key_id
        self._key = private_key
        self._given = token
        self._tokens = Tokens(token, self._buy_token, now, _EXPIRED)
        self._device = {}
        if device_id:
            self._device["device_id"] = device_id
        if custom_consumer:
            self._device["custom_consumer"] = custom_consumer
        self._session_name = session_name
        self._duration_s = duration_s
        self._scope = scope
        self._base_url = base_url.rstrip("/")
        self._alg = alg
        self._now = now

    def access_token(self):
        """Returns the given token, or one bought with a JWT and kept until shortly before it ends."""
        return self._session.call(self._tokens.get())

    def speech(self, text, voice_id, response_format=None, speed=None, sample_rate=None, into=None):
        """Speaks text, at most 1024 bytes of it.

        A stream of bytes; or a call that writes them into an open file and returns their count.
        """
        if len(text.encode()) > _MAX_SPEECH:
            raise ValueError("Coze speaks at most %d bytes at a time" % _MAX_SPEECH)
        body = {
            "input": text,
            "voice_id": voice_id,
            "response_format": response_format,
            "speed": speed,
            "sample_rate": sample_rate,
        }
        if into is None:
            return self._session.stream(self._speech(body))
        return self._session.call(self._speech(body, into))

    def transcribe(self, audio, name="audio.wav"):
        """Returns the text that is spoken in an open binary file, at most 10 MB and 30 minutes of it."""
        audio.seek(0, 2)
        size = audio.tell()
        if size > _MAX_AUDIO:
            raise ValueError("Coze hears at most %d bytes at a time, and this is %d" % (_MAX_AUDIO, size))
        if any(c in name for c in '"\r\n'):
            raise ValueError("a file name has no quotes and no line ends")
        return self._session.call(self._transcribe(_Upload(audio, size, name)))

    def create_room(self, bot_id, **options):
        """Makes a voice room; options: conversation_id, voice_id, uid, config.

        Returns room_id, app_id, token and uid.
        """
        return self._session.call(self._create_room(dict(options, bot_id=bot_id)))

    def chat(self, bot_id, user_id, messages, conversation_id=None, **options):
        """A stream of an answer's events, (event, data); its text is in conversation.message.delta.

        messages   what to say: a str, or at most 100 dicts of role, content and content_type
        options    further fields of the body, as Coze's document of the call has them
        """
        return self._chat(False, bot_id, user_id, messages, conversation_id, **options)

    def chat_text(self, bot_id, user_id, messages, conversation_id=None, **options):
        """The same, of only the pieces of the answer's text."""
        return self._chat(True, bot_id, user_id, messages, conversation_id, **options)

    def chat_workflow(self, workflow_id, messages, conversation_id=None, **options):
        """chat() with a conversation flow, of at most 50 messages."""
        return self._chat_workflow(False, workflow_id, messages, conversation_id, **options)

    def chat_workflow_text(self, workflow_id, messages, conversation_id=None, **options):
        """The same, of only the pieces of the answer's text."""
        return self._chat_workflow(True, workflow_id, messages, conversation_id, **options)

    def run_workflow(self, workflow_id, parameters=None, **options):
        """Runs a workflow to its end. Returns the answer, whose data is a str, mostly of JSON."""
        body = dict(options, workflow_id=workflow_id, parameters=parameters)
        return self._session.call(self._call("/v1/workflow/run", body))

    def stream_workflow(self, workflow_id, parameters=None, **options):
        """A stream of a workflow's events, (event, data): Message, then Done, or an Interrupt to resume."""
        body = dict(options, workflow_id=workflow_id, parameters=parameters)
        return self._stream("/v1/workflow/stream_run", body, _FLOW_ENDS)

    def resume_workflow(self, workflow_id, event_id, resume_data, interrupt_type):
        """Goes on after an Interrupt, with its event_id and type; a stream as stream_workflow()'s."""
        body = {
            "workflow_id": workflow_id,
            "event_id": event_id,
            "resume_data": resume_data,
            "interrupt_type": interrupt_type,
        }
        return self._stream("/v1/workflow/stream_resume", body, _FLOW_ENDS)

    def bind_devices(self, connector_id, devices, key="device_id", user_id=None, batch=None):
        """Binds devices to a channel of the maker's.

        devices   pairs (label, value)
        key       as agreed on with Coze
        user_id   Coze UID of the agent's developer
        batch     devices in one request; by default all, since it is not documented whether a
                  second request adds to the first or replaces it
        """
        devices = list(devices)
        if not devices:
            raise ValueError("there are no devices to bind")
        for label, value in devices:
            if not (isinstance(label, str) and label and isinstance(value, str) and value):
                raise ValueError("a device is a label and a value, both text, unlike %r" % ((label, value),))
        batch = len(devices) if batch is None else batch
        if batch < 1:
            raise ValueError("batch is at least 1, unlike %r" % batch)
        path = "/v1/connectors/%s/user_configs" % _in_url("connector_id", connector_id)
        return self._session.call(self._bind(path, devices, key, user_id, batch))

    def _chat(self, only_text, bot_id, user_id, messages, conversation_id, **options):
        body = dict(options, bot_id=bot_id, user_id=user_id, stream=True)
        body["additional_messages"] = _messages(messages, _MAX_CHAT_MESSAGES)
        path = "/v3/chat"
        if conversation_id:
            path += "?conversation_id=" + _in_url("conversation_id", conversation_id)
        return self._stream(path, body, _CHAT_ENDS, only_text)

    def _chat_workflow(self, only_text, workflow_id, messages, conversation_id, **options):
        body = dict(options, workflow_id=workflow_id, conversation_id=conversation_id)
        body["additional_messages"] = _messages(messages, _MAX_FLOW_MESSAGES)
        return self._stream("/v1/workflows/chat", body, _CHAT_ENDS, only_text)

    def _stream(self, path, body, ends, only_text=False):
        return self._session.stream(self._events(path, body, ends, only_text))

    # From here on, flows.

    def _buy_token(self):
        body = {"grant_type": _GRANT, "duration_seconds": self._duration_s, "scope": self._scope}
        jwt = self._jwt()
        answer = yield self._request("/api/permission/oauth2/token", body, jwt, bills=False)
        said = checked("coze", answer, (jwt,))
        token, ends = said.get("access_token"), said.get("expires_in")  # which is a time
        if not is_token(token) or not isinstance(ends, int):
            raise CloudError("coze", "the answer has no access_token and expires_in")
        return token, ends - _MARGIN_S

    def _call(self, path, body, headers=None, bills=True):
        """A call with an answer of JSON."""

        def attempt(token):
            answer = yield self._request(path, body, token, headers, bills)
            return checked("coze", answer, (token,))

        return self._tokens.use(attempt)

    def _create_room(self, body):
        return Masked(_field((yield from self._call("/v1/audio/rooms", body)), "data"))

    def _transcribe(self, upload):
        headers = {
            "Content-Type": "multipart/form-data; boundary=" + upload.boundary,
            "Content-Length": str(len(upload)),
        }
        said = yield from self._call("/v1/audio/transcriptions", upload, headers)
        return field_text(_field(said, "data").get("text")) or ""

    def _bind(self, path, devices, key, user_id, batch):
        for start in range(0, len(devices), batch):
            enums = [{"label": label, "value": value} for label, value in devices[start : start + batch]]
            body = {"configs": [{"key": key, "enums": enums}], "user_id": user_id}
            try:
                yield from self._call(path, body, bills=False)
            except CloudError as e:
                # Coze's words are cut rather than the hint.
                words = e.message[:60] + _BIND_HINT % key
                raise CloudError(e.cloud, words, e.status, e.code, e.log_id, e.retryable, e.retry_after)

    def _speech(self, body, into=None):
        def attempt(token):
            return self._open("/v1/audio/speech", body, "audio/", token)

        yield from self._tokens.use(attempt)
        count = 0
        while True:
            piece = yield PIECE
            if not piece:
                return count
            if into is None:
                yield piece
            else:
                count += into.write(piece)

    def _events(self, path, body, ends, only_text):
        """The events of a call until one of ends; what breaks off or fails raises CloudError."""

        def attempt(token):
            answer = yield from self._open(path, body, "text/event-stream", token)
            # With the first event, in which the token may have expired.
            return answer, token, (yield from _next(answer, token))

        answer, token, found = yield from self._tokens.use(attempt)
        body = None  # which is not sent again, and may be long
        while True:
            event, data, _ = found
            piece = _piece(event, data) if only_text else (event, data)
            if piece is not None:
                yield piece
            if event in ends:
                return
            found = yield from _next(answer, token, found)

    def _open(self, path, body, kind, token):
        """A call whose answer is streamed, and is of that kind."""
        answer = yield self._request(path, body, token, stream=True)
        found = header(answer, "content-type") or "of no kind"
        if answer.status_code == 200 and found.lower().startswith(kind):
            return answer
        yield BODY
        checked("coze", answer, (token,))
        raise _refusal(answer, {"message": "the answer is %s, not %s" % (found, kind)}, token)

    # And what flows need.

    def _request(self, path, body, bearer, headers=None, bills=True, stream=False):
        """Carries an object as JSON, or an _Upload. bills: whether the call carries the device."""
        headers = dict(headers or {"Content-Type": "application/json"})
        headers["Authorization"] = "Bearer " + bearer
        if bills and self._given and self._device:
            headers["X-Coze-DeviceInfo"] = _ascii(dumps(self._device).decode())
        if isinstance(body, dict):
            body = dumps({k: v for k, v in body.items() if v is not None})
        return Request("POST", self._base_url + path, body, headers, stream)

    def _jwt(self):
        """A JWT that nobody has seen: it buys one token."""
        from .. import jwt

        if self._alg == "RS256" and isinstance(self._key, (str, bytes)):
            from ..rsa import PrivateKey

            self._key = PrivateKey.from_pem(self._key)
        now = self._now()
        claims = {
            "iss": self._client_id,
            "aud": self._base_url.partition("://")[2].partition("/")[0],
            "iat": now,
            "exp": now + _JWT_S,
            "jti": binascii.hexlify(os.urandom(33)).decode(),
        }
        if self._session_name:
            claims["session_name"] = self._session_name
        if self._device:
            claims["session_context"] = {"device_info": self._device}
        return jwt.encode(claims, self._key, self._alg, {"kid": self._key_id} if self._key_id else None)


def text(stream):
    """Yields only the pieces of the answer's text, of chat()'s or chat_workflow()'s events."""
    for event, data in stream:
        piece = _piece(event, data)
        if piece is not None:
            yield piece


def _piece(event, data):
    """The text in an event, None if it has none of the answer."""
    if event == "conversation.message.delta" and data.get("type") == "answer":
        return field_text(data.get("content")) or ""
    return None


def _next(answer, token, before=None):
    """A flow: the next (event, data, id) of a stream. token: its own, which another may follow meanwhile."""
    while True:
        found = yield from next_event(before)
        if not found:
            raise _refusal(answer, {"message": "the stream ended before it was complete"}, token, True)
        event, data, identity = found
        last, before = before and before[2], found
        # An event without an id has the one before it.
        if identity != last:
            expected = int(last) + 1 if last else 0
            if identity != str(expected):
                raise _refusal(answer, {"message": "event %d of the stream is missing" % expected}, token)
        if event == "PING":
            continue
        # The last event of a chat says nothing but [DONE], with or without quotes.
        data = _parsed(data)
        if event in ("error", "Error", "conversation.chat.failed"):
            error = data.get("last_error")
            raise _refusal(answer, error if isinstance(error, dict) else data, token)
        return event, data, identity


def _refusal(answer, said, token, passing=False):
    return refusal("coze", answer, said, (token,), passing=passing)


class _Upload:
    """A file as multipart/form-data, read piece by piece, and anew when it has to be sent twice."""

    def __init__(self, audio, size, name):
        part = '--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n'
        part += "Content-Type: application/octet-stream\r\n\r\n"
        self._audio = audio
        self._size = size
        self.boundary = binascii.hexlify(os.urandom(16)).decode()
        self._head = (part % (self.boundary, name)).encode()
        self._tail = ("\r\n--%s--\r\n" % self.boundary).encode()

    def __len__(self):
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self):
        yield self._head
        self._audio.seek(0)
        while True:
            piece = self._audio.read(1024)
            if not piece:
                break
            yield piece
        yield self._tail


def _messages(messages, most):
    if isinstance(messages, str):
        return [{"role": "user", "content": messages, "content_type": "text"}]
    messages = list(messages)
    if len(messages) > most:
        raise ValueError("Coze takes at most %d messages here, and these are %d" % (most, len(messages)))
    return messages


def _parsed(data):
    try:
        data = loads(data)
    except ValueError:
        pass
    return data if isinstance(data, dict) else {}


def _field(answer, name):
    value = answer.get(name)
    if not isinstance(value, dict):
        raise CloudError("coze", "the answer has no %s" % name)
    return value


def _in_url(name, value):
    if not is_token(value) or any(c in value for c in "/?#&%"):
        raise ValueError("%s is an id as Coze gave it, unlike %r" % (name, value))
    return value


def _ascii(text):
    """JSON text as a header can carry it."""
    parts = []
    for c in text:
        n = ord(c)
        if n > 0xFFFF:
            n -= 0x10000
            parts.append("\\u%04x\\u%04x" % (0xD800 + (n >> 10), 0xDC00 + (n & 0x3FF)))
        elif n > 0x7E:
            parts.append("\\u%04x" % n)
        else:
            parts.append(c)
    return "".join(parts)
