package policies

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/trust"
	"go.yaml.in/yaml/v4"
)

// ConfigVersion is the version of headgate.yaml that this headgate reads.
const ConfigVersion = 1

// Bounds of the configuration.
const (
	// MaxExceptionDays is how far ahead an exception may end, in days.
	MaxExceptionDays = 90
	// MaxCooldown bounds a cooldown.
	MaxCooldown = 365 * 24 * time.Hour
	// MaxRules bounds the rules of one policy, built-in ones included.
	MaxRules = 200
	// MaxList bounds every list of the configuration.
	MaxList = 2000
	// MaxPattern bounds one pattern, in bytes.
	MaxPattern = 500
)

// Config is headgate.yaml: policy and configuration.
type Config struct {
	// Version is ConfigVersion.
	Version int `yaml:"version"`
	// Policy selects and changes rules.
	Policy PolicyConfig `yaml:"policy,omitempty"`
	// Exceptions set hold findings of single releases aside.
	Exceptions []Exception `yaml:"exceptions,omitempty"`
	// Approvers are the people whose approvals count.
	Approvers []Approver `yaml:"approvers,omitempty"`
	// Quorum is how many different approvers a rule needs, by rule name; 1 where it is not named.
	Quorum map[string]int `yaml:"quorum,omitempty"`
	// MaxApprovalDays bounds how long an approval may run, 1 to 90; 90 if zero.
	MaxApprovalDays int `yaml:"maxApprovalDays,omitempty"`
	// Registries are further registries that packages may come from, by ecosystem
	// (purl type). They count only from the base revision.
	Registries map[string][]Registry `yaml:"registries,omitempty"`
	// KeysMaps are files beside headgate.yaml that say which OpenPGP keys sign which
	// Maven artifacts, in the format of pgpverify-maven-plugin.
	KeysMaps Strings `yaml:"keysMaps,omitempty"`
	// Downloads are plain files with what is expected of them.
	Downloads []Download `yaml:"downloads,omitempty"`
	// Advisories says where vulnerabilities and malware are looked up.
	Advisories AdvisoryConfig `yaml:"advisories,omitempty"`
	// Inspection says whether packages are looked into.
	Inspection InspectionConfig `yaml:"inspection,omitempty"`
	// TrustSets are accepted signers of others, to be pulled.
	TrustSets []TrustSet `yaml:"trustSets,omitempty"`
	// Sigstore are private Sigstore instances.
	Sigstore []SigstoreInstance `yaml:"sigstore,omitempty"`
	// SBOMs says who signs the SBOMs that are audited.
	SBOMs SBOMConfig `yaml:"sboms,omitempty"`
}

// PolicyConfig selects a built-in policy and says what differs from it.
type PolicyConfig struct {
	// Extends is audit, baseline or strict; baseline if empty.
	Extends string `yaml:"extends,omitempty"`
	// Rules are further rules; names of inherited rules are taken.
	Rules []RuleConfig `yaml:"rules,omitempty"`
	// Effects changes what inherited rules do, by name.
	Effects map[string]trust.Effect `yaml:"effects,omitempty"`
	// UnsafeDisable names inherited rules that are switched off.
	UnsafeDisable []string `yaml:"unsafeDisable,omitempty"`
	// Parameters hold for all ecosystems, Ecosystems for one (by purl type).
	Parameters Parameters            `yaml:"parameters,omitempty"`
	Ecosystems map[string]Parameters `yaml:"ecosystems,omitempty"`
	// Licenses are SPDX expressions that are allowed or denied.
	Licenses LicenseConfig `yaml:"licenses,omitempty"`
	// InternalNamespaces are purl patterns of packages that must never come from a
	// public registry ("pkg:npm/@acme/*").
	InternalNamespaces []string `yaml:"internalNamespaces,omitempty"`
	// UnsafeUnchecked are purl patterns of packages whose upstream cannot be
	// checked (private modules) and that pass unverified.
	UnsafeUnchecked []string `yaml:"unsafeUnchecked,omitempty"`
}

