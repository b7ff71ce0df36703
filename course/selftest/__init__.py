"""The grader as a classifier: right code scores in full, wrong code fails by name, attacks gain nothing."""
