# Lamplighter 点灯人. `make demo` starts it, `make test` tests it; both do all their own set-up.
.PHONY: demo run test check servers fuzz bench outage megacity rehearse score screenshot wheel lock console ready ready-dev clean help
.DEFAULT_GOAL := help

demo: ready console          ## a simulated city with everything running (FOR=60s stops by itself)
	@.venv/bin/lamplighter demo $(if $(FOR),--for $(FOR)) $(ARGS)

run: ready console           ## the real thing, with lamplighter.yaml (see `lamplighter init`)
	@.venv/bin/lamplighter run $(ARGS)

test: ready-dev console      ## all tests; those that need absent servers are skipped by name
	@.venv/bin/python -m pytest -n 2 --dist loadfile $(ARGS)

check: ready-dev             ## style, types, the direction of imports
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

servers:                     ## Mosquitto, InfluxDB, nginx and Chromium for the tests (Debian, Ubuntu)
	@sh scripts/servers.sh

fuzz:                        ## search the codecs by coverage (TARGET=payloads|topics|journal|rules|frames|lines RUNS=100000)
	@sh scripts/setup.sh fuzz
	@for target in $(or $(TARGET),payloads topics journal rules frames lines); do \
	  .venv/bin/python -W ignore -m tests.fuzz.run $$target -runs=$(or $(RUNS),100000) $(ARGS) || exit 1; done

bench: ready-dev             ## CPU a reading on the whole way, beside a plain script, in one run
	@.venv/bin/python -m bench.whole_way $(ARGS)

outage: ready-dev            ## InfluxDB away for an hour, scaled 1:60, at 5,000 readings a second
	@.venv/bin/python -m bench.outage $(ARGS)

megacity: ready-dev          ## 815,000 devices and 20,000 readings a second on this machine, everything included
	@.venv/bin/python -m bench.megacity $(ARGS)

rehearse: ready               ## the house in virtual time, everything failing (SEEDS=10000; SEED=4711 repeats one)
	@.venv/bin/lamplighter rehearse $(if $(SEED),--seed $(SEED),$(if $(SEEDS),--seeds $(SEEDS))) $(ARGS)

score: ready                  ## the rules' report card: docs/report-card.* on seeds B (SEEDS=A to tune)
	@.venv/bin/lamplighter rules score --seeds $(or $(SEEDS),B) $(if $(filter A,$(SEEDS)),,--out docs) $(ARGS)

screenshot: ready-dev console ## docs/images/console.png from a running demo
	@.venv/bin/python -m scripts.picture

wheel: ready-dev console      ## dist/*.whl with the built console inside
	@rm -rf api/console && cp -r console/dist api/console
	@.venv/bin/python -m hatchling build -t wheel; done=$$?; rm -rf api/console; exit $$done

lock:                        ## make the locks anew from pyproject.toml (needs uv)
	@sh scripts/lock.sh

console: console/dist/index.html

console/dist/index.html: $(shell find console -path console/node_modules -prune -o -path console/dist -prune -o -type f -print 2>/dev/null) | ready
	@sh scripts/console.sh

ready:
	@sh scripts/setup.sh run

ready-dev:
	@sh scripts/setup.sh dev

clean:                       ## remove what was installed and built
	rm -rf .venv console/node_modules console/dist .lamplighter

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14