// Parameters are the numbers that built-in rules use.
type Parameters struct {
	// Cooldown is how old a release must be ("3d", "12h").
	Cooldown *Duration `yaml:"cooldown,omitempty"`
	// MinimumAssurance replaces what the ecosystem offers as the least assurance.
	MinimumAssurance string `yaml:"minimumAssurance,omitempty"`
	// MinimumSeverity is the least severity of an advisory that stops: low, medium, high, critical.
	MinimumSeverity string `yaml:"minimumSeverity,omitempty"`
}

// LicenseConfig are allowed and denied licences, SPDX identifiers. With an
// allow list, everything else is denied.
type LicenseConfig struct {
	Allow []string `yaml:"allow,omitempty"`
	Deny  []string `yaml:"deny,omitempty"`
}

// RuleConfig is a rule as it is written.
type RuleConfig struct {
	// Name is stable: findings, exceptions and approvals refer to it.
	Name string `yaml:"name"`
	// Description says what the rule is for.
	Description string `yaml:"description"`
	// On is what is judged: component (default) or inventory.
	On string `yaml:"on,omitempty"`
	// Applies is a CEL condition; the rule is not asked where it is false.
	Applies string `yaml:"applies,omitempty"`
	// Require is the CEL condition that must hold.
	Require string `yaml:"require"`
	// Needs are the sources of facts that Require rests on: checks, "evidence" for
	// all of them, "advisories" or "inspection".
	Needs []string `yaml:"needs,omitempty"`
	// Unreachable is what the rule yields when it does not hold and something that
	// it needs is unreachable: undecided (default) or otherwise.
	Unreachable string `yaml:"unreachable,omitempty"`
	// Otherwise is what the rule does when it does not hold: warn, hold, block.
	Otherwise trust.Effect `yaml:"otherwise"`
	// Message and Remedy are text with CEL expressions in ${…}.
	Message string `yaml:"message"`
	Remedy  string `yaml:"remedy,omitempty"`
}

// Exception sets hold findings of one release aside until a day.
type Exception struct {
	// Release is the purl, with its version.
	Release string `yaml:"release"`
	// Digests are those of the release's artifacts ("sha512:…", "h1:…" or SRI).
	Digests Strings `yaml:"digests"`
	// Rules are the names of the rules that are set aside.
	Rules Strings `yaml:"rules"`
	// Reason is why, for people and reports.
	Reason string `yaml:"reason"`
	// Until is the last day, "2006-01-02" in UTC, at most MaxExceptionDays ahead.
	Until Day `yaml:"until"`
}

// Approver is a person whose approvals count. Exactly one identity is given.
type Approver struct {
	Name string `yaml:"name"`
	// Aliases are other names under which the person may ask for something: account
	// names of a forge, addresses.
	Aliases Strings `yaml:"aliases,omitempty"`
	// SSH is a public key as in authorized_keys; PublicKey a key in PEM or as minisign
	// shows it; X509 a subject under a root; Sigstore a keyless identity.
	SSH       string            `yaml:"ssh,omitempty"`
	PublicKey string            `yaml:"publicKey,omitempty"`
	X509      *X509Identity     `yaml:"x509,omitempty"`
	Sigstore  *SigstoreIdentity `yaml:"sigstore,omitempty"`
	// Scope are purl patterns of what the person may approve.
	Scope Strings `yaml:"scope"`
	// Rules are the rules that the person may approve; all that can be approved if empty.
	Rules []string `yaml:"rules,omitempty"`
	// UnsafeAnyPackage allows the scope "*".
	UnsafeAnyPackage bool `yaml:"unsafeAnyPackage,omitempty"`
}

// SigstoreIdentity is a keyless identity. The issuer is always exact, and one of
// Identity and IdentityPattern is given. The pattern is anchored by headgate.
type SigstoreIdentity struct {
	Issuer          string `yaml:"issuer"`
	Identity        string `yaml:"identity,omitempty"`
	IdentityPattern string `yaml:"identityPattern,omitempty"`
}

// X509Identity is a subject and issuer under a root, given in PEM.
type X509Identity struct {
	Subject string `yaml:"subject"`
	Issuer  string `yaml:"issuer"`
	Root    string `yaml:"root"`
}

