"""Weights come from the network, whole and with the right hash, or not at all."""

import email.utils
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from u2cut.errors import WeightsError
from u2cut.stdio import Progress, logger, printable, progress
from u2cut.weights import cache, google_drive
from u2cut.weights.registry import MAX_BYTES, WeightSpec
from u2cut.weights.transfer import CHUNK, Answer, Limits, SourceError, get

# Asked for by name: patient. For "auto", which has an answer at hand: five seconds at most
# until something answers.
PATIENT = Limits()
HURRIED = Limits(connect=2.5, reach=5)

_MAX_PAGE = 1 << 18
_BUSY = (408, 425, 429, 500, 502, 503, 504)


def fetch(spec: WeightSpec, *, limits: Limits, quiet: bool = False) -> Path:
    """Fetch weights into the cache, from the first of their sources that has them.

    What an earlier run, even a killed one, left unfinished is continued. Processes that want the
    same weights at once fetch them once.

    Args:
        spec: What to fetch.
        limits: How long to wait.
        quiet: Show no progress.

    Raises:
        WeightsError: No source has them, or the cache's folder doesn't take them.
    """
    with cache.lock(spec, limits.lock):
        if cache.is_cached(spec) and cache.fault(spec) is None:
            return cache.path_of(spec)  # another process was faster
        if limits.reach is not None and cache.failed_lately(spec):
            raise WeightsError(f"{spec.name} could not be fetched some minutes ago")
        try:
            with cache.open_part(spec) as part:
                cache.check_space((spec.size or 0) - part.seek(0, 2))
                with progress(spec.size, unit="B", label=spec.name, quiet=quiet) as bar:
                    failures = _Download(spec, part, limits, bar).run()
                os.fsync(part.fileno())
                empty = part.seek(0, 2) == 0
            if empty:
                cache.discard_part(spec)
            if not failures:
                return cache.accept_part(spec)
        except OSError as e:
            if e.errno not in cache.TOO_MANY_OPEN:  # a full disk: give back what this took of it
                cache.discard_part(spec)
            raise cache.unwritable(e) from e
        cache.remember_failure(spec)
        raise _unavailable(spec, failures)


def _unavailable(spec: WeightSpec, failures: dict[str, str]) -> WeightsError:
    reasons = set(failures.values())
    why = reasons.pop() if len(reasons) == 1 else "each of its sources fails"
    tried = "\n".join(f"  {url}\n    {reason}" for url, reason in failures.items())
    return WeightsError(
        f"{spec.name} could not be fetched: {why}\n{tried}\n"
        "Try again later, or fetch it by hand from one of these and bring it in with: "
        f"u2cut weights import FILE\n(it is kept in {printable(cache.folder())})"
    )


