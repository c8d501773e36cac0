"""This benchmark compares predictions of estimators of tables: xpnet, linear models, boosting,
other networks.

``tables``      open tables, which packages bring, and their splits
``contenders``  what is trained on them, each with its defaults
``costs``       CPU times of xpnet's fits by the number of rows, into ``costs.json``
``run``         trains and judges, split after split, into ``tables.json``
``report``      tables of errors, geometric means and a picture
"""

from xpnet_bench.accuracy.contenders import CONTENDERS
from xpnet_bench.accuracy.costs import run_costs
from xpnet_bench.accuracy.report import write_accuracy_report
from xpnet_bench.accuracy.run import run_accuracy

__all__ = ["CONTENDERS", "run_accuracy", "run_costs", "write_accuracy_report"]
