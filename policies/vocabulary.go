package policies

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Bounds of a rule's expressions and of one evaluation.
const (
	// MaxExpression bounds one CEL expression, in characters.
	MaxExpression = 4000
	// MaxCost bounds the cost of evaluating one expression, in CEL's cost units; a
	// rule that costs more is undecided.
	MaxCost = 2_000_000
	// MaxEvidence bounds the evidence of one component; beyond it nothing passes.
	MaxEvidence = 5000
)

// evidenceView is one piece of evidence as rules see it.
type evidenceView struct {
	ID        string `cel:"id"`
	Check     string `cel:"check"`
	Outcome   string `cel:"outcome"`
	Reason    string `cel:"reason"`
	Detail    string `cel:"detail"`
	Remedy    string `cel:"remedy"`
	Assurance int    `cel:"assurance"`
	Signer    string `cel:"signer"`
	Predicate string `cel:"predicate"`
	Builder   string `cel:"builder"`
	Artifact  string `cel:"artifact"`
}

// signerView is one signer of verified evidence as rules see it.
type signerView struct {
	ID         string `cel:"id"`
	Words      string `cel:"words"`
	Kind       string `cel:"kind"`
	Check      string `cel:"check"`
	Issuer     string `cel:"issuer"`
	Identity   string `cel:"identity"`
	Repository string `cel:"repository"`
	Workflow   string `cel:"workflow"`
	Accepted   bool   `cel:"accepted"`
	By         string `cel:"by"`
	Revoked    bool   `cel:"revoked"`
	Reason     string `cel:"reason"`
	AutoAccept bool   `cel:"autoAccept"`
	Publisher  bool   `cel:"publisher"`
}

type advisoryView struct {
	ID         string   `cel:"id"`
	Aliases    []string `cel:"aliases"`
	Summary    string   `cel:"summary"`
	Severity   string   `cel:"severity"`
	Level      int      `cel:"level"`
	Score      float64  `cel:"score"`
	Malware    bool     `cel:"malware"`
	KEV        bool     `cel:"kev"`
	Fixed      []string `cel:"fixed"`
	Suppressed string   `cel:"suppressed"`
	New        bool     `cel:"new"`
}

type nameView struct {
	Kind      string `cel:"kind"`
	Resembles string `cel:"resembles"`
	Detail    string `cel:"detail"`
}

type observationView struct {
	Kind   string `cel:"kind"`
	Entry  string `cel:"entry"`
	Detail string `cel:"detail"`
	New    bool   `cel:"new"`
	Effect string `cel:"effect"`
}

type problemView struct {
	Code   string `cel:"code"`
	Detail string `cel:"detail"`
	Remedy string `cel:"remedy"`
}

// Variable documents one name that rules may use.
type Variable struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Doc  string `json:"doc"`
}

type variable struct {
	name string
	typ  *cel.Type
	doc  string
	get  func(*view) any
}

func listOf[T any]() *cel.Type {
	return cel.ListType(cel.ObjectType(reflect.TypeFor[T]().String()))
}

var stringList = cel.ListType(cel.StringType)

