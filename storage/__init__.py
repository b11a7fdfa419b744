"""What was measured and what was decided: journal, time series, operations database, shipper, ledger."""
