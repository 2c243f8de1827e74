package adaptertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Scenario is one way in which an upstream behaves.
type Scenario string

// Scenarios. The first nine are the fixture's to build; the others Env.Serve
// makes around the handler of the right answers.
const (
	Right         Scenario = "right"          // everything as it should be
	WrongName     Scenario = "wrong-name"     // sound evidence of another package
	WrongVersion  Scenario = "wrong-version"  // sound evidence of another version
	WrongDigest   Scenario = "wrong-digest"   // sound evidence about other bytes than the component states
	Stripped      Scenario = "stripped"       // the release without any of its evidence
	ForeignSigner Scenario = "foreign-signer" // evidence by a key or identity that nobody knows
	Duplicate     Scenario = "duplicate"      // two of what there should be one of, that disagree
	Expired       Scenario = "expired"        // evidence by a key or certificate that had run out, or an index that has
	Replayed      Scenario = "replayed"       // sound evidence of an earlier state: of what was published here before

	Malformed   Scenario = "malformed"    // every answer is no document at all
	Endless     Scenario = "endless"      // every answer goes on for ever
	Slow        Scenario = "slow"         // no answer comes
	Redirected  Scenario = "redirected"   // every answer is on another host, where it is right
	RateLimited Scenario = "rate-limited" // 429, come back in an hour
)

// Scenarios returns all scenarios in the order in which Run goes through them.
func Scenarios() []Scenario {
	return []Scenario{Right, WrongName, WrongVersion, WrongDigest, Stripped, ForeignSigner, Duplicate, Expired, Replayed, Malformed, Endless, Slow, Redirected, RateLimited}
}

// Token is the credential that Env.Getter has for the served hosts.
const Token = "adaptertest-token"

// Fixture is what Run needs to know of an adapter.
type Fixture struct {
	// Checks carry the trust: they are verified in Right and never elsewhere.
	Checks []trust.Check
	// Build makes the upstream of env.Scenario and an adapter before it.
	Build func(t testing.TB, env *Env) World
	// Expect replaces the expectation of a scenario.
	Expect map[Scenario]Expectation
	// Skip says in one sentence why a scenario cannot exist in the ecosystem.
	Skip map[Scenario]string
}

// World is an adapter with the question to put to it.
type World struct {
	Adapter adapter.Adapter
	Request adapter.Request
	// Artifact and Bytes, if set, are what Fetch must hand out in Right.
	Artifact trust.Artifact
	Bytes    []byte
}

// Expectation is what the evidence of a scenario must be like.
type Expectation struct {
	// Some are outcomes of which the evidence of Fixture.Checks, or any evidence if
	// they have none, must show at least one.
	Some []trust.Outcome
	// Never are outcomes that no evidence may show.
	Never []trust.Outcome
	// Reasons, if any, are those of which at least one must be given.
	Reasons []trust.Reason
}

// expectations are the classes of outcome that DESIGN.md's words ask for.
var expectations = map[Scenario]Expectation{
	Right:         {Some: []trust.Outcome{trust.Verified}, Never: []trust.Outcome{trust.Failed, trust.Unreachable}},
	WrongName:     {Some: []trust.Outcome{trust.Failed}},
	WrongVersion:  {Some: []trust.Outcome{trust.Failed}},
	WrongDigest:   {Some: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonWrongDigest, trust.ReasonBadSignature, trust.ReasonWrongSubject}},
	Stripped:      {Some: []trust.Outcome{trust.Absent, trust.Unreachable, trust.Failed}},
	ForeignSigner: {Some: []trust.Outcome{trust.Failed, trust.Unreachable}},
	Duplicate:     {Some: []trust.Outcome{trust.Failed, trust.Unreachable}},
	Expired:       {Some: []trust.Outcome{trust.Failed, trust.Unreachable}},
	Replayed:      {Some: []trust.Outcome{trust.Failed, trust.Unreachable}},
	Malformed:     {Some: []trust.Outcome{trust.Unreachable}, Never: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonMalformed}},
	Endless:       {Some: []trust.Outcome{trust.Unreachable}, Never: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonTooLarge}},
	Slow:          {Some: []trust.Outcome{trust.Unreachable}, Never: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonNetwork}},
	Redirected:    {Some: []trust.Outcome{trust.Failed, trust.Unreachable}},
	RateLimited:   {Some: []trust.Outcome{trust.Unreachable}, Never: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonRateLimited}},
}

// Env is the surroundings of one scenario.
type Env struct {
	Scenario Scenario
	// Clock stands still at a time that tests may build their own validity around.
	Clock adapter.Clock
	// State is trust state in memory; Alarms shows what it was told.
	State *State

	t       testing.TB
	hosts   []string
	mu      sync.Mutex
	asked   int
	foreign []string // what the foreign host got: path and Authorization
}

