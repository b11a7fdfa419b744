"""The report card: rules played over faults whose truth is known, and what came of each of them."""
