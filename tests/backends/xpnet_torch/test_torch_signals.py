"""An exception of a signal handler ends a fit on PyTorch, wherever the handler was called."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import numpy as np
import pytest

import xpnet

torch = pytest.importorskip("torch")
from xpnet_torch import step  # noqa: E402  it imports torch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows lacks SIGUSR1")

X = torch.asarray(np.random.default_rng(0).normal(size=(64, 5)))
Y = torch.asarray(np.arange(64) % 3)


class OutOfTime(Exception):
    """What a handler raises."""


@pytest.fixture(autouse=True)
def handler() -> Iterator[Callable[[int, FrameType | None], object]]:
    """A handler of SIGUSR1 that raises OutOfTime; compilers have failed at nothing before."""

    def raising(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGUSR1, raising)
    step._failures.clear()
    yield raising
    step._failures.clear()
    step._compiled.clear()
    signal.signal(signal.SIGUSR1, before)


def compiler(interrupted: Callable[[], object]) -> Callable[..., Callable[..., object]]:
    """A compiler during whose first call something happens."""

    def compile_(function: Callable[..., object], **_: object) -> Callable[..., object]:
        calls: list[None] = []

        def compiled(*tensors: object) -> object:
            if not calls:
                calls.append(None)
                interrupted()
            return function(*tensors)

        return compiled

    return compile_


def raised() -> None:
    """A signal comes; the compiler lets its exception through."""
    signal.raise_signal(signal.SIGUSR1)


def wrapped() -> None:
    """A signal comes; the compiler takes its exception for one of its own."""
    try:
        signal.raise_signal(signal.SIGUSR1)
    except Exception as error:
        raise RuntimeError("compilation failed") from error


def swallowed() -> None:
    """A signal comes; the compiler goes on."""
    try:
        signal.raise_signal(signal.SIGUSR1)
    except Exception:
        pass


@pytest.mark.parametrize("interrupted", [raised, wrapped, swallowed])
def test_an_exception_of_a_handler_ends_the_fit_and_the_next_fit_is_compiled(
    interrupted: Callable[[], object],
    handler: Callable[[int, FrameType | None], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", compiler(interrupted))
    net = xpnet.FeedforwardNeuralNet(5, 4, 3, rng=0)
    with pytest.raises(OutOfTime):
        net.fit(X, Y, epochs=2, batch_size=16)
    assert net.history.epochs == 0
    assert signal.getsignal(signal.SIGUSR1) is handler
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    net = xpnet.FeedforwardNeuralNet(5, 4, 3, rng=0)
    assert net.fit(X, Y, epochs=2, batch_size=16).epochs == 2
    assert "failed" not in net.why_


def test_an_error_of_the_compiler_leads_to_the_reference_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", compiler(fail))
    net = xpnet.FeedforwardNeuralNet(5, 4, 3, rng=0)
    assert net.fit(X, Y, epochs=2, batch_size=16).epochs == 2
    assert "torch.compile failed: no C++ compiler" in net.why_


REAL = """
import signal
import numpy as np
import torch
import xpnet

class OutOfTime(Exception): pass

def raising(number, frame):
    raise OutOfTime

signal.signal(signal.SIGUSR1, raising)
compile_ = torch.compile

def interrupted(graph, examples):
    signal.raise_signal(signal.SIGUSR1)
    return graph.forward

torch.compile = lambda function, mode=None: compile_(function, backend=interrupted)
X = torch.asarray(np.random.default_rng(0).normal(size=(64, 5)))
net = xpnet.FeedforwardNeuralNet(5, 4, 3, rng=0)
try:
    net.fit(X, torch.asarray(np.arange(64) % 3), epochs=2, batch_size=16)
except OutOfTime:
    print("ended")
"""


def test_dynamo_wraps_what_a_handler_raises_and_the_fit_ends() -> None:
    environment = {**os.environ, "TORCHDYNAMO_DISABLE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", REAL], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.stdout == "ended\n", done.stderr
