"""Broker bytes to columns: the MQTT 5 session and the sieve. The network is met in ``connection.py`` only."""
