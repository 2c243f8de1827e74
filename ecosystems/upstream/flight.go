package upstream

import (
	"context"
	"sync"
)

// flights lets concurrent callers of one key share one execution. A caller that
// gives up leaves the others alone; the work ends when the last one gave up.
type flights[T any] struct {
	mu sync.Mutex
	m  map[string]*flight[T]
}

type flight[T any] struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int
	val     T
	err     error
}

// do runs fn once for all concurrent callers of key. settle is told, before any
// caller has the value, how many will get it: none if all have given up.
func (fs *flights[T]) do(ctx context.Context, key string, fn func(context.Context) (T, error), settle func(v T, callers int)) (T, error) {
	fs.mu.Lock()
	if fs.m == nil {
		fs.m = map[string]*flight[T]{}
	}
	f := fs.m[key]
	if f == nil {
		// The work keeps the first caller's values but not its cancellation.
		wctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight[T]{done: make(chan struct{}), cancel: cancel}
		fs.m[key] = f
		go func() {
			v, err := fn(wctx)
			cancel()
			fs.mu.Lock()
			f.val, f.err = v, err
			if fs.m[key] == f {
				delete(fs.m, key)
			}
			if err == nil {
				settle(v, f.waiting)
			}
			close(f.done)
			fs.mu.Unlock()
		}()
	}
	f.waiting++
	fs.mu.Unlock()

	select {
	case <-f.done:
		return f.val, f.err
	case <-ctx.Done():
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var zero T
	select {
	case <-f.done: // the value came at the same moment: it is ours to take
		return f.val, f.err
	default:
	}
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if fs.m[key] == f {
			delete(fs.m, key)
		}
	}
	return zero, ctx.Err()
}
