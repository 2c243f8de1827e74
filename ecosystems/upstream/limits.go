package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// announced is how long a wait must be for somebody to be told of it.
const announced = 2 * time.Second

// pause keeps further requests from the host for as long as it asked for: all of
// a run's packages would otherwise ask on, one after the other.
func (h *host) pause(now time.Time, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at := now.Add(d); at.After(h.until) {
		h.until = at
	}
}

// await waits until the host may be asked again. A wait beyond MaxRetryAfter is
// an error at once, without a request.
func (c *Client) await(ctx context.Context, h *host, u *url.URL) error {
	now := c.cfg.Clock()
	h.mu.Lock()
	until := h.until
	h.mu.Unlock()
	d := until.Sub(now)
	if d <= 0 {
		return nil
	}
	if d > MaxRetryAfter {
		return &Error{Kind: KindRateLimited, URL: display(u, true), RetryAfter: d,
			Err: fmt.Errorf("the host asked for no more requests before %s; run again then", until.UTC().Format("15:04:05 MST"))}
	}
	c.announce(h, u, d)
	return c.cfg.Sleep(ctx, d)
}

// announce tells whom the client waits for, once a while.
func (c *Client) announce(h *host, u *url.URL, d time.Duration) {
	if c.cfg.Waiting == nil || d < announced {
		return
	}
	now := c.cfg.Clock()
	h.mu.Lock()
	told := !h.said.IsZero() && now.Sub(h.said) < MaxRetryAfter
	if !told {
		h.said = now
	}
	h.mu.Unlock()
	if !told {
		c.cfg.Waiting(hostPort(u), d)
	}
}

// reset reads when a used-up limit begins anew, as forges say it: in seconds of
// Unix time.
func reset(h http.Header, now time.Time) time.Duration {
	for _, prefix := range []string{"X-Ratelimit-", "Ratelimit-"} {
		if h.Get(prefix+"Remaining") != "0" {
			continue
		}
		if s, err := strconv.ParseInt(h.Get(prefix+"Reset"), 10, 64); err == nil {
			return max(0, time.Unix(s, 0).Sub(now))
		}
	}
	return 0
}
