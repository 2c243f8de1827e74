package continuity

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/trust"
)

// LongSilence is the time between two releases after which a change of signer
// is called out as one after a long silence.
const LongSilence = 365 * 24 * time.Hour

// Current is the release that is judged.
type Current struct {
	Release   trust.Release
	Published time.Time
	// Assurance and Signers are those of verified evidence.
	Assurance trust.Assurance
	Signers   []trust.Signer
	// Unreachable: a signature, attestation or log could not be had, so that what is
	// missing may exist.
	Unreachable bool
}

// signing are the checks whose evidence can name a signer.
var signing = []trust.Check{
	trust.CheckChecksumDB, trust.CheckRegistrySig, trust.CheckPublish, trust.CheckProvenance, trust.CheckPublisherSig,
	trust.CheckRelease, trust.CheckCountersig, trust.CheckRebuild,
}

// FromEvidence makes Current of the evidence of a release. Evidence that does
// not pass Validate, or is about another release, counts as unreachable.
func FromEvidence(r trust.Release, published time.Time, evidence []trust.Evidence) Current {
	c := Current{Release: r, Published: published}
	seen := map[string]bool{}
	for _, e := range evidence {
		if !slices.Contains(signing, e.Check) {
			continue
		}
		if e.Validate() != nil || e.Release.Package != r.Package || e.Release.Version != r.Version {
			c.Unreachable = true
			continue
		}
		switch e.Outcome {
		case trust.Unreachable:
			c.Unreachable = true
		case trust.Verified:
			c.Assurance = max(c.Assurance, e.Assurance)
			if e.Signer != nil && e.Assurance > trust.AssuranceNone {
				if id := e.Signer.WorkflowIdentity() + " " + e.Signer.KeyDigest + e.Signer.SubkeyFingerprint; !seen[id] {
					seen[id] = true
					c.Signers = append(c.Signers, *e.Signer)
				}
			}
		}
	}
	return c
}

// Known is a signer that is accepted for the package, or was verified on an
// earlier release of it.
type Known struct {
	Signer    trust.Signer
	Assurance trust.Assurance
	// Version is the release that it was verified on; empty for a signer that is
	// accepted for the package as a whole.
	Version string
	At      time.Time
}

// Result is what the comparison says.
type Result struct {
	Class trust.Continuity
	// Was and Is are the two identities in words.
	Was, Is string
	// Note says in one sentence what the class rests on.
	Note string
}

// Compare compares a release with the known signers of its package and with
// earlier releases.
//
// Loss (of provenance, of any signature) is judged within the release line, so
// that a back-port on a line that never had provenance is no alarm. A line that
// has no earlier release is compared with the nearest lower one, so that a new
// major version is no way around. A signer counts as known on every line.
//
// GitHub gives a transferred repository another owner id: control of it
// changed, so that is repository-moved. A renamed repository or organisation
// keeps both ids and is the same.
func Compare(cur Current, known []Known, history []trust.History) Result {
	c := comparison{cur: cur}
	c.collect(known, history)
	res := c.class()
	res.Was, res.Is = c.identities()
	if cur.Unreachable && !conclusive(res.Class, cur) {
		return Result{Class: trust.ContinuityUnknown, Was: res.Was, Is: res.Is,
			Note: "evidence of this release could not be had, so nothing can be said about its signer"}
	}
	return res
}

// conclusive reports whether missing evidence cannot change the class: a known
// publisher signed, whatever else may exist.
func conclusive(class trust.Continuity, cur Current) bool {
	switch class {
	case trust.ContinuitySame, trust.ContinuityStronger, trust.ContinuityKeyRotated, trust.ContinuityWorkflowChanged:
		return slices.ContainsFunc(cur.Signers, publisher)
	}
	return false
}

// publisher reports whether a signer speaks for the publisher; registries,
// distributions and logs do not.
func publisher(s trust.Signer) bool {
	return s.Kind != trust.SignerRegistry && s.Kind != trust.SignerLog
}

// earlier is one thing known of the past.
type earlier struct {
	version   string
	at        time.Time
	assurance trust.Assurance
	claimed   trust.Assurance
	signers   []trust.Signer
	// repository is the one that the registry's unsigned record named.
	repository string
}

type comparison struct {
	cur      Current
	past     []earlier
	line     []earlier // of the release line, or of the nearest lower one
	lineNote string
	all      []trust.Signer // signers known on any line
	last     time.Time      // publication of the latest earlier release
	any      bool
}

