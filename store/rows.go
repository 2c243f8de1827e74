package store

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/headgate/headgate/trust"
)

// kindSpec describes a table that the log covers.
type kindSpec struct {
	table string
	cols  []string
	// derive computes the columns from a body, and the id that the body states.
	derive func(body []byte) (id string, cols []any, err error)
	// of does the same for the value that the body is made from; false for a
	// value of another type.
	of func(v any) (id string, cols []any, ok bool)
}

func spec[T any](table string, cols []string, f func(T) (string, []any)) kindSpec {
	of := func(x any) (string, []any, bool) {
		v, ok := x.(T)
		if !ok {
			return "", nil, false
		}
		id, c := f(v)
		return id, c, true
	}
	return kindSpec{table: table, cols: cols, of: of, derive: func(body []byte) (string, []any, error) {
		var v T
		if err := strict(body, &v); err != nil {
			return "", nil, fmt.Errorf("body of %s: %w", table, err)
		}
		id, c := f(v)
		return id, c, nil
	}}
}

// kinds are the tables that the log covers, by the kind of their leaves.
var kinds = map[string]kindSpec{
	"run": spec("run", []string{"started", "verdict"}, func(r Run) (string, []any) {
		return r.ID, []any{millis(r.Started), string(r.Verdict)}
	}),
	"decision": spec("decision", []string{"run", "release", "package", "verdict", "at", "input"}, func(d decisionBody) (string, []any) {
		var input any
		if d.Input != "" {
			input = blobKey(d.Input)
		}
		return d.ID, []any{d.RunID, d.Release.PURL(), d.Release.Package.PURL(), string(d.Verdict), millis(d.At), input}
	}),
	"collected": spec("collected", nil, func(c collectedBody) (string, []any) { return c.ID, nil }),
	"pin": spec("pin", []string{"package"}, func(p KnownRelease) (string, []any) {
		return p.Release.PURL(), []any{p.Release.Package.PURL()}
	}),
	"acceptance": spec("acceptance", []string{"identity", "scope", "key", "origin", "until", "revoked"}, func(a Acceptance) (string, []any) {
		revoked := int64(0)
		if a.Revoked != nil {
			revoked = 1
		}
		return a.ID, []any{a.Identity, string(a.Scope), a.Scope.key(), a.Origin, millis(a.Until), revoked}
	}),
	"request": spec("request", []string{"release", "state", "at"}, func(r RequestRecord) (string, []any) {
		return r.ID, []any{r.Release.PURL(), string(r.State), millis(r.At)}
	}),
	"approval": spec("approval", []string{"release", "until"}, func(a ApprovalRecord) (string, []any) {
		return a.ID, []any{a.Release.PURL(), millis(a.Until)}
	}),
	"material": spec("material", []string{"kind", "scope"}, func(m PinnedMaterial) (string, []any) {
		return m.ID, []any{string(m.Kind), m.Scope}
	}),
	"state":  spec("state", nil, func(v stateBody) (string, []any) { return v.Key, nil }),
	"alarm":  spec("alarm", []string{"about", "proof"}, func(a Alarm) (string, []any) { return a.ID, []any{a.About, blobKey(a.Proof.Value)} }),
	"origin": spec("origin", nil, func(o Origin) (string, []any) { return o.Name, nil }),
}

// kindOrder is the order in which the tables are verified.
var kindOrder = []string{"run", "decision", "collected", "pin", "acceptance", "request", "approval", "material", "state", "alarm", "origin"}

// LogKinds returns the kinds of entries that the log has, in the order of the alphabet.
func LogKinds() []string { return slices.Sorted(slices.Values(kindOrder)) }

// evidenceRef names evidence by its full content address.
type evidenceRef struct {
	Checked time.Time `json:"checked"`
	Digest  string    `json:"digest"` // hex SHA-256 of the evidence's body
}

// decisionBody is the row of a decision.
type decisionBody struct {
	ID         string           `json:"id"`
	RunID      string           `json:"runId"`
	Release    trust.Release    `json:"release"`
	Artifacts  []trust.Artifact `json:"artifacts,omitempty"`
	Verdict    trust.Verdict    `json:"verdict"`
	Assurance  trust.Assurance  `json:"assurance"`
	Continuity trust.Continuity `json:"continuity,omitempty"`
	Findings   []trust.Finding  `json:"findings,omitempty"`
	Evidence   []evidenceRef    `json:"evidence,omitempty"`
	Signers    []trust.Signer   `json:"signers,omitempty"`
	Facts      trust.Facts      `json:"facts"`
	Input      string           `json:"input,omitempty"` // hex SHA-256 of the blob
	At         time.Time        `json:"at"`
}

// collectedBody lists evidence of a run that no decision rests on.
type collectedBody struct {
	ID       string        `json:"id"` // the run's
	Evidence []evidenceRef `json:"evidence"`
}

// stateBody is the row of a value that an adapter keeps.
type stateBody struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// blobKey is the key of a blob whose hex SHA-256 is given; nil for text that is none.
func blobKey(hexDigest string) []byte {
	b, err := hex.DecodeString(hexDigest)
	if err != nil {
		return nil
	}
	return b
}
