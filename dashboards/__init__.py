"""Grafana as code: one board a kind of facility, one for the watcher itself, and their provisioning."""
