"""A model's C file, compiled as strict C99 with sanitizers and run on rows."""

import os
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.modelfile import export_model

STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-g", "-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
MAIN = """#include "predict.c"
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  for (;;) {
    xpnet_value row[XPNET_COLUMNS];
    float result[XPNET_RESULTS];
    for (int k = 0; k < XPNET_COLUMNS; k++) {
      double number;
      int bytes; /* of the text; -1 for NULL */
      if (fread(&number, sizeof number, 1, stdin) != 1) return 0;
      if (fread(&bytes, sizeof bytes, 1, stdin) != 1) return 0;
      char *text = NULL;
      if (bytes >= 0) {
        text = calloc((size_t)bytes + 1, 1);
        if (text == NULL || fread(text, 1, (size_t)bytes, stdin) != (size_t)bytes) return 1;
      }
      row[k].number = number;
      row[k].text = text;
    }
    xpnet_predict(row, result);
    fwrite(result, sizeof result, 1, stdout);
    for (int k = 0; k < XPNET_COLUMNS; k++) free((void *)row[k].text);
  }
}
"""


@cache
def sanitizers() -> tuple[str, ...]:
    """The sanitizers that this machine's compiler can link."""
    probe = ["gcc", *SANITIZERS, "-x", "c", "-", "-o", os.devnull]
    program = subprocess.run(probe, input=b"int main(void) { return 0; }", capture_output=True)
    return tuple(SANITIZERS) if program.returncode == 0 else ()


def packed(value: Any) -> bytes:
    """A value as the program reads it. value : a number, text, or None for a gap"""
    if isinstance(value, str):
        return struct.pack("di", 0.0, len(value.encode())) + value.encode()
    return struct.pack("di", np.nan if value is None else value, -1)


def compiled(
    model: Any, rows: list[list[Any]], columns: int, folder: Path, optimize: str = "-O0"
) -> np.ndarray:
    """The predictions of a model's C file. rows : numbers, text, or None for gaps"""
    compiled_text(model, folder, optimize)
    (folder / "main.c").write_text(MAIN)
    program = ["gcc", *STRICT, *sanitizers(), optimize, "main.c", "-o", "main", "-lm"]
    subprocess.run(program, cwd=folder, check=True, timeout=300)
    content = b"".join(packed(value) for row in rows for value in row)
    ran = subprocess.run(folder / "main", input=content, capture_output=True, timeout=300)
    assert (ran.returncode, ran.stderr) == (0, b"")
    return np.frombuffer(ran.stdout, np.float32).reshape(len(rows), columns)


def compiled_text(model: Any, folder: Path, optimize: str = "-O0") -> str:
    """A model's C file, which strict C99 compiles without a warning."""
    export_model(model, folder / "predict.c")
    alone = ["gcc", *STRICT, optimize, "-c", "predict.c", "-o", "predict.o"]
    subprocess.run(alone, cwd=folder, check=True, timeout=300)
    return (folder / "predict.c").read_text()
