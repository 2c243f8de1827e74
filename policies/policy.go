package policies

import (
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/headgate/headgate/trust"
)

//go:embed builtin/*.yaml
var builtinFiles embed.FS

// BuiltinNames are the built-in policies, loosest first.
var BuiltinNames = []string{"audit", "baseline", "strict"}

// DefaultName is the built-in policy that counts where none is selected.
const DefaultName = "baseline"

// Names of findings that come from headgate itself, not from a rule in YAML: no
// policy can change them.
const (
	// RuleInvalidInput blocks: evidence or signers contradict themselves.
	RuleInvalidInput = "invalid-evidence"
	// RuleCancelled is undecided: the check was stopped before it was done.
	RuleCancelled = "cancelled"
)

// Policy is a loaded policy: every rule compiled and type-checked. It is safe
// for concurrent use.
type Policy struct {
	name       string
	cfg        Config
	rules      []*rule
	components *vocabulary
	inventory  *vocabulary
	defaults   params
	byType     map[string]params
	exceptions []exception
	notices    []string
	digest     trust.Digest
	canonical  []byte
}

type params struct {
	cooldown  time.Duration
	assurance int // -1: what is offered
	severity  int
}

type exception struct {
	Exception
	release trust.Release
	digests trust.Digests
	end     time.Time
}

// Rule is a rule as `headgate policy show` prints it.
type Rule struct {
	Name        string       `json:"name"`
	Description string       `json:"description"`
	On          string       `json:"on"`
	Applies     string       `json:"applies,omitempty"`
	Require     string       `json:"require"`
	Needs       []string     `json:"needs,omitempty"`
	Unreachable string       `json:"unreachable,omitempty"`
	Otherwise   trust.Effect `json:"otherwise"`
	Message     string       `json:"message"`
	Remedy      string       `json:"remedy,omitempty"`
	Origin      string       `json:"origin"` // the built-in policy that it comes from, or "headgate.yaml"
}

type rule struct {
	Rule
	// conditions and words compile the rule when it is first judged, and when it first
	// finds something: most of the time of loading a policy would go into rules that
	// nobody asks. A rule of headgate.yaml is compiled when it is loaded.
	conditions       func() (conditions, error)
	words            func() (words, error)
	notApplied, held string // what the trace says
}

// conditions are what a rule asks.
type conditions struct {
	applies, require           cel.Program // applies nil: always
	appliesConst, requireConst *bool       // values of constant conditions
}

// words are what a rule says.
type words struct{ message, remedy template }

// ownRules is the origin of the rules of headgate.yaml.
const ownRules = "headgate.yaml"

// Rule targets.
const (
	onComponent = "component"
	onInventory = "inventory"
)

// Words of RuleConfig.Unreachable.
const (
	unreachableUndecided = "undecided"
	unreachableOtherwise = "otherwise"
)

// Words of RuleConfig.Needs beside the names of checks.
const (
	needEvidence   = "evidence"
	needAdvisories = "advisories"
	needInspection = "inspection"
)

var knownChecks = []trust.Check{
	trust.CheckLockfile, trust.CheckBytes, trust.CheckSource, trust.CheckChecksumDB, trust.CheckRegistrySig, trust.CheckPublish,
	trust.CheckProvenance, trust.CheckPublisherSig, trust.CheckIndex, trust.CheckRelease, trust.CheckCommit, trust.CheckRebuild,
	trust.CheckMetadata, trust.CheckVendored, trust.CheckCountersig, trust.CheckInspect, trust.CheckSourceTree, trust.CheckBinary,
}

// builtinDoc is a built-in policy's file.
type builtinDoc struct {
	Name        string                  `yaml:"name"`
	Description string                  `yaml:"description"`
	Extends     string                  `yaml:"extends,omitempty"`
	Parameters  Parameters              `yaml:"parameters,omitempty"`
	Effects     map[string]trust.Effect `yaml:"effects,omitempty"`
	// Weaken turns the effect of every inherited rule into this one.
	Weaken trust.Effect `yaml:"weaken,omitempty"`
	Rules  []RuleConfig `yaml:"rules,omitempty"`
}

