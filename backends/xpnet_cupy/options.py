"""Each option of a compiled step can be switched off, so that a benchmark shows what it is worth."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Choices for comparison.

    resident : whether epochs of small networks on small batches are one launch
    steps_per_graph : how many batches one recorded graph holds; 1 for a graph a batch
    epilogues : whether products may carry bias, ReLU and the gradients of biases along, in place of kernels that do it
    timed : whether algorithms of products, which epilogues they carry, and what runs side by side are chosen by timing,
        once for each shape
    side_by_side : whether the gradients of weights may run beside the way back through the layers
    activations : whether precision bf16 is that of what layers hand to each other in training, too, in place of
        products alone
    predictions : whether predictions are recorded, too, by their number of rows
    losses : whether losses without gradients are recorded, as of validation, by their number of rows
    ahead : whether the order of the next epoch is drawn and sent while the device works on this one
    sums : whether the sums of gradients over several ranks are recorded with the batch
    """

    resident: bool = True
    steps_per_graph: int = 8
    epilogues: bool = True
    timed: bool = True
    side_by_side: bool = True
    activations: bool = True
    predictions: bool = True
    losses: bool = True
    ahead: bool = True
    sums: bool = True
