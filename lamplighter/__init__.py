"""Lamplighter 点灯人 watches what a city owns outdoors; this room is its front door.

The map of the house, from the top floor down: `lamplighter` wires everything and runs the loop;
`ingest`, `api`, `dashboards` and `simulators` meet the world; `alerts` judges and `storage` keeps;
`devices` says what the city owns and how it speaks.
"""

__version__ = "0.1.0"