var vocabularies = sync.OnceValues(func() ([2]*vocabulary, error) {
	c, err := newVocabulary(componentVariables)
	if err != nil {
		return [2]*vocabulary{}, err
	}
	i, err := newVocabulary(inventoryVariables)
	return [2]*vocabulary{c, i}, err
})

// Builtin loads a built-in policy with its own parameters and nothing else.
func Builtin(name string) (*Policy, error) {
	if !slices.Contains(BuiltinNames, name) {
		return nil, fmt.Errorf("no built-in policy %q%s", clip(name), suggestion(name, BuiltinNames))
	}
	return Load(&Config{Version: ConfigVersion, Policy: PolicyConfig{Extends: name}}, time.Time{})
}

// Load compiles the policy of a configuration. now decides about exceptions
// that end too far ahead; with the zero time only their form is checked.
func Load(cfg *Config, now time.Time) (*Policy, error) {
	if cfg == nil {
		return nil, errors.New("no configuration")
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	vs, err := vocabularies()
	if err != nil {
		return nil, err
	}
	p := &Policy{cfg: *cfg, components: vs[0], inventory: vs[1], byType: map[string]params{}}
	p.name = cfg.Policy.Extends
	if p.name == "" {
		p.name = DefaultName
	}
	rules, base, err := builtinRules(p.name)
	if err != nil {
		return nil, err
	}
	if rules, err = p.change(rules); err != nil {
		return nil, err
	}
	for _, r := range cfg.Policy.Rules {
		if i := slices.IndexFunc(rules, func(o originRule) bool { return o.Name == r.Name }); i >= 0 {
			return nil, fmt.Errorf("two rules are named %q (the other is from %s)", clip(r.Name), rules[i].origin)
		}
		rules = append(rules, originRule{r, ownRules})
	}
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("%d rules are more than %d", len(rules), MaxRules)
	}
	for _, r := range rules {
		c, err := p.compile(r)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", clip(r.Name), err)
		}
		p.rules = append(p.rules, c)
	}
	if !p.proves() {
		return nil, errors.New("the policy proves nothing: no rule about components can stop anything or report anything")
	}
	p.setParams(base)
	if err := p.setExceptions(now); err != nil {
		return nil, err
	}
	for name := range cfg.Quorum {
		if !p.has(name) {
			return nil, fmt.Errorf("quorum: no rule %q%s", clip(name), suggestion(name, p.ruleNames()))
		}
	}
	for _, a := range cfg.Approvers {
		for _, name := range a.Rules {
			if !p.has(name) {
				return nil, fmt.Errorf("approver %q: no rule %q%s", clip(a.Name), clip(name), suggestion(name, p.ruleNames()))
			}
		}
	}
	p.setNotices()
	return p, p.setDigest()
}

// LoadYAML parses and loads headgate.yaml.
func LoadYAML(data []byte, now time.Time) (*Policy, error) {
	cfg, err := ParseConfig(data)
	if err != nil {
		return nil, err
	}
	p, err := Load(cfg, now)
	if err != nil {
		return nil, fmt.Errorf("headgate.yaml: %w", err)
	}
	return p, nil
}

type originRule struct {
	RuleConfig
	origin string
}

// builtinRules returns the rules of a built-in policy with those that it extends.
func builtinRules(name string) ([]originRule, Parameters, error) {
	data, err := builtinFiles.ReadFile("builtin/" + name + ".yaml")
	if err != nil {
		return nil, Parameters{}, fmt.Errorf("built-in policy %q: %w", name, err)
	}
	var doc builtinDoc
	if err := decodeStrict(data, &doc); err != nil {
		return nil, Parameters{}, fmt.Errorf("built-in policy %q: %w", name, err)
	}
	var rules []originRule
	var base Parameters
	if doc.Extends != "" {
		if rules, base, err = builtinRules(doc.Extends); err != nil {
			return nil, base, err
		}
	}
	for i := range rules {
		if doc.Weaken != "" {
			rules[i].Otherwise = doc.Weaken
			rules[i].Unreachable = unreachableOtherwise
		}
		if e, ok := doc.Effects[rules[i].Name]; ok {
			rules[i].Otherwise = e
		}
	}
	for _, r := range doc.Rules {
		rules = append(rules, originRule{r, name})
	}
	return rules, base.over(doc.Parameters), nil
}

