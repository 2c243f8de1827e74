package capsule

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// Bounds of capsules.
const (
	MaxMembers = 10_000
	MaxMember  = store.MaxBlob
	MaxTotal   = 512 << 20 // bytes of all members, unpacked
	MaxFile    = 512 << 20 // bytes of the archive
	// Version is the version of the format.
	Version = 1
)

// Names of the members.
const (
	manifestName = "manifest.json"
	decisionName = "decision.json"
	inputName    = "input.json"
	runName      = "run.json"
	policyName   = "policy.yaml"
	canonName    = "policy.json"
	proofName    = "log-proof.json"
	runProofName = "run-proof.json"
	keyName      = "log-key"
	approvalsDir = "approvals/"
	rawDir       = "raw/"
	rootsDir     = "roots/"
)

// ErrTampered is part of the error about a capsule whose parts do not agree.
var ErrTampered = errors.New("the capsule was altered")

// Member is one entry of the manifest.
type Member struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
}

// Manifest is manifest.json.
type Manifest struct {
	Version  int           `json:"version"`
	Decision string        `json:"decision"`
	Release  trust.Release `json:"purl"`
	Verdict  trust.Verdict `json:"verdict"`
	At       time.Time     `json:"at"`
	Members  []Member      `json:"members"` // sorted by path
	// Missing are the digests of roots that evidence names and the store does not keep.
	Missing []string `json:"missing,omitempty"`
}

// Source is what Export needs of the store; *store.Store implements it.
type Source interface {
	Decision(ctx context.Context, id string) (store.Decision, store.Run, error)
	Prove(ctx context.Context, decisionID string) ([]byte, error)
	ProveRun(ctx context.Context, runID string) ([]byte, error)
	Blob(ctx context.Context, d trust.Digest) ([]byte, error)
	Approvals(ctx context.Context, rs []trust.Release) (map[trust.Release][]store.ApprovalRecord, error)
	VerifierKey() string
}

// Export writes the capsule of a decision. The policy must be the one that the
// decision was made by.
func Export(ctx context.Context, w io.Writer, s Source, id string, p *policies.Policy) (Manifest, error) {
	d, run, err := s.Decision(ctx, id)
	if err != nil {
		return Manifest{}, err
	}
	if !p.Digest().Equal(run.PolicyDigest) {
		return Manifest{}, fmt.Errorf("decision %s was made by policy %s (%s), and the policy at hand is %s (%s): give the configuration of that time", d.ID, run.PolicyName, run.PolicyDigest, p.Name(), p.Digest())
	}
	in, err := ingest.InputOf(d)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Version: Version, Decision: d.ID, Release: d.Release, Verdict: d.Verdict, At: d.At}
	members := map[string][]byte{canonName: p.Canonical(), keyName: []byte(s.VerifierKey() + "\n")}
	if members[policyName], err = yaml.Marshal(p.Config()); err != nil {
		return Manifest{}, fmt.Errorf("packing the policy: %w", err)
	}
	// Its exact bytes are what the log covers.
	members[inputName], d.Input = d.Input, nil
	if members[decisionName], err = json.MarshalIndent(d, "", " "); err != nil {
		return Manifest{}, fmt.Errorf("packing decision %s: %w", d.ID, err)
	}
	if members[runName], err = json.MarshalIndent(run, "", " "); err != nil {
		return Manifest{}, fmt.Errorf("packing run %s: %w", run.ID, err)
	}
	if members[proofName], err = s.Prove(ctx, d.ID); err != nil {
		return Manifest{}, err
	}
	if members[runProofName], err = s.ProveRun(ctx, run.ID); err != nil {
		return Manifest{}, err
	}
	for i := range d.Evidence {
		e := &d.Evidence[i]
		for _, raw := range e.Raw {
			if members[rawDir+raw.Digest.Value], err = s.Blob(ctx, raw.Digest); err != nil {
				return Manifest{}, fmt.Errorf("judged bytes %q of %s: %w", raw.Name, e.ID(), err)
			}
		}
		if e.Root.Algorithm != trust.SHA256 || members[rawDir+e.Root.Value] != nil || members[rootsDir+e.Root.Value] != nil {
			continue
		}
		switch b, err := s.Blob(ctx, e.Root); {
		case err == nil:
			members[rootsDir+e.Root.Value] = b
		case errors.Is(err, store.ErrNotFound):
			if !slices.Contains(m.Missing, e.Root.String()) {
				m.Missing = append(m.Missing, e.Root.String())
			}
		default:
			return Manifest{}, err
		}
	}
	as, err := s.Approvals(ctx, []trust.Release{d.Release})
	if err != nil {
		return Manifest{}, err
	}
	for _, a := range as[d.Release] {
		// Those that let the release in; others, and later ones, made no difference.
		if counted(in, a) {
			sum := sha256.Sum256(a.Envelope)
			members[approvalsDir+hex.EncodeToString(sum[:])] = a.Envelope
		}
	}
	return m, write(w, &m, members)
}

