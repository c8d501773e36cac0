"""
Are the probabilities right?
============================

Of all rows for which a classifier predicts 80 %, eight in ten should belong to the class: a curve
on the diagonal is right. A curve that is flatter than the diagonal is overconfident, a steeper one
underconfident. The number of epochs, the penalty ``alpha`` and early stopping all move the curve,
so look at the curve of your own rows before you trust a probability;
``TabularClassifier(calibration="temperature")`` corrects it.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import xpnet

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed on purpose

X, y = make_classification(4000, 20, n_informative=5, flip_y=0.15, class_sep=0.7, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
settings = {
    "60 epochs": {},
    "60 epochs, alpha=3": {"alpha": 3.0},
    "early stopping": {"early_stopping": True},
}

fig, ax = plt.subplots(figsize=(5.5, 5))
for name, options in settings.items():
    classifier = xpnet.MLPClassifier((64,), max_iter=60, tol=0, random_state=0, **options)
    classifier.set_params(n_iter_no_change=10 if options.get("early_stopping") else 60)
    classifier.fit(X_train, y_train)
    CalibrationDisplay.from_predictions(
        y_test,
        classifier.predict_proba(X_test)[:, 1],
        n_bins=8,
        strategy="quantile",
        name=name,
        ax=ax,
    )
ax.set_title("Predicted and observed frequencies", fontsize=10)
plt.show()
