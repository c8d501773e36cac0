"""TabM with its authors' defaults on PyTorch: 32 members, early stopping on a part of the rows."""

import copy
import math

import numpy
import tabm
import torch
from sklearn.model_selection import train_test_split

from xpnet_bench.accuracy.tables import Split

EPOCHS, PATIENCE, ROWS_OF_A_BATCH = 200, 16, 256


def train_tabm(
    split: Split, X: numpy.ndarray, X_test: numpy.ndarray, numbers: int, seed: int
) -> numpy.ndarray:
    """Train on encoded rows, and predict test rows. numbers : how many columns come first that are
    no categories
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    classifies = split.task == "classification"
    mean, spread = (0.0, 1.0) if classifies else (split.y.mean(), split.y.std())
    y = torch.as_tensor(
        (split.y - mean) / spread, dtype=torch.long if classifies else torch.float32
    )
    rows = [_Rows(part, numbers) for part in (X, X_test)]
    inner, outer = train_test_split(numpy.arange(len(y)), test_size=0.125, random_state=seed)
    cardinalities = [int(column.max()) + 2 for column in X[:, numbers:].T]
    net = tabm.TabM.make(
        n_num_features=numbers,
        cat_cardinalities=cardinalities,
        d_out=split.classes if classifies else 1,
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=3e-4)

    def loss_of(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss of the members."""
        members = outputs.shape[1]
        if classifies:
            return torch.nn.functional.cross_entropy(
                outputs.flatten(0, 1), targets.repeat_interleave(members)
            )
        return torch.nn.functional.mse_loss(
            outputs.squeeze(-1), targets[:, None].expand(-1, members)
        )

    best, kept, waited = math.inf, net.state_dict(), 0
    for _ in range(EPOCHS):
        net.train()
        for batch in torch.as_tensor(
            numpy.random.default_rng(waited + seed).permutation(inner)
        ).split(ROWS_OF_A_BATCH):
            optimizer.zero_grad()
            loss_of(rows[0].through(net, batch), y[batch]).backward()
            optimizer.step()
        outputs = predicted(net, rows[0], torch.as_tensor(outer), classifies)
        now = _validation_loss(outputs, y[outer].numpy(), classifies)
        if now < best:
            best, kept, waited = now, copy.deepcopy(net.state_dict()), 0
        elif (waited := waited + 1) >= PATIENCE:
            break
    net.load_state_dict(kept)
    outputs = predicted(net, rows[1], torch.arange(len(X_test)), classifies)
    return outputs if classifies else outputs[:, 0] * spread + mean


class _Rows:
    """Numbers and categories of rows, as TabM takes them."""

    def __init__(self, X: numpy.ndarray, numbers: int) -> None:
        self.numbers = torch.as_tensor(X[:, :numbers], dtype=torch.float32) if numbers else None
        words = torch.as_tensor(X[:, numbers:], dtype=torch.long) + 1
        self.words = words if words.shape[1] else None

    def through(self, net: tabm.TabM, chosen: torch.Tensor) -> torch.Tensor:
        """Outputs of the members: (rows, members, out)."""
        parts = [None if part is None else part[chosen] for part in (self.numbers, self.words)]
        outputs: torch.Tensor = net(*parts)
        return outputs


def predicted(net: tabm.TabM, rows: _Rows, chosen: torch.Tensor, classifies: bool) -> numpy.ndarray:
    """The mean over the members: (rows, out)."""
    net.eval()
    with torch.no_grad():
        parts = [rows.through(net, part) for part in chosen.split(4096)]
        outputs = torch.cat(parts)
        return (outputs.softmax(-1) if classifies else outputs).mean(1).numpy()


def _validation_loss(outputs: numpy.ndarray, y: numpy.ndarray, classifies: bool) -> float:
    if classifies:
        return float(-numpy.log(outputs[numpy.arange(len(y)), y].clip(1e-7)).mean())
    return float(((outputs[:, 0] - y) ** 2).mean())
