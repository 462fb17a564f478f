# Short names for what CMakePresets.json, CMakeLists.txt and tools/ do; `make help` lists them.
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
BUDGET ?= 5m
FUZZ_SECONDS ?= 60
MAKEFLAGS += --no-print-directory
REQUIRE_SHARED = -DISO_REQUIRE_SHARED=$(if $(ISOFLOP_SHARED),ON,OFF)
configure = @cmake --preset $(1) >/dev/null || { echo "isoflop: configuring failed; 'make deps' installs what is missing" >&2; exit 1; }

.PHONY: build deps demo check build-check build-asan test fuzz format docs install clean help

build: ## build/isoflop and libisoflop, Release (the default)
	$(call configure,release)
	@cmake --build build -j $(JOBS)

deps: ## install the Debian packages that a build needs, with sudo when not root
	@tools/deps.sh build

demo: ## deps, build, then the whole loop in five minutes (BUDGET=90s for another budget)
	@tools/deps.sh build
	@$(MAKE) build
	build/isoflop demo --budget $(BUDGET)

check: ## deps, build twice (-O2 and sanitizers), every test and repository check
	@tools/deps.sh build check
	@$(MAKE) build-asan build-check
	@ctest --test-dir build-check -j 2 --output-on-failure

build-check:
	@cmake --preset check $(REQUIRE_SHARED) >/dev/null
	@cmake --build build-check -j $(JOBS)

build-asan:
	@cmake --preset asan $(REQUIRE_SHARED) >/dev/null
	@cmake --build build-asan -j $(JOBS)

test: build-check ## only the -O2 build's unit tests (ARGS="-R stat" picks some)
	@ctest --test-dir build-check -j 2 --output-on-failure -L unit $(ARGS)

fuzz: ## each libFuzzer target for FUZZ_SECONDS=60
	@tools/deps.sh build fuzz
	@cmake --preset fuzz >/dev/null
	@cmake --build build-fuzz -j $(JOBS)
	@tools/fuzz.sh build-fuzz $(FUZZ_SECONDS)

format: ## clang-format every C file in place
	@tools/check_format.sh --fix

docs: build ## rewrite docs/MAP.md, docs/cli.md and the program output shown in README.md
	@tools/gen_map.py
	@tools/check_docs.py --write build/isoflop

install: build ## program, library, header and pkg-config file under PREFIX=/usr/local (DESTDIR is honoured)
	@cmake --install build --prefix $(PREFIX)

clean: ## remove all build folders
	rm -rf build build-check build-asan build-fuzz

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
