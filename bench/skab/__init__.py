"""What rules say on SKAB, a real pump rig whose faults are labelled row by row, as the table of docs/measurements.md.

Run as ``python -m bench.skab FOLDER`` with the folder of the shared data sets. Half of the recordings are there to
choose thresholds on, every second by name; the other half is reported. The first five minutes of each recording are
what a technician notes when a rig is taken into use: medians, no labels.
"""