// componentVariables is the vocabulary of component rules. It is made from
// Input and from nothing else.
var componentVariables = []variable{
	{"component.purl", cel.StringType, "canonical package URL of the release", func(v *view) any { return v.purl() }},
	{"component.package", cel.StringType, "package URL without version", func(v *view) any { return v.in.Component.Release.Package.PURL() }},
	{"component.type", cel.StringType, "purl type: npm, golang, pypi, …", func(v *view) any { return v.in.Component.Release.Package.Type }},
	{"component.namespace", cel.StringType, "scope, group or path prefix", func(v *view) any { return v.in.Component.Release.Package.Namespace }},
	{"component.name", cel.StringType, "name without namespace", func(v *view) any { return v.in.Component.Release.Package.Name }},
	{"component.version", cel.StringType, "version", func(v *view) any { return v.in.Component.Release.Version }},
	{"component.kind", cel.StringType, "registry, git, url, path, workspace, bundled, toolchain, unknown", func(v *view) any { return string(v.kind()) }},
	{"component.used", cel.BoolType, "false for what a lock file names and no build uses (scope unused): it is held to its digests alone", func(v *view) any { return v.in.Component.Scope != sbom.ScopeUnused }},
	{"component.vendored", cel.BoolType, "the source holds the code of the module itself, in a vendor directory", func(v *view) any { return v.in.Component.Vendored != "" }},
	{"component.local", cel.BoolType, "kind is path, workspace, bundled or toolchain: there is nothing upstream of its own", func(v *view) any { return v.local() }},
	{"component.scope", cel.StringType, "runtime (also if unknown), development, optional, unused (named by go.sum, used by no build)", func(v *view) any { return v.scope() }},
	{"component.relation", cel.StringType, "direct, transitive or empty", func(v *view) any { return string(v.in.Component.Relation) }},
	{"component.exact", cel.BoolType, "a git component names a commit, not a branch or tag", func(v *view) any { return v.in.Component.Pinned }},
	{"component.origin", cel.StringType, "git URL, http URL or path of components that are not from a registry", func(v *view) any { return v.in.Component.Origin }},
	{"component.registry", cel.StringType, "registry that the source names", func(v *view) any { return v.in.Component.Registry }},
	{"component.alias", cel.StringType, "name under which it is installed, if another", func(v *view) any { return v.in.Component.Alias }},
	{"component.digests", stringList, "digests that the source states", func(v *view) any { return v.digests() }},
	{"component.installCode", cel.BoolType, "the lock file says that it runs code when installed", func(v *view) any { return v.in.Component.InstallCode }},
	{"component.problems", listOf[problemView](), "what the inventory cannot vouch for: code, detail, remedy", func(v *view) any { return v.problems() }},
	{"component.internal", cel.BoolType, "matches policy.internalNamespaces", func(v *view) any { return v.matches(v.p.cfg.Policy.InternalNamespaces) }},
	{"component.unchecked", cel.BoolType, "matches policy.unsafeUnchecked", func(v *view) any { return v.matches(v.p.cfg.Policy.UnsafeUnchecked) }},
	{"component.download", cel.BoolType, "its URL is one of the configured downloads", func(v *view) any { return v.download() }},
	{"change", cel.StringType, "added, version, digest, source, scope, present", func(v *view) any { return string(v.in.Change) }},
	{"previous.exists", cel.BoolType, "the component replaces one of the base", func(v *view) any { return v.in.Previous != nil }},
	{"previous.version", cel.StringType, "version of the component that it replaces", func(v *view) any { return v.previousVersion() }},
	{"pinned", cel.BoolType, "this release with exactly these digests is in the baseline or was allowed before", func(v *view) any { return v.in.Pinned }},
	{"known", cel.BoolType, "some release of the package is in the baseline or was allowed before", func(v *view) any { return v.in.PackageKnown }},
	{"changedUpstream", cel.BoolType, "the release was seen before with other bytes", func(v *view) any { return v.in.ChangedUpstream }},
	{"adapter", cel.BoolType, "headgate can check this ecosystem", func(v *view) any { return v.in.Adapter }},
	{"evidence", listOf[evidenceView](), "all evidence: id, check, outcome, reason, detail, assurance, signer, predicate, builder, artifact", func(v *view) any { return v.evidence() }},
	{"checks.verified", stringList, "checks with verified evidence", func(v *view) any { return v.checks(trust.Verified) }},
	{"checks.absent", stringList, "checks with absent evidence", func(v *view) any { return v.checks(trust.Absent) }},
	{"checks.failed", stringList, "checks with failed evidence", func(v *view) any { return v.checks(trust.Failed) }},
	{"checks.unreachable", stringList, "checks with unreachable evidence", func(v *view) any { return v.checks(trust.Unreachable) }},
	{"assurance", cel.IntType, "best verified assurance, compare with level.none … level.reproduced", func(v *view) any { return int64(v.assurance) }},
	{"assurance.word", cel.StringType, "assurance as a word", func(v *view) any { return v.assurance.String() }},
	{"offered", cel.IntType, "assurance that every release of a healthy package of the ecosystem reaches", func(v *view) any { return int64(v.in.Offered) }},
	{"required", cel.IntType, "assurance that the policy requires: minimumAssurance, or what is offered", func(v *view) any { return int64(v.required()) }},
	{"required.word", cel.StringType, "required as a word", func(v *view) any { return v.required().String() }},
	{"signers", listOf[signerView](), "signers of verified evidence: id, words, kind, check, issuer, identity, repository, workflow, accepted, by, revoked, reason, autoAccept, publisher", func(v *view) any { return v.signerViews(v.in.Signers) }},
	{"signer.accepted", cel.BoolType, "the signers that vouch are accepted: one publisher where publishers signed, else a registry or log", func(v *view) any { return v.accepted() }},
	{"binarySigners", listOf[signerView](), "signers of binaries inside the package, as signers; accepted is also who signed binaries of an earlier release", func(v *view) any { return v.signerViews(v.in.BinarySigners) }},
	{"binarySigners.before", stringList, "who signed the binaries of earlier releases, in words", func(v *view) any { return nonNil(v.in.BinariesBefore) }},
	{"continuity", cel.StringType, "class of continuity with the accepted signers and earlier releases", func(v *view) any { return string(v.in.Continuity) }},
	{"continuity.was", cel.StringType, "who signed before, in words", func(v *view) any { return v.in.Was }},
	{"continuity.is", cel.StringType, "who signs now, in words", func(v *view) any { return v.in.Is }},
	{"continuity.note", cel.StringType, "what the class rests on", func(v *view) any { return v.in.ContinuityNote }},
	{"age.known", cel.BoolType, "a publication time is known and not in the future", func(v *view) any { _, ok := v.age(); return ok }},
	{"age", cel.DurationType, "time since publication, by the later of registry time and signed time; 0 if unknown", func(v *view) any { d, _ := v.age(); return d }},
	{"age.words", cel.StringType, "age in words", func(v *view) any { return v.ageWords() }},
	{"facts.yanked", cel.BoolType, "the registry says yanked", func(v *view) any { return v.in.Facts.Yanked != nil }},
	{"facts.retracted", cel.BoolType, "the publisher retracted it", func(v *view) any { return v.in.Facts.Retracted != nil }},
	{"facts.deprecated", cel.BoolType, "the publisher deprecated it", func(v *view) any { return v.in.Facts.Deprecated != nil }},
	{"facts.unpublished", cel.BoolType, "it was there once and is gone", func(v *view) any { return v.in.Facts.Unpublished }},
	{"facts.why", cel.StringType, "the reasons given for yanking, retracting or deprecating", func(v *view) any { return v.why() }},
	{"facts.contradictions", stringList, "what the source says beside a pin and upstream says otherwise, in sentences", func(v *view) any { return contradictions(&v.in.Component, &v.in.Facts) }},
	{"facts.repository", cel.StringType, "source repository that the registry's unsigned record names", func(v *view) any { return v.in.Facts.Repository }},
	{"facts.publishedBy", cel.StringType, "account that published, unsigned", func(v *view) any { return v.in.Facts.PublishedBy }},
	{"facts.releases", cel.IntType, "how many releases the registry lists; 0 if unknown", func(v *view) any { return int64(v.in.Facts.Releases) }},
	{"facts.pause", cel.DurationType, "time between the release before and this one; 0 if unknown", func(v *view) any { return v.pause() }},
	{"facts.packageAge", cel.DurationType, "time since the package's first release; 0 if unknown", func(v *view) any { return v.packageAge() }},
	{"facts.installCode", stringList, "install-time code by the registry's record", func(v *view) any { return v.in.Facts.InstallCode }},
	{"advisories", listOf[advisoryView](), "advisories that match: id, aliases, summary, severity, level (0–4, 3 high if unknown), score, malware, kev, fixed, suppressed, new", func(v *view) any { return v.advisories() }},
	{"advisories.state", cel.StringType, "off, known or unavailable", func(v *view) any { return string(v.advisoryState()) }},
	{"advisories.note", cel.StringType, "why advisories are unavailable", func(v *view) any { return v.in.AdvisoryNote }},
	{"advisories.fix", cel.StringType, "smallest version that fixes every advisory that counts, empty if none is known", func(v *view) any { return v.in.FixedIn }},
	{"fixesAdvisory", stringList, "advisories of the replaced version that this one fixes", func(v *view) any { return v.in.FixesAdvisory }},
	{"names", listOf[nameView](), "reasons to doubt the name: kind, resembles, detail", func(v *view) any { return v.names() }},
	{"inspection", listOf[observationView](), "what is inside the package: kind, entry, detail, new, effect", func(v *view) any { return v.inspection() }},
	{"inspection.state", cel.StringType, "off, known or unavailable", func(v *view) any { return string(stateOf(v.in.InspectionState)) }},
	{"licenses", stringList, "licences as found", func(v *view) any { return v.licenses() }},
	{"licenses.state", cel.StringType, "off (no lists), allowed, denied, unknown", func(v *view) any { return v.licenseState() }},
	{"now", cel.TimestampType, "time of the check", func(v *view) any { return v.in.Now }},
	{"params.cooldown", cel.DurationType, "cooldown of the ecosystem", func(v *view) any { return v.params.cooldown }},
	{"params.cooldownWords", cel.StringType, "the same in words", func(v *view) any { return Duration(v.params.cooldown).String() }},
	{"params.severity", cel.IntType, "minimum severity: 1 low, 2 medium, 3 high, 4 critical", func(v *view) any { return int64(v.params.severity) }},
	{"commands.request", cel.StringType, "the command that asks for approval", func(v *view) any { return "headgate request " + shellQuote(v.purl()) + ` --reason "…"` }},
	{"commands.explain", cel.StringType, "the command that shows all evidence", func(v *view) any { return "headgate explain " + shellQuote(v.purl()) }},
	{"commands.accept", cel.StringType, "the command that accepts the signer", func(v *view) any { return v.acceptCommand() }},
	{"commands.acceptBinary", cel.StringType, "the command that accepts the signer of binaries", func(v *view) any { return v.acceptBinaryCommand() }},
}