// over returns p with what o states.
func (p Parameters) over(o Parameters) Parameters {
	if o.Cooldown != nil {
		p.Cooldown = o.Cooldown
	}
	if o.MinimumAssurance != "" {
		p.MinimumAssurance = o.MinimumAssurance
	}
	if o.MinimumSeverity != "" {
		p.MinimumSeverity = o.MinimumSeverity
	}
	return p
}

// change applies effects and switches to inherited rules.
func (p *Policy) change(rules []originRule) ([]originRule, error) {
	names := make([]string, len(rules))
	for i, r := range rules {
		names[i] = r.Name
	}
	for _, name := range keysOf(p.cfg.Policy.Effects) {
		i := slices.Index(names, name)
		if i < 0 {
			return nil, fmt.Errorf("policy.effects: no inherited rule %q%s", clip(name), suggestion(name, names))
		}
		if e := p.cfg.Policy.Effects[name]; e != rules[i].Otherwise {
			if e.Verdict() != trust.Worst(e.Verdict(), rules[i].Otherwise.Verdict()) {
				p.notices = append(p.notices, fmt.Sprintf("rule %s only does %s, not %s", name, e, rules[i].Otherwise))
			}
			rules[i].Otherwise = e
		}
	}
	for _, name := range p.cfg.Policy.UnsafeDisable {
		i := slices.IndexFunc(rules, func(r originRule) bool { return r.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("policy.unsafeDisable: no inherited rule %q%s", clip(name), suggestion(name, names))
		}
		p.notices = append(p.notices, "rule "+name+" is switched off")
		rules = slices.Delete(rules, i, i+1)
	}
	return rules, nil
}

func (p *Policy) compile(o originRule) (*rule, error) {
	c := o.RuleConfig
	if !ruleName.MatchString(c.Name) {
		return nil, errors.New("a name has lower-case letters, digits and dashes, at most 63")
	}
	if c.Name == RuleInvalidInput || c.Name == RuleCancelled {
		return nil, errors.New("the name is headgate's own")
	}
	if c.Description == "" || c.Message == "" {
		return nil, errors.New("description and message are needed")
	}
	if !validEffect(c.Otherwise) {
		return nil, fmt.Errorf("otherwise is %q, want warn, hold or block", clip(string(c.Otherwise)))
	}
	vc := p.components
	switch c.On {
	case "", onComponent:
		c.On = onComponent
	case onInventory:
		vc = p.inventory
	default:
		return nil, fmt.Errorf("on is %q, want component or inventory", clip(c.On))
	}
	switch c.Unreachable {
	case "", unreachableUndecided, unreachableOtherwise:
	default:
		return nil, fmt.Errorf("unreachable is %q, want undecided or otherwise", clip(c.Unreachable))
	}
	if c.Unreachable == unreachableUndecided && len(c.Needs) == 0 {
		return nil, errors.New("unreachable: undecided without needs says nothing: name the checks under needs")
	}
	for _, n := range c.Needs {
		if n != needEvidence && n != needAdvisories && n != needInspection && !slices.Contains(knownChecks, trust.Check(n)) {
			known := []string{needEvidence, needAdvisories, needInspection}
			for _, k := range knownChecks {
				known = append(known, string(k))
			}
			return nil, fmt.Errorf("needs: no check %q%s", clip(n), suggestion(n, known))
		}
	}
	r := &rule{Rule: Rule{Name: c.Name, Description: c.Description, On: c.On, Applies: c.Applies, Require: c.Require, Needs: c.Needs,
		Unreachable: c.Unreachable, Otherwise: c.Otherwise, Message: c.Message, Remedy: c.Remedy, Origin: o.origin}}
	r.notApplied, r.held = "does not apply: "+oneLine(c.Applies)+" is false", "holds: "+oneLine(c.Require)
	r.conditions = sync.OnceValues(func() (conditions, error) { return vc.conditions(c) })
	r.words = sync.OnceValues(func() (words, error) { return vc.words(c) })
	if o.origin == ownRules {
		return r, r.compiles()
	}
	return r, nil
}

// compiles reports what is wrong with the rule's expressions.
func (r *rule) compiles() error {
	_, err := r.conditions()
	if err == nil {
		_, err = r.words()
	}
	return err
}

func (vc *vocabulary) conditions(c RuleConfig) (out conditions, err error) {
	if c.Applies != "" {
		if out.applies, out.appliesConst, err = vc.condition(c.Applies); err != nil {
			return out, fmt.Errorf("applies: %w", err)
		}
	}
	if out.require, out.requireConst, err = vc.condition(c.Require); err != nil {
		return out, fmt.Errorf("require: %w", err)
	}
	return out, nil
}

func (vc *vocabulary) words(c RuleConfig) (out words, err error) {
	if out.message, err = vc.template(c.Message); err != nil {
		return out, fmt.Errorf("message: %w", err)
	}
	if out.remedy, err = vc.template(c.Remedy); err != nil {
		return out, fmt.Errorf("remedy: %w", err)
	}
	return out, nil
}

// condition compiles an expression that must be a bool; constant tells its
// value where it does not depend on anything.
func (vc *vocabulary) condition(text string) (prg cel.Program, constant *bool, err error) {
	prg, ast, err := vc.compile(text, cel.BoolType)
	if err != nil {
		return nil, nil, err
	}
	if !refersToVariables(ast) {
		out, _, err := prg.Eval(cel.NoVars())
		if err == nil {
			if b, ok := out.Value().(bool); ok {
				constant = &b
			}
		}
	}
	return prg, constant, nil
}

// compile returns the program of an expression, made once for all rules that say
// the same: most of the time of loading a policy goes into parsing.
func (vc *vocabulary) compile(text string, want *cel.Type) (cel.Program, *cel.Ast, error) {
	vc.mu.Lock()
	c, ok := vc.compiled[text]
	vc.mu.Unlock()
	if !ok {
		var err error
		if c.prg, c.ast, err = vc.compileNew(text); err != nil {
			return nil, nil, err
		}
		vc.mu.Lock()
		// Bounded, as a server may load many policies.
		if len(vc.compiled) < maxCompiled {
			vc.compiled[text] = c
		}
		vc.mu.Unlock()
	}
	if !c.ast.OutputType().IsExactType(want) {
		return nil, nil, fmt.Errorf("expression is of type %s, want %s", c.ast.OutputType(), want)
	}
	return c.prg, c.ast, nil
}

func (vc *vocabulary) compileNew(text string) (cel.Program, *cel.Ast, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil, errors.New("the expression is missing")
	}
	if len(text) > MaxExpression {
		return nil, nil, fmt.Errorf("expression of %d characters is longer than %d", len(text), MaxExpression)
	}
	ast, iss := vc.env.Compile(text)
	if iss.Err() != nil {
		return nil, nil, iss.Err()
	}
	prg, err := vc.env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(MaxCost))
	if err != nil {
		return nil, nil, err
	}
	return prg, ast, nil
}

