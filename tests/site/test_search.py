"""The search of the built documentation: what users ask for leads to the page that explains it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.site

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
EXPLAINED_IN = {
    "missing values": "user_guide/tables",
    "exposure": "user_guide/estimators",
    "feature importance": "user_guide/estimators",
    "serve": "how_to/in_production",
    "predict one row": "how_to/in_production",
    "MLPClassifier": "api/generated/xpnet.MLPClassifier",
}


def test_the_page_that_explains_it_is_found_first() -> None:
    node = shutil.which("node")
    if node is None or not (SITE / "searchindex.js").is_file():
        pytest.skip("node, or the built site (make docs), is missing")
    script = Path(__file__).parent / "search.js"
    printed = subprocess.run(
        [node, str(script), str(SITE), *EXPLAINED_IN],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert dict(zip(EXPLAINED_IN, json.loads(printed.stdout), strict=True)) == EXPLAINED_IN