// inventoryVariables is the vocabulary of inventory rules, which are asked once
// for every subject: each problem, edit of the gate, difference of a source,
// and the inventory as a whole.
var inventoryVariables = []variable{
	{"subject.kind", cel.StringType, "inventory, problem, gate-edit, source-difference", func(v *view) any { return v.subject.Kind }},
	{"subject.code", cel.StringType, "code of a problem, or which part of the gate was edited: policy, trust", func(v *view) any { return v.subject.Code }},
	{"subject.detail", cel.StringType, "what was found", func(v *view) any { return v.subject.Detail }},
	{"subject.remedy", cel.StringType, "next step where it is known", func(v *view) any { return v.subject.Remedy }},
	{"subject.path", cel.StringType, "file concerned", func(v *view) any { return v.subject.Location.Path }},
	{"inventory.components", cel.IntType, "number of components", func(v *view) any { return int64(v.inventory.Components) }},
	{"inventory.base", cel.BoolType, "there is a base to compare with", func(v *view) any { return v.inventory.HasBase }},
	{"now", cel.TimestampType, "time of the check", func(v *view) any { return v.inventory.Now }},
}

var levelConstants = []string{"none", "registry", "publisher", "provenance", "reproduced"}

type vocabulary struct {
	env  *cel.Env
	vars map[string]func(*view) any

	mu       sync.Mutex
	compiled map[string]compiled // by text
}

