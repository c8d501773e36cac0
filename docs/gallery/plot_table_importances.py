"""
Which columns of a table matter
===============================

A table with text, dates and gaps is trained on as it is. The importance of a column is how much the
score falls when its values are shuffled among rows that the model was not trained on. The number of
rentals is made up from the temperature, the weather and the day of the week; the colour of the bike
does not matter.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import xpnet

rng = np.random.default_rng(0)
rows = 1200
table = pd.DataFrame(
    {
        "day": pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 700, rows), "D"),
        "weather": rng.choice(["sun", "clouds", "rain"], rows),
        "temperature": rng.normal(14, 7, rows).round(1),
        "colour": rng.choice(["red", "blue", "green"], rows),
    }
)
rentals = 100 + 8 * table["temperature"] + 60 * (table["day"].dt.day_of_week >= 5)
rentals += table["weather"].map({"sun": 50, "clouds": 0, "rain": -80}) + rng.normal(0, 15, rows)
table.loc[rng.random(rows) < 0.1, "temperature"] = np.nan  # one thermometer in ten has failed

model = xpnet.TabularRegressor(quality=1, random_state=0).fit(table[:900], rentals[:900])

fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
xpnet.ImportanceDisplay.from_estimator(
    model, table[900:], rentals[900:], ax=ax, n_repeats=5, random_state=0
)
ax.set_xlabel("fall of R² with the column shuffled")
ax.set_title(f"R² on new rows: {model.score(table[900:], rentals[900:]):.2f}", fontsize=10)
plt.show()
