"""The layers between activations: affine maps, of one network or of several members, and dropout."""

from xpnet.errors import InputError
from xpnet.layers.layer import Layer, as_floats, check_same_shape
from xpnet.ops import Array


class Affine(Layer):
    """The affine (fully connected) layer, ``out = inputs @ weight + bias``.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    See Also
    --------
    xpnet.ops.affine_backward : The gradient, and its source.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Affine
    >>> layer = Affine()
    >>> weight, bias = numpy.array([[1.0, 2.0], [3.0, 4.0]]), numpy.array([0.5, -0.5])
    >>> layer.forward(numpy.array([[1.0, 1.0]]), weight, bias)
    array([[4.5, 5.5]])
    >>> d_inputs, d_weight, d_bias = layer.backward(numpy.array([[1.0, 0.0]]))
    >>> d_inputs
    array([[1., 3.]])
    """

    def forward(self, inputs: Array, weight: Array, bias: Array) -> Array:
        """Map each row of the inputs, ``out = inputs @ weight + bias``.

        Parameters
        ----------
        inputs : array, shape (batch, in)
            The inputs.
        weight : array, shape (in, out)
            The weights.
        bias : array, shape (out,)
            The biases.

        Returns
        -------
        array, shape (batch, out)
            The outputs. They are floating-point also when all three arguments hold whole numbers.

        Raises
        ------
        InputError
            When the shapes do not fit.
        MixedArraysError
            For arrays of two libraries.
        """
        ops, *arrays = self._coerce(inputs, weight, bias)
        inputs, weight, bias = as_floats(ops.backend, arrays)
        _check_shapes(inputs, weight, bias, most=2)
        self.cache = inputs, weight
        return ops.affine(inputs, weight, bias)

    def backward(self, d_out: Array) -> tuple[Array, Array, Array]:
        """Compute the gradient by each of the three inputs.

        Parameters
        ----------
        d_out : array, shape (batch, out)
            The gradient of the loss by the output.

        Returns
        -------
        d_inputs : array, shape (batch, in)
            The gradient by the inputs, ``d_out @ weight.T``.
        d_weight : array, shape (in, out)
            The gradient by the weights, ``inputs.T @ d_out``.
        d_bias : array, shape (out,)
            The gradient by the biases, the sum of the rows of ``d_out``.

        Raises
        ------
        InputError
            Before a forward pass, or when ``d_out`` has another shape than the output.
        """
        ops, (inputs, weight) = self._recall()
        check_same_shape("d_out", d_out, (inputs.shape[0], weight.shape[1]))
        return ops.affine_backward(d_out, inputs, weight)


def _check_shapes(inputs: Array, weight: Array, bias: Array, *, most: int) -> None:
    """Raise InputError unless the shapes fit. most : axes of inputs and of weight, 3 where there may be members"""
    right = 2 <= inputs.ndim <= most and 2 <= weight.ndim <= most and 1 <= bias.ndim < most
    if not right or inputs.shape[-1] != weight.shape[-2] or bias.shape[-1] != weight.shape[-1]:
        shapes = [tuple(array.shape) for array in (inputs, weight, bias)]
        raise InputError(
            "An affine layer takes inputs (batch, in), weight (in, out) and bias (out,), and MemberAffine any of them "
            f"with members first; received {shapes[0]}, {shapes[1]} and {shapes[2]}. Check the sizes, or transpose."
        )