// Now is what Env.Clock tells.
var Now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// NewEnv returns surroundings for tests of an adapter's own.
func NewEnv(t testing.TB, s Scenario) *Env {
	return &Env{Scenario: s, Clock: func() time.Time { return Now }, State: &State{}, t: t}
}

// Serve starts a server that gives h's answers as the scenario has it, and
// returns its base URL, without a slash at the end.
func (e *Env) Serve(h http.Handler) string {
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.asked++
		e.mu.Unlock()
		h.ServeHTTP(w, r)
	})
	stop := make(chan struct{})
	var served http.Handler = counted
	switch e.Scenario {
	case Malformed:
		served = answer(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "\x00<{not a document") })
	case Endless:
		served = answer(func(w http.ResponseWriter, r *http.Request) {
			for chunk := bytes.Repeat([]byte(" "), 1<<16); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		})
	case Slow:
		served = answer(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		})
	case RateLimited:
		served = answer(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		})
	case Redirected:
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			e.mu.Lock()
			e.foreign = append(e.foreign, r.URL.Path+" "+r.Header.Get("Authorization"))
			e.mu.Unlock()
			h.ServeHTTP(w, r)
		}))
		e.t.Cleanup(other.Close)
		served = answer(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.RequestURI(), http.StatusFound)
		})
	}
	s := httptest.NewServer(served)
	e.t.Cleanup(func() { close(stop); s.Close() })
	u, err := url.Parse(s.URL)
	if err != nil {
		e.t.Fatal(err)
	}
	e.hosts = append(e.hosts, u.Host)
	return s.URL
}

func answer(f http.HandlerFunc) http.Handler { return f }

