"""Free text as numbers: n-grams of characters, hashed, weighted and reduced."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy
from numpy.random import RandomState
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from xpnet.data.cells.forms import ColumnForm
from xpnet.tabular.columns.records import CategoryCodes, Kind, Table
from xpnet.tabular.encodings.encoding import (
    Encoding,
    StoredFields,
    TensorShapes,
    UnusualValues,
    check_array,
    count_of,
)
from xpnet.typing import SparseMatrix

if TYPE_CHECKING:
    from numpy.random import RandomState

HASHES = 2**12
"""Number of columns into which n-grams are hashed; the file of a model holds 30 float32 numbers for
each."""
NGRAMS = (3, 4)
"""Minimum and maximum number of characters of an n-gram."""
COMPONENTS = 30
"""Maximum number of outputs of a column of text."""
TEXTS_AT_ONCE = 1 << 14
"""Number of texts that are encoded at a time; it bounds temporary memory."""


@dataclass(frozen=True)
class TextEncoding(Encoding):
    """A column of free text as a few numbers, in which similar texts are close together.

    column : index of the table's column
    frequencies : (HASHES,) float64, the inverse document frequency of each hash
    components : (HASHES, outputs) float32, which reduce the weighted hashes to the outputs
    """

    column: int
    frequencies: numpy.ndarray
    components: numpy.ndarray

    kind = "text"
    tensors = ("frequencies", "components")
    why_not_exported = (
        "A model in C or ONNX must have no free text; got text_features='on'. Save it by "
        "`save`, or train it with text_features='off'."
    )

    @property
    def reads(self) -> Kind:
        """Return the kind of values that the column is read as."""
        return "category"

    def later_form(self, form: ColumnForm) -> ColumnForm:
        """Return the form in which later rows are read: as text alone."""
        return replace(form, refuses=("numbers", "dates"))

    @property
    def labels(self) -> list[str]:
        """Return the ending of the name of each output, which follows the column's name."""
        return [f"_text{index}" for index in range(self.components.shape[1])]

    def write(self, table: Table, out: numpy.ndarray) -> None:
        """Encode all rows of a table. out : (rows, outputs) float32, overwritten"""
        self.write_texts(table.categories(self.column), out)

    def unusual_values(self, table: Table) -> UnusualValues:
        """Count the rows of a table with a gap; any text is free."""
        codes = table.categories(self.column)
        is_gap = numpy.array([*(not text for text in codes.texts), True])  # -1 is a gap
        return UnusualValues(gaps=count_of(is_gap[codes.codes]))

    def write_texts(self, codes: CategoryCodes, out: numpy.ndarray) -> None:
        """Encode rows; gaps are 0. out : (rows, outputs) float32, overwritten"""
        of_texts = numpy.zeros((len(codes.texts) + 1, out.shape[1]), numpy.float32)
        for part in gen_batches(len(codes.texts), TEXTS_AT_ONCE):
            counts = hashed(codes.texts[part])
            counts.data *= self.frequencies[counts.indices]
            of_texts[:-1][part] = normalize(counts) @ self.components
        out[...] = of_texts[codes.codes]

    def check(self) -> None:
        """Raise ValueError for arrays of other shapes."""
        outputs = self.components.shape[1] if self.components.ndim == 2 else 0
        check_array(self.frequencies, "float64", (HASHES,))
        check_array(self.components, "float32", (HASHES, outputs))

    @classmethod
    def describe(cls, settings: StoredFields, shapes: TensorShapes) -> str | None:
        """Return what the column holds, by its entry in a model file."""
        return "free text"


def hashed(texts: Sequence[str]) -> SparseMatrix:
    """Return how often each hash occurs in texts: (texts, HASHES), sparse."""
    vectorizer = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=NGRAMS,
        n_features=HASHES,
        norm=None,
        alternate_sign=False,
    )
    return vectorizer.transform(texts)


def fit_text(codes: CategoryCodes, column: int, random_state: "RandomState") -> TextEncoding | None:
    """Fit the encoding of a column of free text; None where it would have no output.

    It is the latent semantic analysis that skrub's StringEncoder applies, with hashes for the
    n-grams: weights by inverse document frequency, then a truncated singular value decomposition.
    """
    present = numpy.unique(codes.codes[codes.codes >= 0])
    texts = [codes.texts[index] for index in present.tolist() if codes.texts[index]]
    if len(texts) < 2:
        return None
    weighting = TfidfTransformer()
    weighted = weighting.fit_transform(hashed(texts))
    outputs = min(COMPONENTS, len(texts) - 1)
    reduction = TruncatedSVD(outputs, random_state=random_state)
    with numpy.errstate(invalid="ignore"):  # the share of variance, where all texts are alike
        spread = reduction.fit_transform(weighted).std(axis=0)
    components = reduction.components_[spread > 0].T / max(spread.max(), 1e-12)
    if not components.shape[1]:
        return None
    return TextEncoding(column, weighting.idf_, components.astype(numpy.float32))