// counted reports whether the decision counted an approval by that person until
// that time.
func counted(in policies.Input, a store.ApprovalRecord) bool {
	return slices.ContainsFunc(in.Approvals, func(p policies.Approval) bool { return p.By == a.By && p.Until.Equal(a.Until) })
}

func write(w io.Writer, m *Manifest, members map[string][]byte) error {
	var names []string
	total := 0
	for name, b := range members {
		names = append(names, name)
		total += len(b)
		if len(b) > MaxMember {
			return fmt.Errorf("packing %s: %d bytes are more than %d", name, len(b), MaxMember)
		}
	}
	if len(names)+1 > MaxMembers || total > MaxTotal {
		return fmt.Errorf("the decision rests on %d documents of %d bytes; a capsule holds %d of %d", len(names), total, MaxMembers, MaxTotal)
	}
	slices.Sort(names)
	for _, name := range names {
		sum := sha256.Sum256(members[name])
		m.Members = append(m.Members, Member{Path: name, Size: int64(len(members[name])), SHA256: hex.EncodeToString(sum[:])})
	}
	manifest, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("packing the manifest: %w", err)
	}
	zw := zip.NewWriter(w)
	put := func(name string, b []byte) error {
		// No time of packing: one decision makes one file.
		f, err := zw.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err == nil {
			_, err = f.Write(b)
		}
		return err
	}
	if err := put(manifestName, manifest); err != nil {
		return fmt.Errorf("packing %s: %w", manifestName, err)
	}
	for _, name := range names {
		if err := put(name, members[name]); err != nil {
			return fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := zw.Close(); err != nil {
		return fmt.Errorf("packing the capsule: %w", err)
	}
	return nil
}

// Replayed is what a replay established.
type Replayed struct {
	Manifest Manifest
	Decision store.Decision
	Run      store.Run
	// Verdict is what the policy says of the recorded input now; Decision.Verdict
	// what was recorded.
	Verdict trust.Verdict
	// Differences are what is not as recorded, in sentences; none means the same.
	Differences []string
	// Notes are what the replay could not establish.
	Notes []string
	// Evidence is what was established about each piece of evidence, in the
	// decision's order.
	Evidence []Checked
	// Roots say of every root and key that was relied on where it comes from.
	Roots []string
	// Log is what the proof proves.
	Log store.Proved
}

// Artifact is the file that a decision is about, for signatures over the file itself.
type Artifact struct {
	Digests trust.Digests
	Open    func() (io.ReadCloser, error) // nil if there is none
}

// Options are what the verifier has of its own. Without any, a capsule is judged by
// what it holds itself, and the replay says so.
type Options struct {
	// LogKey is the verifier key of the store that the capsule comes from.
	LogKey string
	// TrustedRoot and Keys are Sigstore's root and the registry's keys.
	TrustedRoot, Keys []byte
	// LogKeys are verifier keys of checksum databases that are known.
	LogKeys []string
	// Artifact is the file.
	Artifact Artifact
	// Approve verifies the approvals by the capsule's policy; nil leaves them as
	// they were recorded.
	Approve func(*policies.Policy) (ingest.Approve, error)
}

// Replay verifies a capsule, makes the checks that its evidence rests on anew of the
// enclosed bytes, and judges its decision again, offline, at the decision's time.
// Without the store's LogKey the capsule's own is used, and a note says that it
// proves no origin. The error is for a capsule that cannot be believed
// (ErrTampered) or read; evidence or a verdict that differs is a difference.
func Replay(ctx context.Context, data []byte, o Options) (*Replayed, error) {
	logKey := o.LogKey
	members, m, err := read(data)
	if err != nil {
		return nil, err
	}
	r := &Replayed{Manifest: m}
	if err := decode(members[decisionName], decisionName, &r.Decision); err != nil {
		return nil, err
	}
	if err := decode(members[runName], runName, &r.Run); err != nil {
		return nil, err
	}
	d := &r.Decision
	d.Input = members[inputName]
	if m.Decision != d.ID || m.Release != d.Release || m.Verdict != d.Verdict || !m.At.Equal(d.At) || d.RunID != r.Run.ID {
		return nil, fmt.Errorf("%w: manifest, decision and run are not about one decision", ErrTampered)
	}
	switch enclosed := strings.TrimSpace(string(members[keyName])); {
	case logKey == "":
		logKey = enclosed
		r.Notes = append(r.Notes, "the log's key comes from the capsule itself, which proves no origin; compare it with the store's: "+logKey)
	case enclosed != logKey:
		return nil, fmt.Errorf("%w: it names another log key than the one that you gave", ErrTampered)
	}
	if r.Log, err = store.VerifyProof(members[proofName], logKey); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	if err := logged(d, r.Log); err != nil {
		return nil, err
	}
	if err := loggedRun(&r.Run, members[runProofName], logKey); err != nil {
		return nil, err
	}
	in, err := ingest.InputOf(*d)
	if err != nil {
		return nil, err
	}
	if err := named(d, in, members); err != nil {
		return nil, err
	}
	for _, root := range m.Missing {
		r.Notes = append(r.Notes, "the root or key set "+root+" that evidence names is not in the capsule")
	}
	p, err := policies.LoadYAML(members[policyName], d.At)
	if err != nil {
		return nil, fmt.Errorf("the capsule's policy: %w", err)
	}
	if sum := sha256.Sum256(members[canonName]); !trust.DigestOf(trust.SHA256, sum[:]).Equal(r.Run.PolicyDigest) {
		return nil, fmt.Errorf("%w: %s is not the policy of the run", ErrTampered, canonName)
	}
	if !p.Digest().Equal(r.Run.PolicyDigest) {
		// Built-in rules change between versions of headgate.
		r.Differences = append(r.Differences, fmt.Sprintf("the policy: this headgate makes %s of the configuration, the decision was made by %s", p.Digest(), r.Run.PolicyDigest))
	}
	a := &again{at: d.At, facts: d.Facts, config: p.Config(), artifact: o.Artifact, document: func(raw trust.Raw) []byte { return members[rawDir+raw.Digest.Value] }}
	in.Evidence = r.evidence(a, o)
	if err := r.approvals(ctx, p, &in, members, o); err != nil {
		return nil, err
	}
	out := p.Evaluate(ctx, in)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.Verdict = out.Verdict
	r.compare(out)
	return r, nil
}

// approvals verifies the signatures of the approvals that let the release in. Those
// that do not verify do not count.
func (r *Replayed) approvals(ctx context.Context, p *policies.Policy, in *policies.Input, members map[string][]byte, o Options) error {
	if len(in.Approvals) == 0 || o.Approve == nil {
		return nil
	}
	approve, err := o.Approve(p)
	if err != nil {
		return fmt.Errorf("the approvers of the capsule's policy: %w", err)
	}
	recorded := in.Approvals
	in.Approvals = nil
	if approve != nil {
		// What was approved was the recorded evidence, which the approvals name.
		was := *in
		was.Evidence = r.Decision.Evidence
		findings := p.Evaluate(ctx, was).Findings
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if !strings.HasPrefix(name, approvalsDir) {
				continue
			}
			as := approve(was, findings, []store.ApprovalRecord{{Envelope: members[name]}}, r.Run.Requester)
			if len(as) == 0 {
				r.Differences = append(r.Differences, fmt.Sprintf("%.30s…: no approver of the policy signed it for this decision", name))
			}
			in.Approvals = append(in.Approvals, as...)
		}
	}
	for _, a := range recorded {
		now := slices.IndexFunc(in.Approvals, func(b policies.Approval) bool { return b.ID == a.ID })
		if now < 0 || jsonOf(in.Approvals[now]) != jsonOf(a) {
			r.Differences = append(r.Differences, fmt.Sprintf("approval %s by %s: it was recorded as counting for %s, and the enclosed envelopes do not prove it", a.ID, a.By, strings.Join(a.Rules, ", ")))
		}
	}
	return nil
}