// Registry is a further registry.
type Registry struct {
	// URL is its base.
	URL string `yaml:"url"`
	// Scope are purl patterns of the packages that may come from it; all if empty.
	Scope []string `yaml:"scope,omitempty"`
	// UnsafeInsecure allows plain http.
	UnsafeInsecure bool `yaml:"unsafeInsecure,omitempty"`
	// UnsafeUnsigned accepts that the registry drops the signatures of the packages that it mirrors.
	UnsafeUnsigned bool `yaml:"unsafeUnsigned,omitempty"`
}

// Download is a plain file that a project uses, with what is expected of it: a
// digest, a signer, or several; all of it has to hold.
type Download struct {
	// URL is exact.
	URL string `yaml:"url"`
	// Name and Version are those of the package; the file's name and none if empty.
	Name    string `yaml:"name,omitempty"`
	Version string `yaml:"version,omitempty"`
	// Digest is the file's.
	Digest string `yaml:"digest,omitempty"`
	// Hosts are further hosts that redirects may lead to.
	Hosts []string `yaml:"hosts,omitempty"`
	// Sigstore, Minisign, Signify, SSH and OpenPGP are expected signers: an
	// identity, public keys, and a certificate or its fingerprint. Signature is the
	// URL of the signature, where it is not beside the file.
	Sigstore  *SigstoreIdentity `yaml:"sigstore,omitempty"`
	Minisign  string            `yaml:"minisign,omitempty"`
	Signify   string            `yaml:"signify,omitempty"`
	SSH       string            `yaml:"ssh,omitempty"`
	OpenPGP   string            `yaml:"openpgp,omitempty"`
	Signature string            `yaml:"signature,omitempty"`
	// Checksums is the URL of a list that names the file; it is then the list that is signed.
	Checksums string `yaml:"checksums,omitempty"`
	// Authenticode is who signed inside a PE file.
	Authenticode *PEPublisher `yaml:"authenticode,omitempty"`
}

// PEPublisher is who signs PE files: a subject under a root given in PEM, or
// the SHA-256 of one certificate.
type PEPublisher struct {
	Subject       string `yaml:"subject,omitempty"`
	Root          string `yaml:"root,omitempty"`
	TimestampRoot string `yaml:"timestampRoot,omitempty"`
	Fingerprint   string `yaml:"fingerprint,omitempty"`
}

// AdvisoryConfig says where advisories are looked up.
type AdvisoryConfig struct {
	// Source is off (default), online or offline.
	Source string `yaml:"source,omitempty"`
	// MaxAge is the age above which an offline database counts as missing; 7 days if zero.
	MaxAge *Duration `yaml:"maxAge,omitempty"`
	// VEX are paths of CycloneDX and OpenVEX documents whose statements suppress.
	VEX []string `yaml:"vex,omitempty"`
	// OSVScanner is the path of an osv-scanner.toml whose ignores count.
	OSVScanner string `yaml:"osvScanner,omitempty"`
}

// InspectionConfig says whether packages are looked into.
type InspectionConfig struct {
	// Mode is changes (default), which looks into what a change adds or updates, or off.
	Mode string `yaml:"mode,omitempty"`
}

// InspectionModes are the values of InspectionConfig.Mode.
var InspectionModes = []string{"changes", "off"}

// TrustSet is somebody else's set of accepted signers.
type TrustSet struct {
	Name string `yaml:"name"`
	URL  string `yaml:"url"`
	// Key signed the set: an SSH or minisign public key or a signed-note verifier key.
	Key string `yaml:"key"`
	// Scope are purl patterns that narrow what the set may speak for.
	Scope            Strings `yaml:"scope"`
	UnsafeAnyPackage bool    `yaml:"unsafeAnyPackage,omitempty"`
}

// Strings is a list that may be written as one value: "x" is the list of x alone.
type Strings []string

// UnmarshalYAML reads a list or one value.
func (s *Strings) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*s = Strings{n.Value}
		return nil
	}
	return n.Decode((*[]string)(s))
}

