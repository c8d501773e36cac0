"""The affine layer of several members, networks that share weights."""

from typing import NamedTuple

from xpnet.layers.affine import check_affine_shapes
from xpnet.layers.layer import Layer, as_floats, check_same_shape
from xpnet.ops import Array


class MemberAffineCache(NamedTuple):
    """The arrays that a forward pass keeps for the backward pass.

    scaled, product : the inputs times ``scale_in``, and these times the weights
    bias_dimensions, shape : number of axes of the biases, and the shape of the output
    """

    inputs: Array
    scaled: Array
    product: Array
    weight: Array
    scale_in: Array | None
    scale_out: Array | None
    bias_dimensions: int
    shape: tuple[int, ...]


class MemberAffine(Layer):
    """Several affine maps, ``out = ((inputs * scale_in) @ weight) * scale_out + bias``.

    The members share a weight (in, out) and differ by their factors and biases. With a weight
    (members, in, out) each member has its own.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    References
    ----------
    Y. Wen, D. Tran, J. Ba, BatchEnsemble, ICLR 2020; Y. Gorishniy, A. Kotelnikov, A. Babenko, TabM,
    ICLR 2025.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import MemberAffine
    >>> layer, scale_in = MemberAffine(), numpy.array([[1.0, 1.0], [1.0, -1.0]])
    >>> inputs, weight = numpy.array([[3.0, 2.0]]), numpy.array([[1.0], [1.0]])
    >>> layer.forward(inputs, weight, numpy.array([[0.0], [10.0]]), scale_in)
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
            The factors of each member's inputs; None for no factors.
        scale_out : array, shape (members, out), or None
            The factors of each member's products; None for no factors.

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
        ops, inputs, weight, bias, scale_in, scale_out = self._coerce(
            inputs, weight, bias, scale_in, scale_out
        )
        inputs, weight, bias, scale_in, scale_out = as_floats(
            ops.backend, inputs, weight, bias, scale_in, scale_out
        )
        check_affine_shapes(inputs, weight, bias, max_axes=3)
        scaled = inputs if scale_in is None else ops.member_scale(inputs, scale_in)
        product = ops.member_product(scaled, weight)
        out: Array = product if scale_out is None else ops.member_scale(product, scale_out)
        out = out + (bias if bias.ndim == 1 else bias[:, None, :])
        self.cache: MemberAffineCache = MemberAffineCache(
            inputs, scaled, product, weight, scale_in, scale_out, bias.ndim, out.shape
        )
        return out

    def backward(self, d_out: Array) -> tuple[Array, ...]:
        """Compute the gradient with respect to each of the inputs.

        Parameters
        ----------
        d_out : array, shape (members, batch, out)
            The gradient of the loss with respect to the output.

        Returns
        -------
        d_inputs, d_weight, d_bias : arrays, of the shapes of the inputs
            The gradients with respect to inputs, weight and bias.
        d_scale_in, d_scale_out : arrays, of the shapes of the factors
            The gradients with respect to the factors that the forward pass received.

        Raises
        ------
        InputError
            Before a forward pass, or when ``d_out`` has another shape than the output.
        """
        ops = self._recall()
        inputs, scaled, product, weight, scale_in, scale_out, bias_dimensions, shape = self.cache
        check_same_shape("d_out", d_out, shape)
        over = tuple(range(d_out.ndim - 1)) if bias_dimensions == 1 else 1
        d_bias = ops.backend.xp.sum(d_out, axis=over)
        d_product = d_out
        d_scales = []
        if scale_out is not None:
            d_product, d_scale_out = ops.member_scale_backward(d_out, product, scale_out)
            d_scales = [d_scale_out]
        d_inputs, d_weight = ops.member_product_backward(d_product, scaled, weight)
        if scale_in is not None:
            d_inputs, d_scale_in = ops.member_scale_backward(d_inputs, inputs, scale_in)
            d_scales.insert(0, d_scale_in)
        return d_inputs, d_weight, d_bias, *d_scales