class MemberAffine(Layer):
    """The affine layer of several members: ``out = ((inputs * scale_in) @ weight) * scale_out + bias``.

    With a weight (in, out) the members share it and differ by their factors and biases; with a weight
    (members, in, out) each has its own.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    References
    ----------
    Y. Wen, D. Tran, J. Ba, BatchEnsemble, ICLR 2020; Y. Gorishniy, A. Kotelnikov, A. Babenko, TabM, ICLR 2025.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import MemberAffine
    >>> layer, scale_in = MemberAffine(), numpy.array([[1.0, 1.0], [1.0, -1.0]])
    >>> layer.forward(numpy.array([[3.0, 2.0]]), numpy.array([[1.0], [1.0]]), numpy.array([[0.0], [10.0]]), scale_in)
    array([[[ 5.]],
    <BLANKLINE>
           [[11.]]])
    """

    def forward(
        self,
        inputs: Array,
        weight: Array,
        bias: Array,
        scale_in: Array | None = None,
        scale_out: Array | None = None,
    ) -> Array:
        """Map each row of each member.

        Parameters
        ----------
        inputs : array, shape (members, batch, in) or (batch, in)
            The inputs of each member, or one batch for all of them.
        weight : array, shape (in, out) or (members, in, out)
            The weight that the members share, or one for each.
        bias : array, shape (out,) or (members, out)
            The bias that the members share, or one for each.
        scale_in : array, shape (members, in), or None
            What each member multiplies its inputs by; None for nothing.
        scale_out : array, shape (members, out), or None
            What each member multiplies its products by; None for nothing.

        Returns
        -------
        array, shape (members, batch, out)
            The outputs.

        Raises
        ------
        InputError
            When the shapes do not fit.
        MixedArraysError
            For arrays of two libraries.
        """
        ops, *arrays = self._coerce(inputs, weight, bias, scale_in, scale_out)
        inputs, weight, bias, scale_in, scale_out = as_floats(ops.backend, arrays)
        _check_shapes(inputs, weight, bias, most=3)
        scaled = inputs if scale_in is None else ops.member_scale(inputs, scale_in)
        product = ops.member_product(scaled, weight)
        out = product if scale_out is None else ops.member_scale(product, scale_out)
        out = out + (bias if bias.ndim == 1 else bias[:, None, :])
        self.cache = inputs, scaled, product, weight, scale_in, scale_out, bias.ndim, out.shape
        return out

    def backward(self, d_out: Array) -> tuple[Array, ...]:
        """Compute the gradient by each of the inputs.

        Parameters
        ----------
        d_out : array, shape (members, batch, out)
            The gradient of the loss by the output.

        Returns
        -------
        d_inputs, d_weight, d_bias : arrays, of the shapes of the inputs
            The gradients by inputs, weight and bias.
        d_scale_in, d_scale_out : arrays, of the shapes of the factors
            The gradients by the factors that were given.

        Raises
        ------
        InputError
            Before a forward pass, or when ``d_out`` has another shape than the output.
        """
        ops, (inputs, scaled, product, weight, scale_in, scale_out, bias_dimensions, shape) = (
            self._recall()
        )
        check_same_shape("d_out", d_out, shape)
        over = tuple(range(d_out.ndim - 1)) if bias_dimensions == 1 else 1
        d_bias, d_product, d_scales = ops.backend.xp.sum(d_out, axis=over), d_out, []
        if scale_out is not None:
            d_product, d_scale_out = ops.member_scale_backward(d_out, product, scale_out)
            d_scales = [d_scale_out]
        d_inputs, d_weight = ops.member_product_backward(d_product, scaled, weight)
        if scale_in is not None:
            d_inputs, d_scale_in = ops.member_scale_backward(d_inputs, inputs, scale_in)
            d_scales.insert(0, d_scale_in)
        return d_inputs, d_weight, d_bias, *d_scales


class Dropout(Layer):
    """Dropout in its inverted form, ``out = inputs * keep / (1 - rate)``, which leaves prediction without a scale.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    References
    ----------
    N. Srivastava and others, Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Dropout
    >>> layer = Dropout()
    >>> layer.forward(numpy.array([[1.0, 2.0, 3.0]]), keep=numpy.array([[1.0, 0.0, 1.0]]), rate=0.5)
    array([[2., 0., 6.]])
    >>> layer.backward(numpy.ones((1, 3)))
    array([[2., 0., 2.]])
    """

    no_gradient = ("keep", "rate")

    def forward(self, inputs: Array, keep: Array, rate: float) -> Array:
        """Leave out the units where ``keep`` is 0 and scale the others.

        Parameters
        ----------
        inputs : array, any shape
            The inputs.
        keep : array, shape of the inputs
            The mask: 1 for a unit that stays, 0 for one that is left out.
        rate : float
            The probability, in [0, 1), with which a unit is left out.

        Returns
        -------
        array, shape of the inputs
            The outputs.

        Raises
        ------
        InputError
            When the shapes differ.
        """
        _, inputs, keep = self._coerce(inputs, keep)
        check_same_shape("keep", keep, inputs.shape)
        self.cache = keep * (1 / (1 - rate))
        return inputs * self.cache

    def backward(self, d_out: Array) -> Array:
        """Compute the gradient by the inputs: ``d_inputs = d_out * keep / (1 - rate)``.

        Parameters
        ----------
        d_out : array, shape of the output
            The gradient of the loss by the output.

        Returns
        -------
        array, shape of the inputs
            The gradient of the loss by the inputs.

        Raises
        ------
        InputError
            Before a forward pass, or when ``d_out`` has another shape than the output.
        """
        _, scale = self._recall()
        check_same_shape("d_out", d_out, scale.shape)
        return d_out * scale
