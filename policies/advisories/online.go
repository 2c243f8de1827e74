package advisories

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// DefaultAPI is the base URL of OSV's API.
const DefaultAPI = "https://api.osv.dev"

// Bounds of the online look-up.
const (
	// MaxBatch is how many queries OSV takes in one request.
	MaxBatch = 1000
	// MaxPages bounds the pages that are fetched for one batch.
	MaxPages = 50
	// MaxOnlineRecords bounds the records that one look-up fetches.
	MaxOnlineRecords = 20_000
	// fetchJobs is how many records are fetched at a time.
	fetchJobs = 16
)

// HTTP is the outside world of the online look-up. Both methods return the body
// of a 200 answer, bounded by the implementation; everything else is an error.
// Implementations are safe for concurrent use.
type HTTP interface {
	Get(ctx context.Context, url string) ([]byte, error)
	PostJSON(ctx context.Context, url string, body []byte) ([]byte, error)
}

// Online looks advisories up by OSV's batch API.
type Online struct {
	http HTTP
	base string
	kev  map[string]bool
	asOf time.Time
}

// AsOf makes the client answer as of an earlier moment, as Index.AsOf does.
func (o *Online) AsOf(at time.Time) { o.asOf = at }

// NewOnline returns a client for the API at base (DefaultAPI if empty).
func NewOnline(h HTTP, base string, kev map[string]bool) *Online {
	if base == "" {
		base = DefaultAPI
	}
	return &Online{http: h, base: strings.TrimRight(base, "/"), kev: kev}
}

type batchQuery struct {
	Package struct {
		Name      string `json:"name"`
		Ecosystem string `json:"ecosystem"`
	} `json:"package"`
	PageToken string `json:"page_token,omitempty"`
}

type batchAnswer struct {
	Results []struct {
		Vulns []struct {
			ID string `json:"id"`
		} `json:"vulns"`
		NextPageToken string `json:"next_page_token"`
	} `json:"results"`
}

// Query looks releases up. Packages are asked for without their versions, and
// matching is headgate's own, so that online and offline say the same.
// Digests of malicious files are matched within the records of the same package
// only; the index knows those of all packages. Distributions, whose records are
// per release of the distribution, are unavailable here.
func (o *Online) Query(ctx context.Context, items []Item) Answer {
	ans := newAnswer(len(items))
	type pkg struct{ base, key string }
	wanted := map[pkg][]Item{}
	var order []pkg
	for _, it := range items {
		l, err := lookupOf(it.Release)
		if _, isType := byType[it.Release.Package.Type]; err == nil && !isType {
			err = fmt.Errorf("advisories of %s are looked up offline only: run headgate db update", l.base)
		}
		if err != nil {
			ans.unavailable(it.Release, err)
			continue
		}
		k := pkg{l.base, l.key}
		if wanted[k] == nil {
			order = append(order, k)
		}
		wanted[k] = append(wanted[k], it)
	}
	records := map[string]*record{}
	for len(order) > 0 {
		n := min(len(order), MaxBatch)
		part := order[:n]
		order = order[n:]
		qs := make([]batchQuery, n)
		for i, k := range part {
			qs[i].Package.Ecosystem, qs[i].Package.Name = k.base, k.key
		}
		ids, batchErr := o.batch(ctx, qs)
		failed := o.fetch(ctx, ids, records)
		for i, k := range part {
			err := batchErr // what one package lacks is no fault of the next
			if err == nil {
				for _, id := range ids[i] {
					err = errors.Join(err, failed[id])
				}
			}
			for _, it := range wanted[k] {
				if err != nil {
					ans.unavailable(it.Release, fmt.Errorf("looking advisories up: %w", err))
					continue
				}
				o.judge(it, ids[i], records, &ans)
			}
		}
	}
	return ans
}

