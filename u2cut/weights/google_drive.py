"""The pages that Google Drive puts before a file: a question to confirm, or a refusal."""

from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin

_FORM = "download-form"


class _Form(HTMLParser):
    """Collects the action and the fields of the download form."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the form, and each named field in it."""
        found = dict(attrs)
        if tag == "form" and found.get("id") == _FORM:
            self.action, self._inside = found.get("action"), True
        name = found.get("name")
        if tag == "input" and self._inside and name:
            self.fields[name] = found.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        """Note the form's end."""
        if tag == "form":
            self._inside = False


def confirmed_url(page: str, base: str) -> str | None:
    """Return where the form "can't scan this file for viruses" leads; None without such a form.

    Args:
        page: The HTML.
        base: The page's own address.
    """
    form = _Form()
    form.feed(page)
    if not form.action:
        return None
    return f"{urljoin(base, form.action)}?{urlencode(form.fields)}"


def refusal(page: str) -> str:
    """Say why an HTML page came where weights were asked for."""
    text = page.lower()
    if "quota exceeded" in text or "too many users have viewed or downloaded" in text:
        return "Google Drive's quota for this file is used up; it works again within a day"
    return "answers with an HTML page, not with weights (a login or an error page?)"
