package main

import (
	"errors"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/cargo"
	"github.com/headgate/headgate/ecosystems/golang"
	"github.com/headgate/headgate/ecosystems/npm"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/store"
)

// adapters makes every adapter with the user's own configuration: environment
// and home, never the scanned tree's files.
func (c *Command) adapters(o *options, set *setting, s *store.Store) (*adapterSet, error) {
	goEnv, err := golang.EnvFromOS(c.Getenv, c.Home)
	if err != nil {
		return nil, usage("Go's environment: %w", err)
	}
	npmCfg, err := npm.ConfigFromEnv(c.Getenv, c.Home)
	if err != nil {
		return nil, usage("npm's configuration: %w", err)
	}
	cargoCfg, err := cargo.ConfigFromEnv(c.Getenv, c.Environ, c.Home)
	if err != nil {
		return nil, usage("Cargo's configuration: %w", err)
	}
	client, err := c.upstreamClient(o, []upstream.Credentials{npmCfg.Credentials, cargoCfg.Credentials}, nil)
	if err != nil {
		return nil, err
	}
	var state adapter.State = s
	if s.ReadOnly() {
		state = &forgetful{State: s, mem: map[string][]byte{}}
	}
	goAdapter, err := golang.New(golang.Config{Getter: client, State: state, Env: goEnv})
	if err != nil {
		return nil, usage("Go: %w", err)
	}
	npmAdapter, err := npm.New(npm.Options{Get: client, Clock: c.Clock, Config: npmCfg, Trust: func() npm.Trust {
		return npm.Trust{Err: errors.New("npm's keys and Sigstore's root are not at hand")}
	}})
	if err != nil {
		return nil, usage("npm: %w", err)
	}
	out := &adapterSet{byType: map[string]adapter.Adapter{}, client: client}
	for _, a := range []adapter.Adapter{goAdapter, npmAdapter, cargo.New(client, cargoCfg)} {
		for _, t := range a.Describe().Types {
			out.byType[t] = a
		}
	}
	return out, nil
}
