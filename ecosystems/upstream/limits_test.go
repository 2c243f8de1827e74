package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestLimitIsTheHosts: what a host asks of one request holds for all, so that a run
// with a thousand packages does not ask on a thousand times.
func TestLimitIsTheHosts(t *testing.T) {
	var limited, free atomic.Int32
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		limited.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	other, otherHost := server(t, func(w http.ResponseWriter, r *http.Request) { free.Add(1) })
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := client(t, Config{Insecure: []string{host, otherHost}, Clock: func() time.Time { return now }})
	_, err := get(c, s.URL)
	wantKind(t, err, KindRateLimited)
	for i := range 1000 {
		_, err := get(c, fmt.Sprintf("%s/%d", s.URL, i))
		e := wantKind(t, err, KindRateLimited)
		if e.RetryAfter != time.Hour || !strings.Contains(e.Error(), "no more requests before 01:00:00 UTC") {
			t.Fatal(e)
		}
	}
	if limited.Load() != 1 {
		t.Errorf("%d requests to a host that asked for none", limited.Load())
	}
	if _, err := get(c, other.URL); err != nil || free.Load() != 1 {
		t.Errorf("another host: %v", err)
	}
	now = now.Add(time.Hour)
	_, err = get(c, s.URL)
	wantKind(t, err, KindRateLimited)
	if limited.Load() != 2 {
		t.Errorf("%d requests after the hour", limited.Load())
	}
}

// TestShortLimitIsWaitedFor: everybody waits for it, and one is told.
func TestShortLimitIsWaitedFor(t *testing.T) {
	var n atomic.Int32
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	var mu sync.Mutex
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var waits []time.Duration
	var told []string
	c := client(t, Config{Insecure: []string{host},
		Clock: func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Sleep: func(_ context.Context, d time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			waits, now = append(waits, d), now.Add(d)
			return nil
		},
		Waiting: func(h string, d time.Duration) { told = append(told, fmt.Sprint(h, " ", d)) }})
	for range 3 {
		if _, err := get(c, s.URL); err != nil {
			t.Fatal(err)
		}
	}
	if len(waits) != 1 || waits[0] != 20*time.Second || len(told) != 1 || told[0] != host+" 20s" {
		t.Errorf("waited %v, told %q", waits, told)
	}
	// A caller that gives up does not wait.
	c.host(parsed(t, s.URL)).pause(now, 10*time.Second)
	gone := errors.New("gone")
	c.cfg.Sleep = func(context.Context, time.Duration) error { return gone }
	if _, err := get(c, s.URL); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

// TestIntervalIsAnnounced: a queue that the rules of a host make long is explained,
// once a while.
func TestIntervalIsAnnounced(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {})
	told := 0
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := client(t, Config{Insecure: []string{host}, Interval: map[string]time.Duration{host: time.Second}, Clock: func() time.Time { return at },
		Sleep: func(context.Context, time.Duration) error { return nil }, Waiting: func(string, time.Duration) { told++ }})
	for i := range 50 {
		if _, err := get(c, fmt.Sprintf("%s/%d", s.URL, i)); err != nil {
			t.Fatal(err)
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	at = at.Add(MaxRetryAfter)
	if _, err := get(c, s.URL+"/later"); err != nil || told != 2 {
		t.Errorf("told %d times: %v", told, err)
	}
}

func TestReset(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		header []string
		want   time.Duration
	}{
		"forge":       {[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(now.Add(time.Minute).Unix())}, time.Minute},
		"other forge": {[]string{"RateLimit-Remaining", "0", "RateLimit-Reset", fmt.Sprint(now.Add(time.Hour).Unix())}, time.Hour},
		"some left":   {[]string{"X-RateLimit-Remaining", "1", "X-RateLimit-Reset", fmt.Sprint(now.Add(time.Minute).Unix())}, 0},
		"past":        {[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1"}, 0},
		"no number":   {[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "soon"}, 0},
		"not said":    {[]string{"X-RateLimit-Remaining", "0"}, 0},
		"retry-after": {[]string{"Retry-After", "5", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(now.Add(time.Hour).Unix())}, 5 * time.Second},
		"nothing":     {nil, 0},
	} {
		h := http.Header{"Date": {now.Format(http.TimeFormat)}}
		for i := 0; i < len(c.header); i += 2 {
			h.Set(c.header[i], c.header[i+1])
		}
		if got := retryAfter(h); got != c.want {
			t.Errorf("%s: %s", what, got)
		}
	}
}

func parsed(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
