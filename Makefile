# One line a target. `make test` and `make run` are the two commands of the README.
GO ?= go

build: ; $(GO) build -trimpath -o bin/headgate ./cmd/headgate

run: build ; ./bin/headgate check go.mod

test: ; $(GO) test -race -timeout 40m ./...

test-live: ; $(GO) test -tags live -run Live -count 1 -timeout 15m ./...

lint: ; test -z "$$(gofmt -l .)" && $(GO) vet ./... && $(GO) tool staticcheck ./...

fuzz: ; GO=$(GO) .ci/fuzz

bench: ; $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./...

ci: lint test fuzz run

.PHONY: build run test test-live lint fuzz bench ci
