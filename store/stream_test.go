package store

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/headgate/headgate/trust"
)

// stream makes decisions of a slice, and ends with an error if there is one.
func stream(ds []Decision, err error) iter.Seq2[Decision, error] {
	return func(yield func(Decision, error) bool) {
		for _, d := range ds {
			if !yield(d, nil) {
				return
			}
		}
		if err != nil {
			yield(Decision{}, err)
		}
	}
}

func TestStreamedDecisionsAndPins(t *testing.T) {
	ctx := context.Background()
	s, _ := newStore(t)
	all := commit(t, 5, "stream")
	c := all
	c.Decisions, c.Stream = all.Decisions[:2], stream(all.Decisions[2:], nil)
	c.Pin, c.PinStream = all.Pin[:2], slices.Values(all.Pin[2:])
	rec, err := s.Record(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.DecisionIDs) != 5 {
		t.Fatalf("%+v", rec)
	}
	var rs []trust.Release
	for _, d := range all.Decisions {
		rs = append(rs, d.Release)
	}
	for i, id := range rec.DecisionIDs {
		d, _, err := s.Decision(ctx, id)
		if err != nil || d.Release != rs[i] || len(d.Evidence) != 1 {
			t.Errorf("decision %d: %+v, %v", i, d, err)
		}
		ks, err := s.Known(ctx, []trust.Package{rs[i].Package})
		if err != nil || len(ks[rs[i].Package]) != 1 {
			t.Errorf("pin %d: %+v, %v", i, ks, err)
		}
	}
	if err := s.Check(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenStreamRecordsNothing(t *testing.T) {
	ctx := context.Background()
	s, _ := newStore(t)
	all := commit(t, 3, "broken")
	broken := errors.New("cannot be made")
	c := all
	c.Decisions, c.Stream = nil, stream(all.Decisions[:2], broken)
	if _, err := s.Record(ctx, c); !errors.Is(err, broken) {
		t.Fatalf("%v", err)
	}
	c.Stream = stream([]Decision{all.Decisions[0], {}}, nil)
	if _, err := s.Record(ctx, c); err == nil {
		t.Fatal("a decision without release was recorded")
	}
	if n, err := s.LogSize(ctx); err != nil || n != 0 {
		t.Fatalf("%d entries, %v", n, err)
	}
}
