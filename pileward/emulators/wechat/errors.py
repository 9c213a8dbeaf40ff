"""Refusals as WeChat Pay words them: HTTP status, code, text, detail."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refusal of API v3; the reply is not signed."""

    def __init__(self, status: int, code: str, message: str, detail: Any = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail

    def body(self) -> dict[str, Any]:
        """The JSON of the reply."""
        said: dict[str, Any] = {"code": self.code, "message": self.message}
        return said if self.detail is None else said | {"detail": self.detail}


def param_error(field: str, issue: str) -> ApiError:
    """400 for a field that is missing or cannot be."""
    detail = {"field": field, "issue": issue, "location": "body"}
    return ApiError(400, "PARAM_ERROR", f"参数错误：{field}", detail)
