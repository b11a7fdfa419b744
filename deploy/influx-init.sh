#!/bin/bash
# Runs once, after InfluxDB 2.7 has made its first user, organisation and bucket.
#
# InfluxQL finds a bucket through a DBRP mapping. 2.7 answers for a database that is named like a bucket even without
# one ("virtual" mapping); it is written down here so that nobody has to rely on it.
#
# Grafana gets a name and password of its own that can read this one bucket and nothing else; the same form of access
# works with InfluxDB 1.x (a user) and 3.x (any name, a token as the password).
set -euo pipefail

influx v1 dbrp create \
  --org "$DOCKER_INFLUXDB_INIT_ORG" \
  --bucket-id "$DOCKER_INFLUXDB_INIT_BUCKET_ID" \
  --db "$DOCKER_INFLUXDB_INIT_BUCKET" \
  --rp autogen \
  --default

influx v1 auth create \
  --org "$DOCKER_INFLUXDB_INIT_ORG" \
  --username grafana \
  --password "$LAMPLIGHTER_INFLUX_READ_PASSWORD" \
  --read-bucket "$DOCKER_INFLUXDB_INIT_BUCKET_ID" \
  --description "Grafana, read only"
