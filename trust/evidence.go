package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Artifact is a file that upstream serves for a release. Name is the file name
// where a release has several ("foo-1.0-py3-none-any.whl", "go.mod"), and empty
// where it has one.
type Artifact struct {
	Name    string  `json:"name,omitempty"`
	URL     string  `json:"url,omitempty"` // as stated; never used to select trust
	Digests Digests `json:"digests,omitempty"`
}

// Check names a kind of check. Adapters define no others without adding them here.
type Check string

// Checks that adapters make. The comment says what Verified means.
const (
	CheckLockfile     Check = "lockfile-digest"      // the lock file's digest equals the registry's or the signed one
	CheckBytes        Check = "artifact-bytes"       // fetched bytes hash to the stated digest
	CheckSource       Check = "artifact-source"      // the URL belongs to a configured registry
	CheckChecksumDB   Check = "checksum-database"    // a transparency log of checksums contains this digest
	CheckRegistrySig  Check = "registry-signature"   // the registry's key signed name, version and digest
	CheckPublish      Check = "publish-attestation"  // signed attestation that the registry accepted this publication
	CheckProvenance   Check = "provenance"           // signed SLSA provenance with matching certificate
	CheckPublisherSig Check = "publisher-signature"  // the publisher's own key or identity signed the artifact
	CheckIndex        Check = "index-digest"         // unsigned index and lock file agree; integrity only
	CheckRelease      Check = "release-attestation"  // the forge attests tag, commit and assets of a release
	CheckCommit       Check = "commit-reachable"     // the commit belongs to the named repository
	CheckRebuild      Check = "rebuild"              // independent rebuild has the same bytes
	CheckMetadata     Check = "registry-metadata"    // the registry's record of the release could be read
	CheckVendored     Check = "vendored-tree"        // vendored files hash to the authenticated digest
	CheckCountersig   Check = "repository-signature" // the repository's signature inside the package
	CheckInspect      Check = "artifact-inspection"  // the archive could be read in full by its own rules
	CheckSourceTree   Check = "source-tree"          // the package's files were compared with those of its source commit
	CheckBinary       Check = "binary-signature"     // somebody pinned vouches for who signed a binary inside the package
)

// Evidence is the outcome of one check that headgate did itself, about one
// artifact of one release.
type Evidence struct {
	Check    Check    `json:"check"`
	Outcome  Outcome  `json:"outcome"`
	Release  Release  `json:"release"`
	Artifact Artifact `json:"artifact,omitzero"`
	// Signer is set on verified evidence that has one, and on failed evidence only
	// where the signature was valid but for something or somebody else.
	Signer *Signer `json:"signer,omitempty"`
	// Assurance is what this evidence alone amounts to; none unless verified.
	Assurance Assurance `json:"assurance"`
	// Reason is a stable code of why the outcome is not verified, such as
	// "wrong-digest"; see the Reason constants.
	Reason Reason `json:"reason,omitempty"`
	// Detail says in one sentence what was compared with what, escaped by reports.
	Detail string `json:"detail,omitempty"`
	// Remedy is the next step for a person, where the adapter knows one.
	Remedy string `json:"remedy,omitempty"`

	// Source is the URL that the judged bytes came from, without credentials.
	Source string `json:"source,omitempty"`
	// PredicateType, Builder and BuildType describe a verified attestation.
	PredicateType string `json:"predicateType,omitempty"`
	Builder       string `json:"builder,omitempty"`
	BuildType     string `json:"buildType,omitempty"`
	// SignedAt is a time that a log or timestamp authority signed; zero if none did.
	SignedAt time.Time `json:"signedAt,omitzero"`
	// Logs are the transparency log entries that were verified.
	Logs []LogEntry `json:"logs,omitempty"`
	// Root is the digest of the trusted root or key set that the check relied on.
	Root Digest `json:"root,omitzero"`
	// Raw are the exact bytes that were judged.
	Raw []Raw `json:"raw,omitempty"`
}

// LogEntry is a verified entry of a transparency log.
type LogEntry struct {
	Log   string    `json:"log"` // log id or name
	Index int64     `json:"index"`
	Time  time.Time `json:"time,omitzero"` // integrated time, if signed
}

// Raw is a document that a check judged. Its digest is that of Bytes.
type Raw struct {
	Name      string `json:"name"` // what it is: "bundle", "sumdb-note", "registry-keys"
	MediaType string `json:"mediaType,omitempty"`
	Digest    Digest `json:"digest"`
	Bytes     []byte `json:"-"`
}