func (c *comparison) collect(known []Known, history []trust.History) {
	typ := c.cur.Release.Package.Type
	var past []earlier
	for _, k := range known {
		if k.Signer.Validate() != nil {
			continue
		}
		past = append(past, earlier{version: k.Version, at: k.At, assurance: k.Assurance, signers: []trust.Signer{k.Signer}})
	}
	for _, h := range history {
		if h.Version == c.cur.Release.Version {
			continue
		}
		// What came later says nothing about what was before.
		if !h.Published.IsZero() && !c.cur.Published.IsZero() && h.Published.After(c.cur.Published) {
			continue
		}
		e := earlier{version: h.Version, at: h.Published, assurance: h.Assurance, claimed: h.Claimed, repository: h.Repository}
		for _, s := range h.Signers {
			if s.Validate() == nil {
				e.signers = append(e.signers, s)
			}
		}
		past = append(past, e)
	}
	c.past = past
	here := LineOf(typ, c.cur.Release.Version)
	var nearest Line
	sameLine, lower := false, false
	for _, e := range past {
		c.all = append(c.all, e.signers...)
		c.any = true
		if e.at.After(c.last) && (c.cur.Published.IsZero() || !e.at.After(c.cur.Published)) {
			c.last = e.at
		}
		if e.version == "" {
			continue
		}
		l := LineOf(typ, e.version)
		switch {
		case !l.Known || !here.Known:
		case l.compare(here) == 0:
			sameLine = true
		case l.compare(here) < 0 && (!lower || l.compare(nearest) > 0):
			nearest, lower = l, true
		}
	}
	for _, e := range past {
		l := LineOf(typ, e.version)
		switch {
		case e.version == "":
			// An acceptance for the package as a whole says nothing about what this
			// line had, unless nothing else is known.
			if !sameLine && !lower {
				c.line = append(c.line, e)
			}
		case !l.Known || !here.Known, sameLine && l.compare(here) == 0,
			!sameLine && lower && l.compare(nearest) == 0, !sameLine && !lower:
			c.line = append(c.line, e)
		}
	}
	c.lineNote = "on this release line"
	if !sameLine {
		c.lineNote = "on the release line before"
	}
}

// had returns the best assurance of the line, verified or claimed.
func (c *comparison) had() (verified, claimed trust.Assurance) {
	for _, e := range c.line {
		verified, claimed = max(verified, e.assurance), max(claimed, e.claimed)
		for _, s := range e.signers {
			switch {
			case s.IsWorkflow() && e.version != "" && e.assurance >= trust.AssuranceProvenance:
				verified = max(verified, trust.AssuranceProvenance)
			case publisher(s):
				verified = max(verified, trust.AssurancePublisher)
			default:
				verified = max(verified, trust.AssuranceRegistry)
			}
		}
	}
	return verified, claimed
}

func (c *comparison) class() Result {
	if !c.any {
		return Result{Class: trust.ContinuityFirst, Note: "no earlier release and no accepted signer of the package is known"}
	}
	verified, claimed := c.had()
	before := max(verified, claimed)
	rests := "verified " + c.lineNote
	if claimed > verified {
		rests = "claimed by the registry's unsigned record " + c.lineNote
	}
	publishers := slices.DeleteFunc(slices.Clone(c.cur.Signers), func(s trust.Signer) bool { return !publisher(s) })
	if len(publishers) == 0 {
		return c.withoutPublisher(before, rests)
	}
	known := slices.DeleteFunc(slices.Clone(c.all), func(s trust.Signer) bool { return !publisher(s) })
	if len(known) == 0 {
		// Whoever can publish can name a repository of their own, and build there.
		// What earlier records named proves nothing, and is reason enough to ask.
		if named := c.elsewhere(publishers); named != "" {
			return Result{Class: trust.ContinuityRepositoryMoved, Note: "no earlier provenance was verified, and the registry's record of earlier releases names " + named}
		}
		if before >= trust.AssurancePublisher {
			return Result{Class: trust.ContinuityFirst, Note: "earlier releases are claimed to be signed by their publisher, but by whom was not verified"}
		}
		return Result{Class: trust.ContinuityStronger, Note: "no publisher signed earlier releases, one signs this release"}
	}
	best := relation{rank: rankNone}
	for _, s := range publishers {
		for _, k := range known {
			if r := relate(k, s); r.rank > best.rank {
				best = r
			}
		}
	}
	lost := before >= trust.AssuranceProvenance && c.cur.Assurance < trust.AssuranceProvenance
	if best.rank >= rankWorkflow && lost {
		return Result{Class: trust.ContinuityProvenanceLost, Note: "a known signer signed, but the provenance that was " + rests + " is missing"}
	}
	if best.rank < rankWorkflow {
		if lost && best.note == "" {
			best.note = "provenance was " + rests + ", now another identity signs without it"
		}
		if gap := c.silence(); gap > LongSilence {
			best.note = strings.TrimPrefix(best.note+fmt.Sprintf("; first release after %d days of silence", gap/(24*time.Hour)), "; ")
		}
		if best.note == "" {
			best.note = "the signer is none of those that are accepted or signed earlier releases"
		}
		class := best.class
		if class == "" {
			class = trust.ContinuityPublisherChanged
		}
		return Result{Class: class, Note: best.note}
	}
	res := Result{Class: best.class, Note: best.note}
	if res.Class == trust.ContinuitySame {
		if c.cur.Assurance > before {
			res.Class = trust.ContinuityStronger
			res.Note = strings.TrimPrefix(res.Note+"; the known signer signs, with more assurance than before", "; ")
		} else if len(publishers) > 1 {
			res.Note = strings.TrimPrefix(res.Note+"; the known signer signs, another one besides", "; ")
		}
	}
	if res.Note == "" {
		res.Note = "the same signer as " + c.lineNote[len("on "):]
	}
	return res
}

