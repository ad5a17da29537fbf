"""What a service that removes backgrounds bears: requests a second, waits, refusals, memory.

    u2cut serve --model u2netp &
    python benchmarks/service.py http://127.0.0.1:8000/v1/remove --pid $! --clients 1 8 64
    rembg s --port 7000 &
    python benchmarks/service.py http://127.0.0.1:7000/api/remove --field file --form model=u2netp

Every client sends the same photo again and again; one that is told to come back (503) does so
after what Retry-After says. Memory is the server's resident set (Linux), with its children's.
"""

import argparse
import statistics
import threading
import time
from pathlib import Path

import requests

ROOT = Path(__file__).parent.parent


def memory(pid: int) -> float:
    """Resident megabytes of a process and its children."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own / 1024 + sum(memory(int(child)) for child in children)


class Load:
    """So many clients that send so many requests together."""

    def __init__(self, url: str, field: str | None, form: dict[str, str], photo: bytes) -> None:
        self._url, self._field, self._form, self._photo = url, field, form, photo
        self._lock = threading.Lock()
        self.left, self.waits, self.busy = 0, list[float](), 0
        self.failures: dict[str, int] = {}

    def _client(self) -> None:
        session = requests.Session()
        session.trust_env = False
        while True:
            with self._lock:
                if not self.left:
                    return
                self.left -= 1
            self._one(session)

    def _one(self, session: requests.Session) -> None:
        while True:
            start = time.perf_counter()
            try:
                if self._field:
                    files = {self._field: ("photo.jpg", self._photo)}
                    answer = session.post(self._url, files=files, data=self._form, timeout=300)
                else:
                    answer = session.post(self._url, data=self._photo, timeout=300)
            except requests.RequestException as e:
                self._failed(type(e).__name__)
                return
            if answer.status_code == 503 and "Retry-After" in answer.headers:
                with self._lock:
                    self.busy += 1
                time.sleep(float(answer.headers["Retry-After"]))
                continue
            if answer.status_code == 200:
                with self._lock:
                    self.waits.append(time.perf_counter() - start)
            else:
                self._failed(str(answer.status_code))
            return

    def _failed(self, why: str) -> None:
        with self._lock:
            self.failures[why] = self.failures.get(why, 0) + 1

    def run(self, clients: int, count: int) -> float:
        """Send them; return the seconds."""
        self.left, self.waits, self.busy, self.failures = count, [], 0, {}
        threads = [threading.Thread(target=self._client) for _ in range(clients)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--pid", type=int, required=True, help="of the server")
    parser.add_argument("--field", help="send a form with the photo in this file")
    parser.add_argument("--form", action="append", default=[], help="NAME=VALUE beside it")
    parser.add_argument("--photo", type=Path, default=ROOT / "examples" / "cat.jpg")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--requests", type=int, default=200, help="for each number of clients")
    options = parser.parse_args()
    load = Load(
        options.url,
        options.field,
        dict(entry.split("=", 1) for entry in options.form),
        options.photo.read_bytes(),
    )
    load.run(2, 10)  # warm
    print("| clients | answered | requests/s | p50 s | p95 s | told to wait | failures | MB |")
    print("|---|---|---|---|---|---|---|---|")
    for clients in options.clients:
        seconds = load.run(clients, options.requests)
        waits = sorted(load.waits) or [0.0]
        p95 = waits[int(0.95 * (len(waits) - 1))]
        print(
            f"| {clients} | {len(load.waits)} | {len(load.waits) / seconds:.2f} | "
            f"{statistics.median(waits):.3f} | {p95:.3f} | {load.busy} | {load.failures or 0} | "
            f"{memory(options.pid):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