type compiled struct {
	prg cel.Program
	ast *cel.Ast
}

// maxCompiled bounds the expressions that are kept compiled.
const maxCompiled = 2000

func newVocabulary(vars []variable) (*vocabulary, error) {
	opts := []cel.EnvOption{
		ext.NativeTypes(ext.ParseStructTags(true),
			reflect.TypeFor[evidenceView](), reflect.TypeFor[signerView](), reflect.TypeFor[advisoryView](),
			reflect.TypeFor[nameView](), reflect.TypeFor[observationView](), reflect.TypeFor[problemView]()),
		ext.Strings(),
		cel.ParserExpressionSizeLimit(MaxExpression),
		cel.ParserRecursionLimit(50),
		cel.DefaultUTCTimeZone(true),
	}
	for i, l := range levelConstants {
		opts = append(opts, cel.Constant("level."+l, cel.IntType, types.Int(i)))
	}
	vc := &vocabulary{compiled: map[string]compiled{}, vars: make(map[string]func(*view) any, len(vars))}
	for _, v := range vars {
		opts = append(opts, cel.VariableWithDoc(v.name, v.typ, v.doc))
		vc.vars[v.name] = v.get
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		return nil, fmt.Errorf("building the rule vocabulary: %w", err)
	}
	vc.env = env
	return vc, nil
}

