"""The server process: it listens, answers, and ends in good order."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from u2cut.batch.stages import worker_count
from u2cut.console import NOTICE, logger
from u2cut.engines.predictor import Predictor
from u2cut.errors import InputError, OutputError, UsageError, printable
from u2cut.options import NetworkOptions, OutputOptions, RenderOptions
from u2cut.service.app import Service, make_app
from u2cut.service.cutter import Cutter
from u2cut.service.metrics import Metrics
from u2cut.service.options import ServeOptions


def serve(
    options: ServeOptions, network: NetworkOptions, render: RenderOptions, output: OutputOptions
) -> None:
    """Serve until a signal; finish what is under way then.

    Args:
        options: Where, and what is let in.
        network: The network.
        render: How results look, unless a request says otherwise.
        output: How they are written, unless a request says otherwise.

    Raises:
        InputError: The token can't be read.
        OutputError: The address is in use, or not this machine's.
        WeightsError: The weights are not available.
        DeviceError: The device, engine or precision is not available.
    """
    token = _token(options)
    if token is None and not options.is_local:
        logger.warning(
            "whoever reaches %s may use this service; --token-file lets in only who knows a token",
            options.host,
        )
    listener = _listen(options)
    with listener:
        predictor = Predictor(network, quiet=options.quiet, method=render.edge.matting)
        engine = predictor.engine
        metrics = Metrics()
        metrics.runs_on(predictor.model, engine.name, engine.device, engine.precision)
        cutter = Cutter(
            predictor,
            jobs=worker_count(options.jobs),
            max_pixels=options.max_pixels,
            most_held=options.queue_pixels,
            metrics=metrics,
        )
        service = Service(options, render, output, cutter, metrics)
        config = uvicorn.Config(
            make_app(service, token),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(options.grace)),
            timeout_keep_alive=5,
        )
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        logger.log(NOTICE, "http://%s:%d, %s on %s", shown, port, predictor.model, engine.name)
        _Server(config, service).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Uvicorn's, but for its signals: it ends as asked, and says at once that it does."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into an orderly end; a second one ends at once."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}

        def on_signal(number: int, _: FrameType | None) -> None:
            self._service.ready = False
            self.force_exit = self.should_exit
            self.should_exit = True

        for number in numbers:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _token(options: ServeOptions) -> str | None:
    if options.token_file is None:
        return None
    try:
        token = options.token_file.read_text("utf-8").strip()
    except OSError as e:
        raise InputError.from_os(e, options.token_file, "can't be read") from e
    if len(token) < 8:
        raise UsageError(
            "holds no token", path=options.token_file, remedy="give it 8 characters at least"
        )
    return token


def _listen(options: ServeOptions) -> socket.socket:
    """Take the address before the network is made ready: if it is taken, that comes first."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        listener.listen(1024)
    except OSError as e:
        listener.close()
        raise OutputError(
            f"can't listen on {printable(options.host)}:{options.port} ({e.strerror or e})",
            remedy="choose another --port or --host",
        ) from e
    return listener
