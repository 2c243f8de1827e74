package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/strictjson"
)

// Types of the envelope and of what is in it.
const (
	PayloadType   = "application/vnd.in-toto+json"
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://headgate.dev/attestation/approval/v1"
)

// Bounds.
const (
	MaxEnvelope = 1 << 20 // bytes
	MaxSubjects = 1024    // artifacts of one approval
	MaxEvidence = 4096    // conclusions of one approval
	MaxRules    = 64      // rules of one approval
	MaxText     = 4096    // bytes of the reason, and of any name
)

// Statement is what an approver signs.
type Statement struct {
	Release   trust.Release
	Artifacts []trust.Artifact // names and digests only
	Evidence  []string         // trust.Conclusions of what was judged
	Rules     []string
	Requester string
	Approver  string
	Reason    string
	Issued    time.Time
	Expires   time.Time
	Policy    trust.Digest // zero if not bound to a policy
}

type wireStatement struct {
	Type          string        `json:"_type"`
	Subject       []wireSubject `json:"subject"`
	PredicateType string        `json:"predicateType"`
	Predicate     wirePredicate `json:"predicate"`
}

type wireSubject struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

type wirePredicate struct {
	Release   string   `json:"release"`
	Evidence  []string `json:"evidence"`
	Rules     []string `json:"rules"`
	Requester string   `json:"requester"`
	Approver  string   `json:"approver"`
	Reason    string   `json:"reason"`
	Issued    string   `json:"issued"`
	Expires   string   `json:"expires"`
	Policy    string   `json:"policy,omitempty"`
}

// binds reports whether a digest can tie an approval to bytes.
func binds(d trust.Digest) bool { return d.Strong() || d.Algorithm == trust.GitCommit }

// validate holds for every statement that is signed and for every one that is read.
func (s Statement) validate() error {
	if s.Release.IsZero() || s.Release.Version == "" {
		return fmt.Errorf("an approval needs a release with its version")
	}
	if n := len(s.Artifacts); n == 0 || n > MaxSubjects {
		return fmt.Errorf("an approval has %d artifacts, needs 1 to %d", n, MaxSubjects)
	}
	for _, a := range s.Artifacts {
		if len(a.Name) > MaxText {
			return fmt.Errorf("an artifact name is longer than %d bytes", MaxText)
		}
		seen := map[trust.Algorithm]bool{}
		for _, d := range a.Digests {
			if seen[d.Algorithm] {
				return fmt.Errorf("an artifact has two %s digests", d.Algorithm)
			}
			seen[d.Algorithm] = true
		}
		if !slices.ContainsFunc(a.Digests, binds) {
			return fmt.Errorf("an artifact of the approval has no digest that can stand for its bytes")
		}
	}
	if n := len(s.Evidence); n > MaxEvidence {
		return fmt.Errorf("an approval has %d evidence ids, at most %d", n, MaxEvidence)
	}
	if n := len(s.Rules); n == 0 || n > MaxRules {
		return fmt.Errorf("an approval has %d rules, needs 1 to %d", n, MaxRules)
	}
	for _, l := range [][]string{s.Evidence, s.Rules} {
		for i, v := range l {
			if v == "" || v == "*" || len(v) > MaxText || slices.Contains(l[:i], v) {
				return fmt.Errorf("%q is empty, too general, too long or listed twice", clip(v))
			}
		}
	}
	for what, v := range map[string]string{"requester": s.Requester, "approver": s.Approver, "reason": s.Reason} {
		if strings.TrimSpace(v) == "" || len(v) > MaxText {
			return fmt.Errorf("an approval needs a %s of at most %d bytes", what, MaxText)
		}
	}
	if s.Issued.IsZero() || !s.Expires.After(s.Issued) {
		return fmt.Errorf("an approval needs a time of issue and an end after it")
	}
	return nil
}