// Vocabulary lists the variables that rules may use: those of component rules,
// or those of inventory rules.
func Vocabulary(inventory bool) []Variable {
	vars := componentVariables
	if inventory {
		vars = inventoryVariables
	}
	out := make([]Variable, len(vars))
	for i, v := range vars {
		out[i] = Variable{Name: v.name, Type: cel.FormatCELType(v.typ), Doc: v.doc}
	}
	return out
}

// view is one evaluation: the activation of all rules of one component.
// Conversions are made once, when a rule first asks.
type view struct {
	p         *Policy
	in        *Input
	vars      map[string]func(*view) any
	cache     map[string]any
	assurance trust.Assurance
	params    params
	subject   Subject
	inventory InventoryInput
	// identities remembers canonical identities: making them is most of the work.
	identities map[trust.Signer]string
}

// ResolveName implements cel.Activation.
func (v *view) ResolveName(name string) (any, bool) {
	if val, ok := v.cache[name]; ok {
		return val, true
	}
	get, ok := v.vars[name]
	if !ok {
		return nil, false
	}
	val := v.p.components.env.CELTypeAdapter().NativeToValue(get(v))
	v.cache[name] = val
	return val, true
}

// Parent implements cel.Activation.
func (v *view) Parent() cel.Activation { return nil }

// identity is s.Identity(), made once per evaluation.
func (v *view) identity(s *trust.Signer) string {
	id, ok := v.identities[*s]
	if !ok {
		if v.identities == nil {
			v.identities = map[trust.Signer]string{}
		}
		id = s.Identity()
		v.identities[*s] = id
	}
	return id
}

func (v *view) purl() string { return v.in.Component.Release.PURL() }

func (v *view) kind() sbom.Kind {
	if v.in.Component.Kind == "" {
		return sbom.KindUnknown
	}
	return v.in.Component.Kind
}

func (v *view) local() bool {
	switch v.kind() {
	case sbom.KindPath, sbom.KindWorkspace, sbom.KindBundled, sbom.KindToolchain:
		return true
	}
	return false
}

func (v *view) scope() string {
	if v.in.Component.Scope == sbom.ScopeUnknown {
		return string(sbom.ScopeRuntime)
	}
	return string(v.in.Component.Scope)
}

func (v *view) digests() []string {
	out := []string{}
	for _, a := range v.in.Component.Artifacts {
		for _, d := range a.Digests {
			out = append(out, d.String())
		}
	}
	return out
}

func (v *view) problems() []problemView {
	out := make([]problemView, len(v.in.Component.Problems))
	for i, p := range v.in.Component.Problems {
		out[i] = problemView{string(p.Code), p.Detail, p.Remedy}
	}
	return out
}

func (v *view) matches(patterns []string) bool {
	for _, p := range patterns {
		if MatchScope(p, v.in.Component.Release.Package) {
			return true
		}
	}
	return false
}

func (v *view) download() bool {
	for _, d := range v.p.cfg.Downloads {
		if d.URL == v.in.Component.Origin {
			return true
		}
	}
	return false
}

func (v *view) previousVersion() string {
	if v.in.Previous == nil {
		return ""
	}
	return v.in.Previous.Release.Version
}

func (v *view) evidence() []evidenceView {
	out := make([]evidenceView, len(v.in.Evidence))
	for i := range v.in.Evidence {
		e := &v.in.Evidence[i]
		ev := evidenceView{Check: string(e.Check), Outcome: string(e.Outcome), Reason: string(e.Reason), Detail: e.Detail, Remedy: e.Remedy,
			Assurance: int(e.Assurance), Predicate: e.PredicateType, Builder: e.Builder, Artifact: e.Artifact.Name}
		if e.Signer != nil {
			ev.Signer = e.Signer.String()
		}
		if e.Outcome != trust.Verified {
			ev.ID = e.ID() // hashing is not free, and what passed is asked for by nobody
		}
		out[i] = ev
	}
	return out
}

