package ingest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/headgate/headgate/trust"
)

// alarms puts every release whose published bytes changed since they were first
// seen into the log, with both digests as proof: the decision alone would be
// forgotten with the change that was given up.
func (g *Gate) alarms(ctx context.Context, work []*item) error {
	if g.Alarm == nil {
		return nil
	}
	for _, it := range work {
		if !it.in.ChangedUpstream {
			continue
		}
		r := it.in.Component.Release
		proof := struct {
			Release trust.Release    `json:"release"`
			Before  []trust.Artifact `json:"before"`
			Now     []trust.Artifact `json:"now"`
			From    []trust.Location `json:"from,omitempty"`
		}{Release: r, Now: it.in.Component.Artifacts, From: it.in.Component.Locations}
		for _, k := range it.known {
			if k.Release == r {
				proof.Before = append(proof.Before, k.Artifacts...)
			}
		}
		b, err := json.Marshal(proof)
		if err == nil {
			err = g.Alarm(ctx, r.PURL(), "other bytes are stated under a version that was accepted with different ones", b)
		}
		if err != nil {
			return fmt.Errorf("recording the alarm about %s: %w", r, err)
		}
	}
	return nil
}
