# make help lists the targets.

SHELL   := /bin/sh
GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR   = $(PREFIX)/bin
LIBEXEC  = $(PREFIX)/libexec/virga
MANDIR   = $(PREFIX)/share/man
BASHDIR  = $(PREFIX)/share/bash-completion/completions
ZSHDIR   = $(PREFIX)/share/zsh/site-functions
FISHDIR  = $(PREFIX)/share/fish/vendor_completions.d

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# Static, and the same bytes wherever and whenever it is built: no C, no paths,
# no build id, nothing of the version control but VERSION.
# The tag leaves out urfave/cli's own manual writer, whose initialisation would
# cost every start 0.3 ms.
GOENV    = CGO_ENABLED=0
GOBUILD  = $(GOENV) $(GO) build -tags urfave_cli_no_docs -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X main.version=$(VERSION)'

MANPAGES = $(sort $(wildcard docs/man/*.1))
FUZZTIME ?= 30s
BATS     ?= bats
TESTS    ?= test/bats

.PHONY: all
all: build

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: go ## build bin/virga, and bin/virga-keyless that it runs
	@mkdir -p bin
	$(GOBUILD) -o bin/virga ./cmd/virga
	$(GOBUILD) -o bin/virga-keyless ./cmd/virga-keyless

.PHONY: install
install: build ## install binary, manual and completions below DESTDIR/PREFIX
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(LIBEXEC)' '$(DESTDIR)$(MANDIR)/man1' '$(DESTDIR)$(BASHDIR)' '$(DESTDIR)$(ZSHDIR)' '$(DESTDIR)$(FISHDIR)'
	install -m 755 bin/virga '$(DESTDIR)$(BINDIR)/virga'
	install -m 755 bin/virga-keyless '$(DESTDIR)$(LIBEXEC)/virga-keyless'
	install -m 644 $(MANPAGES) '$(DESTDIR)$(MANDIR)/man1'
	bin/virga completion bash >'$(DESTDIR)$(BASHDIR)/virga'
	bin/virga completion zsh >'$(DESTDIR)$(ZSHDIR)/_virga'
	bin/virga completion fish >'$(DESTDIR)$(FISHDIR)/virga.fish'

.PHONY: uninstall
uninstall: ## remove what install installed
	rm -f '$(DESTDIR)$(BINDIR)/virga' '$(DESTDIR)$(LIBEXEC)/virga-keyless' '$(DESTDIR)$(BASHDIR)/virga' '$(DESTDIR)$(ZSHDIR)/_virga' '$(DESTDIR)$(FISHDIR)/virga.fish'
	cd '$(DESTDIR)$(MANDIR)/man1' && rm -f $(notdir $(MANPAGES))

.PHONY: demo
demo: build ## base image, build and run, as a normal user, no registry
	@sh test/need.sh demo
	@examples/demo.sh bin/virga

.PHONY: test
test: unit bats ## unit tests, then bats as a normal user

.PHONY: unit
unit: go ## unit tests
	$(GO) test ./...

.PHONY: race
race: go ## unit tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./...

.PHONY: bats
bats: build ## the command from outside; TESTS=FILE... chooses
	@sh test/need.sh bats
	@$(GOENV) $(GO) test -c -o bin/stress.test ./test/stress
	@$(GOENV) $(GO) test -c -o bin/docs.test ./test/docs
	@$(GOENV) $(GO) test -c -o bin/keyless.test ./keyless
	@test/bats/run $(TESTS)

.PHONY: conformance
conformance: build ## Dockerfiles built by virga and buildah, compared (root); FLAGS for go test
	@GO='$(GO)' test/conformance/run bin/virga -run TestConformance $(FLAGS)

.PHONY: truth
truth: build ## packages installed with root emulated and by real root, compared (root)
	@GO='$(GO)' test/conformance/run bin/virga -run TestTruth

.PHONY: cosign
cosign: build ## signatures of virga and the real cosign 2 and 3, verified by each other; COSIGN_CACHE=DIR has them
	@GO='$(GO)' test/cosign/run

.PHONY: lint
lint: go ## formatting, vet, layers, shell syntax; golangci-lint and shellcheck if present
	@fmt=$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go')); \
	    if [ -n "$$fmt" ]; then echo "gofmt is needed on:" $$fmt >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) test ./internal/layering
	@sh test/lint.sh

.PHONY: man
man: build ## check the manual pages: syntax, and against --help
	@sh test/man.sh $(MANPAGES)
	$(GO) test -run 'TestManual' ./cmd/virga

.PHONY: check
check: lint reproducible unit ## lint, reproducible build, unit tests

.PHONY: reproducible
reproducible: go ## build twice in different places and compare
	@sh test/reproducible.sh '$(VERSION)'

.PHONY: bench
bench: build ## measure beside other tools; CASE=pull ROUNDS=5 QUICK=1 (docs/performance.md)
	@GO='$(GO)' bench/run bin/virga

.PHONY: bench-check
bench-check: go ## are the budgets of bench/budgets kept by the newest results?
	@$(GO) run ./bench check

.PHONY: bench-plot
bench-plot: go ## draw the newest results for docs/performance.md
	@$(GO) run ./bench plot

.PHONY: bench-go
bench-go: go ## Go benchmarks, compared with the run before; BENCH=REGEXP COUNT=6
	@GO='$(GO)' bench/go.sh

.PHONY: fuzz
fuzz: go ## every fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
	    for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	        echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
	    done; \
	done

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

.PHONY: go
go:
	@command -v $(GO) >/dev/null || { echo "make: Go is missing: https://go.dev/dl/, $$(sed -n 's/^go //p' go.mod) or newer" >&2; exit 1; }
