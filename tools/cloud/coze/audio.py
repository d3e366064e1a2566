"""Speech, transcription and rooms (语音合成, 语音识别, 创建房间)."""

import io
import wave
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from .. import answers
from ..codes import CozeCode
from ..notation import number
from ..refusals import Refused
from ..streaming import stream
from ..strict import JSON, Text, content_type
from .bodies import Body
from .caller import Caller

SPEECH_BYTES = 1024
AUDIO_BYTES = 10 * 1024 * 1024
PART_BYTES = 4096
MEDIA = {"wav": "audio/wav", "pcm": "audio/pcm", "ogg_opus": "audio/ogg", "mp3": "audio/mpeg"}


class Speech(Body):
    input: Text
    voice_id: Text
    response_format: Literal["wav", "pcm", "ogg_opus", "mp3"] = "mp3"
    speed: Annotated[float, Field(ge=0.2, le=3)] = 1
    sample_rate: Literal[8000, 16000, 22050, 24000, 32000, 44100, 48000] = 24000
    loudness_rate: Annotated[int, Field(ge=-50, le=100)] = 0
    emotion: Text | None = None
    emotion_scale: Annotated[float, Field(ge=1, le=5)] = 4
    context_texts: Text | None = None


class Room(Body):
    bot_id: Text
    conversation_id: Text | None = None
    voice_id: Text | None = None
    uid: Text | None = None
    workflow_id: Text | None = None
    connector_id: str | None = None
    config: dict[str, Any] | None = None


router = APIRouter(dependencies=[JSON])
forms = APIRouter(dependencies=[content_type("multipart/form-data")])


@router.post("/v1/audio/speech")
async def speech(body: Speech, request: Request, caller: Caller) -> Response:
    size = len(body.input.encode())
    if size > SPEECH_BYTES:
        raise Refused(f"input has {size} bytes, at most {SPEECH_BYTES} are allowed")
    caller.bill()
    sound = _spoken(body, request.state.fault.bytes)
    parts = (sound[start : start + PART_BYTES] for start in range(0, len(sound), PART_BYTES))
    return stream(request, parts, MEDIA[body.response_format], answers.log_header())


@forms.post("/v1/audio/transcriptions")
async def transcriptions(request: Request, caller: Caller) -> Response:
    size = await _uploaded(request)
    if size > AUDIO_BYTES:
        text = f"file has {size} bytes, at most {AUDIO_BYTES} are allowed"
        raise Refused(text, CozeCode.FILE_TOO_LARGE)
    caller.bill()
    return answers.coze({"text": f"你好，我收到了 {size} 字节的录音。"})


@router.post("/v1/audio/rooms")
async def rooms(body: Room, caller: Caller) -> Response:
    caller.bill()
    return answers.coze(
        {
            "room_id": f"room_id_{number()}",
            "app_id": "6705332c79516e01",
            "token": f"001{number()}",
            "uid": body.uid or f"uid_{number()}",
        }
    )


async def _uploaded(request: Request) -> int:
    """The size of the one file in a form, in bytes."""
    try:
        async with request.form() as form:
            if set(form) - {"file"}:
                raise Refused("file is the only field of this call")
            files = form.getlist("file")
    except HTTPException as error:
        raise Refused(error.detail) from None
    if len(files) > 1:
        raise Refused("one file a call", CozeCode.SEVERAL_FILES)
    if not files or not isinstance(files[0], UploadFile) or not files[0].size:
        raise Refused("file is missing or empty", CozeCode.NO_FILE)
    return files[0].size


def _spoken(body: Speech, size: int | None) -> bytes:
    """A low hum of a tenth of a second a character.

    WAV and PCM are what they should be; there is no encoder here, so the others are PCM as well.
    """
    period = body.sample_rate // 100
    cycle = b"\x00\x08" * (period // 2) + b"\x00\xf8" * (period - period // 2)
    sound = cycle * (10 * len(body.input))
    if body.response_format == "wav":
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(body.sample_rate)
            out.writeframes(sound if size is None else (sound * (size // len(sound) + 1))[: size - 44])
        return file.getvalue()
    return sound if size is None else (sound * (size // len(sound) + 1))[:size]
