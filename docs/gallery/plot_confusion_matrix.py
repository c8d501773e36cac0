"""
Which digits are confused with which
====================================

Any display of scikit-learn works with xpnet's estimators.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import xpnet

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed on purpose

X, y = load_digits(return_X_y=True)
classifier = make_pipeline(
    StandardScaler(), xpnet.MLPClassifier((32,), max_iter=40, tol=1e-3, random_state=0)
)
predicted = cross_val_predict(classifier, X, y, cv=5)

fig, ax = plt.subplots(figsize=(5.5, 5))
ConfusionMatrixDisplay.from_predictions(y, predicted, ax=ax, colorbar=False, cmap="Blues")
ax.set_title(f"Five-fold cross-validation, accuracy {(predicted == y).mean():.1%}", fontsize=10)
plt.show()