// waiting is the next step where evidence could not be had: what the adapters know
// to help, or else time. A missing key does not come by waiting.
func (v *view) waiting() string {
	var known []string
	notFound := false
	for i := range v.in.Evidence {
		notFound = notFound || v.in.Evidence[i].Outcome == trust.Unreachable && v.in.Evidence[i].Reason == trust.ReasonNotFound
		if e := &v.in.Evidence[i]; e.Outcome == trust.Unreachable && e.Remedy != "" && !slices.Contains(known, e.Remedy) {
			known = append(known, e.Remedy)
		}
	}
	if len(known) == 0 && notFound {
		return "check the name and the version, and that the configured registry has the release; nothing was found to be wrong"
	}
	if len(known) == 0 {
		return "try again when it can be reached; nothing was found to be wrong"
	}
	return strings.Join(known, "; ") + "; nothing was found to be wrong"
}

func (v *view) checks(o trust.Outcome) []string {
	out := []string{}
	for i := range v.in.Evidence {
		if e := &v.in.Evidence[i]; e.Outcome == o && !slices.Contains(out, string(e.Check)) {
			out = append(out, string(e.Check))
		}
	}
	return out
}

func (v *view) required() trust.Assurance {
	if v.params.assurance >= 0 {
		return trust.Assurance(v.params.assurance)
	}
	return v.in.Offered
}

func publisherKind(k trust.SignerKind) bool {
	return k != trust.SignerRegistry && k != trust.SignerLog
}

func (v *view) signerViews(signers []SignerState) []signerView {
	out := make([]signerView, len(signers))
	for i, s := range signers {
		id := v.identity(&s.Signer)
		out[i] = signerView{ID: trust.SignerID(id), Words: s.Signer.String(), Kind: string(s.Signer.Kind), Check: string(s.Check), Issuer: s.Signer.Issuer,
			Identity: id, Repository: s.Signer.SourceRepository, Workflow: s.Signer.Workflow,
			Accepted: s.Accepted && !s.Revoked, By: s.By, Revoked: s.Revoked, Reason: s.Reason,
			AutoAccept: s.AutoAccept && !s.Revoked, Publisher: v.vouchesAsPublisher(s)}
	}
	return out
}

// vouchesAsPublisher reports whether the signer is a publisher's: a registry,
// distribution or log is not, nor is the registry's own publish attestation.
func (v *view) vouchesAsPublisher(s SignerState) bool {
	if !publisherKind(s.Signer.Kind) {
		return false
	}
	for i := range v.in.Evidence {
		e := &v.in.Evidence[i]
		if e.Outcome == trust.Verified && e.Signer != nil && e.Assurance >= trust.AssurancePublisher && v.identity(e.Signer) == v.identity(&s.Signer) {
			return true
		}
	}
	return false
}

// accepted reports whether the signers that vouch for the release are
// accepted. Where publishers signed, one of them must be: a registry's
// signature does not make an unknown publisher known.
func (v *view) accepted() bool {
	publishers, registry := false, false
	for _, s := range v.in.Signers {
		ok := s.Accepted && !s.Revoked
		if v.vouchesAsPublisher(s) {
			publishers = true
			if ok || (s.AutoAccept && !s.Revoked && v.firstSight()) {
				return true
			}
			continue
		}
		registry = registry || ok
	}
	return !publishers && registry
}

// firstSight reports whether nothing contradicts taking the signer on trust.
func (v *view) firstSight() bool {
	switch v.in.Continuity {
	case trust.ContinuityFirst, trust.ContinuitySame, trust.ContinuityStronger, trust.ContinuityWorkflowChanged:
		return true
	}
	return false
}

// maxClockSkew is how far ahead of our clock a publication may lie.
const maxClockSkew = 5 * time.Minute

// age is the time since the later of the registry's and the signed times.
func (v *view) age() (time.Duration, bool) {
	at := v.in.Facts.Published
	for i := range v.in.Evidence {
		e := &v.in.Evidence[i]
		if e.Outcome == trust.Verified && e.SignedAt.After(at) {
			at = e.SignedAt
		}
	}
	if at.IsZero() || v.in.Now.IsZero() {
		return 0, false
	}
	d := v.in.Now.Sub(at)
	if d < -maxClockSkew {
		return 0, false
	}
	return max(d, 0), true
}