// batch returns the ids that the API has for each query.
func (o *Online) batch(ctx context.Context, qs []batchQuery) ([][]string, error) {
	ids := make([][]string, len(qs))
	at := make([]int, len(qs))
	for i := range at {
		at[i] = i
	}
	for page := 0; len(qs) > 0; page++ {
		if page == MaxPages {
			return nil, fmt.Errorf("answer has more than %d pages", MaxPages)
		}
		body, err := json.Marshal(map[string]any{"queries": qs})
		if err != nil {
			return nil, err
		}
		b, err := o.http.PostJSON(ctx, o.base+"/v1/querybatch", body)
		if err != nil {
			return nil, err
		}
		var a batchAnswer
		if err := json.Unmarshal(b, &a); err != nil {
			return nil, fmt.Errorf("answer of the advisory API: %w", err)
		}
		if len(a.Results) != len(qs) {
			return nil, fmt.Errorf("answer of the advisory API has %d results for %d queries", len(a.Results), len(qs))
		}
		var more []batchQuery
		var moreAt []int
		for i, r := range a.Results {
			for _, v := range r.Vulns {
				ids[at[i]] = append(ids[at[i]], v.ID)
			}
			if r.NextPageToken != "" {
				q := qs[i]
				q.PageToken = r.NextPageToken
				more, moreAt = append(more, q), append(moreAt, at[i])
			}
		}
		qs, at = more, moreAt
	}
	return ids, nil
}

// fetch gets the records that are not there yet, several at a time, and says of
// each that it could not get why.
func (o *Online) fetch(ctx context.Context, ids [][]string, records map[string]*record) map[string]error {
	var mu sync.Mutex
	failed := map[string]error{}
	asked := map[string]bool{}
	had := len(records)
	var g errgroup.Group
	g.SetLimit(fetchJobs)
	for _, list := range ids {
		for _, id := range list {
			mu.Lock()
			skip := asked[id] || records[id] != nil
			full := had+len(asked) >= MaxOnlineRecords
			if !skip && full {
				failed[id] = fmt.Errorf("more than %d records", MaxOnlineRecords)
			}
			mu.Unlock()
			if skip || full {
				continue
			}
			asked[id] = true
			g.Go(func() error {
				r, err := o.record(ctx, id)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed[id] = err
				} else {
					records[id] = r
				}
				return nil
			})
		}
	}
	_ = g.Wait() // no function of the group fails
	return failed
}

func (o *Online) record(ctx context.Context, id string) (*record, error) {
	b, err := o.http.Get(ctx, o.base+"/v1/vulns/"+url.PathEscape(id))
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(b)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", clip(id), err)
	}
	if r.ID != id {
		return nil, errors.New("the advisory API answers with another record than asked for")
	}
	return r, nil
}

func (o *Online) judge(it Item, ids []string, records map[string]*record, ans *Answer) {
	l, err := lookupOf(it.Release)
	if err != nil {
		ans.unavailable(it.Release, err)
		return
	}
	var found []policies.Advisory
	for _, id := range ids {
		r := records[id]
		for i := range r.Affected {
			a := &r.Affected[i]
			base, _ := split(a.Package.Ecosystem)
			if base != l.base || keyOf(base, a.Package.Name) != l.key {
				continue
			}
			e := entryOf(r, a)
			if !e.stands(o.asOf) {
				continue
			}
			if digestHit(it.Digests, a.DatabaseSpecific.Digests) || digestHit(it.Digests, r.DatabaseSpecific.Digests) {
				found = append(found, e.advisory("", o.kev))
				continue
			}
			as, err := match([]entry{e}, l, o.kev, o.asOf)
			if err != nil {
				ans.unavailable(it.Release, err)
				return
			}
			found = append(found, as...)
		}
	}
	ans.States[it.Release] = policies.StateKnown
	if found = Merge(found); len(found) > 0 {
		ans.Advisories[it.Release] = found
	}
}

func digestHit(ds trust.Digests, bad []trust.Digest) bool {
	for _, d := range ds {
		for _, b := range bad {
			if d.Equal(b) {
				return true
			}
		}
	}
	return false
}

// FixedBy lists the advisories of the version before that the new one no longer
// has: what an update mends. It concludes only from answers that are known.
func FixedBy(ans Answer, before, after trust.Release) []string {
	if ans.States[before] != policies.StateKnown || ans.States[after] != policies.StateKnown || before.Package != after.Package {
		return nil
	}
	still := map[string]bool{}
	for _, a := range ans.Advisories[after] {
		still[a.ID] = true
		for _, al := range a.Aliases {
			still[al] = true
		}
	}
	var out []string
	for _, a := range ans.Advisories[before] {
		gone := !still[a.ID] && a.Suppressed == "" // what never applied is not mended
		for _, al := range a.Aliases {
			gone = gone && !still[al]
		}
		if gone {
			out = append(out, a.ID)
		}
	}
	return out
}

// IDs lists the ids and aliases of advisories, for policies.Input.PreviousAdvisories.
func IDs(as []policies.Advisory) []string {
	var out []string
	for _, a := range as {
		out = append(out, a.ID)
		out = append(out, a.Aliases...)
	}
	return out
}
