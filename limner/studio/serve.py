"""The studio's server: gradio's, told to ask nobody else for anything."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from limner.core.errors import SettingsError
from limner.studio.opened import Opened

PORTS = range(7860, 7960)
"""Where a free port is looked for."""
HERE = ("127.0.0.1", "localhost", "::1")
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # gradio's pages have scripts of their own in the text
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
"""What a browser may ask for: of this server alone."""
TOO_LARGE = 413
MOST_THROWN_AWAY = 1 << 30
"""Bytes of a body that is too large which are taken and thrown away; then the connection is closed."""
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "GRADIO_RUN_HISTORY": "False",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Policy:
    """An ASGI layer that says with every answer what its page may ask for.

    An answer that refuses a body as too large waits until the rest of it was sent and thrown away: who still sends hears no answer.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        more = False

        async def noted() -> MutableMapping[str, Any]:
            nonlocal more
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                left = MOST_THROWN_AWAY
                while message["status"] == TOO_LARGE and more and left > 0:
                    left -= len((await noted()).get("body", b""))
                headers = {"content-security-policy": POLICY, "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
                message["headers"] = [*message["headers"], *((name.encode(), value.encode()) for name, value in headers.items())]
            await send(message)

        await self.app(scope, noted, with_policy)


def serve(
    opened: Sequence[Opened],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    browse: bool = False,
    ready: Callable[[str, str | None], None] = lambda address, public: None,
    until: threading.Event | None = None,
) -> None:
    """Serve the page until the process is interrupted, or the event is set.

    port: None for the first free one of PORTS. share: also make a public address by gradio's relay. browse: open it in the browser.
    ready: told the address, and the public one. Raises SettingsError where the place is taken, or nobody can be reached for sharing.
    """
    os.environ.update(QUIET)
    for name in ("NO_PROXY", "no_proxy"):  # gradio asks its own server whether it is there
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), *HERE]))
    with tempfile.TemporaryDirectory(prefix="limner-studio-", ignore_cleanup_errors=True) as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        from starlette.middleware import Middleware

        from limner.studio.page import page, script, style, theme
        from limner.studio.uploads import LARGEST_UPLOAD

        blocks, free = page(opened), _port(host, port)
        try:
            _, address, public = blocks.launch(
                server_name=f"[{host}]" if ":" in host else host,
                server_port=free if port is not None else None,  # gradio takes the next one where another program was faster
                share=share,
                inbrowser=browse,
                inline=False,
                quiet=True,
                prevent_thread_lock=True,
                max_file_size=LARGEST_UPLOAD,
                theme=theme(),
                css=style(),
                head=script(),
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                show_error=True,
                app_kwargs={"middleware": [Middleware(Policy)]},
            )
        except OSError as error:
            raise SettingsError(f"the studio cannot listen on {host}, port {free} ({error}): give another --port or --host") from error
        try:
            if share and not public:
                raise SettingsError("--share: gradio's relay cannot be reached: leave --share out, or look at the network")
            ready(address, public)
            with suppress(KeyboardInterrupt):
                (until or threading.Event()).wait()
        finally:
            blocks.close(verbose=False)


def _port(host: str, port: int | None) -> int:
    """A free port. Raises SettingsError where the one that is asked for is taken, or all are."""
    import socket

    for number in PORTS if port is None else (port,):
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((host, number))
                return int(trial.getsockname()[1])  # of port 0, the one that the system chose
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
    asked = (
        f"--port {port} on {host} cannot be used" if port is not None else f"no port from {PORTS[0]} to {PORTS[-1]} on {host} can be used"
    )
    raise SettingsError(f"{asked} ({reason}): give another --port or --host")
