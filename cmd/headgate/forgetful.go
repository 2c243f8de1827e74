package main

import (
	"bytes"
	"context"
	"sync"

	"github.com/headgate/headgate/ecosystems/adapter"
)

// forgetful is adapter state over a store that cannot be written: what the
// store holds counts, what is new lives as long as the process. A rollback
// against the stored state is still found; one against this run's is forgotten.
type forgetful struct {
	adapter.State
	mu  sync.Mutex
	mem map[string][]byte
}

func (f *forgetful) Load(ctx context.Context, key string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, ok := f.mem[key]; ok {
		return b, nil
	}
	return f.State.Load(ctx, key)
}

func (f *forgetful) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cur, ok := f.mem[key]
	if !ok {
		var err error
		if cur, err = f.State.Load(ctx, key); err != nil {
			return false, err
		}
	}
	if !bytes.Equal(cur, old) || (cur == nil) != (old == nil) {
		return false, nil
	}
	f.mem[key] = new
	return true, nil
}

// Alarm cannot be kept; the evidence says failed all the same.
func (f *forgetful) Alarm(context.Context, string, string, []byte) error { return nil }