// compare says what the policy finds now and did not then, and the reverse.
func (r *Replayed) compare(out policies.Outcome) {
	d := &r.Decision
	if out.Verdict != d.Verdict {
		r.Differences = append(r.Differences, fmt.Sprintf("the verdict: recorded as %s, now %s", d.Verdict, out.Verdict))
	}
	has := func(fs []trust.Finding, f trust.Finding) bool {
		return slices.ContainsFunc(fs, func(o trust.Finding) bool { return reflect.DeepEqual(f, o) })
	}
	for _, f := range d.Findings {
		if !has(out.Findings, f) {
			r.Differences = append(r.Differences, fmt.Sprintf("finding %s (%s) was recorded and is not found now: %s", f.Rule, f.Effect, f.Message))
		}
	}
	for _, f := range out.Findings {
		if !has(d.Findings, f) {
			r.Differences = append(r.Differences, fmt.Sprintf("finding %s (%s) is found now and was not recorded: %s", f.Rule, f.Effect, f.Message))
		}
	}
}

// loggedRun compares the run, which names the policy, with what the log covers.
func loggedRun(run *store.Run, proof []byte, logKey string) error {
	p, err := store.VerifyProof(proof, logKey)
	if err != nil {
		return fmt.Errorf("%w: the run: %w", ErrTampered, err)
	}
	var w store.Run
	if err := decode(p.Body, runProofName, &w); err != nil || p.Leaf.Kind != "run" || jsonOf(w) != jsonOf(*run) {
		return fmt.Errorf("%w: the run is not what the log covers", ErrTampered)
	}
	return nil
}

