# Each thing a person does has one verb here; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help start demo test lint format docs dist deb bench check breakdown chart load soak ci clean

DEV := ./pyrox_dev.sh

help:  ## list the verbs
	@sed -n 's/^\([a-z]*\):.*## */\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r verb text; do \
		printf '  make %-9s %s\n' "$$verb" "$$text"; done

start:  ## run the proxy with conf/pyrox.ini
	$(DEV) start

demo:  ## run only the demo upstream, on 127.0.0.1:8081
	$(DEV) python -m pyrox demo

test:  ## run all tests; ARGS='tests/unit -x' chooses
	$(DEV) test $(ARGS)

lint:  ## ruff, mypy --strict, generated pages
	$(DEV) lint

format:  ## let ruff mend what it can
	$(DEV) python -m ruff check --fix .
	$(DEV) python -m ruff format .

docs:  ## write docs/configuration.md anew from the configspec
	$(DEV) python tools/generate_config_docs.py

dist:  ## build the wheel and the sdist into dist/
	$(DEV) python -m pip install --quiet -e '.[packaging]'
	$(DEV) python -m build --outdir dist .

deb:  ## build the Debian package into dist/
	tools/build-deb

bench:  ## measure Pyrox beside other proxies; ARGS= goes to benchmarks/run.py
	$(DEV) python benchmarks/run.py $(ARGS)

check:  ## has the road of a request become longer? ARGS=--record writes down what it is now
	$(DEV) python benchmarks/check.py $(ARGS)

breakdown:  ## measure where the time of a request goes, and write it into docs/performance.md
	$(DEV) python benchmarks/breakdown.py --write docs/performance.md $(ARGS)

# The peers of the README's chart; those that are not installed are left out.
CHART = --workloads get,post,close,download,tls --peers relay,nginx,haproxy,envoy,aiohttp,node,proxy_py,mitmproxy

chart:  ## measure Pyrox beside other proxies, and draw docs/performance.svg
	mkdir -p build
	$(DEV) python benchmarks/run.py $(CHART) --json build/figures.json $(ARGS)
	$(DEV) python benchmarks/chart.py build/figures.json docs/performance.svg

load:  ## 200 users for a minute against a proxy that is started; ARGS= goes to locust
	$(DEV) python -m pip install --quiet -e '.[load]'
	$(DEV) python -m locust -f loadtests/locustfile.py --headless -u 200 -r 20 -t 1m --only-summary $(ARGS)

soak:  ## reload, upgrade and kill under load, and count failures; ARGS='--hups 3' makes it shorter
	$(DEV) python -m tests.soak.replacements $(ARGS)

ci:  ## what CI runs
	.ci/run

clean:  ## remove the environment and everything generated
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
