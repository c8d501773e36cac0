"""Help, docstrings and pages repeat constants of the recipe; here they are compared with them."""

import ast
import inspect
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import xpnet
from xpnet.cli.commands.train import train
from xpnet.cli.settings import TrainSettings
from xpnet.tabular import importance
from xpnet.tabular.encodings import column_fit
from xpnet.tabular.encodings import level as level_encoding
from xpnet.tabular.encodings import text as text_encoding
from xpnet.tabular.ensemble import recipe, search
from xpnet.tabular.ensemble.best_epoch import Patience
from xpnet.tabular.ensemble.linear import baseline
from xpnet.tabular.ensemble.recipe import LARGE_ROWS, MAX_EPOCHS
from xpnet.tabular.ensemble.refit import MIN_REFIT_EPOCHS
from xpnet.tabular.ensemble.validation import cross_fit
from xpnet.tabular.parameters import PARAMETERS_OF_MODELS, SGD_MOMENTUM
from xpnet.tabular.quality import DEFAULT_QUALITY, LABEL_BATCHES, NUMBER_BATCHES, QUALITIES

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "tables.md"
WORDS = {Fraction(1, 5): "a fifth", Fraction(2, 5): "two fifths"}


def of_qualities(name: str) -> list[Any]:
    """The values of a field at the qualities 1 to 5."""
    return [getattr(QUALITIES[quality], name) for quality in sorted(QUALITIES)]


def listed(values: list[Any], word: str = "or") -> str:
    """Different values in rising order: 2 or 4."""
    return f" {word} ".join(f"{value:g}" for value in sorted(set(values)))


def span(values: list[Any]) -> str:
    """The smallest and the largest value: 100 to 200."""
    return f"{min(values):g} to {max(values):g}"