// Day is a day as policies write it, "2006-01-02", quoted or not: YAML takes an
// unquoted one for a time of day, which nobody means.
type Day string

func (Day) yamlScalar() {}

// UnmarshalYAML reads the day as it is written.
func (d *Day) UnmarshalYAML(n *yaml.Node) error {
	*d = Day(n.Value)
	return nil
}

// Duration is a time span as policies write it: whole numbers of d, h, m.
type Duration time.Duration

func (Duration) yamlScalar() {}

// UnmarshalYAML reads "3d", "36h", "1d12h", "0".
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := ParseDuration(n.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	*d = Duration(v)
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// String returns the span in days, hours and minutes.
func (d Duration) String() string {
	t := time.Duration(d)
	if t == 0 {
		return "0"
	}
	var b strings.Builder
	for _, u := range durationUnits {
		if n := t / u.d; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			t -= n * u.d
		}
	}
	return b.String()
}

var durationUnits = []struct {
	name string
	d    time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}}

var durationForm = regexp.MustCompile(`^(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?$`)

// ParseDuration reads "3d", "36h", "1d12h30m" and "0".
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	m := durationForm.FindStringSubmatch(s)
	if m == nil || s == "" {
		return 0, fmt.Errorf("duration %q: write days, hours and minutes such as 3d or 36h", clip(s))
	}
	var d time.Duration
	for i, u := range durationUnits {
		if m[i+1] != "" {
			n, err := strconv.Atoi(m[i+1])
			if err != nil {
				return 0, fmt.Errorf("duration %q: %w", clip(s), err)
			}
			d += time.Duration(n) * u.d
		}
	}
	return d, nil
}

// ParseConfig reads headgate.yaml. It checks everything that can be checked
// without compiling rules; Load does both.
func ParseConfig(data []byte) (*Config, error) {
	var c Config
	if err := decodeStrict(data, &c); err != nil {
		return nil, fmt.Errorf("reading headgate.yaml: %w", err)
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("headgate.yaml: %w", err)
	}
	return &c, nil
}

var ruleName = regexp.MustCompile(`^[a-z][a-z0-9-]{1,62}$`)

func (c *Config) validate() error {
	if c.Version != ConfigVersion {
		return fmt.Errorf("version is %d, want %d", c.Version, ConfigVersion)
	}
	if c.Policy.Extends != "" && !slices.Contains(BuiltinNames, c.Policy.Extends) {
		return fmt.Errorf("policy.extends: no built-in policy %q%s", clip(c.Policy.Extends), suggestion(c.Policy.Extends, BuiltinNames))
	}
	if c.MaxApprovalDays < 0 || c.MaxApprovalDays > MaxExceptionDays {
		return fmt.Errorf("maxApprovalDays is %d, want 1 to %d", c.MaxApprovalDays, MaxExceptionDays)
	}
	if err := c.Policy.validate(); err != nil {
		return err
	}
	if m := c.Inspection.Mode; m != "" && !slices.Contains(InspectionModes, m) {
		return fmt.Errorf("inspection.mode is %q, want one of %s", clip(m), strings.Join(InspectionModes, ", "))
	}
	// A person with several keys is named once for each, and counts once.
	people := map[string]Approver{}
	for _, a := range c.Approvers {
		if err := a.validate(); err != nil {
			return fmt.Errorf("approver %q: %w", clip(a.Name), err)
		}
		b, again := people[a.Name]
		if again && !(slices.Equal(a.Scope, b.Scope) && slices.Equal(a.Rules, b.Rules)) {
			return fmt.Errorf("approver %q is there twice, with another scope or other rules", clip(a.Name))
		}
		people[a.Name] = a
	}
	for rule, n := range c.Quorum {
		if n < 1 {
			return fmt.Errorf("quorum of %q is %d: fewer than one approver approve nothing", clip(rule), n)
		}
		if n > len(people) {
			return fmt.Errorf("quorum of %q is %d, but only %d approvers are named", clip(rule), n, len(people))
		}
	}
	for typ, rs := range c.Registries {
		for _, r := range rs {
			if err := r.validate(); err != nil {
				return fmt.Errorf("registries.%s: %w", clip(typ), err)
			}
		}
	}
	for _, d := range c.Downloads {
		if err := d.validate(); err != nil {
			return fmt.Errorf("download %q: %w", clip(d.URL), err)
		}
	}
	switch c.Advisories.Source {
	case "", "off", "online", "offline":
	default:
		return fmt.Errorf("advisories.source is %q, want off, online or offline", clip(c.Advisories.Source))
	}
	for _, s := range c.TrustSets {
		if s.Name == "" || s.Key == "" || s.URL == "" {
			return fmt.Errorf("trust set %q needs name, url and key", clip(s.Name))
		}
		if err := checkScopes(s.Scope, s.UnsafeAnyPackage); err != nil {
			return fmt.Errorf("trust set %q: %w", clip(s.Name), err)
		}
	}
	for _, e := range c.Exceptions {
		if err := e.validate(); err != nil {
			return fmt.Errorf("exception for %q: %w", clip(e.Release), err)
		}
	}
	if err := validateInstances(c.Sigstore); err != nil {
		return err
	}
	if err := c.SBOMs.validate(); err != nil {
		return err
	}
	for name, n := range map[string]int{"exceptions": len(c.Exceptions), "approvers": len(c.Approvers), "downloads": len(c.Downloads), "trustSets": len(c.TrustSets), "sigstore": len(c.Sigstore)} {
		if n > MaxList {
			return fmt.Errorf("%s has %d entries, more than %d", name, n, MaxList)
		}
	}
	return nil
}

