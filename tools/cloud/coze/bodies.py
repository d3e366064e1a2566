"""The fields that the bodies of Coze's calls share."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..strict import Strict


class Body(Strict):
    """A body in which a field that is null counts as absent: Coze's own SDK sends such ones."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {name: value for name, value in content.items() if value is not None}


class EnterMessage(Body):
    role: Literal["user", "assistant"]
    type: Literal["", "question", "answer", "function_call", "tool_output", "tool_response"] = "question"
    content: str | None = None
    content_type: Literal["text", "object_string", "card", "audio"] | None = None
    meta_data: dict[str, str] | None = None
    # What a message of an answer has beside these; Coze's SDK for Go sends all of it, empty.
    id: str | None = None
    conversation_id: str | None = None
    section_id: str | None = None
    bot_id: str | None = None
    chat_id: str | None = None
    created_at: int | None = None
    updated_at: int | None = None

    @model_validator(mode="after")
    def _check(self) -> "EnterMessage":
        if (self.content is None) != (self.content_type is None):
            raise ValueError("needs content and content_type, or neither")
        return self


Ext = Annotated[dict[str, str] | None, Field(description="latitude, longitude, user_id")]
Parameters = dict[str, Any]