// Names of documents that a check relied on, beside those that it judged: with
// them the check can be made again where nothing else is at hand.
const (
	RawTrustedRoot = "trusted-root"  // Sigstore's, as JSON
	RawKeys        = "registry-keys" // a registry's keys, as its TUF target lists them
	RawOpenPGPKeys = "openpgp-keys"  // certificates
	RawLogKey      = "log-key"       // verifier key of a signed note
	RawLogProof    = "log-proof"     // that a signed tree holds a record
)

// RawOf returns the document of that name; false if the evidence has none.
func (e Evidence) RawOf(name string) (Raw, bool) {
	for _, r := range e.Raw {
		if r.Name == name {
			return r, true
		}
	}
	return Raw{}, false
}

// NewRaw keeps b as judged bytes.
func NewRaw(name, mediaType string, b []byte) Raw {
	sum := sha256.Sum256(b)
	return Raw{Name: name, MediaType: mediaType, Digest: DigestOf(SHA256, sum[:]), Bytes: b}
}

// Reason is a stable code for why evidence is not verified.
type Reason string

// Reasons, by the outcome they belong to.
const (
	// failed
	ReasonWrongDigest      Reason = "wrong-digest"       // bytes, lock file, registry and signed subject do not all agree
	ReasonWrongName        Reason = "wrong-name"         // signed for another package
	ReasonWrongVersion     Reason = "wrong-version"      // signed for another version
	ReasonBadSignature     Reason = "bad-signature"      // the signature does not verify
	ReasonWrongSubject     Reason = "wrong-subject"      // subject list is not exactly this artifact
	ReasonWrongPredicate   Reason = "wrong-predicate"    // attestation of another type, or one that contradicts its certificate
	ReasonUntrustedSigner  Reason = "untrusted-signer"   // signature sound, but by nobody the root or key set knows
	ReasonUntrustedRef     Reason = "untrusted-ref"      // built from a pull request or other untrusted ref or runner
	ReasonForeignSource    Reason = "foreign-source"     // URL outside the configured registries
	ReasonWeakDigest       Reason = "weak-digest"        // only MD5 or SHA-1 stated
	ReasonLogMisbehaviour  Reason = "log-misbehaviour"   // fork or rollback of a transparency log, with proof
	ReasonChangedUpstream  Reason = "changed-upstream"   // published bytes differ from those seen before
	ReasonDuplicate        Reason = "duplicate"          // two attestations of one type where one belongs
	ReasonKeyOutsideWindow Reason = "key-outside-window" // key not valid at the signed time
	ReasonHiddenData       Reason = "hidden-data"        // data that the signature does not cover
	// absent
	ReasonNotOffered   Reason = "not-offered"    // the ecosystem or registry offers none
	ReasonNotPublished Reason = "not-published"  // this release has none though others may
	ReasonNoLockDigest Reason = "no-lock-digest" // the source states no usable digest
	ReasonLocal        Reason = "local"          // path, workspace or other local dependency: nothing upstream to check
	ReasonPrivate      Reason = "private"        // excluded by the user's own configuration (GOPRIVATE, internal namespaces)
	ReasonNotCovered   Reason = "not-covered"    // signed index does not list this version (any more)
	ReasonNoAdapter    Reason = "no-adapter"     // headgate has no adapter for this ecosystem
	// unreachable
	ReasonNetwork     Reason = "network"      // transport error, time-out, 5xx
	ReasonRateLimited Reason = "rate-limited" // 429 or 403 with a rate limit
	ReasonMalformed   Reason = "malformed"    // upstream data cannot be read
	ReasonUnsupported Reason = "unsupported"  // algorithm, format or version that headgate does not know
	ReasonUnknownKey  Reason = "unknown-key"  // signed by a key that is not at hand; refresh keys
	ReasonStripped    Reason = "stripped"     // a mirror removed what the registry is known to offer
	ReasonExpiredRoot Reason = "expired-root" // trusted root missing or too old
	ReasonTooLarge    Reason = "too-large"    // beyond a named bound
	ReasonOffline     Reason = "offline"      // network not allowed in this run
	ReasonInternal    Reason = "internal"     // a verifier panicked
	ReasonNotFound    Reason = "not-found"    // upstream does not know the release
)

