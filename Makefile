# Every target only calls deploy/bootstrap.py (standard library alone), which the README gives for machines without make.
# GNU make 3.81 is enough. PYTHON=... chooses another Python to start with; it finds a fitting one by itself.
PYTHON := $(shell command -v python3 || command -v python || echo python3)
BOOTSTRAP := $(PYTHON) deploy/bootstrap.py

.DEFAULT_GOAL := help
.PHONY: help demo test check lint test-kafka soak bench install lock clean

help:  ## this list
	@echo "make demo                 watch it work: broker, worker, trainer, simulated shop, live page (Ctrl-C ends it)"
	@echo "make demo DATA=file.gz    the same with your own events (JSON Lines, or the UCI Online Retail CSV)"
	@echo "make test [ARGS=...]      the test suite; ARGS go to pytest"
	@echo "make check                lint, format, types, layers, schemas, then the test suite"
	@echo "make test-kafka           the integration tests on real Apache Kafka (needs Java and Maven)"
	@echo "make soak                 a hundred kills over a million events on Apache Kafka (about an hour; STREAM_APP_TEST_SEED=...)"
	@echo "make bench [ARGS=...]     speed and latency, beside other stream libraries (about an hour; ARGS go to stream-app bench)"
	@echo "make install              only make .venv and install everything for development"
	@echo "make lock                 write deploy/lock/*.txt anew from pyproject.toml (needs uv)"
	@echo "make clean                remove .venv, caches and local data"

demo:
	@$(BOOTSTRAP) demo $(if $(DATA),--data "$(DATA)") $(ARGS)

test:
	@$(BOOTSTRAP) test $(ARGS)

check:
	@$(BOOTSTRAP) check $(ARGS)

lint:
	@$(BOOTSTRAP) lint

test-kafka:
	@$(BOOTSTRAP) test-kafka $(ARGS)

soak:
	@$(BOOTSTRAP) soak $(ARGS)

bench:
	@$(BOOTSTRAP) bench $(ARGS)

install:
	@$(BOOTSTRAP) install

lock:
	@$(BOOTSTRAP) lock

clean:
	rm -rf .venv .venv-* .stream-app .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