// Sign makes the envelope of an approval. Times are cut to whole seconds.
func Sign(s Statement, sign dsse.SignFunc) ([]byte, error) {
	s.Issued, s.Expires = s.Issued.UTC().Truncate(time.Second), s.Expires.UTC().Truncate(time.Second)
	if err := s.validate(); err != nil {
		return nil, err
	}
	w := wireStatement{Type: StatementType, PredicateType: PredicateType, Predicate: wirePredicate{
		Release: s.Release.PURL(), Evidence: sorted(s.Evidence), Rules: sorted(s.Rules),
		Requester: s.Requester, Approver: s.Approver, Reason: s.Reason,
		Issued: s.Issued.Format(time.RFC3339), Expires: s.Expires.Format(time.RFC3339), Policy: s.Policy.String(),
	}}
	for _, a := range s.Artifacts {
		ds := map[string]string{}
		for _, d := range a.Digests {
			if binds(d) {
				ds[string(d.Algorithm)] = d.Value
			}
		}
		w.Subject = append(w.Subject, wireSubject{Name: a.Name, Digest: ds})
	}
	payload, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("writing an approval: %w", err)
	}
	env, err := dsse.Sign(PayloadType, payload, sign)
	if err != nil {
		return nil, fmt.Errorf("signing the approval of %s: %w", s.Release, err)
	}
	if len(env) > MaxEnvelope {
		return nil, fmt.Errorf("the approval of %s has %d bytes, more than %d", s.Release, len(env), MaxEnvelope)
	}
	return env, nil
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	if s == nil {
		s = []string{}
	}
	return s
}

func parseEnvelope(env []byte) (*dsse.Envelope, Statement, error) {
	if len(env) > MaxEnvelope {
		return nil, Statement{}, trust.Undecidable(trust.ReasonTooLarge, "the approval has %d bytes, more than %d", len(env), MaxEnvelope)
	}
	e, err := dsse.Parse(env)
	if err != nil {
		return nil, Statement{}, err
	}
	if e.PayloadType() != PayloadType {
		return nil, Statement{}, trust.Failure(trust.ReasonWrongPredicate, "the envelope holds %q, no in-toto statement", clip(e.PayloadType()))
	}
	s, err := parseStatement(e.UnverifiedPayload())
	return e, s, err
}

// Peek reads an approval without verifying anything: to show it, to sort it,
// or to see whom it names.
func Peek(envelope []byte) (Statement, error) {
	_, s, err := parseEnvelope(envelope)
	return s, err
}

func parseStatement(payload []byte) (Statement, error) {
	malformed := func(err error) (Statement, error) {
		return Statement{}, trust.Undecidable(trust.ReasonMalformed, "reading an approval: %w", err)
	}
	var head struct {
		Type          string `json:"_type"`
		PredicateType string `json:"predicateType"`
	}
	if err := strictjson.Unmarshal(payload, &head); err != nil {
		return malformed(err)
	}
	if head.Type != StatementType || head.PredicateType != PredicateType {
		return Statement{}, trust.Failure(trust.ReasonWrongPredicate, "the statement is a %q with predicate %q, no approval", clip(head.Type), clip(head.PredicateType))
	}
	var w wireStatement
	if err := strictjson.UnmarshalKnown(payload, &w); err != nil {
		return malformed(err)
	}
	p := w.Predicate
	s := Statement{Evidence: p.Evidence, Rules: p.Rules, Requester: p.Requester, Approver: p.Approver, Reason: p.Reason}
	var err error
	if s.Release, err = trust.ParseRelease(p.Release); err != nil {
		return malformed(err)
	}
	if s.Release.PURL() != p.Release {
		return malformed(fmt.Errorf("release %q is not canonical", clip(p.Release)))
	}
	if s.Issued, err = parseTime(p.Issued); err != nil {
		return malformed(err)
	}
	if s.Expires, err = parseTime(p.Expires); err != nil {
		return malformed(err)
	}
	if p.Policy != "" {
		if s.Policy, err = trust.ParseDigest(p.Policy); err != nil {
			return malformed(err)
		}
	}
	for _, sub := range w.Subject {
		a := trust.Artifact{Name: sub.Name}
		for alg, v := range sub.Digest {
			d, err := trust.NewDigest(trust.Algorithm(alg), v)
			if err != nil {
				return malformed(err)
			}
			a.Digests = append(a.Digests, d)
		}
		slices.SortFunc(a.Digests, func(x, y trust.Digest) int { return strings.Compare(string(x.Algorithm), string(y.Algorithm)) })
		s.Artifacts = append(s.Artifacts, a)
	}
	if err := s.validate(); err != nil {
		return malformed(err)
	}
	return s, nil
}

func parseTime(v string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return t, fmt.Errorf("time %q is not RFC 3339", clip(v))
	}
	if t.UTC().Format(time.RFC3339) != v {
		return t, fmt.Errorf("time %q is not in UTC and whole seconds", clip(v))
	}
	return t.UTC(), nil
}

// id is the content address of an approval: of what was signed, by whom.
func id(payload []byte, signer trust.Signer) string {
	h := sha256.New()
	h.Write(payload)
	h.Write([]byte(signer.Identity()))
	return "a-" + hex.EncodeToString(h.Sum(nil)[:8])
}

func clip(s string) string {
	const max = 80
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