// named demands that the judged bytes, roots and approvals of the capsule are those
// that the decision names, no fewer and no others.
func named(d *store.Decision, in policies.Input, members map[string][]byte) error {
	known := map[string]bool{}
	for i := range d.Evidence {
		e := &d.Evidence[i]
		known[rootsDir+e.Root.Value] = true
		for _, raw := range e.Raw {
			known[rawDir+raw.Digest.Value] = true
			if _, ok := members[rawDir+raw.Digest.Value]; !ok {
				return fmt.Errorf("%w: the judged bytes %q (%s) are missing", ErrTampered, raw.Name, raw.Digest)
			}
		}
	}
	for name := range members {
		switch {
		case strings.HasPrefix(name, approvalsDir) && len(in.Approvals) == 0, (strings.HasPrefix(name, rawDir) || strings.HasPrefix(name, rootsDir)) && !known[name]:
			return fmt.Errorf("%w: the decision does not name member %q", ErrTampered, clip(name))
		}
	}
	return nil
}

// row is the part of the logged row that a decision is compared with.
type row struct {
	ID         string           `json:"id"`
	RunID      string           `json:"runId"`
	Release    trust.Release    `json:"release"`
	Artifacts  []trust.Artifact `json:"artifacts"`
	Verdict    trust.Verdict    `json:"verdict"`
	Assurance  trust.Assurance  `json:"assurance"`
	Continuity trust.Continuity `json:"continuity"`
	Findings   []trust.Finding  `json:"findings"`
	Evidence   []struct {
		Checked time.Time `json:"checked"`
		Digest  string    `json:"digest"`
	} `json:"evidence"`
	Signers []trust.Signer `json:"signers"`
	Facts   trust.Facts    `json:"facts"`
	Input   string         `json:"input"`
	At      time.Time      `json:"at"`
}

