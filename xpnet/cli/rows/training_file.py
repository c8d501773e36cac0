"""Whether a model is measured on the very file that it was trained on."""

from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path

from xpnet.data.readers.names import DATASETS


def checksum_of_file(data: str) -> str | None:
    """Return the SHA-256 of the bytes of a data file.

    None for what is no plain file: a bundled data set, standard input, a folder.
    """
    path = Path(data)
    if data in DATASETS or not path.is_file():
        return None
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def training_file_notes(extra: Mapping[str, object], data: str) -> list[str]:
    """Return a note if a model was trained on a data file, or on a copy of it; otherwise none.

    extra : of the model; a file from anyone may hold anything there
    """
    training = extra.get("training")
    if not isinstance(training, Mapping):
        return []
    if data in DATASETS:
        is_same = training.get("data") == data
    else:
        checksum = training.get("data_sha256")
        is_same = checksum is not None and checksum == checksum_of_file(data)
    if not is_same:
        return []
    rows = str(training.get("trained_on", "")).partition(";")[0]
    return [
        f"{Path(data).name} is the file that the model was trained on, with {rows}; scores of rows "
        "that a model has seen are better than those of new rows"
    ]