func (p *PolicyConfig) validate() error {
	if err := p.Parameters.validate(); err != nil {
		return fmt.Errorf("policy.parameters: %w", err)
	}
	for typ, ps := range p.Ecosystems {
		if typ != strings.ToLower(typ) || typ == "" || typ == "*" {
			return fmt.Errorf("policy.ecosystems: %q is no purl type", clip(typ))
		}
		if err := ps.validate(); err != nil {
			return fmt.Errorf("policy.ecosystems.%s: %w", typ, err)
		}
	}
	if err := checkPatterns(p.InternalNamespaces); err != nil {
		return fmt.Errorf("policy.internalNamespaces: %w", err)
	}
	if err := checkPatterns(p.UnsafeUnchecked); err != nil {
		return fmt.Errorf("policy.unsafeUnchecked: %w", err)
	}
	for rule, e := range p.Effects {
		if !validEffect(e) {
			return fmt.Errorf("policy.effects.%s is %q, want warn, hold or block", clip(rule), clip(string(e)))
		}
	}
	return p.Licenses.validate()
}

func validEffect(e trust.Effect) bool {
	return e == trust.EffectWarn || e == trust.EffectHold || e == trust.EffectBlock
}

var severities = []string{"none", "low", "medium", "high", "critical"}

func (p Parameters) validate() error {
	if p.Cooldown != nil && (*p.Cooldown < 0 || time.Duration(*p.Cooldown) > MaxCooldown) {
		return fmt.Errorf("cooldown is longer than %d days", MaxCooldown/(24*time.Hour))
	}
	if p.MinimumAssurance != "" {
		var a trust.Assurance
		if err := a.UnmarshalText([]byte(p.MinimumAssurance)); err != nil {
			return fmt.Errorf("minimumAssurance: %w", err)
		}
	}
	if p.MinimumSeverity != "" && !slices.Contains(severities[1:], p.MinimumSeverity) {
		return fmt.Errorf("minimumSeverity is %q, want low, medium, high or critical", clip(p.MinimumSeverity))
	}
	return nil
}

