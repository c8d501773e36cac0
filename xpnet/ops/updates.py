"""Parameter updates. They consume their arguments: use only what they return."""

from xpnet.ops.namespace import Array, namespace


def sgd_update(
    param: Array,
    grad: Array,
    velocity: Array | None = None,
    *,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, Array | None]:
    """One step of gradient descent, with momentum where there is a velocity.

    param, grad, velocity : any shape, the same; velocity None for plain gradient descent, zeros at the start otherwise
    returns param, velocity

    plain      p <- p - lr g
    momentum   v <- mu v - lr g;  p <- p + v              (Polyak, 1964)
    Nesterov   v <- mu v - lr g;  p <- p + mu v - lr g    (Sutskever et al., 2013, eq. 3-4, as evaluated at p)
    """
    if velocity is None:
        return param - learning_rate * grad, None
    velocity = momentum * velocity - learning_rate * grad
    return param + (momentum * velocity - learning_rate * grad if nesterov else velocity), velocity


def adam_update(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    t: int,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    epsilon_hat: bool = False,
) -> tuple[Array, Array, Array]:
    """Step number t (from 1) of Adam, and of AdamW where weight_decay > 0.

    param, grad, m, v : any shape, the same; m and v are zeros at the start
    returns param, m, v

    m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2
    p <- (1 - lr decay) p - lr m^ / (sqrt(v^) + eps),  m^ = m / (1 - b1^t),  v^ = v / (1 - b2^t)
    (Kingma, Ba, 2015, algorithm 1; decay: Loshchilov, Hutter, 2019, algorithm 2). With epsilon_hat the efficient form
    that closes section 2 of Kingma and Ba, in which eps stands beside sqrt(v) itself (scikit-learn's choice).
    """
    scale, root = adam_scales(t, learning_rate, beta1, beta2, epsilon_hat)
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad * grad
    step = scale * m / (namespace(v).sqrt(v) * root + epsilon)
    return (1 - learning_rate * weight_decay) * param - step, m, v


def adam_scales(
    t: int, learning_rate: float, beta1: float, beta2: float, epsilon_hat: bool
) -> tuple[float, float]:
    """The two numbers in which the forms of Adam differ: p <- p - scale m / (root sqrt(v) + eps).

    returns scale, root
    """
    correction1, correction2 = 1 - beta1**t, (1 - beta2**t) ** 0.5
    if epsilon_hat:
        return learning_rate * correction2 / correction1, 1.0
    return learning_rate / correction1, 1 / correction2
