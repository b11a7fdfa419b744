"""What a person or a program may ask of a running house: assets, readings, alerts, the ledger, and a live stream."""
