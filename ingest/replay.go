package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/store"
)

// ErrNoInput says that a decision was recorded without all that the policy looked
// at, by a headgate that did not keep it yet.
var ErrNoInput = errors.New("the decision was recorded without the policy's whole input, so it cannot be judged again")

// InputOf is what the policy looked at when it made the decision. Judging it
// again by the same policy gives the same findings.
func InputOf(d store.Decision) (policies.Input, error) {
	var in input
	dec := json.NewDecoder(bytes.NewReader(d.Input))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return policies.Input{}, fmt.Errorf("the policy's input of decision %s: %w", d.ID, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return policies.Input{}, fmt.Errorf("the policy's input of decision %s: trailing data", d.ID)
	}
	if in.Component == nil || in.Now.IsZero() {
		return policies.Input{}, ErrNoInput
	}
	if in.Component.Release != d.Release {
		return policies.Input{}, fmt.Errorf("the policy's input of decision %s is about %s, not %s", d.ID, in.Component.Release, d.Release)
	}
	return policies.Input{
		Component: *in.Component, Change: in.Change, Previous: in.PreviousComponent, Evidence: d.Evidence,
		Assurance: d.Assurance, Offered: in.Offered, Adapter: in.Adapter, Signers: in.Signers, BinarySigners: in.BinarySigners, BinariesBefore: in.BinariesBefore,
		Continuity: d.Continuity, Was: in.Was, Is: in.Is, ContinuityNote: in.ContinuityNote, Facts: d.Facts, History: in.History,
		Pinned: in.Pinned, PackageKnown: in.PackageKnown, ChangedUpstream: in.Changed,
		Advisories: in.Advisories, AdvisoryState: in.AdvisoryState, AdvisoryNote: in.AdvisoryNote, FixedIn: in.FixedIn, FixesAdvisory: in.FixesAdvisory, PreviousAdvisories: in.PreviousAdvisories,
		Names: in.Names, Inspection: in.Inspection, InspectionState: in.InspectionState, Licenses: in.Licenses, Approvals: in.Approvals, Now: in.Now,
	}, nil
}