func (v *view) ageWords() string {
	d, ok := v.age()
	switch {
	case !ok:
		return "of unknown age"
	case d < time.Hour:
		return "less than an hour old"
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours old", d/time.Hour)
	}
	return fmt.Sprintf("%d days old", d/(24*time.Hour))
}

func (v *view) why() string {
	var out []string
	for _, s := range []*string{v.in.Facts.Yanked, v.in.Facts.Retracted, v.in.Facts.Deprecated} {
		if s != nil && *s != "" {
			out = append(out, *s)
		}
	}
	return strings.Join(out, "; ")
}

func (v *view) pause() time.Duration {
	f := v.in.Facts
	if f.Published.IsZero() || f.PrevRelease.IsZero() {
		return 0
	}
	return max(f.Published.Sub(f.PrevRelease), 0)
}

func (v *view) packageAge() time.Duration {
	if v.in.Facts.FirstRelease.IsZero() {
		return 0
	}
	return max(v.in.Now.Sub(v.in.Facts.FirstRelease), 0)
}

// severityHigh is what an advisory of unknown severity counts as.
const severityHigh = 3

func (v *view) advisories() []advisoryView {
	out := make([]advisoryView, len(v.in.Advisories))
	for i, a := range v.in.Advisories {
		level := slices.Index(severities, a.Severity)
		if level < 0 {
			level = severityHigh
		}
		known := slices.Contains(v.in.PreviousAdvisories, a.ID)
		for _, al := range a.Aliases {
			known = known || slices.Contains(v.in.PreviousAdvisories, al)
		}
		out[i] = advisoryView{a.ID, nonNil(a.Aliases), a.Summary, a.Severity, level, a.Score, a.Malware, a.KEV, nonNil(a.Fixed), a.Suppressed, !known}
	}
	return out
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func stateOf(s State) State {
	if s == StateOff || s == StateKnown {
		return s
	}
	return StateUnavailable
}

// advisoryState is off only by the policy's own word.
func (v *view) advisoryState() State {
	s := stateOf(v.in.AdvisoryState)
	if s == StateOff && v.p.cfg.Advisories.Source != "" && v.p.cfg.Advisories.Source != "off" {
		return StateUnavailable
	}
	return s
}

func (v *view) names() []nameView {
	out := make([]nameView, len(v.in.Names))
	for i, n := range v.in.Names {
		out[i] = nameView(n)
	}
	return out
}

func (v *view) inspection() []observationView {
	out := make([]observationView, len(v.in.Inspection))
	for i, o := range v.in.Inspection {
		out[i] = observationView{o.Kind, o.Entry, o.Detail, o.New, string(o.Effect)}
	}
	return out
}

func (v *view) licenses() []string {
	if len(v.in.Licenses) > 0 {
		return v.in.Licenses
	}
	if len(v.in.Facts.Licenses) > 0 {
		return v.in.Facts.Licenses
	}
	return nonNil(v.in.Component.Licenses)
}

func (v *view) licenseState() string { return v.p.cfg.Policy.Licenses.judge(v.licenses()) }

func (v *view) acceptCommand() string {
	for _, s := range v.in.Signers {
		if v.vouchesAsPublisher(s) && !s.Accepted {
			return "headgate signers accept " + shellQuote(v.purl()) + " --signer " + s.Signer.ID() + ` --reason "…"`
		}
	}
	return "headgate request " + shellQuote(v.purl()) + ` --reason "…"`
}

func (v *view) acceptBinaryCommand() string {
	for _, s := range v.in.BinarySigners {
		if !s.Accepted {
			return "headgate signers accept " + shellQuote(v.purl()) + " --signer " + s.Signer.ID() + ` --reason "…"`
		}
	}
	return "headgate request " + shellQuote(v.purl()) + ` --reason "…"`
}

// shellQuote makes a purl safe to paste: canonical purls hold no quotes, spaces
// or control characters, but "?", "&" and "#" mean something to shells.
func shellQuote(s string) string {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-._~:/@%+=", r):
		default:
			return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return s
}
