"""Headless Chromium, driven by Selenium."""

import json
import shutil
from pathlib import Path
from typing import Any

from selenium import webdriver

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
)


class Browser:
    """One page in one browser, looked at in a width and a colour scheme."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self._driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Load a file at a width in CSS pixels, in one of the colour schemes."""
        self.show_at(width, dark=dark)
        self._driver.get(path.as_uri())

    def show_at(self, width: int, *, dark: bool = False) -> None:
        """Change the width, in CSS pixels, and the colour scheme, without loading a page."""
        self._command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self._driver.execute_script(f"return ({script})")  # a line may follow the bracket

    def complaints(self) -> list[str]:
        """What the console said and what the network was asked for, since this was last called."""
        said = [entry["message"] for entry in self._driver.get_log("browser")]
        events = [
            json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance")
        ]
        sent = {
            event["params"]["requestId"]: event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        }
        # Chromium asks for pages of its own when it starts.
        failed = [
            str(event["params"])
            for event in events
            if event["method"] == "Network.loadingFailed" and event["params"]["requestId"] in sent
        ]
        return said + failed + [url for url in sent.values() if url.startswith("http")]

    def close(self) -> None:
        """End the browser."""
        self._driver.quit()

    def _command(self, name: str, **arguments: Any) -> None:
        self._driver.execute_cdp_cmd(name, arguments)
