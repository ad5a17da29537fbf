"""Addresses of photos elsewhere: which texts are one, and their parts; nothing is fetched here."""

import os
import re
from typing import Final
from urllib.parse import unquote, urlsplit

# A path object makes s3:/a of s3://a; of the usual schemes that is understood, too.
_ADDRESS: Final = re.compile(r"(?:(s3|gs|az|abfss?|https?):/{1,2}(?!/)|([a-z][a-z0-9+.-]+)://)(.+)")
WEB: Final = ("http", "https")


def address_of(path: str | os.PathLike[str]) -> str | None:
    """Return a text as an address, SCHEME://REST; None for a local path.

    >>> address_of("s3://shop/a.jpg"), address_of("photos/a.jpg")
    ('s3://shop/a.jpg', None)
    """
    text = os.fspath(path)
    if ":/" not in text:
        return None
    match = _ADDRESS.fullmatch(text)
    return f"{match[1] or match[2]}://{match[3]}" if match else None


def is_web(address: str) -> bool:
    """Tell whether an address is of the web, where one can read but neither list nor write."""
    return address.startswith(("http://", "https://"))


def base_name(path: str) -> str:
    """Return the file's name that a path or an address ends with."""
    address = address_of(path)
    if address is None:
        return os.path.basename(path)
    rest = unquote(urlsplit(address).path) if is_web(address) else address
    name = rest.rsplit("/", 1)[-1]
    return name if name not in ("", ".", "..") else "photo"


def folder_of(path: str) -> str:
    """Return the folder of a path or an address, without its last slash."""
    return path.rpartition("/")[0] if address_of(path) else os.path.dirname(path)


def join(folder: str, *names: str) -> str:
    """Return the path or the address of something in a folder."""
    if address_of(folder) is None:
        return os.path.join(folder, *names)
    return "/".join((folder.rstrip("/"), *(n.replace(os.sep, "/") for n in names if n)))


def stays_inside(relative: str) -> bool:
    """Tell whether a key below a folder is a path there: no empty part, no ., .. or NUL in it."""
    return "\0" not in relative and not {"", ".", ".."} & set(relative.split("/"))


def absolute(path: str) -> str:
    """Return what makes two names the same: an absolute path, or the address as it is."""
    return address_of(path) or os.path.normcase(os.path.abspath(path))
