"""Without the plugin that ``xpnet bench`` brings there is nothing to run."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Say how the suites are run."""
    if not config.pluginmanager.has_plugin("xpnet_bench"):
        raise pytest.UsageError("These suites are run by `xpnet bench`, which brings contenders and settings.")
