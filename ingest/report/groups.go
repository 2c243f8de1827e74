package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/trust"
)

// auditTitles say what the kinds of findings of an audit are about. KindPolicy has
// the rule's name instead.
var auditTitles = map[ingest.AuditKind]string{
	ingest.KindMalware:        "Known malware",
	ingest.KindChangedBytes:   "Upstream serves other bytes than those that were accepted",
	ingest.KindSBOMMismatch:   "The source states other digests than upstream",
	ingest.KindSignature:      "Signatures of SBOMs",
	ingest.KindRevokedSigner:  "Signed by somebody who was revoked",
	ingest.KindEvidenceWorse:  "Evidence that got weaker",
	ingest.KindNeverGated:     "Never passed the gate",
	ingest.KindAdvisory:       "Known vulnerabilities",
	ingest.KindWithdrawn:      "Withdrawn by registry or publisher",
	ingest.KindSource:         "Sources that cannot be read or vouched for",
	ingest.KindUndecided:      "Could not be looked at",
	ingest.KindApproval:       "Approvals that ended or end soon",
	ingest.KindException:      "Exceptions that ended or end soon",
	ingest.KindKeysChanged:    "Keys or trust roots that changed",
	ingest.KindEvidenceBetter: "Evidence that got stronger",
}

// auditGroup are the findings of one kind, or of one rule, with one effect: what a
// reader decides about at once.
type auditGroup struct {
	Title    string
	Kind     ingest.AuditKind
	Rule     string
	Effect   trust.Effect
	New      int
	Standing int
	Gone     int
	// Sources is the most sources that one of its findings is in.
	Sources int
	// Message and Remedy are those of all findings, empty where they differ.
	Message, Remedy string
	Findings        []*ingest.AuditFinding // those that stand, new ones first
}

// auditGroups groups findings, those first that somebody has to act on: by effect,
// and the larger first. Findings that are gone count, and are not listed.
func auditGroups(a *ingest.Audit) []*auditGroup {
	type key struct {
		kind   ingest.AuditKind
		rule   string
		effect trust.Effect
	}
	index := map[key]*auditGroup{}
	var out []*auditGroup
	for i := range a.Findings {
		f := &a.Findings[i]
		k := key{f.Kind, f.Rule, f.Effect}
		if f.Kind != ingest.KindPolicy && f.Kind != ingest.KindSource {
			k.rule = ""
		}
		if f.Kind == ingest.KindUndecided {
			k.rule = f.Release.Package.Type // each registry is a trouble of its own
		}
		g := index[k]
		remedy := generic(f)
		if g == nil {
			g = &auditGroup{Title: auditTitles[f.Kind], Kind: f.Kind, Rule: f.Rule, Effect: f.Effect, Message: f.Message, Remedy: remedy}
			switch {
			case g.Title == "":
				g.Title = "Rule " + f.Rule + " does not hold"
			case f.Kind == ingest.KindUndecided && !f.Release.IsZero():
				g.Title += ": " + f.Release.Package.Type
			}
			index[k] = g
			out = append(out, g)
		}
		switch f.State {
		case ingest.AuditGone:
			g.Gone++
			continue
		case ingest.AuditNew:
			g.New++
		default:
			g.Standing++
		}
		if len(g.Findings) == 0 {
			g.Message, g.Remedy = f.Message, remedy
		}
		if g.Message != f.Message {
			g.Message = ""
		}
		if g.Remedy != remedy {
			g.Remedy = ""
		}
		g.Sources = max(g.Sources, f.InSources)
		g.Findings = append(g.Findings, f)
	}
	weight := map[trust.Effect]int{trust.EffectBlock: 0, trust.EffectHold: 1, trust.EffectUndecided: 2, trust.EffectWarn: 3}
	slices.SortStableFunc(out, func(x, y *auditGroup) int {
		empty := func(g *auditGroup) int {
			if len(g.Findings) == 0 {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(empty(x), empty(y)), cmp.Compare(weight[x.Effect], weight[y.Effect]), cmp.Compare(y.New, x.New), cmp.Compare(len(y.Findings), len(x.Findings)), cmp.Compare(x.Title, y.Title))
	})
	return out
}

// generic is the remedy with PURL in place of the release, so that one next step
// is said once.
func generic(f *ingest.AuditFinding) string {
	if f.Release.IsZero() {
		return f.Remedy
	}
	return strings.ReplaceAll(f.Remedy, f.Release.PURL(), "PURL")
}
