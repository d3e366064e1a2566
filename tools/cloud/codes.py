"""The vendors' tables of refusals: {code: (HTTP status, or None where the document names none; words)}."""

Code = int | str
Refusal = tuple[int | None, str]


class CozeCode:
    """From the list of error codes in Coze's API reference."""

    WRONG, TOO_MANY_MESSAGES, NEEDS_HISTORY = 4000, 4004, 4007
    NOT_AUTHENTICATED, NOT_PERMITTED, NOT_FOUND = 4100, 4101, 4200
    NO_FILE, SEVERAL_FILES, FILE_TOO_LARGE = 4300, 4301, 4302
    NOT_TO_CANCEL, ALREADY_OVER, BROKEN = 4104, 4315, 5000


COZE: dict[Code, Refusal] = {
    CozeCode.WRONG: (None, "请求参数错误:"),
    CozeCode.TOO_MANY_MESSAGES: (None, "additional messages超过限制:"),
    CozeCode.NOT_AUTHENTICATED: (401, "身份验证无效:"),
    CozeCode.NOT_PERMITTED: (403, "没有权限访问该资源:"),
    CozeCode.NOT_FOUND: (None, "资源未找到:"),
    CozeCode.NO_FILE: (None, "上传文件时文件为空:"),
    CozeCode.SEVERAL_FILES: (None, "文件上传时超过一个:"),
    CozeCode.FILE_TOO_LARGE: (None, "文件上传大小超过限制:"),
    CozeCode.ALREADY_OVER: (None, "执行已结束:"),
}

COZE_TOKEN: dict[Code, Refusal] = {
    "invalid_request": (400, "invalid request:"),
    "unsupported_grant_type": (400, "not supported grant type:"),
    "invalid_client": (401, "invalid jwt:"),
}


class BaiduCode:
    """The numbers of 自定义错误码说明."""

    OK, NO_FC, NO_PK, FC_NOT_FOUND, PK_NOT_FOUND, BAD_ROW, TOO_MANY, DUPLICATED = range(8)
    EMPTY, NO_QUOTA, NOT_FOUND = range(9, 12)


BAIDU_NUMBERED: dict[Code, str] = {
    BaiduCode.OK: "OK",
    BaiduCode.NO_FC: "Missing fc Parameter",
    BaiduCode.NO_PK: "Missing pk Parameter",
    BaiduCode.FC_NOT_FOUND: "FC Not Found",
    BaiduCode.PK_NOT_FOUND: "PK Not Found",
    BaiduCode.BAD_ROW: "CSV Format Error or Missing ak/sk Parameter.",
    BaiduCode.TOO_MANY: "Import Device Batch Error: Max Batch Size is 1000.",
    BaiduCode.DUPLICATED: "AK Duplicated.",
    8: "Read File Error.",
    BaiduCode.EMPTY: "Empty File Error.",
    BaiduCode.NO_QUOTA: "Insufficient Quota Error.",
    BaiduCode.NOT_FOUND: "Device Not Found.",
    12: "Generate TTS Url Error.",
}

# 公共错误码
BAIDU_NAMED: dict[Code, Refusal] = {
    "AccessDenied": (403, "Access denied."),
    "InappropriateJSON": (
        400,
        "The JSON you provided was well-formed and valid, but not appropriate for this operation.",
    ),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The Access Key ID you provided does not exist in our records."),
    "InvalidHTTPAuthHeader": (
        400,
        "The HTTP authorization header is invalid. Consult the service documentation for details.",
    ),
    "InvalidHTTPRequest": (400, "There was an error in the body of your HTTP request."),
    "InvalidURI": (400, "Could not parse the specified URI."),
    "MalformedJSON": (400, "The JSON you provided was not well-formed."),
    "InvalidVersion": (404, "The API version specified was invalid."),
    "OptInRequired": (403, "A subscription for the service is required."),
    "PreconditionFailed": (412, "The specified If-Match header doesn't match the ETag header."),
    "RequestExpired": (400, "Request has expired. Timestamp date is"),
    "IdempotentParameterMismatch": (
        403,
        "The request uses the same client token as a previous, but non-identical request.",
    ),
    "SignatureDoesNotMatch": (
        400,
        "The request signature we calculated does not match the signature you provided. Check your Secret"
        " Access Key and signing method. Consult the service documentation for details.",
    ),
}


class FeishuCode:
    """The document's codes, and those of the gateway before it."""

    INVALID_APP, APP_REFUSED = 10003, 10014
    TOO_FAST, NO_TOKEN, BAD_TOKEN, NO_SCOPE = 99991400, 99991661, 99991663, 99991672
    WRONG, BAD_FEATURES, BAD_SYSTEM, EXISTS = 1780101, 1785005, 1785007, 1785010


FEISHU_SCOPE = "security_and_compliance:device_record:write"

FEISHU: dict[Code, Refusal] = {
    1780001: (500, "Internal server error."),
    FeishuCode.WRONG: (400, "Request param error."),
    1780102: (
        400,
        "The API is in beta testing. Please contact customer support to request beta access.",
    ),
    FeishuCode.BAD_FEATURES: (
        400,
        "The device information corresponding to the operating system is invalid. Please check the device"
        " information in the request.",
    ),
    FeishuCode.BAD_SYSTEM: (400, "The parameter device_system is invalid."),
    FeishuCode.EXISTS: (400, "The device already exists."),
    FeishuCode.INVALID_APP: (200, "invalid param"),
    FeishuCode.APP_REFUSED: (200, ""),
    FeishuCode.TOO_FAST: (429, "request trigger frequency limit"),
    FeishuCode.NO_TOKEN: (
        400,
        "Missing access token for authorization. Please make a request with token attached.",
    ),
    FeishuCode.BAD_TOKEN: (
        400,
        "Invalid access token for authorization. Please make a request with token attached.",
    ),
    FeishuCode.NO_SCOPE: (400, f"Access denied. One of the following scopes is required: [{FEISHU_SCOPE}]"),
}
