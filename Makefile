# Hostel: the ways to run it from a checkout. Everything is set up below the checkout, in .venv.

# Tests drop to ordinary users. Where those cannot read the checkout, the virtualenv lies elsewhere.
ORDINARY_CAN_READ := $(shell su -s /bin/sh nobody -c "test -r '$(CURDIR)/pyproject.toml'" 2>/dev/null && echo yes)
IS_ROOT := $(filter 0,$(shell id -u))
ifeq ($(IS_ROOT)$(ORDINARY_CAN_READ),0)
    VENV := /var/tmp/hostel-venv-$(shell printf %s '$(CURDIR)' | md5sum | cut -c1-12)
    INSTALL := .
else
    VENV := .venv
    INSTALL := -e .
endif
PYTEST := $(VENV)/bin/python -m pytest
# Most tests of whole servers wait for processes, so a few files are run at the same time; what measures runs alone.
SIDE_BY_SIDE := scripts/run-tests.sh $(VENV)/bin/python

.PHONY: serve test test-fast test-other-pythons check docs bench clean system-packages venv

serve:  ## set everything up and serve examples/ at http://<site>.localhost:8000 and https://<site>.localhost:8443
	@VENV='$(VENV)' INSTALL='$(INSTALL)' scripts/serve.sh

test: system-packages venv  ## everything that CI runs but the lint
	$(SIDE_BY_SIDE) -m "not alone"
	$(PYTEST) -q -m alone
	@$(MAKE) --no-print-directory test-other-pythons

test-fast: venv  ## what gives an answer in less than a minute
	$(SIDE_BY_SIDE) -m "not slow and not alone and (not server or smoke)" $(FAST)

check: venv  ## lint and types
	$(VENV)/bin/ruff format --check src tests examples bench
	$(VENV)/bin/ruff check src tests examples bench
	$(VENV)/bin/mypy

docs: venv  ## write the generated reference anew
	$(VENV)/bin/python -m hostel.reference docs/reference
	$(VENV)/bin/python -m tests.machine.diagram >docs/reference/states.md
	$(VENV)/bin/python -m tests.hostile.table docs/explanation/trust.md

bench:  ## measure beside the peers; see bench/README.md
	bench/run.sh

venv:
	@umask 022; scripts/setup.sh $(VENV) $(INSTALL)[examples] -r requirements/test.txt

system-packages:
	@scripts/system-packages.sh nginx chromium gcc

test-other-pythons:
	@scripts/other-pythons.sh

clean:
	rm -rf .venv $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