// elsewhere returns the repository that the records of earlier releases named,
// if none of them named one that a present signer builds from.
func (c *comparison) elsewhere(publishers []trust.Signer) string {
	named, at := "", time.Time{}
	for _, e := range c.past {
		if e.repository == "" {
			continue
		}
		for _, s := range publishers {
			if !s.IsWorkflow() || strings.EqualFold(s.SourceRepository, e.repository) {
				return ""
			}
		}
		if named == "" || e.at.After(at) {
			named, at = e.repository, e.at
		}
	}
	return named
}

// withoutPublisher is the class of a release that at most a registry,
// distribution or log signed.
func (c *comparison) withoutPublisher(before trust.Assurance, rests string) Result {
	registries := c.cur.Signers
	switch {
	case before >= trust.AssuranceProvenance:
		return Result{Class: trust.ContinuityProvenanceLost, Note: "provenance was " + rests + " and is missing now"}
	case before >= trust.AssurancePublisher:
		return Result{Class: trust.ContinuityUnsignedNow, Note: "a publisher's signature was " + rests + " and is missing now"}
	case len(registries) == 0 && before >= trust.AssuranceRegistry:
		return Result{Class: trust.ContinuityUnsignedNow, Note: "a registry's signature was " + rests + " and is missing now"}
	case len(registries) == 0:
		return Result{Class: trust.ContinuitySame, Note: "neither this release nor earlier ones are signed"}
	}
	sameName, sameKey, named := false, false, false
	for _, k := range c.all {
		if publisher(k) {
			continue
		}
		named = true
		for _, s := range registries {
			if s.Identity() == k.Identity() {
				sameName = true
				sameKey = sameKey || s.KeyDigest == k.KeyDigest
			}
		}
	}
	switch {
	case !named && before >= trust.AssuranceRegistry:
		return Result{Class: trust.ContinuitySame, Note: "a registry signs, as it is said to have done before; this says nothing about the publisher"}
	case !named:
		return Result{Class: trust.ContinuityStronger, Note: "a registry signs what nobody signed before"}
	case !sameName:
		return Result{Class: trust.ContinuityPublisherChanged, Note: "another registry signs than before"}
	case !sameKey:
		return Result{Class: trust.ContinuitySame, Note: "the same registry signs, with another of its keys; this says nothing about the publisher"}
	}
	return Result{Class: trust.ContinuitySame, Note: "the same registry signs; this says nothing about the publisher"}
}

// silence is the time since the latest earlier release.
func (c *comparison) silence() time.Duration {
	if c.last.IsZero() || c.cur.Published.IsZero() {
		return 0
	}
	return c.cur.Published.Sub(c.last)
}

// Ranks of relations between a known signer and the present one, worst first.
const (
	rankNone     = iota
	rankOther    // somebody else
	rankMoved    // another repository
	rankReplaced // the same name, another owner
	rankWorkflow // another workflow of the same repository
	rankRotated  // another key of the same identity
	rankSame
)

type relation struct {
	rank  int
	class trust.Continuity
	note  string
}