func (a *Approver) validate() error {
	if a.Name == "" {
		return errors.New("name is missing")
	}
	n := 0
	for _, given := range []bool{a.SSH != "", a.PublicKey != "", a.X509 != nil, a.Sigstore != nil} {
		if given {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("exactly one of ssh, publicKey, x509 and sigstore expected, %d given", n)
	}
	if a.Sigstore != nil {
		if err := a.Sigstore.validate(); err != nil {
			return err
		}
	}
	if x := a.X509; x != nil && (x.Subject == "" || x.Issuer == "" || x.Root == "") {
		return errors.New("x509 needs subject, issuer and root")
	}
	if slices.Contains(a.Rules, "*") {
		return errors.New(`rules: "*" is no rule; leave rules out for all`)
	}
	return checkScopes(a.Scope, a.UnsafeAnyPackage)
}

func (s *SigstoreIdentity) validate() error {
	switch {
	case s.Issuer == "":
		return errors.New("keyless identity without issuer: anybody's certificate would do; give the exact issuer URL")
	case strings.ContainsAny(s.Issuer, "*^$|()[]\\ "):
		return errors.New("issuer must be exact, not a pattern")
	case (s.Identity == "") == (s.IdentityPattern == ""):
		return errors.New("keyless identity needs exactly one of identity and identityPattern")
	case strings.Contains(s.Identity, "*"):
		return errors.New("identity is exact; patterns belong into identityPattern")
	}
	if s.IdentityPattern == "" {
		return nil
	}
	_, err := compilePattern(s.IdentityPattern)
	return err
}

// Matches reports whether a verified certificate's issuer and subject
// alternative name are this identity.
func (s *SigstoreIdentity) Matches(issuer, san string) bool {
	if s == nil || s.validate() != nil || issuer != s.Issuer || san == "" {
		return false
	}
	if s.Identity != "" {
		return san == s.Identity
	}
	re, err := compilePattern(s.IdentityPattern)
	return err == nil && re.MatchString(san)
}

// compilePattern anchors a regular expression and refuses one that matches
// whatever it is given.
func compilePattern(p string) (*regexp.Regexp, error) {
	if len(p) > MaxPattern {
		return nil, fmt.Errorf("pattern of %d bytes is longer than %d", len(p), MaxPattern)
	}
	// Compiled alone first, so that an unbalanced parenthesis cannot step out of the anchors.
	if _, err := regexp.Compile(p); err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	re, err := regexp.Compile(`\A(?:` + p + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	for _, probe := range []string{"", "x", "q7@nowhere.invalid", "https://nowhere.invalid/q/7?z=1#y"} {
		if re.MatchString(probe) {
			return nil, fmt.Errorf("pattern %q matches whatever it is given", clip(p))
		}
	}
	return re, nil
}

func (r *Registry) validate() error {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" {
		return fmt.Errorf("registry URL %q is no absolute URL", clip(r.URL))
	}
	switch {
	case u.User != nil:
		return fmt.Errorf("registry URL of host %q carries credentials: put them into your own configuration", u.Host)
	case u.Scheme == "http" && !r.UnsafeInsecure:
		return fmt.Errorf("registry %q is plain http: use https, or say unsafeInsecure: true", clip(r.URL))
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("registry URL %q is not https", clip(r.URL))
	case u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Host, "*"):
		return fmt.Errorf("registry URL %q must be a plain base URL", clip(r.URL))
	}
	return checkPatterns(r.Scope)
}

func (d *Download) validate() error {
	u, err := url.Parse(d.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" {
		return errors.New("url is no absolute https URL")
	}
	if d.Digest != "" {
		dg, err := trust.ParseDigest(d.Digest)
		if err != nil {
			return err
		}
		if !dg.Strong() {
			return fmt.Errorf("%s cannot stand for the bytes: give sha256 or better", dg.Algorithm)
		}
	}
	if d.Sigstore != nil {
		if err := d.Sigstore.validate(); err != nil {
			return err
		}
	}
	detached := d.Sigstore != nil || d.Minisign != "" || d.Signify != "" || d.SSH != "" || d.OpenPGP != ""
	if p := d.Authenticode; p != nil && (p.Fingerprint == "") == (p.Subject == "" || p.Root == "") {
		return errors.New("authenticode needs either fingerprint, or subject and root")
	}
	switch {
	case d.Digest == "" && !detached && d.Authenticode == nil:
		return errors.New("nothing is expected of it: give digest, sigstore, minisign, signify, ssh, openpgp or authenticode")
	case (d.Checksums != "" || d.Signature != "") && !detached:
		return errors.New("a signature or checksum list proves nothing without its signer")
	}
	return nil
}

