"""What the city owns and how it speaks: kinds, registry, topics, payloads, Batch. Pure: no network, no clock."""