func relate(was, is trust.Signer) relation {
	if was.Kind != is.Kind {
		return relation{rankOther, trust.ContinuityPublisherChanged, ""}
	}
	if !was.IsWorkflow() || !is.IsWorkflow() {
		if was.Identity() != is.Identity() {
			return relation{rankOther, trust.ContinuityPublisherChanged, ""}
		}
		if was.Kind == trust.SignerOpenPGP && was.SubkeyFingerprint != is.SubkeyFingerprint && was.SubkeyFingerprint != "" {
			return relation{rankRotated, trust.ContinuityKeyRotated, "another subkey of the same OpenPGP key"}
		}
		return relation{rankSame, trust.ContinuitySame, ""}
	}
	if was.Issuer != is.Issuer {
		return relation{rankOther, trust.ContinuityRepositoryMoved, "another identity provider vouches for the build"}
	}
	sameName := was.SourceRepository == is.SourceRepository
	switch {
	case was.Identity() == is.Identity():
		r := workflow(was, is)
		if !sameName && r.rank == rankSame {
			r.note = "the repository was renamed; its immutable ids are the same"
		}
		return r
	case sameName && (was.SourceRepositoryID == "" || is.SourceRepositoryID == "" && is.Legacy):
		r := workflow(was, is)
		if r.rank == rankSame {
			r.note = "the repository has the same name; its immutable ids are newly bound"
		}
		return r
	case sameName && was.SourceOwnerID != is.SourceOwnerID:
		return relation{rankReplaced, trust.ContinuityPublisherChanged, "the repository has the same name but another owner id: the name changed hands"}
	case sameName:
		return relation{rankReplaced, trust.ContinuityRepositoryMoved, "the repository has the same name but another id: it was replaced"}
	case was.SourceRepositoryID != "" && was.SourceRepositoryID == is.SourceRepositoryID:
		return relation{rankMoved, trust.ContinuityRepositoryMoved, "the repository was transferred to another owner"}
	}
	return relation{rankMoved, trust.ContinuityRepositoryMoved, "built from another source repository"}
}

// workflow compares the build workflows of one repository. Certificates
// without that field say nothing about it.
func workflow(was, is trust.Signer) relation {
	if was.Workflow != "" && is.Workflow != "" && was.Workflow != is.Workflow {
		return relation{rankWorkflow, trust.ContinuityWorkflowChanged, "another build workflow of the same repository"}
	}
	return relation{rankSame, trust.ContinuitySame, ""}
}

// was names who signed before: publishers if there are any.
// identities are the two sides in words. Where both would read alike and are not,
// as behind a name that changed hands, what tells them apart is named too.
func (c *comparison) identities() (was, is string) {
	before, now := c.before(), speakers(c.cur.Signers)
	alike := func(others []trust.Signer) func(trust.Signer) string {
		return func(s trust.Signer) string {
			for _, o := range others {
				if o.String() == s.String() && exact(o) != exact(s) && !slices.ContainsFunc(others, func(x trust.Signer) bool { return exact(x) == exact(s) }) {
					return exact(s)
				}
			}
			return s.String()
		}
	}
	return words(before, alike(now)), words(now, alike(before))
}

// before are the signers of the line, or of any line if it had none.
func (c *comparison) before() []trust.Signer {
	var line []trust.Signer
	for _, e := range c.line {
		line = append(line, e.signers...)
	}
	if !slices.ContainsFunc(line, publisher) {
		line = append(line, slices.DeleteFunc(slices.Clone(c.all), func(s trust.Signer) bool { return !publisher(s) })...)
	}
	return speakers(line)
}

// speakers are the signers that speak for the publisher, or all if none does.
func speakers(ss []trust.Signer) []trust.Signer {
	if !slices.ContainsFunc(ss, publisher) {
		return ss
	}
	return slices.DeleteFunc(slices.Clone(ss), func(s trust.Signer) bool { return !publisher(s) })
}

// exact is a signer in words that no other shares.
func exact(s trust.Signer) string {
	switch {
	case s.SourceRepositoryID != "":
		return fmt.Sprintf("%s (repository id %s, owner id %s)", s, s.SourceRepositoryID, s.SourceOwnerID)
	case s.SubkeyFingerprint != "":
		return fmt.Sprintf("%s (subkey %s)", s, s.SubkeyFingerprint)
	case s.Root != "":
		return fmt.Sprintf("%s (issued by %s, root %s)", s, s.CertIssuer, s.Root)
	case s.KeyDigest != "":
		return fmt.Sprintf("%s (key %s)", s, s.KeyDigest)
	}
	return s.String()
}

// maxWords bounds how many signers are named.
const maxWords = 3

func words(ss []trust.Signer, word func(trust.Signer) string) string {
	var out []string
	for _, s := range ss {
		if w := word(s); !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	switch {
	case len(out) == 0:
		return "nobody"
	case len(out) > maxWords:
		return strings.Join(out[:maxWords], ", ") + fmt.Sprintf(" and %d more", len(out)-maxWords)
	}
	return strings.Join(out, ", ")
}
