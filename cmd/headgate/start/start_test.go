package start

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

func percent() int {
	p := debug.SetGCPercent(100)
	debug.SetGCPercent(p)
	return p
}

// The test runs itself anew: what a process does first can be seen only once.
func TestProcess(t *testing.T) {
	for name, tc := range map[string]struct {
		env, percent string
	}{
		"usual":               {"", "1600"},
		"the user's own GOGC": {"GOGC=77", "77"},
		"the user's limit":    {"GOMEMLIMIT=1GiB", "100"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestChild$", "-test.v")
			cmd.Env = append(os.Environ(), "START_CHILD="+tc.percent)
			if tc.env != "" {
				cmd.Env = append(cmd.Env, tc.env)
			}
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestChild") {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

func TestChild(t *testing.T) {
	want := os.Getenv("START_CHILD")
	if want == "" {
		t.Skip("run by TestProcess")
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.NumGC > 1 {
		t.Fatalf("%d collections before the first test", m.NumGC)
	}
	switch p := percent(); want {
	case "77":
		if p != 77 {
			t.Fatalf("collects at %d percent", p)
		}
	case "100":
		if l := debug.SetMemoryLimit(-1); p != 100 || l != 1<<30 {
			t.Fatalf("collects at %d percent, within %d bytes", p, l)
		}
	default:
		if l := debug.SetMemoryLimit(-1); p != 100*minHeap/smallest || l != soft {
			t.Fatalf("collects at %d percent, within %d bytes", p, l)
		}
		for range 500 {
			runtime.GC()
			if percent() == 100 {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Fatal("the collector was never set back")
	}
}

func TestLimit(t *testing.T) {
	for live, want := range map[uint64]int64{0: soft, soft / 2: soft, soft * 5 / 6: soft, soft: soft + soft/5, 5 << 30: 6 << 30} {
		if got := limit(live); got != want {
			t.Errorf("%d in use: limit %d, want %d", live, got, want)
		}
	}
}

func TestEveryCollectionIsSeen(t *testing.T) {
	seen := make(chan struct{}, 3)
	afterCollection(func() bool {
		seen <- struct{}{}
		return len(seen) < cap(seen)
	})
	for range 500 {
		runtime.GC()
		if len(seen) == cap(seen) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%d of %d seen", len(seen), cap(seen))
}