func refersToVariables(a *cel.Ast) bool {
	for _, r := range a.NativeRep().ReferenceMap() {
		if r.Name != "" && r.Value == nil {
			return true
		}
	}
	return false
}

// template is text with compiled expressions between its literal parts.
type template struct {
	literals []string // one more than programs
	programs []cel.Program
}

// template compiles text with string expressions in ${…}.
func (vc *vocabulary) template(text string) (template, error) {
	if len(text) > MaxExpression {
		return template{}, fmt.Errorf("text of %d characters is longer than %d", len(text), MaxExpression)
	}
	var t template
	rest := text
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			t.literals = append(t.literals, rest)
			return t, nil
		}
		n := closing(rest[i+2:])
		if n < 0 {
			return t, errors.New(`"${" without "}"`)
		}
		prg, _, err := vc.compile(rest[i+2:i+2+n], cel.StringType)
		if err != nil {
			return t, err
		}
		t.literals = append(t.literals, rest[:i])
		t.programs = append(t.programs, prg)
		rest = rest[i+2+n+1:]
	}
}

// closing finds the brace that ends an expression, outside of strings.
func closing(s string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{':
			depth++
		case c == '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

// MaxMessage bounds one message or remedy, in bytes.
const MaxMessage = 4000

func (t template) render(v *view) string {
	if len(t.programs) == 0 {
		return t.literals[0]
	}
	var b strings.Builder
	for i, prg := range t.programs {
		b.WriteString(t.literals[i])
		out, _, err := prg.Eval(v)
		if err != nil {
			b.WriteString("(" + err.Error() + ")")
			continue
		}
		s, ok := out.Value().(string)
		if !ok {
			s = fmt.Sprint(out.Value())
		}
		b.WriteString(s)
	}
	b.WriteString(t.literals[len(t.programs)])
	if s := b.String(); len(s) > MaxMessage {
		return strings.ToValidUTF8(s[:MaxMessage], "") + "…"
	}
	return b.String()
}

// proves reports whether a rule about components can make a finding.
func (p *Policy) proves() bool {
	return slices.ContainsFunc(p.rules, func(r *rule) bool { return r.On == onComponent && !r.dead() })
}

// dead reports whether the rule can never make a finding. No built-in rule is.
func (r *rule) dead() bool {
	if r.Origin != ownRules {
		return false
	}
	c, err := r.conditions()
	return err == nil && (c.appliesConst != nil && !*c.appliesConst || c.requireConst != nil && *c.requireConst)
}

func (p *Policy) has(name string) bool {
	return slices.ContainsFunc(p.rules, func(r *rule) bool { return r.Name == name })
}

func (p *Policy) ruleNames() []string {
	out := make([]string, len(p.rules))
	for i, r := range p.rules {
		out[i] = r.Name
	}
	return out
}

func (p *Policy) setParams(base Parameters) {
	all := base.over(p.cfg.Policy.Parameters)
	p.defaults = all.resolve()
	if base.Cooldown != nil && all.Cooldown != nil && *all.Cooldown < *base.Cooldown {
		p.notices = append(p.notices, fmt.Sprintf("cooldown is %s, not %s", *all.Cooldown, *base.Cooldown))
	}
	for _, typ := range keysOf(p.cfg.Policy.Ecosystems) {
		own := all.over(p.cfg.Policy.Ecosystems[typ])
		p.byType[typ] = own.resolve()
		if base.Cooldown != nil && own.Cooldown != nil && *own.Cooldown < *base.Cooldown {
			p.notices = append(p.notices, fmt.Sprintf("cooldown of %s is %s, not %s", typ, *own.Cooldown, *base.Cooldown))
		}
		if p.byType[typ].assurance == int(trust.AssuranceNone) {
			p.notices = append(p.notices, fmt.Sprintf("no assurance is required of %s packages", typ))
		}
	}
	if p.defaults.assurance == int(trust.AssuranceNone) {
		p.notices = append(p.notices, "no assurance is required of packages")
	}
}

func (p Parameters) resolve() params {
	out := params{assurance: -1, severity: severityHigh}
	if p.Cooldown != nil {
		out.cooldown = time.Duration(*p.Cooldown)
	}
	var a trust.Assurance
	if p.MinimumAssurance != "" && a.UnmarshalText([]byte(p.MinimumAssurance)) == nil {
		out.assurance = int(a)
	}
	if i := slices.Index(severities, p.MinimumSeverity); i > 0 {
		out.severity = i
	}
	return out
}

func (p *Policy) setExceptions(now time.Time) error {
	for _, e := range p.cfg.Exceptions {
		x := exception{Exception: e, end: e.end()}
		var err error
		if x.release, err = trust.ParseRelease(e.Release); err != nil {
			return err
		}
		for _, d := range e.Digests {
			dg, err := trust.ParseDigest(d)
			if err != nil {
				return err
			}
			x.digests = append(x.digests, dg)
		}
		for _, name := range e.Rules {
			i := slices.IndexFunc(p.rules, func(r *rule) bool { return r.Name == name })
			if i < 0 {
				return fmt.Errorf("exception for %s: no rule %q%s", e.Release, clip(name), suggestion(name, p.ruleNames()))
			}
			if p.rules[i].Otherwise == trust.EffectBlock {
				return fmt.Errorf("exception for %s: rule %s blocks, and what blocks has no exception", e.Release, name)
			}
		}
		// The last day that is allowed is MaxExceptionDays after today.
		if last := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, MaxExceptionDays+1); !now.IsZero() && x.end.After(last) {
			return fmt.Errorf("exception for %s: ends on %s, more than %d days ahead", e.Release, e.Until, MaxExceptionDays)
		}
		p.exceptions = append(p.exceptions, x)
	}
	return nil
}

func (p *Policy) setNotices() {
	c := &p.cfg
	if p.name == "audit" {
		p.notices = append(p.notices, "policy audit reports and stops nothing")
	}
	if c.Advisories.Source == "" || c.Advisories.Source == "off" {
		p.notices = append(p.notices, "advisories and known malware are not looked up (advisories.source)")
	}
	for _, s := range c.Policy.UnsafeUnchecked {
		p.notices = append(p.notices, "packages of "+s+" pass unchecked")
	}
	for _, typ := range keysOf(c.Registries) {
		for _, r := range c.Registries[typ] {
			if r.UnsafeInsecure {
				p.notices = append(p.notices, "registry "+r.URL+" is reached without TLS")
			}
			if r.UnsafeUnsigned {
				p.notices = append(p.notices, "registry "+r.URL+" may serve packages without signatures")
			}
		}
	}
	for _, a := range c.Approvers {
		if a.UnsafeAnyPackage {
			p.notices = append(p.notices, "approver "+a.Name+" may approve any package")
		}
	}
	for _, s := range c.TrustSets {
		if s.UnsafeAnyPackage {
			p.notices = append(p.notices, "trust set "+s.Name+" may speak for any package")
		}
	}
}

// setDigest computes the canonical form of what decides: rules as they count,
// and the configuration.
func (p *Policy) setDigest() error {
	b, err := json.Marshal(struct {
		Name   string
		Rules  []Rule
		Config Config
		Params map[string]string
	}{p.name, p.Rules(), p.cfg, p.paramWords()})
	if err != nil {
		return fmt.Errorf("digest of the policy: %w", err)
	}
	sum := sha256.Sum256(b)
	p.canonical, p.digest = b, trust.DigestOf(trust.SHA256, sum[:])
	return nil
}

func (p *Policy) paramWords() map[string]string {
	m := map[string]string{"": fmt.Sprint(p.defaults)}
	for k, v := range p.byType {
		m[k] = fmt.Sprint(v)
	}
	return m
}

// Name is the built-in policy that this one extends.
func (p *Policy) Name() string { return p.name }

// Config returns the configuration that the policy was loaded from.
func (p *Policy) Config() Config { return p.cfg }

// Rules returns the rules in the order in which they are asked.
func (p *Policy) Rules() []Rule {
	out := make([]Rule, len(p.rules))
	for i, r := range p.rules {
		out[i] = r.Rule
	}
	return out
}

// Digest identifies the effective policy: equal for two spellings of one policy,
// different as soon as anything that can change a verdict differs.
func (p *Policy) Digest() trust.Digest { return p.digest }

// Canonical returns the bytes that Digest is of, to be kept with decisions.
func (p *Policy) Canonical() []byte { return slices.Clone(p.canonical) }

// Notices are sentences about everything in the policy that is looser than the
// default. Every report shows them.
func (p *Policy) Notices() []string { return slices.Clone(p.notices) }

// Cooldown returns the cooldown of an ecosystem (purl type).
func (p *Policy) Cooldown(purlType string) time.Duration { return p.paramsOf(purlType).cooldown }

func (p *Policy) paramsOf(typ string) params {
	if ps, ok := p.byType[typ]; ok {
		return ps
	}
	return p.defaults
}

// Quorum returns how many different approvers the rule needs, and false for a
// rule that takes no approval.
func (p *Policy) Quorum(name string) (int, bool) {
	i := slices.IndexFunc(p.rules, func(r *rule) bool { return r.Name == name })
	if i < 0 || p.rules[i].Otherwise == trust.EffectBlock {
		return 0, false
	}
	if n, ok := p.cfg.Quorum[name]; ok {
		return n, true
	}
	return 1, true
}

// MaxApproval returns how long an approval may run.
func (p *Policy) MaxApproval() time.Duration {
	if p.cfg.MaxApprovalDays > 0 {
		return time.Duration(p.cfg.MaxApprovalDays) * 24 * time.Hour
	}
	return MaxExceptionDays * 24 * time.Hour
}