// Getter returns a client that may go to the hosts served so far.
func (e *Env) Getter() *upstream.Client {
	var creds upstream.Scopes
	for _, h := range e.hosts {
		creds = append(creds, upstream.Scope{Host: h, Header: upstream.Bearer(Token)})
	}
	timeout := 20 * time.Second
	if e.Scenario == Slow {
		timeout = 50 * time.Millisecond
	}
	c, err := upstream.New(upstream.Config{
		Version: "test", Insecure: e.hosts, Credentials: []upstream.Credentials{creds},
		Getenv: func(string) string { return "" }, Clock: e.Clock, Timeout: timeout,
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

// Requests returns how many requests reached the handlers.
func (e *Env) Requests() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked
}

// Run takes the adapter through all scenarios.
func Run(t *testing.T, f Fixture) {
	t.Helper()
	if len(f.Checks) == 0 || f.Build == nil {
		t.Fatal("fixture without Checks or Build")
	}
	for s, why := range f.Skip {
		if why == "" || s == Right {
			t.Fatalf("scenario %s is skipped without a reason, or must not be", s)
		}
	}
	for _, s := range Scenarios() {
		t.Run(string(s), func(t *testing.T) {
			if why := f.Skip[s]; why != "" {
				t.Skip(why)
			}
			runScenario(t, f, s)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		w := f.Build(t, NewEnv(t, Right))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		res, err := collect(ctx, w)
		if err == nil && len(res.Evidence) == 0 {
			t.Error("a cancelled context left neither an error nor evidence")
		}
		for _, ev := range res.Evidence {
			if ev.Outcome == trust.Verified && ev.Assurance > trust.AssuranceNone {
				t.Errorf("verified under a cancelled context: %+v", ev)
			}
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		w := f.Build(t, NewEnv(t, Right))
		var wg sync.WaitGroup
		for range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				res, err := collect(context.Background(), w)
				if err != nil {
					t.Error(err)
				}
				judge(t, f, Right, w, res)
			}()
		}
		wg.Wait()
	})
}

// collect turns a panic into an error, which no scenario allows.
func collect(ctx context.Context, w World) (res adapter.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return w.Adapter.Collect(ctx, w.Request)
}

func runScenario(t *testing.T, f Fixture, s Scenario) {
	env := NewEnv(t, s)
	w := f.Build(t, env)
	if p, ok := w.Adapter.(adapter.Prefetcher); ok {
		p.Prefetch(context.Background(), []sbom.Component{w.Request.Component})
	}
	res, err := collect(context.Background(), w)
	if err != nil {
		t.Fatalf("what goes wrong upstream is evidence, not an error: %v", err)
	}
	judge(t, f, s, w, res)
	env.mu.Lock()
	for _, line := range env.foreign {
		if strings.Contains(line, Token) {
			t.Errorf("the foreign host got credentials: %s", line)
		}
	}
	env.mu.Unlock()
	if s != Right {
		return
	}
	again, err := collect(context.Background(), w)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := ids(res.Evidence), ids(again.Evidence); !slices.Equal(a, b) {
		t.Errorf("the same answers gave other evidence: %v, then %v", a, b)
	}
	if fe, ok := w.Adapter.(adapter.Fetcher); ok && w.Bytes != nil {
		fetch(t, fe, w)
	}
}

func fetch(t *testing.T, fe adapter.Fetcher, w World) {
	b, err := fe.Fetch(context.Background(), w.Request.Component, w.Artifact)
	if err != nil {
		t.Fatalf("fetching the artifact: %v", err)
	}
	defer b.Close()
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil || !bytes.Equal(got, w.Bytes) {
		t.Errorf("fetched %d bytes, want %d: %v", len(got), len(w.Bytes), err)
	}
	wrong := w.Artifact
	wrong.Digests = nil
	for _, d := range w.Artifact.Digests {
		d.Value = strings.Repeat("0", len(d.Value))
		wrong.Digests = append(wrong.Digests, d)
	}
	if b, err := fe.Fetch(context.Background(), w.Request.Component, wrong); err == nil {
		b.Close()
		t.Error("bytes of another digest were handed out")
	}
}

func ids(es []trust.Evidence) []string {
	out := make([]string, len(es))
	for i, e := range es {
		out[i] = e.ID()
	}
	return out
}

// judge holds a result against what the scenario allows.
func judge(t *testing.T, f Fixture, s Scenario, w World, res adapter.Result) {
	d := w.Adapter.Describe()
	if d.Name == "" || len(d.Types) == 0 || len(d.Checks) == 0 {
		t.Errorf("description is incomplete: %+v", d)
	}
	if len(res.Evidence) == 0 {
		t.Fatal("no evidence at all")
	}
	want, ok := f.Expect[s]
	if !ok {
		want = expectations[s]
	}
	var relevant []trust.Evidence
	for _, e := range res.Evidence {
		if err := e.Validate(); err != nil {
			t.Errorf("invalid evidence: %v", err)
		}
		if e.Release != w.Request.Component.Release {
			t.Errorf("%s evidence is about %s, asked was %s", e.Check, e.Release, w.Request.Component.Release)
		}
		if !slices.Contains(d.Checks, e.Check) {
			t.Errorf("check %s is not in the description", e.Check)
		}
		carries := slices.Contains(f.Checks, e.Check)
		if s != Right && e.Outcome == trust.Verified && (carries || e.Assurance > trust.AssuranceNone) {
			t.Errorf("%s is verified, assurance %s: %s", e.Check, e.Assurance, e.Detail)
		}
		if slices.Contains(want.Never, e.Outcome) {
			t.Errorf("%s is %s (%s): %s", e.Check, e.Outcome, e.Reason, e.Detail)
		}
		if strings.Contains(fmt.Sprintf("%+v", e), Token) {
			t.Errorf("%s evidence shows the credential", e.Check)
		}
		if carries {
			relevant = append(relevant, e)
		}
	}
	if s == Right {
		for _, c := range f.Checks {
			if !slices.ContainsFunc(relevant, func(e trust.Evidence) bool { return e.Check == c && e.Outcome == trust.Verified }) {
				t.Errorf("%s is not verified: %s", c, summary(res.Evidence))
			}
		}
	}
	if len(relevant) == 0 {
		relevant = res.Evidence
	}
	if len(want.Some) > 0 && !slices.ContainsFunc(relevant, func(e trust.Evidence) bool { return slices.Contains(want.Some, e.Outcome) }) {
		t.Errorf("outcome is none of %v: %s", want.Some, summary(res.Evidence))
	}
	if len(want.Reasons) > 0 && !slices.ContainsFunc(res.Evidence, func(e trust.Evidence) bool { return slices.Contains(want.Reasons, e.Reason) }) {
		t.Errorf("reason is none of %v: %s", want.Reasons, summary(res.Evidence))
	}
}

func summary(es []trust.Evidence) string {
	var b strings.Builder
	for _, e := range es {
		fmt.Fprintf(&b, "\n\t%s %s %s %s: %s", e.Check, e.Outcome, e.Reason, e.Assurance, e.Detail)
	}
	return b.String()
}

// State is an adapter.State in memory.
type State struct {
	mu     sync.Mutex
	values map[string][]byte
	alarms []Alarm
}

var _ adapter.State = (*State)(nil)

// Alarm is what State.Alarm was told.
type Alarm struct {
	About, Detail string
	Proof         []byte
}

// Load implements adapter.State.
func (s *State) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.values[key]), nil
}

// Swap implements adapter.State.
func (s *State) Swap(_ context.Context, key string, old, new []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cur, ok := s.values[key]
	if ok != (old != nil) || !bytes.Equal(cur, old) {
		return false, nil
	}
	if s.values == nil {
		s.values = map[string][]byte{}
	}
	s.values[key] = bytes.Clone(new)
	return true, nil
}

// Alarm implements adapter.State.
func (s *State) Alarm(_ context.Context, about, detail string, proof []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarms = append(s.alarms, Alarm{about, detail, bytes.Clone(proof)})
	return nil
}

// Alarms returns what was alarmed so far.
func (s *State) Alarms() []Alarm {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.alarms)
}
