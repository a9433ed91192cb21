# On a fresh machine `make run` needs Python 3.11 to 3.14, with its venv module, and nothing else.

SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c '$(SUITABLE)' 2>/dev/null && echo $$name && break; done)
VENV := .venv/bin
RUNTIME := .venv/runtime.stamp
DEVELOPMENT := .venv/development.stamp
PEERS := .venv-peers/stamp
PLOT := .venv-plot/stamp
SDKS := .venv-sdks/stamp
SUITES := .venv-suites/stamp
SBOM := .venv-sbom/stamp
SITE := .venv-site/stamp
DEPLOY := .venv-deploy/stamp
CLIENTS := .venv-clients/stamp
FLOORS := .venv-floors/stamp
DEPLOY_TOOLS := .venv-deploy/bin/kubectl .venv-deploy/bin/promtool
TYPESCRIPT := clients/typescript/node_modules/.package-lock.json
TYPESCRIPT_BUILT := clients/typescript/dist/index.js
PEERS_NODE := bench/peers/node_modules/.package-lock.json
CODE := $(wildcard app tests bench docs locks deploy/compose clients/generate.py)
.DELETE_ON_ERROR:
.PHONY: help run test test-clients faults test-image test-poolers test-proxies test-floods test-floors test-sdks test-suites check check-deploy clients format bench bench-growth bench-work bench-kinds bench-peers openapi docs image wheel lock clean

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

run: $(RUNTIME) $(VENV)/factwire ## Start the service; settings come from the environment (FACTWIRE_*)
	@exec $(VENV)/python -m factwire serve

test: $(DEVELOPMENT) $(VENV)/factwire ## Run the tests (FACTWIRE_TEST_DATABASE_URL instead of a throw-away PostgreSQL)
	@exec $(VENV)/python -m pytest -m "not clients and not image and not deploy and not poolers and not proxies and not floods and not sdks and not suites"

test-clients: $(DEVELOPMENT) $(VENV)/factwire $(TYPESCRIPT_BUILT) ## Run the tests that need Node or a browser
	@scripts/require $@
	@cd tests/clients && npm ci --no-audit --no-fund
	@exec $(VENV)/python -m pytest -m clients

test-sdks: $(DEVELOPMENT) $(VENV)/factwire $(SDKS) $(CLIENTS) $(TYPESCRIPT) ## Generate clients from the OpenAPI document, compile them and try them
	@scripts/require $@
	@cd tests/sdks && npm ci --no-audit --no-fund
	@exec $(VENV)/python -m pytest -m sdks

# FAULTS='--seed 7 --only clock' runs some of them again.
faults: $(DEVELOPMENT) $(VENV)/factwire ## Kill, stop, cut off and fill up what there is under load, and check what clients saw (root, Linux)
	@exec $(VENV)/python -m tests.faults $(FAULTS)

test-suites: $(DEVELOPMENT) $(VENV)/factwire $(SUITES) ## Run suites of other event stores, on adapters
	@scripts/require $@
	@cd tests/suites && npm ci --no-audit --no-fund
	@exec $(VENV)/python -m pytest -m suites --numprocesses=0

test-floors: $(FLOORS) ## Run the tests on the lowest releases that the bounds in pyproject.toml allow
	@exec .venv-floors/bin/python -m pytest -m "not clients and not image and not deploy and not poolers and not proxies and not floods and not sdks and not suites"

test-image: $(DEVELOPMENT) $(VENV)/factwire $(SBOM) ## Build the image and run it for real
	@exec $(VENV)/python -m pytest -m image --numprocesses=0 --capture=no

test-proxies: $(DEVELOPMENT) $(VENV)/factwire ## Run the tests behind nginx and HAProxy, and the roll-out
	@scripts/require $@
	@exec $(VENV)/python -m pytest -m proxies --numprocesses=0 --capture=no

# FACTWIRE_TEST_PGBOUNCER=/path/to/pgbouncer tries another one beside that of the PATH.
test-poolers: $(DEVELOPMENT) $(VENV)/factwire ## Run the tests behind PgBouncer
	@scripts/require $@
	@PATH="$$PATH:/usr/sbin" exec $(VENV)/python -m pytest -m poolers --numprocesses=0

# FLOODS='-k bombs' runs some of them.
test-floods: $(DEVELOPMENT) $(VENV)/factwire ## Flood the service from one address, and print what others notice (Linux)
	@exec $(VENV)/python -m pytest -m floods --numprocesses=0 --capture=no $(FLOODS)

check: $(DEVELOPMENT) $(VENV)/factwire ## Check format, lint, types and import floors
	$(VENV)/ruff format --check
	$(VENV)/ruff check
	$(VENV)/mypy $(CODE)
	$(VENV)/lint-imports --no-cache --no-logo

check-deploy: $(DEVELOPMENT) $(VENV)/factwire $(DEPLOY) $(DEPLOY_TOOLS) ## Check deploy/: render it, validate it, try the alerts
	@PATH="$(CURDIR)/.venv-deploy/bin:$$PATH" exec $(VENV)/python -m pytest -m deploy --numprocesses=0 tests/deploy

format: $(DEVELOPMENT) ## Format the code and repair what the linter can
	$(VENV)/ruff format
	$(VENV)/ruff check --fix

bench: $(DEVELOPMENT) $(VENV)/factwire ## Measure the service against its floors
	@exec $(VENV)/python -m bench

bench-work: $(DEVELOPMENT) ## Measure claims and acknowledgements of subscriptions beside a queue in the same PostgreSQL
	@exec $(VENV)/python -m bench --work --repeat 2 --results bench/results/work.json

