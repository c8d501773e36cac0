"""Free text: left out and reported, or used as a few numbers."""

from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pytest
from helpers.cases import each_case
from helpers.damage import sealed
from safetensors import safe_open
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import (
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)

import xpnet
from xpnet import TableEncoder
from xpnet.tabular.columns.records import CategoryCodes
from xpnet.tabular.encodings import text as text_encoding

RNG = numpy.random.default_rng(0)
SUBJECTS = numpy.array([["boat", "harbour", "sail"], ["train", "railway", "station"]])
LABELS = RNG.integers(0, 2, 240)
REMARKS = [
    f"{RNG.choice(SUBJECTS[label])} {RNG.choice(SUBJECTS[label])} no. {number}"
    for number, label in enumerate(LABELS)
]
TABLE = pandas.DataFrame({"remark": REMARKS, "x": RNG.normal(size=240)})
SETTINGS = {"hidden_layer_sizes": (8,), "max_iter": 20, "networks": 1, "random_state": 0}


def test_free_text_is_left_out_unless_it_is_asked_for() -> None:
    reason = TableEncoder().fit(TABLE).left_out_["remark"]
    assert "differs from row to row" in reason and "text_features='on'" in reason
    assert TableEncoder(text_features="on").fit(TABLE).left_out_ == {}


def test_it_is_the_latent_semantic_analysis_of_scikit_learn() -> None:
    encoder = TableEncoder(text_features="on", random_state=0)
    encoded = encoder.fit_transform(TABLE[["remark"]])
    hashes = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 4), n_features=4096, norm=None, alternate_sign=False
    ).transform(REMARKS)
    weighted = TfidfTransformer().fit_transform(hashes)
    expected = TruncatedSVD(30, n_iter=30, random_state=1).fit_transform(weighted)
    expected /= expected.std(axis=0).max()
    assert encoder.get_feature_names_out().tolist() == [f"remark_text{k}" for k in range(30)]
    # The last components are those of a randomized method: the first are certain.
    similarity = numpy.abs(numpy.corrcoef(encoded[:, :5].T, expected[:, :5].T)[:5, 5:])
    numpy.testing.assert_allclose(numpy.diag(similarity), 1, atol=0.01)
    numpy.testing.assert_allclose(
        encoded[:, :2].std(axis=0), expected[:, :2].std(axis=0), rtol=0.01
    )


def test_a_model_of_free_text_is_saved_and_reads_any_frame(tmp_path: Path) -> None:
    model = xpnet.TabularClassifier(text_features="on", **SETTINGS).fit(TABLE[:160], LABELS[:160])
    assert model.score(TABLE[160:], LABELS[160:]) > 0.95
    without = xpnet.TabularClassifier(**SETTINGS).fit(TABLE[:160], LABELS[:160])
    assert without.score(TABLE[160:], LABELS[160:]) < 0.7
    model.save(tmp_path / "m.safetensors")
    opened = xpnet.load(tmp_path / "m.safetensors")
    expected = model.predict_proba(TABLE)
    for table in TABLE, polars.DataFrame(TABLE.to_dict("list")):
        numpy.testing.assert_array_equal(opened.predict_proba(table), expected)
    for ending in "c", "onnx":
        with pytest.raises(xpnet.InputError, match="text_features"):
            xpnet.modelfile.export_model(model, tmp_path / f"m.{ending}")


def test_gaps_and_text_without_n_grams_are_0() -> None:
    encoder = TableEncoder(text_features="on").fit(TABLE[["remark"]])
    gaps = pandas.DataFrame({"remark": [None, "", "boat no. 3"]})
    encoded = encoder.transform(gaps)
    assert not encoded[:2].any() and numpy.abs(encoded[2]).max() > 0.1


@each_case("shape", [[4096 * 30], [30, 4096], [0], []])
def test_a_file_with_other_components_is_refused(tmp_path: Path, shape: list[int]) -> None:
    model = xpnet.TabularClassifier(text_features="on", **SETTINGS).fit(TABLE, LABELS)
    model.save(tmp_path / "m.safetensors")
    (name,) = [
        name
        for name in safe_open(tmp_path / "m.safetensors", "numpy").keys()
        if "components" in name
    ]

    def change(entries: dict[str, Any], envelope: dict[str, Any]) -> None:
        entries[name]["shape"] = shape

    (tmp_path / "other").write_bytes(sealed((tmp_path / "m.safetensors").read_bytes(), change))
    with pytest.raises(xpnet.ModelFileError):
        xpnet.load(tmp_path / "other")


def test_the_outputs_of_texts_are_those_of_all_n_grams() -> None:
    """Similarities of all outputs, by weights and a decomposition that NumPy computes."""
    # None of their n-grams have the same hash.
    texts = [
        "oak tree",
        "oak trees",
        "an oak and an elm",
        "elm tree",
        "birch",
        "a birch and an elm",
    ]
    codes = CategoryCodes(numpy.array([3, 0, 1, -1, 2, 4, 5, 0]), texts)
    encoding = text_encoding.fit_text(codes, 7, numpy.random.RandomState(0))
    assert encoding is not None
    assert encoding.labels == ["_text0", "_text1", "_text2", "_text3", "_text4"]
    assert (encoding.column, encoding.frequencies.shape) == (7, (4096,))
    assert encoding.components.shape == (4096, 5)
    out = numpy.full((8, 5), 9, numpy.float32)
    encoding.write_texts(codes, out)

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4))
    weighted = vectorizer.fit_transform(texts).toarray()
    left, values, _ = numpy.linalg.svd(weighted)
    expected = left[:, :5] * values[:5]  # one output less than texts
    expected /= expected.std(axis=0).max()
    rows = numpy.vstack([expected, numpy.zeros(5)])[codes.codes]
    numpy.testing.assert_allclose(out @ out.T, rows @ rows.T, rtol=1e-4, atol=1e-5)


def test_texts_are_encoded_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = CategoryCodes(numpy.arange(9), [f"text {k} of {k * k}" for k in range(9)])
    encoding = text_encoding.fit_text(codes, 0, numpy.random.RandomState(0))
    assert encoding is not None
    outs = numpy.empty((2, 9, len(encoding.labels)), numpy.float32)
    encoding.write_texts(codes, outs[0])
    monkeypatch.setattr(text_encoding, "TEXTS_AT_ONCE", 2)
    encoding.write_texts(codes, outs[1])
    numpy.testing.assert_allclose(outs[1], outs[0], rtol=1e-6)


@each_case(
    ("texts", "codes", "outputs"),
    [
        (["one"], [0, -1], None),
        (["one", ""], [0, 1], None),
        (["one", "two"], [0, 0, -1], None),
        (["one", "one more"], [0, 1], 1),
        (["one", " one"], [0, 1], None),  # with the same n-grams
    ],
)
def test_when_there_is_an_output(texts: list[str], codes: list[int], outputs: int | None) -> None:
    column = CategoryCodes(numpy.array(codes), texts)
    encoding = text_encoding.fit_text(column, 0, numpy.random.RandomState(0))
    assert (None if encoding is None else encoding.components.shape[1]) == outputs