class _Download:
    """One download: its sources in turn, each with its tries, into one unfinished file."""

    def __init__(self, spec: WeightSpec, part: BinaryIO, limits: Limits, bar: Progress) -> None:
        self._spec = spec
        self._part = part
        self._limits = limits
        self._bar = bar
        self._shown = 0
        self._deadline = None if limits.reach is None else time.monotonic() + limits.reach

    def run(self) -> dict[str, str]:
        """Return nothing once the file is whole; else why each source failed."""
        failures: dict[str, str] = {}
        if self._is_whole():
            return {}
        for url in self._spec.urls:
            logger.info("fetching %s from %s", self._spec.name, urlsplit(url).hostname)
            try:
                self._from_source(url)
            except SourceError as e:
                failures[url] = str(e)
                logger.info("%s: %s", urlsplit(url).hostname, e)
            else:
                return {}
        return failures

    def _from_source(self, url: str) -> None:
        """Try a source until the file is whole; tries that got on don't count."""
        tries, furthest = 0, self._part.seek(0, 2)
        while True:
            try:
                return self._attempt(url)
            except SourceError as e:
                length = self._part.seek(0, 2)
                tries = 1 if length >= furthest + CHUNK else tries + 1
                furthest = max(furthest, length)
                if not e.retry or self._deadline is not None or tries >= self._limits.attempts:
                    raise
                wait = self._limits.backoff * 2 ** (tries - 1) if e.wait is None else e.wait
                logger.info("%s; trying again in %.0f s", e, wait)
                time.sleep(wait)

    def _attempt(self, url: str) -> None:
        offset = self._part.seek(0, 2)
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._open(url, headers) as answer:
            self._deadline = None  # there is a network: no more hurry
            if answer.status == 200:
                offset = 0
                self._check_length(answer)
                self._restart()
            elif answer.status == 206:
                self._check_range(answer, offset)
            elif answer.status == 416:
                self._restart()
                raise SourceError("refuses to continue the download (416)", retry=True)
            else:
                raise self._refusal(answer)
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise SourceError("sends the file in an encoding that nobody asked for")
            self._receive(answer, offset)
        if not self._is_whole():
            length = self._part.seek(0, 2)
            resumed = offset > 0
            if self._spec.size is None or length >= self._spec.size:
                self._restart()  # wrong bytes are never kept
                raise SourceError("serves other bytes (the SHA-256 is wrong)", retry=resumed)
            raise SourceError(f"stopped after {length:,} bytes", retry=True)

    def _open(self, url: str, headers: dict[str, str]) -> Answer:
        """Ask for the file, through Google Drive's page of confirmation if there is one."""
        answer = get(url, headers, self._limits, self._deadline)
        for may_confirm in (True, False):
            if not (answer.status in (200, 206) and _is_html(answer)):
                return answer
            with answer:
                page = b""
                for chunk in answer.chunks():
                    page += chunk
                    if len(page) > _MAX_PAGE:
                        break
            text = page.decode("utf-8", "replace")
            confirmed = google_drive.confirmed_url(text, answer.url) if may_confirm else None
            if confirmed is None:
                break
            answer = get(confirmed, headers, self._limits, None)
        raise SourceError(google_drive.refusal(text))

    def _receive(self, answer: Answer, offset: int) -> None:
        """Write the body from ``offset`` on."""
        limit = self._spec.size or MAX_BYTES
        self._part.seek(offset)
        self._show(offset)
        length = offset
        for chunk in answer.chunks():
            if length == 0 and chunk.lstrip()[:5].lower() in (b"<!doc", b"<html", b"<?xml"):
                raise SourceError(google_drive.refusal(chunk.decode("utf-8", "replace")))
            length += len(chunk)
            if length > limit:
                self._restart()
                raise SourceError(f"sends more than the {limit:,} bytes that belong there")
            self._part.write(chunk)
            self._show(length)
        self._part.flush()

    def _is_whole(self) -> bool:
        """Whether the unfinished file is finished: on the disk, with the right hash."""
        self._part.flush()
        length = self._part.seek(0, 2)
        if length == 0 or (self._spec.size is not None and length < self._spec.size):
            return False
        return cache.mismatch(self._spec, cache.part_of(self._spec)) is None

    def _check_length(self, answer: Answer) -> None:
        length = answer.headers.get("Content-Length", "")
        if self._spec.size is not None and length.isdigit() and int(length) != self._spec.size:
            raise SourceError(f"has {int(length):,} bytes where {self._spec.size:,} belong")

    def _check_range(self, answer: Answer, offset: int) -> None:
        """Make sure that a partial answer goes on where the file ends."""
        sent = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
        )
        totals = ("*", str(self._spec.size)) if self._spec.size else (sent and sent[2],)
        if offset == 0 or sent is None or int(sent[1]) != offset or sent[2] not in totals:
            self._restart()
            raise SourceError("answers with another part than was asked for (206)", retry=True)

    def _refusal(self, answer: Answer) -> SourceError:
        reason = f"answers {answer.status}"
        wait = _retry_after(answer.headers.get("Retry-After"))
        if wait is not None and wait > self._limits.retry_after:
            return SourceError(f"{reason} and asks to come back in {wait:.0f} s")
        return SourceError(reason, retry=answer.status in _BUSY, wait=wait)

    def _restart(self) -> None:
        self._part.seek(0)
        self._part.truncate()

    def _show(self, length: int) -> None:
        self._bar.update(length - self._shown)
        self._shown = length


def _is_html(answer: Answer) -> bool:
    return "html" in answer.headers.get("Content-Type", "").lower()


def _retry_after(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header, given as a number or as a date."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((date.astimezone(UTC) - datetime.now(UTC)).total_seconds(), 0.0)
