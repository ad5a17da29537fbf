"""Errors as HTTP answers: RFC 9457, with the names of the command line's exit codes."""

from typing import Any, Final

from starlette.responses import JSONResponse

from u2cut.errors import ExitCode, U2cutError

_STATUS: Final = {
    ExitCode.USAGE: 400,
    ExitCode.INPUT: 422,
    ExitCode.OUTPUT: 422,
    ExitCode.DATA: 422,
}


class Refused(Exception):
    """A request that isn't done, with its HTTP status.

    Args:
        status: The status.
        code: A short name for programs.
        detail: What is wrong, and what to do.
        headers: Further headers of the answer.
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = headers or {}


def refused(error: U2cutError) -> Refused:
    """Return an error of a photo or an option as a refusal."""
    status = _STATUS.get(error.exit_code, 500)
    return Refused(status, error.exit_code.name.lower(), str(error))


def problem(error: Refused) -> JSONResponse:
    """Return the answer to a request that isn't done."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.code.replace("_", " "),
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    return JSONResponse(body, error.status, error.headers, media_type="application/problem+json")
