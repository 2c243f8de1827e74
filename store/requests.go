package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/trust"
)

// transitions are the states that a request may go to from each state.
var transitions = map[RequestState][]RequestState{
	RequestOpen:     {RequestApproved, RequestRejected, RequestExpired},
	RequestReopened: {RequestApproved, RequestRejected, RequestExpired},
	RequestApproved: {RequestReopened, RequestExpired, RequestRejected},
	RequestRejected: {RequestReopened},
	RequestExpired:  {RequestReopened},
}

// PutRequest records a request for approval and returns its id. A request for
// the same release that is still open is returned instead of a second one.
func (s *Store) PutRequest(ctx context.Context, r RequestRecord) (string, error) {
	if err := errors.Join(text("who requests", r.By), text("the reason", r.Reason)); err != nil {
		return "", err
	}
	if r.Release.IsZero() || r.Release.Version == "" {
		return "", errors.New("a request names one release: a package URL with its version")
	}
	err := s.write(ctx, "recording a request in", func(w *writeTx) error {
		var open string
		err := w.tx.QueryRowContext(ctx, "SELECT id FROM request WHERE release = ? AND state IN ('open', 'reopened') ORDER BY leaf LIMIT 1", r.Release.PURL()).Scan(&open)
		if err == nil {
			r.ID = open
			return nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if r.ID, err = newID("q-", 6); err != nil {
			return err
		}
		r.At, r.State = w.now, RequestOpen
		r.DecidedAt, r.DecidedBy, r.DecidedReason, r.Until, r.Approvals = time.Time{}, "", "", time.Time{}, nil
		_, err = w.insert(Leaf{Kind: "request", Op: "open", ID: r.ID, By: r.By, Package: packagePURL(r.Release.Package), Release: r.Release.PURL()}, r)
		return err
	})
	if err != nil {
		return "", err
	}
	return r.ID, nil
}

// Requests returns the requests that the filter selects, oldest first.
func (s *Store) Requests(ctx context.Context, f RequestFilter) ([]RequestRecord, error) {
	cond, args := "1", []any{}
	if !f.Release.IsZero() {
		cond, args = cond+" AND release = ?", append(args, f.Release.PURL())
	}
	if len(f.States) > 0 {
		b, err := json.Marshal(f.States)
		if err != nil {
			return nil, err
		}
		cond, args = cond+" AND state IN (SELECT value FROM json_each(?))", append(args, string(b))
	}
	var out []RequestRecord
	err := each(ctx, s.r, "SELECT id, body FROM request WHERE "+cond+" ORDER BY at, id", args, func(rows *sql.Rows) error {
		var id string
		var body []byte
		var r RequestRecord
		if err := rows.Scan(&id, &body); err != nil {
			return err
		}
		if err := strict(body, &r); err != nil || r.ID != id {
			return fmt.Errorf("%w: request %s was altered", ErrTampered, id)
		}
		if f.By == "" || f.By == r.By {
			out = append(out, r)
		}
		return nil
	})
	return out, s.wrap("reading requests of", err)
}

// Request returns a request by its id; a unique prefix will do.
func (s *Store) Request(ctx context.Context, id string) (RequestRecord, error) {
	full, err := resolve(ctx, s.r, "request", id)
	if err != nil {
		return RequestRecord{}, s.wrap("reading request of", err)
	}
	var body []byte
	var r RequestRecord
	if err = s.r.QueryRowContext(ctx, "SELECT body FROM request WHERE id = ?", full).Scan(&body); err == nil {
		err = strict(body, &r)
	}
	return r, s.wrap("reading request of", err)
}

// DecideRequest moves a request to another state. A move that the request's state
// does not allow, because somebody else decided meanwhile, is ErrConflict. Who
// asked cannot approve.
func (s *Store) DecideRequest(ctx context.Context, id string, d RequestDecision) error {
	if err := errors.Join(text("who decides", d.By), text("the reason", d.Reason)); err != nil {
		return err
	}
	state, by, reason, approvals := d.State, d.By, d.Reason, d.Approvals
	return s.write(ctx, "deciding a request in", func(w *writeTx) error {
		full, err := resolve(ctx, w.tx, "request", id)
		if err != nil {
			return err
		}
		var r RequestRecord
		was, err := w.current("request", full, &r)
		if err != nil {
			return err
		}
		if d.Seen != "" && d.Seen != r.Decision {
			return fmt.Errorf("request %s is about newer evidence by now, look at it again: %w", full, ErrConflict)
		}
		if !slices.Contains(transitions[r.State], state) {
			return fmt.Errorf("request %s is %s and cannot become %s: %w", full, r.State, short(string(state)), ErrConflict)
		}
		if state == RequestApproved {
			if by == r.By {
				return fmt.Errorf("request %s was made by %s, who cannot approve it", full, short(by))
			}
			if len(approvals) == 0 {
				return fmt.Errorf("request %s: an approval rests on signed statements, none is named", full)
			}
		}
		var until time.Time
		for _, a := range approvals {
			var of string
			var end int64
			if err := w.tx.QueryRowContext(ctx, "SELECT release, until FROM approval WHERE id = ?", a).Scan(&of, &end); err != nil || of != r.Release.PURL() {
				return errors.Join(fmt.Errorf("approval %s of %s: %w", short(a), r.Release, ErrNotFound), ignoreNoRows(err))
			}
			if t := fromMillis(end); !t.IsZero() && (until.IsZero() || t.Before(until)) {
				until = t
			}
		}
		r.State, r.DecidedAt, r.DecidedBy, r.DecidedReason, r.Until, r.Approvals = state, w.now, by, reason, until, approvals
		_, err = w.replace(Leaf{Kind: "request", Op: string(state), ID: r.ID, By: by, Detail: short(reason), Package: packagePURL(r.Release.Package), Release: r.Release.PURL()}, r, was)
		return err
	})
}

// byGate is who re-opens and ends requests when no person did.
const byGate = "headgate"

// reopen looks at the requests for a release that a run stopped. One that rests on
// other evidence, other bytes or fewer rules than what stopped it now is about
// that from here on, and what had been approved of it is open again.
func (w *writeTx) reopen(d Decision, id string) error {
	if !reopens(d.Verdict) {
		return nil
	}
	ids, err := w.requestsIn("release = ? AND state IN ('open', 'reopened', 'approved')", d.Release.PURL())
	if err != nil {
		return err
	}
	now := trust.Conclusions(d.Evidence)
	for _, q := range ids {
		var r RequestRecord
		was, err := w.current("request", q, &r)
		if err != nil {
			return err
		}
		var why string
		fewer := slices.DeleteFunc(heldRules(d.Findings), func(rule string) bool { return slices.Contains(r.Rules(), rule) })
		switch {
		case d.Verdict == trust.Block && !slices.ContainsFunc(r.Findings, blocks):
			why = "it is blocked now, and nobody may let it in"
		case !SameBytes(r.Artifacts, d.Artifacts):
			why = "the release has other bytes than those that were asked for"
		case !slices.Equal(r.Conclusions, now):
			why = "the evidence is another than when it was asked for"
		case len(fewer) > 0:
			why = "it is held by " + strings.Join(fewer, ", ") + " too"
		default:
			continue
		}
		r.Artifacts, r.Findings, r.Decision, r.Conclusions, r.Evidence = d.Artifacts, d.Findings, id, now, nil
		for _, e := range d.Evidence {
			r.Evidence = append(r.Evidence, e.ID())
		}
		r.State, r.DecidedAt, r.DecidedBy, r.DecidedReason, r.Until, r.Approvals = RequestReopened, w.now, byGate, why, time.Time{}, nil
		if _, err := w.replace(Leaf{Kind: "request", Op: string(RequestReopened), ID: r.ID, By: byGate, Detail: why, Package: packagePURL(r.Release.Package), Release: r.Release.PURL()}, r, was); err != nil {
			return err
		}
	}
	return nil
}

// reopens reports whether a decision with that verdict can re-open requests.
func reopens(v trust.Verdict) bool { return v == trust.Hold || v == trust.Block }

func blocks(f trust.Finding) bool { return f.Effect == trust.EffectBlock && f.Counts() }

// SameBytes reports whether two lists name the same artifacts with the same digests.
func SameBytes(a, b []trust.Artifact) bool {
	return slices.EqualFunc(a, b, func(x, y trust.Artifact) bool { return x.Name == y.Name && slices.Equal(x.Digests, y.Digests) })
}

// expire ends the approved requests whose approvals have ended.
func (w *writeTx) expire() error {
	ids, err := w.requestsIn("state = ?", string(RequestApproved))
	if err != nil {
		return err
	}
	for _, q := range ids {
		var r RequestRecord
		was, err := w.current("request", q, &r)
		if err != nil {
			return err
		}
		if r.Standing(w.now) != RequestExpired {
			continue
		}
		r.State = RequestExpired
		if _, err := w.replace(Leaf{Kind: "request", Op: string(RequestExpired), ID: r.ID, By: byGate, Detail: "the approval ended", Package: packagePURL(r.Release.Package), Release: r.Release.PURL()}, r, was); err != nil {
			return err
		}
	}
	return nil
}

// requestsIn returns the ids of the requests that a condition selects.
func (w *writeTx) requestsIn(cond string, args ...any) ([]string, error) {
	if err := w.flushTable("request"); err != nil {
		return nil, err
	}
	st, err := w.stmt("SELECT id FROM request WHERE " + cond + " ORDER BY leaf")
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(w.ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

func ignoreNoRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// PutApproval keeps a signed approval. The envelope is the proof and is
// verified at every use, by package trust/approval; parsed is what it says. The
// same envelope is kept once, as ApprovalID of it.
func (s *Store) PutApproval(ctx context.Context, envelope []byte, parsed ApprovalRecord) error {
	if len(envelope) == 0 || len(envelope) > MaxEnvelope {
		return fmt.Errorf("approval of %d bytes: it must have 1 to %d", len(envelope), MaxEnvelope)
	}
	if !json.Valid(envelope) {
		return errors.New("approval is no JSON")
	}
	if parsed.Release.IsZero() || parsed.Release.Version == "" {
		return errors.New("approval names no release")
	}
	if err := text("who approves", parsed.By); err != nil {
		return err
	}
	id := ApprovalID(envelope)
	parsed.ID, parsed.Envelope, parsed.At, parsed.Until = id, envelope, norm(parsed.At), norm(parsed.Until)
	return s.write(ctx, "recording an approval in", func(w *writeTx) error {
		var old ApprovalRecord
		was, err := w.current("approval", id, &old)
		if err != nil || was >= 0 {
			return err
		}
		_, err = w.insert(Leaf{Kind: "approval", Op: "add", ID: id, By: parsed.By, Package: packagePURL(parsed.Release.Package), Release: parsed.Release.PURL()}, parsed)
		return err
	})
}

// ApprovalID is the id that an approval has in the store: the digest of its envelope.
func ApprovalID(envelope []byte) string {
	sum := sha256.Sum256(envelope)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Approvals returns the approvals of the releases, oldest first, ended ones
// among them.
func (s *Store) Approvals(ctx context.Context, rs []trust.Release) (map[trust.Release][]ApprovalRecord, error) {
	m, keys := byRelease(rs)
	out := make(map[trust.Release][]ApprovalRecord, len(rs))
	err := bulk(ctx, s.r, "SELECT a.id, a.release, a.body FROM json_each(?) j CROSS JOIN approval a ON a.release = j.value ORDER BY a.leaf", keys, func(rows *sql.Rows) error {
		k, a, err := scanApproval(rows)
		if err == nil {
			out[m[k]] = append(out[m[k]], a)
		}
		return err
	})
	if err != nil {
		return nil, s.wrap("reading approvals of", err)
	}
	return out, nil
}

func scanApproval(rows *sql.Rows) (release string, a ApprovalRecord, err error) {
	var id string
	var body []byte
	if err := rows.Scan(&id, &release, &body); err != nil {
		return "", a, err
	}
	if err := strict(body, &a); err != nil || a.ID != id || ApprovalID(a.Envelope) != id || a.Release.PURL() != release {
		return "", a, fmt.Errorf("%w: approval %s was altered", ErrTampered, short(id))
	}
	return release, a, nil
}
