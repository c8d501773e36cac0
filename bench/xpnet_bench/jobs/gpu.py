"""Jobs on one NVIDIA GPU: a step of training with everything on the device, and the loss kernel over its sizes."""

from collections.abc import Mapping

from xpnet_bench.jobs.job import Job

ITEM_BYTES = 4
ADAM_PASSES = 7
"""Adam reads parameter, gradient and two moments, and writes all but the gradient."""


def gpu_jobs() -> list[Job]:
    """A small network, where launches count, and a wide one, where products do, each in float32 and TF32."""
    networks = [training(64, 32, 10, layers=1, batch=128, steps=400, tf32=tf32) for tf32 in (False, True)] + [
        training(784, 1024, 10, layers=2, batch=8192, steps=20, tf32=tf32) for tf32 in (False, True)
    ]
    return [*networks, *(cross_entropy(rows, classes) for rows, classes in ((8192, 10), (4096, 1000), (4096, 32000)))]


def training(features: int, hidden: int, classes: int, *, layers: int, batch: int, steps: int, tf32: bool) -> Job:
    """One step of Adam, the average over an epoch of so many.

    flops : of the products: forward, weight gradient, input gradient (not for the first layer)
    traffic : Adam's passes over the parameters, and the batch once
    """
    widths = (features, *[hidden] * layers, classes)
    pairs = list(zip(widths, widths[1:], strict=False))
    products, parameters = sum(a * b for a, b in pairs), sum((a + 1) * b for a, b in pairs)
    precision = "TF32" if tf32 else "float32"
    return Job(
        name=f"GPU, {'-'.join(map(str, widths))} batch {batch} {precision}",
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
            "tf32": int(tf32),
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
    """Of one unit: the larger of moving the bytes and of doing the products.

    rates : ``bytes`` a second, and operations a second in ``fp32`` and ``tf32``
    """
    return max(job.traffic / rates["bytes"], job.flops / rates["tf32" if job.sizes.get("tf32") else "fp32"])