def squeezed(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def other(name: str, model: str = "mlp") -> str:
    """The default of models that are not tabular."""
    return f"{PARAMETERS_OF_MODELS[model][name]:g}"


RATES = [*of_qualities("label_rate"), *of_qualities("number_rate")]
DROPOUT = xpnet.TabularClassifier().dropout
LABEL_DECAYS = of_qualities("label_decay")
(NUMBER_DECAY,) = set(of_qualities("number_decay"))
PATIENCE = of_qualities("patience")
THIRD = search.SETTINGS[2]
LARGE = f"{LARGE_ROWS:,}"
usual_decay, decay_at_2 = LABEL_DECAYS[0], LABEL_DECAYS[1]


def waits(patience: Patience) -> str:
    """A patience as the help has it: 3 + b/4."""
    return f"{patience.epochs} + b/{1 / patience.share:g}"


def test_the_qualities_have_what_the_sentences_can_say() -> None:
    """Otherwise another sentence is needed."""
    assert [decay for decay in LABEL_DECAYS if decay != usual_decay] == [decay_at_2]
    assert sorted(PATIENCE) == PATIENCE
    assert xpnet.TabularRegressor().dropout == 0


HELP = {
    "quality": f"[default: {DEFAULT_QUALITY}]",
    "members": f"[default: {listed(of_qualities('members'))} by quality, else {other('members')}]",
    "dropout": f"[default: {DROPOUT:g} for tabular classes, else {other('dropout')}; the third of "
    f"several networks has {THIRD.label_dropout:g}, or {THIRD.number_dropout:g} for numbers]",
    "epochs": f"[default: {MAX_EPOCHS}, from {LARGE} rows on at most "
    f"{span(of_qualities('max_epochs'))} by quality; else {other('max_iter')}]",
    "patience": f"[default: {waits(PATIENCE[0])} to {waits(PATIENCE[-1])} by quality, b the number "
    f"of the best epoch; else {other('n_iter_no_change')}]",
    "lr": f"[default: {span(RATES)} by quality, {other('learning_rate_init', 'linear')} without "
    f"hidden layers, else {other('learning_rate_init')}]",
    "weight_decay": f"[default: {usual_decay:g} for tabular classes, {decay_at_2:g} at quality 2; "
    f"{NUMBER_DECAY:g} for tabular numbers; else {other('weight_decay')}]",
    "batch_size": f"[default: {listed([size for _, size in [*LABEL_BATCHES, *NUMBER_BATCHES]])}, "
    "by the number of rows]",
}


@pytest.mark.parametrize("name", HELP)
def test_the_help_has_the_defaults(name: str) -> None:
    (text,) = [option.help for option in train.params if option.name == name]
    assert HELP[name] in squeezed(text)


@pytest.mark.parametrize("name", ["validation_size", "test_size", "jobs", "seed", "optimizer"])
def test_options_have_the_defaults_of_the_settings(name: str) -> None:
    (option,) = [option for option in train.params if option.name == name]
    assert option.default == TrainSettings.__dataclass_fields__[name].default


def networks(rows: int) -> list[tuple[int, int]]:
    """The smallest and largest number of networks for a number of rows, by quality."""
    return [
        next((low, high) for minimum, low, high in counts if rows >= minimum)
        for counts in of_qualities("network_counts")
    ]


FEW_NETWORKS = [low for low, _ in networks(100)]
REFIT_SHARES = [Fraction(share).limit_denominator(100) for share in of_qualities("refit_share")]
(RUNG_1, RUNG_2) = QUALITIES[5].search
COUNT_WORDS = {2: "two", 4: "four"}

PARAMETERS = [
    "two layers of "
    + " or ".join(
        ", ".join(map(str, sorted({w for w, _ in of_qualities("hidden_widths")}))).rsplit(", ", 1)
    )
    + " units",
    f'``"auto"`` is {QUALITIES[1].members} at qualities 1 and 2, else {QUALITIES[3].members}',
    f'``"auto"`` is {FEW_NETWORKS[0]}, {FEW_NETWORKS[1]}, {FEW_NETWORKS[2]} or {FEW_NETWORKS[3]} '
    f"by quality for fewer than {LARGE} rows",
    f"{COUNT_WORDS[RUNG_1.folds]} networks of each of {COUNT_WORDS[RUNG_1.settings]} settings are "
    f"trained, {COUNT_WORDS[RUNG_2.folds]} more of each of the best {COUNT_WORDS[RUNG_2.settings]}",
    f'``"sgd"`` has a momentum of {SGD_MOMENTUM:g}',
    f'``"auto"`` is {QUALITIES[1].label_rate:g} at quality 1, else {QUALITIES[3].label_rate:g} '
    f"for labels and {QUALITIES[3].number_rate:g} for numbers",
    f'``"auto"`` is {NUMBER_DECAY:g} for numbers, and {decay_at_2:g} (quality 2) or '
    f"{usual_decay:g} for labels",
    f"default {DROPOUT:g} for labels, 0 for numbers",
    f'``"auto"`` is {LABEL_BATCHES[-1][1]}, or {LABEL_BATCHES[0][1]} from {LABEL_BATCHES[0][0]} '
    f"rows of labels and {NUMBER_BATCHES[0][0]:,} of numbers "
    f"({QUALITIES[1].number_batches[0][0]} at quality 1)",
    f'``"auto"`` is {MAX_EPOCHS}, with',
    f"from {LARGE} rows on it is at most {span(of_qualities('max_epochs'))} by quality",
    f"{PATIENCE[0].epochs} + {PATIENCE[0].share:g} *b* at quality 1, then "
    f"{PATIENCE[1].epochs} + {PATIENCE[1].share:g} *b*, {PATIENCE[2].epochs} + "
    f"{PATIENCE[2].share:g} *b*, and {PATIENCE[3].epochs} + {PATIENCE[3].share:g} *b* at qualities "
    "4 and 5",
    f"{WORDS[REFIT_SHARES[2]]} as many epochs again, {WORDS[REFIT_SHARES[0]]} at qualities 1 and "
    f"2, and {MIN_REFIT_EPOCHS} at least",
]


@pytest.mark.parametrize("sentence", PARAMETERS)
@pytest.mark.parametrize("estimator", [xpnet.TabularClassifier, xpnet.TabularRegressor])
def test_the_estimators_document_what_auto_is(estimator: type, sentence: str) -> None:
    assert sentence in squeezed(estimator.__doc__ or "")


def test_learning_rates_and_network_counts_are_as_few_as_the_docstring_says() -> None:
    assert len({quality.label_rate for quality in list(QUALITIES.values())[1:]}) == 1
    assert len({quality.number_rate for quality in list(QUALITIES.values())[1:]}) == 1
    assert [rates[0] for rates in zip(RATES[:5], RATES[5:], strict=True)][0] == RATES[5]
    assert REFIT_SHARES[0] == REFIT_SHARES[1]
    assert len(set(REFIT_SHARES[2:])) == 1


ENCODER = [
    f"one bin for each {column_fit.MIN_ROWS_PER_BIN} rows, at most {column_fit.MAX_BINS}",
    f"of a tree at most {column_fit.MAX_TREE_BINS}",
    f"at most {column_fit.MAX_TREE_BINS_OF_WIDE_TABLE} in one of more than "
    f"{column_fit.TREE_BINS_OF_TABLE // column_fit.MAX_TREE_BINS_OF_WIDE_TABLE}",
    f"has {column_fit.MIN_ROWS_PER_TREE_BIN} rows, and {column_fit.MAX_FINE_TREE_BINS} where",
    f"more than 2^{column_fit.MAX_ENCODED_NUMBERS.bit_length() - 1} numbers",
    f"{column_fit.GUARANTEED_CATEGORIES} where more would make",
    f"becomes {text_encoding.COMPONENTS} numbers",
]


@pytest.mark.parametrize("sentence", ENCODER)
def test_the_encoder_documents_its_limits(sentence: str) -> None:
    assert sentence in squeezed(xpnet.TableEncoder.__doc__ or "")


def row_of_table(quality: int) -> str:
    """A row of the table of qualities."""

    def networks_of(rows: int) -> str:
        """The number of networks, or both numbers."""
        low, high = networks(rows)[quality - 1]
        return f"{low}" if low == high else f"{low} to {high}"

    of = QUALITIES[quality]
    name = f"{quality}, the default" if quality == DEFAULT_QUALITY else f"{quality}"
    few = networks_of(100)
    if of.search:
        folds = RUNG_1.folds + RUNG_2.folds
        few = f"{folds} or {RUNG_2.settings * folds}, by a search"
    cells = [name, few, networks_of(LARGE_ROWS), networks_of(50_000), of.members]
    return "| " + " | ".join(map(str, [*cells, "{}, {}".format(*of.hidden_widths)])) + " |"


WORK = [quality.work_of_a_row // 1_000_000 for quality in QUALITIES.values()]
"""Million multiplications for each row, by quality."""

ON_THE_PAGE = [
    *map(row_of_table, QUALITIES),
    f"{PATIENCE[2].epochs} and {WORDS[Fraction(PATIENCE[2].share).limit_denominator(9)]} of the "
    "best epoch's number at the default quality",
    f"more than {MAX_EPOCHS} epochs. From {LARGE} rows on",
    f"*w* is {', '.join(map(str, WORK[:-1]))} and {WORK[-1]} at the qualities 1 to 5",
    f"*f* is {recipe.WORK_OF_FEW_ROWS:g} up to {LARGE} rows, falls to 1 as "
    f"{recipe.WORK_OF_FEW_ROWS * LARGE_ROWS:,.0f} / rows, is 1 up to "
    f"{recipe.ROWS_OF_FULL_WORK:,} rows",
    f"*c* is 1 up to {recipe.USUAL_COLUMNS} columns",
    f"{recipe.MAX_WORK_OF_COLUMNS * recipe.USUAL_COLUMNS:,.0f} / {recipe.USUAL_COLUMNS} from "
    f"{recipe.MAX_WORK_OF_COLUMNS * recipe.USUAL_COLUMNS:,.0f} columns on",
    f"Tables of more than {column_fit.MAX_BINNED_NUMBERS:,} numbers have no bins",
    f"at most {cross_fit.MAX_GROUPS} groups, on fewer than {LARGE} rows",
    f"from {baseline.MIN_INPUT_SCALE:g} to {baseline.MAX_INPUT_SCALE:g}",
    f"at most {baseline.MAX_ROWS:,} rows",
    f"from at most {importance.MAX_ROWS:,} validation rows",
    f"more than {column_fit.MAX_VALUES_WITHOUT_DETAILS} values",
    f"{level_encoding.MIN_LEVELS} to {level_encoding.MAX_LEVELS:,} values",
    f"at least {level_encoding.MIN_EXPLAINED * 100:g} % of the target's variance",
]


@pytest.mark.parametrize("sentence", ON_THE_PAGE)
def test_the_page_has_the_numbers(sentence: str) -> None:
    assert sentence in squeezed(PAGE.read_text(encoding="utf-8"))


def documented_defaults() -> Iterator[Any]:
    """Each literal default in the docstring of a public class or function."""
    for name in xpnet.__all__:
        public = getattr(xpnet, name)
        is_error = isinstance(public, type) and issubclass(public, BaseException)
        if not callable(public) or not public.__doc__ or is_error:
            continue
        signature = inspect.signature(public)
        for match in re.finditer(r"^ *(\w+) : .*?, default (.+)$", public.__doc__, re.M):
            parameter, text = match.groups()
            if parameter not in signature.parameters or " for numbers" in text:
                continue  # the two estimators have other defaults
            try:
                documented = ast.literal_eval(text.split(" ")[0].rstrip(",;"))
            except (SyntaxError, ValueError):
                continue  # in words
            actual = signature.parameters[parameter].default
            yield pytest.param(documented, actual, id=f"{name}.{parameter}")


@pytest.mark.parametrize(("documented", "actual"), list(documented_defaults()))
def test_a_documented_default_is_the_default(documented: Any, actual: Any) -> None:
    assert documented == actual