func (e *Exception) validate() error {
	r, err := trust.ParseRelease(e.Release)
	if err != nil {
		return err
	}
	if r.Version == "" {
		return errors.New("release has no version")
	}
	if len(e.Digests) == 0 {
		return errors.New("no digests: an exception is for bytes, not for a name")
	}
	for _, d := range e.Digests {
		dg, err := trust.ParseDigest(d)
		if err != nil {
			return err
		}
		if !dg.Strong() {
			return fmt.Errorf("%s cannot stand for the bytes", dg.Algorithm)
		}
	}
	if len(e.Rules) == 0 {
		return errors.New("no rules: name those that are set aside")
	}
	if slices.Contains(e.Rules, "*") {
		return errors.New(`rules: "*" is not allowed: name the rules`)
	}
	if strings.TrimSpace(e.Reason) == "" {
		return errors.New("no reason")
	}
	if _, err := time.Parse(time.DateOnly, string(e.Until)); err != nil {
		return fmt.Errorf("until is %q, want a day such as 2006-01-02", clip(string(e.Until)))
	}
	return nil
}

// end returns the first moment at which the exception no longer holds.
func (e *Exception) end() time.Time {
	t, err := time.Parse(time.DateOnly, string(e.Until))
	if err != nil {
		return time.Time{}
	}
	return t.AddDate(0, 0, 1)
}

func checkScopes(scopes []string, unsafe bool) error {
	if len(scopes) == 0 {
		return errors.New("scope is missing: name packages such as pkg:npm/@acme/*")
	}
	for _, s := range scopes {
		if matchesAll(s) {
			if !unsafe {
				return fmt.Errorf("scope %q covers every package: narrow it, or say unsafeAnyPackage: true", s)
			}
			continue
		}
		if err := checkPatterns([]string{s}); err != nil {
			return err
		}
	}
	return nil
}

func matchesAll(s string) bool { return s == "*" || s == "pkg:*" || s == "pkg:*/*" }

// checkPatterns checks purl patterns: a purl without version, or one whose last
// path segment is "*".
func checkPatterns(ps []string) error {
	if len(ps) > MaxList {
		return fmt.Errorf("%d patterns are more than %d", len(ps), MaxList)
	}
	for _, p := range ps {
		if matchesAll(p) {
			return fmt.Errorf("pattern %q matches everything", p)
		}
		if len(p) > MaxPattern {
			return fmt.Errorf("pattern of %d bytes is longer than %d", len(p), MaxPattern)
		}
		if base, ok := strings.CutSuffix(p, "/*"); ok {
			if strings.Contains(base, "*") || !strings.HasPrefix(base, "pkg:") || base == "pkg:" {
				return fmt.Errorf("pattern %q: write pkg:type/namespace/*", clip(p))
			}
			continue
		}
		r, err := trust.ParseRelease(p)
		if err != nil {
			return fmt.Errorf("pattern: %w", err)
		}
		if r.Version != "" || strings.Contains(p, "*") {
			return fmt.Errorf("pattern %q: write a package without version, or pkg:type/namespace/*", clip(p))
		}
	}
	return nil
}

// MatchScope reports whether a purl pattern covers the package: the package
// itself, or "pkg:type/namespace/*" for everything below ("*" for all).
func MatchScope(pattern string, p trust.Package) bool {
	if matchesAll(pattern) {
		return true
	}
	base, ok := strings.CutSuffix(pattern, "/*")
	if !ok {
		r, err := trust.ParseRelease(pattern)
		return err == nil && r.Version == "" && r.Package == p
	}
	if !strings.Contains(base, "/") {
		return base == "pkg:"+p.Type
	}
	// The base is read as a purl itself, so that the ecosystem's normaliser
	// applies to pattern and package alike.
	r, err := trust.ParseRelease(base + "/x")
	if err != nil || r.Package.Type != p.Type || p.Namespace == "" {
		return false
	}
	ns := r.Package.Namespace
	return p.Namespace == ns || strings.HasPrefix(p.Namespace, ns+"/")
}
