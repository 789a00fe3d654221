"""A headless Chromium for tests, driven over its DevTools protocol: real pages, real clicks, real WebSockets.

https://chromedevtools.github.io/devtools-protocol/ says what the methods and events mean. Chromium's own
``--dump-dom`` will not do: with ``--virtual-time-budget`` its clock waits for all connections to end, and a WebSocket
never does.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.support.server import wait_for

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1100,800",
    "--remote-debugging-port=0",
)  # fmt: skip
SECONDS = 60.0  # for what a busy machine may take long to do
DIED = "the browser has gone"


@dataclass(frozen=True)
class Response:
    """What the browser was answered, on the way to a page or as part of it."""

    url: str
    status: int
    kind: str  # Document, Stylesheet, Image, Script, Font, XHR, WebSocket ...
    protocol: str = ""


@contextmanager
def run_browser(*flags: str) -> Iterator[Browser]:
    """A browser with an empty profile; at the end it and all its processes are gone."""
    binary = shutil.which("chromium")
    assert binary, "the tests need chromium (make test installs it)"
    profile = Path(tempfile.mkdtemp(prefix="hostel-browser-"))
    with (profile / "output").open("wb") as output:
        process = subprocess.Popen(
            [binary, *FLAGS, *flags, f"--user-data-dir={profile / 'profile'}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    browser = Browser(process, profile)
    try:
        yield browser
    finally:
        browser.end()
        shutil.rmtree(profile, ignore_errors=True)


class Browser:
    """A running Chromium. ``open`` makes a page."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.connections = ExitStack()

    def open(self, url: str = "") -> Page:
        """A new page, with the address loaded if there is one."""
        address = wait_for(self._address, "the browser to listen", SECONDS)
        assert address
        port, path = address
        with _connect(port, path) as control:
            target = Page(control).call("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self.connections.enter_context(_connect(port, f"/devtools/page/{target}")))
        for domain in ("Page", "Network", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        if url:
            page.go(url)
        return page

    def _address(self) -> tuple[int, str] | None:
        """Where it listens: it writes that into its profile, in two lines."""
        if self.process.poll() is not None:
            raise AssertionError(f"{DIED}:\n{(self.folder / 'output').read_text(errors='replace')}")
        try:
            port, path = (self.folder / "profile" / "DevToolsActivePort").read_text().split("\n")
            return int(port), path
        except (FileNotFoundError, ValueError):
            return None

    def end(self) -> None:
        self.connections.close()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def _connect(port: int, path: str) -> ClientConnection:
    # The socket is ours: otherwise the library would ask the environment for a proxy.
    sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    # Without bounds: a page tells of everything, and is read only when the test has a question.
    return connect(
        f"ws://127.0.0.1:{port}{path}",
        sock=sock,
        max_size=None,
        max_queue=None,
        ping_interval=None,
        open_timeout=SECONDS,
    )


@dataclass
class Page:
    """A page of the browser. What comes in between is noted: ``responses``, and ``errors`` that its console shows."""

    connection: ClientConnection
    responses: list[Response] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _loaded: int = 0
    _number: int = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the protocol. Raises ``AssertionError`` when the browser refuses."""
        self._number += 1
        self.connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        deadline = time.monotonic() + SECONDS
        while True:
            message = self._receive(deadline, method)
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result

    def _receive(self, deadline: float, what: str) -> dict[str, Any]:
        try:
            message: dict[str, Any] = json.loads(self.connection.recv(max(0.01, deadline - time.monotonic())))
        except TimeoutError:
            raise AssertionError(f"the browser did not answer {what} within {SECONDS} s") from None
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, values: dict[str, Any]) -> None:
        match event:
            case "Network.responseReceived":
                response = values["response"]
                self.responses.append(
                    Response(response["url"], response["status"], values["type"], response.get("protocol", ""))
                )
            case "Network.webSocketHandshakeResponseReceived":
                self.responses.append(Response("", values["response"]["status"], "WebSocket"))
            case "Network.requestWillBeSent" if "redirectResponse" in values:
                response = values["redirectResponse"]
                self.responses.append(Response(response["url"], response["status"], values["type"]))
            case "Network.loadingFailed" if not values.get("canceled"):
                self.errors.append(f"{values['type']}: {values['errorText']}")
            case "Runtime.exceptionThrown":
                details = values["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description") or details["text"])
            case "Log.entryAdded" if values["entry"]["level"] == "error":
                self.errors.append(f"{values['entry']['text']} {values['entry'].get('url', '')}".strip())
            case "Page.loadEventFired":
                self._loaded += 1

    def go(self, url: str) -> Page:
        """Load an address, and wait until all of the page is there."""
        begin = self._loaded
        failure = self.call("Page.navigate", url=url).get("errorText")
        assert not failure, (url, failure)
        return self._wait_loaded(begin, url)

    def _wait_loaded(self, begin: int, what: str) -> Page:
        deadline = time.monotonic() + SECONDS
        while self._loaded == begin:
            self._receive(deadline, f"{what} to be loaded")
        return self

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    def wait_for(self, condition: str) -> Any:
        """The first true value of a JavaScript expression."""
        return wait_for(lambda: self.evaluate(condition), f"{condition!r} in the page:\n{self.text}", SECONDS)

    def fill(self, selector: str, text: str) -> None:
        """Type a text into a field, key by key, in the place of what it had."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        for key in text:
            self.call("Input.dispatchKeyEvent", type="keyDown", text=key)
            self.call("Input.dispatchKeyEvent", type="keyUp")

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def follow(self, selector: str) -> Page:
        """Click on what leads to another page, and wait until that is there."""
        begin = self._loaded
        self.click(selector)
        return self._wait_loaded(begin, selector)

    def close(self) -> None:
        """Close the page as a reader does; its connections to the server end."""
        self.call("Page.close")

    @property
    def text(self) -> str:
        """What a reader sees."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def status_of(self, part: str) -> int:
        """The status of the last response whose address has this part; 0 when there was none."""
        return next((one.status for one in reversed(self.responses) if part in one.url), 0)

    def screenshot(self, path: Path) -> None:
        """Save what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
