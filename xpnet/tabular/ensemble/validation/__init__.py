"""What validation rows say of new rows.

``validation_predictions``  their predictions by networks that did not train on them
``cross_fit``               the same by networks of their own, of rows of few groups
``calibration``             intervals, temperatures and thresholds from these predictions
"""