bench-growth: $(DEVELOPMENT) $(VENV)/factwire $(PLOT) ## Measure the service as its log grows to 10^7 facts, and draw it
	@$(VENV)/python -m bench.growth
	@.venv-plot/bin/python -m bench.growth.plot bench/results/growth.json docs/growth.png

bench-kinds: $(DEVELOPMENT) $(VENV)/factwire $(PLOT) ## Measure what finding costs over namespaces and types, and draw it
	@$(VENV)/python -m bench.growth.kinds
	@.venv-plot/bin/python -m bench.growth.plot_kinds bench/results/kinds.json docs/kinds.png

# A peer that cannot be installed becomes a row that says so.
bench-peers: $(DEVELOPMENT) $(VENV)/factwire ## Measure other stores beside the service and its floor
	-@$(MAKE) --no-print-directory $(PEERS)
	-@$(MAKE) --no-print-directory $(PEERS_NODE)
	@exec $(VENV)/python -m bench.peers

openapi: $(RUNTIME) $(VENV)/factwire ## Write the documents in openapi/
	$(VENV)/python -m factwire openapi > openapi/openapi.json
	$(VENV)/python -m factwire openapi --with-items > openapi/openapi-3.2.json

clients: $(CLIENTS) $(TYPESCRIPT) ## Write the generated parts of the clients: models, errors by code, the Python client without tasks
	@scripts/require $@
	@.venv-clients/bin/python clients/generate.py

docs: $(SITE) ## Build the site of the documentation into build/site
	@.venv-site/bin/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --conf-dir docs/site . build/site
	@! grep -rE '(src|<link [^>]*href)="(https?:)?//' --include='*.html' build/site || \
		{ echo "These pages ask something of other hosts." >&2; exit 1; }
	@echo "build/site/README.html"

image: $(SBOM) | $(VENV)/python ## Build the image and its bill of materials, on BASE or on a Debian of its own
	@exec deploy/image/build

wheel: $(DEVELOPMENT) ## Build the wheels of the service and of its Python client into dist/
	@$(VENV)/python -m hatchling build --target wheel
	@cd clients/python && $(CURDIR)/$(VENV)/python -m hatchling build --target wheel --directory $(CURDIR)/dist

lock: $(DEVELOPMENT) ## Choose the newest allowed versions and write the lock files
	@locks/compile

clean: ## Remove what the other targets made
	rm -rf dist .venv .venv-clients .venv-deploy .venv-floors .venv-peers .venv-plot .venv-sbom .venv-sdks .venv-site .venv-suites .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info \
		clients/typescript/node_modules clients/typescript/dist tests/clients/node_modules tests/sdks/node_modules tests/suites/node_modules bench/peers/node_modules deploy/image/wheels/*.whl
	find app alembic bench tests -name __pycache__ -prune -exec rm -rf {} +

# The newest Python waits for wheels of the embedded PostgreSQL.
$(VENV)/python:
	@$(or $(PYTHON),false) -c '$(SUITABLE)' 2>/dev/null || \
		{ echo "Factwire needs Python 3.11 to 3.14: install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) lacks its venv module: install it (Debian, Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv

$(RUNTIME): locks/embedded.txt locks/core.txt | $(VENV)/python
	@echo "Installing $< into .venv"
	@$(VENV)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# What editable installs would make: the packages on the path of .venv, and the command.
$(VENV)/factwire: Makefile | $(VENV)/python
	@printf '%s\n' '$(CURDIR)/app' '$(CURDIR)/clients/python' > "$$($(VENV)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/factwire.pth"
	@printf '%s\n' '#!$(CURDIR)/$(VENV)/python' 'import sys' 'from factwire.cli.main import main' 'sys.exit(main())' > $@ && chmod +x $@

$(DEVELOPMENT): locks/dev.txt locks/embedded.txt locks/core.txt | $(VENV)/python
	@echo "Installing $< into .venv"
	@$(VENV)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Tools have environments of their own.
$(PEERS): locks/peers.txt
$(PLOT): locks/growth.txt
$(SDKS): locks/sdks.txt
$(SUITES): locks/suites.txt
$(SBOM): locks/sbom.txt
$(SITE): locks/site.txt
$(CLIENTS): locks/clients.txt
$(DEPLOY): locks/deploy.txt
$(PEERS) $(PLOT) $(SDKS) $(SUITES) $(SBOM) $(SITE) $(DEPLOY) $(CLIENTS): | $(VENV)/python
	@echo "Installing $< into $(@D)"
	@$(VENV)/python -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(FLOORS): locks/floors.txt locks/dev.txt | $(VENV)/python
	@echo "Installing locks/dev.txt and $< into $(@D)"
	@$(VENV)/python -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@printf '%s\n' '$(CURDIR)/app' '$(CURDIR)/clients/python' > "$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/factwire.pth"
	@printf '%s\n' '#!$(CURDIR)/$(@D)/bin/python' 'import sys' 'from factwire.cli.main import main' 'sys.exit(main())' > $(@D)/bin/factwire && chmod +x $(@D)/bin/factwire
	@touch $@

$(PEERS_NODE): bench/peers/package-lock.json
	@scripts/require bench-peers
	@echo "Installing $< into bench/peers/node_modules"
	@cd bench/peers && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(TYPESCRIPT): clients/typescript/package-lock.json
	@scripts/require clients
	@echo "Installing $< into clients/typescript/node_modules"
	@cd clients/typescript && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(TYPESCRIPT_BUILT): $(TYPESCRIPT) clients/typescript/tsconfig.json $(wildcard clients/typescript/src/*.ts)
	@cd clients/typescript && npx --no-install tsc

$(DEPLOY_TOOLS): .venv-deploy/bin/%: | $(DEPLOY)
	@bash tests/deploy/bring.sh $*
