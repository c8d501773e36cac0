"""Jobs on one NVIDIA GPU: a step of training with everything on the device, and the loss kernel over its sizes."""

from collections.abc import Mapping

from xpnet_bench.jobs.job import Job

ITEM_BYTES = 4
PRECISIONS = {23: "float32", 10: "TF32", 7: "bfloat16"}
"""What products take, by the bits of its fraction."""
ADAM_PASSES = 7
"""Adam reads parameter, gradient and two moments, and writes all but the gradient."""


def gpu_jobs() -> list[Job]:
    """A small network, where launches count, and a wide one, where products do, in several precisions."""
    networks = [
        training(64, 32, 10, layers=1, batch=128, steps=400, bits=bits) for bits in (23, 10)
    ] + [training(784, 1024, 10, layers=2, batch=8192, steps=20, bits=bits) for bits in PRECISIONS]
    return [
        *networks,
        *(
            cross_entropy(rows, classes)
            for rows, classes in ((8192, 10), (4096, 1000), (4096, 32000))
        ),
    ]


def training(
    features: int, hidden: int, classes: int, *, layers: int, batch: int, steps: int, bits: int = 23
) -> Job:
    """Describe one step of Adam, the average over an epoch of so many.

    bits : of the fraction of what products take; of bfloat16, 7, parameters and their gradients stay float32
    flops : of the products: forward, weight gradient, input gradient (not for the first layer)
    traffic : Adam's passes over the parameters, and the batch once
    """
    widths = (features, *[hidden] * layers, classes)
    pairs = list(zip(widths, widths[1:], strict=False))
    products, parameters = sum(a * b for a, b in pairs), sum((a + 1) * b for a, b in pairs)
    return Job(
        name=f"GPU, {'-'.join(map(str, widths))} batch {batch} {PRECISIONS[bits]}",
        suite="gpu",
        operation="gpu_train",
        group="gpu",
        sizes={
            "features": features,
            "hidden": hidden,
            "layers": layers,
            "classes": classes,
            "batch": batch,
            "steps": steps,
            "bits": bits,
        },
        units=steps,
        flops=2 * batch * (3 * products - features * hidden),
        traffic=ITEM_BYTES * (ADAM_PASSES * parameters + batch * features),
    )


def cross_entropy(rows: int, classes: int) -> Job:
    """Loss and gradient."""
    return Job(
        name=f"GPU, cross-entropy {rows}x{classes}",
        suite="gpu",
        operation="gpu_cross_entropy",
        group="gpu",
        sizes={"rows": rows, "classes": classes},
        traffic=2 * ITEM_BYTES * rows * classes,
    )


def widths_of(job: Job) -> tuple[int, ...]:
    """Columns of the input, units of each hidden layer, classes."""
    sizes = job.sizes
    return sizes["features"], *[sizes["hidden"]] * sizes["layers"], sizes["classes"]


def floor_seconds(job: Job, rates: Mapping[str, float]) -> float:
    """Return the floor of one unit: the larger of moving the bytes and of doing the products.

    rates : ``bytes`` a second, and operations a second in each of ``PRECISIONS``
    """
    return max(
        job.traffic / rates["bytes"], job.flops / rates[PRECISIONS[job.sizes.get("bits", 23)]]
    )
