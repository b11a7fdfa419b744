"""The rehearsal: the unmodified house in virtual time over a staged broker, store, phone and disk, from one seed."""
