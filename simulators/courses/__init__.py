"""Courses: a family's simulated facilities with labelled faults and confounders, played in virtual time."""
