"""A stage to rehearse on: virtual time, and a broker, a store, a phone and a disk that fail as a seed says."""
