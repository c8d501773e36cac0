"""Headless Chromium, driven by the DevTools protocol over two pipes: no library, no port."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)

START = """
import fcntl, os, sys
# The protocol's pipes are file descriptors 3 and 4 of the browser.
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, wanted in zip(ends, (3, 4)):
    os.dup2(end, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page in one browser; ``complaints`` collects console errors, exceptions and failed requests."""

    def __init__(self, profile: Path) -> None:
        commands_out, self._commands = os.pipe()
        self._events, events_in = os.pipe()
        ends = [str(commands_out), str(events_in)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, *ends, CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(commands_out, events_in),
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_out)
        os.close(events_in)
        self.complaints: list[str] = []
        self._number, self._buffer, self._session = 0, b"", ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command, wait for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        return self._until(lambda event: event.get("id") == self._number)["result"]

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Load a file at a width in CSS pixels, in one of the colour schemes."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=path.as_uri())
        self._until(lambda event: event.get("method") == "Page.loadEventFired")

    def value(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._commands)
        os.close(self._events)

    def _until(self, wanted: Any) -> dict[str, Any]:
        while True:
            event = self._next_event()
            self._note(event)
            if wanted(event):
                return event

    def _next_event(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._events, 1 << 16)
            assert part, "the browser has ended"
            self._buffer += part
        event, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(event)

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown" or method == "Network.loadingFailed":
            self.complaints.append(str(params))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent" and params["request"]["url"].startswith("http"):
            self.complaints.append(f"asks the network for {params['request']['url']}")