// Validate refuses evidence whose parts contradict each other. Everything that
// judges evidence calls it first.
func (e Evidence) Validate() error {
	switch {
	case e.Check == "":
		return fmt.Errorf("evidence without a check")
	case !e.Outcome.Valid():
		return fmt.Errorf("%s evidence with outcome %q", e.Check, e.Outcome)
	case e.Release.IsZero():
		return fmt.Errorf("%s evidence about no release", e.Check)
	case e.Outcome != Verified && e.Assurance != AssuranceNone:
		return fmt.Errorf("%s evidence is %s but claims assurance %s", e.Check, e.Outcome, e.Assurance)
	case e.Outcome != Verified && e.Reason == "":
		return fmt.Errorf("%s evidence is %s without a reason", e.Check, e.Outcome)
	case e.Assurance > AssuranceNone && e.Signer == nil:
		return fmt.Errorf("%s evidence claims assurance %s without a signer", e.Check, e.Assurance)
	case e.Assurance > AssuranceNone && e.Artifact.Digests.Strongest().IsZero():
		return fmt.Errorf("%s evidence claims assurance %s about no digest", e.Check, e.Assurance)
	}
	if e.Signer != nil && e.Outcome == Verified {
		return e.Signer.Validate()
	}
	return nil
}

// ID is the content address of the evidence, "e-" and 16 hex digits: equal
// evidence has equal ids, whatever the run that found it.
func (e Evidence) ID() string {
	b, err := json.Marshal(e)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return "e-" + hex.EncodeToString(sum[:8])
}

// Conclusion is what the evidence comes to, "c-" and 32 hex digits: which check of
// which release and bytes had which outcome, and who signed. It leaves out how
// that was learnt (the tree head of a log at that hour, the trusted root, words),
// which differs between two machines that find the same. Approvals rest on it.
func (e Evidence) Conclusion() string {
	var c struct {
		Check     Check
		Outcome   Outcome
		Reason    Reason
		Release   Release
		Name      string
		Digests   Digests
		Signer    string
		Assurance Assurance
		Predicate string
		Builder   string
	}
	c.Check, c.Outcome, c.Reason, c.Release, c.Assurance = e.Check, e.Outcome, e.Reason, e.Release, e.Assurance
	c.Name, c.Digests, c.Predicate, c.Builder = e.Artifact.Name, e.Artifact.Digests, e.PredicateType, e.Builder
	if e.Signer != nil {
		c.Signer = e.Signer.WorkflowIdentity()
	}
	b, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return "c-" + hex.EncodeToString(sum[:16])
}

// Conclusions are those of all evidence, sorted, each once.
func Conclusions(es []Evidence) []string {
	out := []string{}
	for _, e := range es {
		out = append(out, e.Conclusion())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Facts are what upstream says about a release without signing it: hints for
// the policy, never proofs.
type Facts struct {
	Published    time.Time `json:"published,omitzero"` // by the registry's clock
	Yanked       *string   `json:"yanked,omitempty"`   // reason, may be empty
	Retracted    *string   `json:"retracted,omitempty"`
	Deprecated   *string   `json:"deprecated,omitempty"`
	Unpublished  bool      `json:"unpublished,omitempty"` // known once, gone now
	Repository   string    `json:"repository,omitempty"`  // claimed source repository, https URL without ".git"
	Owners       []string  `json:"owners,omitempty"`      // registry accounts
	PublishedBy  string    `json:"publishedBy,omitempty"` // account that published this release
	Licenses     []string  `json:"licenses,omitempty"`    // SPDX expressions or the registry's text
	InstallCode  []string  `json:"installCode,omitempty"` // install-time code by the registry's record, "preinstall: node x.js"
	LatestKnown  string    `json:"latestKnown,omitempty"`
	VCSRef       string    `json:"vcsRef,omitempty"` // tag or branch
	VCSCommit    string    `json:"vcsCommit,omitempty"`
	VCSTags      []string  `json:"vcsTags,omitempty"`     // tags that lead to VCSCommit, the most exact version first
	FirstRelease time.Time `json:"firstRelease,omitzero"` // publication of the package's first release
	PrevRelease  time.Time `json:"prevRelease,omitzero"`  // publication of the release before this one
	Releases     int       `json:"releases,omitempty"`    // how many releases the registry lists
	Notes        []string  `json:"notes,omitempty"`       // further sentences worth showing
}

// History is the evidence of an earlier release of the same package, as far as
// upstream shows it without fetching the release itself.
type History struct {
	Version    string    `json:"version"`
	Published  time.Time `json:"published,omitzero"`
	Assurance  Assurance `json:"assurance"`         // of the verified evidence; none if nothing was verified
	Signers    []Signer  `json:"signers,omitempty"` // of the verified evidence
	Claimed    Assurance `json:"claimed"`           // what upstream's unsigned record says this release offers
	Repository string    `json:"repository,omitempty"`
}