// logged compares the decision with what the log covers.
func logged(d *store.Decision, p store.Proved) error {
	var w row
	dec := json.NewDecoder(bytes.NewReader(p.Body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil || p.Leaf.Kind != "decision" {
		return fmt.Errorf("%w: the log entry is of a %s: %w", ErrTampered, p.Leaf.Kind, cmp.Or(err, errors.New("no decision")))
	}
	differs := func(what string) error {
		return fmt.Errorf("%w: %s of the decision is not what the log covers", ErrTampered, what)
	}
	same := func(a, b any) bool {
		x, errX := json.Marshal(a)
		y, errY := json.Marshal(b)
		return errX == nil && errY == nil && (bytes.Equal(x, y) || len(x) <= 4 && len(y) <= 4 && empty(x) && empty(y))
	}
	switch {
	case w.ID != d.ID || w.RunID != d.RunID || w.Release != d.Release:
		return differs("the name")
	case w.Verdict != d.Verdict || w.Assurance != d.Assurance || w.Continuity != d.Continuity || !w.At.Equal(d.At):
		return differs("the verdict")
	case !same(w.Artifacts, d.Artifacts):
		return differs("an artifact")
	case !same(w.Findings, d.Findings):
		return differs("a finding")
	case !same(w.Signers, d.Signers):
		return differs("a signer")
	case !same(w.Facts, d.Facts):
		return differs("a fact")
	case len(w.Evidence) != len(d.Evidence):
		return differs("the number of pieces of evidence")
	}
	if sum := sha256.Sum256(d.Input); w.Input != hex.EncodeToString(sum[:]) {
		return differs("the policy's input")
	}
	for i := range d.Evidence {
		// The address of evidence is the digest of its JSON without HTML escapes.
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(d.Evidence[i]); err != nil {
			return fmt.Errorf("evidence %d: %w", i, err)
		}
		if sum := sha256.Sum256(bytes.TrimSuffix(b.Bytes(), []byte("\n"))); w.Evidence[i].Digest != hex.EncodeToString(sum[:]) {
			return differs("evidence " + d.Evidence[i].ID())
		}
	}
	return nil
}

// empty reports whether b is the JSON of an empty list.
func empty(b []byte) bool { return string(b) == "null" || string(b) == "[]" }

func decode(b []byte, name string, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("capsule member %s: %w", name, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("capsule member %s: trailing data", name)
	}
	return nil
}

// read unpacks a capsule in memory: exactly the members that its manifest lists,
// each with the digest that it states.
func read(data []byte) (map[string][]byte, Manifest, error) {
	var m Manifest
	if len(data) > MaxFile {
		return nil, m, fmt.Errorf("the capsule has %d bytes, more than %d", len(data), MaxFile)
	}
	zr, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, m, fmt.Errorf("reading the capsule: %w", err)
	}
	if len(zr.File) > MaxMembers {
		return nil, m, fmt.Errorf("the capsule has %d members, more than %d", len(zr.File), MaxMembers)
	}
	members := map[string][]byte{}
	left := int64(MaxTotal)
	for _, f := range zr.File {
		if _, ok := members[f.Name]; ok {
			return nil, m, fmt.Errorf("%w: it has %q twice", ErrTampered, clip(f.Name))
		}
		b, err := unpack(f, min(left, MaxMember))
		if err != nil {
			return nil, m, fmt.Errorf("capsule member %q: %w", clip(f.Name), err)
		}
		left -= int64(len(b))
		members[f.Name] = b
	}
	manifest, ok := members[manifestName]
	if !ok {
		return nil, m, errors.New("this is no capsule: it has no " + manifestName)
	}
	delete(members, manifestName)
	if err := decode(manifest, manifestName, &m); err != nil {
		return nil, m, err
	}
	if m.Version != Version {
		return nil, m, fmt.Errorf("the capsule has version %d, this headgate reads %d", m.Version, Version)
	}
	listed := map[string]bool{}
	for _, e := range m.Members {
		b, ok := members[e.Path]
		sum := sha256.Sum256(b)
		switch {
		case !ok || listed[e.Path]:
			return nil, m, fmt.Errorf("%w: member %q is missing, or listed twice", ErrTampered, clip(e.Path))
		case int64(len(b)) != e.Size || hex.EncodeToString(sum[:]) != e.SHA256:
			return nil, m, fmt.Errorf("%w: member %q does not have the digest that the manifest states", ErrTampered, clip(e.Path))
		}
		// Judged bytes and roots are named by their digest: whoever renames them is caught too.
		for _, dir := range []string{rawDir, rootsDir, approvalsDir} {
			if name, ok := strings.CutPrefix(e.Path, dir); ok && name != e.SHA256 {
				return nil, m, fmt.Errorf("%w: member %q has the digest %s", ErrTampered, clip(e.Path), e.SHA256)
			}
		}
		listed[e.Path] = true
	}
	for name := range members {
		if !listed[name] {
			return nil, m, fmt.Errorf("%w: member %q is not in the manifest", ErrTampered, clip(name))
		}
	}
	for _, name := range []string{decisionName, inputName, runName, policyName, canonName, proofName, runProofName, keyName} {
		if !listed[name] {
			return nil, m, fmt.Errorf("%w: member %s is missing", ErrTampered, name)
		}
	}
	return members, m, nil
}

func unpack(f *zip.File, max int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, max+1))
	if err == nil && int64(len(b)) > max {
		err = fmt.Errorf("more than %d bytes", max)
	}
	return b, err
}

func clip(s string) string {
	const n = 100
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
