// Package start decides when the program collects garbage.
//
// Not in the first milliseconds: the packages that are linked make some ten megabytes
// of tables when they initialise, and the collector would walk them three times
// before the first argument is read, a third of the time of a short command. That
// works by being imported, and by importing next to nothing: Go initialises a package
// as soon as its imports are ready, by the order of the import paths.
//
// And more often than usual when a large inventory fills the memory: collecting at
// twice what is in use, as Go does, would take hundreds of megabytes for nothing.
//
// It refuses to change what the user has set with GOGC or GOMEMLIMIT.
package start

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// minHeap is the heap in bytes at which the first collection begins.
	minHeap = 64 << 20
	// smallest is the heap below which Go does not collect at 100 percent.
	smallest = 4 << 20
	// soft is the memory in bytes above which the collector works harder, as long as
	// what is in use leaves it room to.
	soft = 176 << 20
)

func init() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	before := debug.SetGCPercent(minHeap / smallest * 100)
	afterCollection(func() bool {
		debug.SetGCPercent(before)
		afterCollection(pace)
		return false
	})
	debug.SetMemoryLimit(soft)
}

// sentinel is garbage from the start: that it is collected is the sign of a
// collection. It holds a pointer, so that it shares its memory with nothing.
type sentinel struct{ _ *int }

// afterCollection calls f after the next collection, and after every further one as
// long as f says so.
func afterCollection(f func() bool) {
	runtime.AddCleanup(new(sentinel), func(f func() bool) {
		if f() {
			afterCollection(f)
		}
	}, f)
}

// pace raises the limit once too much is in use: the collector would do nothing
// else near a limit that it cannot keep.
func pace() bool {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetMemoryLimit(limit(live[0].Value.Uint64()))
	return true
}

// limit is the memory that a program with so many bytes in use may take: a fifth
// more than those at least.
func limit(live uint64) int64 { return int64(max(soft, live+live/5)) }
