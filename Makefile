# `make help` lists the targets. Variables: PYTHON (which Python makes the environment), ARGS (for the
# program that runs), KIND (of installation), WORKERS (processes that run tests side by side), PARSER and SECONDS (to fuzz),
# LINKS (directory on the PATH for a link to the program).

PYTHON ?= python3
WORKERS ?= 2
LINKS ?= $(if $(filter 0,$(shell id -u)),/usr/local/bin,$(HOME)/.local/bin)
PARSER ?= request
SECONDS ?= 60
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
PIP_INSTALL := $(PIP) --quiet
LOCKED := requirements/runtime.txt requirements/build.txt
# One line per package. The last line of the input is pip's exit code.
SHOW_PACKAGES := awk -v total="$$(sed -n 's/==.*//p' $(LOCKED) | sort -u | wc -l)" ' \
	/^Collecting / { sub("[=<>~;[].*", "", $$2); printf "  %d of %d: %s\n", ++count, total, $$2; fflush() } \
	/^(Building|Installing) / { print "  installing ..."; fflush() } \
	/^exit / { code = $$2 } END { exit code }'
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --strip-extras \
	--allow-unsafe --no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
DEV_GROUP := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")

# A module's tests stay in one process, so that what they share starts once. The order is that of tests/conftest.py.
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help config run install uninstall link test test-quick check audit conformance bench fuzz lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

config: link ## Ask for the settings, and write registry-proxy.toml
	@exec $(BIN)/registry-proxy config $(ARGS)

run: link ## Install the server into .venv, and run it
	@exec $(BIN)/registry-proxy serve $(ARGS)

install: link ## Install the server as a service: KIND=systemd or KIND=compose
	@exec $(BIN)/registry-proxy install $(KIND) $(ARGS)

uninstall: $(VENV)/.project ## Remove the service, and keep the cached content
	@exec $(BIN)/registry-proxy uninstall $(KIND) $(ARGS)

test: $(VENV)/.dev ## Install the packages for the tests, check the code, and run all tests
	$(BIN)/python -m tests.kit.debian
	$(MAKE) --no-print-directory check
	$(PYTEST) $(ARGS)

test-quick: $(VENV)/.dev ## Run the tests that need no root, no packages and no processes, in about a minute
	$(PYTEST) -m "not machine and not program and not slow" $(ARGS)

check: $(VENV)/.dev ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(VENV)/.dev ## Check the locks against known vulnerabilities, where a database is available
	@$(BIN)/python -m tests.kit.audit

conformance: $(VENV)/.dev ## Run the OCI conformance suite through the cache; this requires Go
	$(BIN)/python -m tests.kit.debian
	$(BIN)/python -m tests.conformance

bench: $(VENV)/.dev ## Measure side by side with Debian's docker-registry
	$(BIN)/python -m tests.kit.debian
	$(BIN)/python -m bench $(ARGS)

fuzz: $(VENV)/.fuzz ## Fuzz one parser for longer than the tests do: PARSER=link SECONDS=600
	$(BIN)/python -m tests.fuzz $(PARSER) --seconds $(SECONDS) --corpus .fuzz/$(PARSER) $(ARGS)

# The oldest Python that is supported needs the most packages, so its lock serves all.
lock: $(VENV)/.dev ## Lock the newest dependencies that pyproject.toml allows
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "Lock with Python 3.11: make clean lock PYTHON=python3.11" >&2; exit 1; }
	$(COMPILE) --upgrade --output-file requirements/runtime.txt pyproject.toml
	$(COMPILE) --upgrade --constraint requirements/runtime.txt --only-build-deps --build-deps-for editable \
		--output-file requirements/build.txt pyproject.toml
	$(BIN)/python -c '$(DEV_GROUP)' | $(COMPILE) --upgrade --constraint requirements/runtime.txt \
		--constraint requirements/build.txt --output-file requirements/dev.txt -

clean: ## Delete the environment and all built files, and keep the cached content
	@[ "$$(readlink "$(LINKS)/registry-proxy")" != "$(abspath $(BIN))/registry-proxy" ] || rm "$(LINKS)/registry-proxy"
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz .import_linter_cache
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Another program of this name stays, and so does the link to an installed service.
link: $(VENV)/.project
	@link="$(LINKS)/registry-proxy"; own="$(abspath $(BIN))/registry-proxy"; \
	[ -e "$$link" ] || { mkdir -p "$(LINKS)" && ln -sfn "$$own" "$$link"; } || true; \
	found="$$(command -v registry-proxy || true)"; \
	if [ -z "$$found" ] && [ "$$link" -ef "$$own" ]; then \
		echo "The program is $$link. To call it by its name, run: export PATH=\"$(LINKS):\$$PATH\""; \
	elif [ -n "$$found" ] && ! [ "$$found" -ef "$$own" ]; then \
		echo "registry-proxy on the PATH is $$found. The program of this checkout is $(BIN)/registry-proxy."; \
	fi

# A changed lock creates a new environment, so that nothing of the old one is left.
$(VENV)/.runtime: $(LOCKED)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it with PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) can't make virtual environments. On Debian: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@{ $(PIP) --progress-bar off --require-hashes $(LOCKED:%=-r %); echo "exit $$?"; } | $(SHOW_PACKAGES)
	@touch $@

$(VENV)/.project: $(VENV)/.runtime pyproject.toml
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.project requirements/dev.txt
	@echo "Installing the packages for the tests ..."
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

# Not locked: nothing else uses it, and it exists for few versions of Python.
$(VENV)/.fuzz: $(VENV)/.dev
	@echo "Installing atheris ..."
	@$(PIP_INSTALL) atheris==3.0.0
	@touch $@
