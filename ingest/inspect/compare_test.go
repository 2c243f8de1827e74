package inspect

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// TestCompareDecides: what is new counts, and what the accepted release had in
// the same bytes does not come in with this one.
func TestCompareDecides(t *testing.T) {
	signer := func(name string) *trust.Signer {
		return &trust.Signer{Kind: trust.SignerX509, Subject: "CN=" + name, Issuer: "CN=root", Root: strings.Repeat("ab", 32)}
	}
	obs := func(kind, entry, detail string, effect trust.Effect) policies.Observation {
		return policies.Observation{Kind: kind, Entry: entry, Detail: detail, Effect: effect}
	}
	signed := func(name string) policies.Observation {
		return policies.Observation{Kind: KindSigned, Entry: "p/a.dll", Detail: "signed by " + name, Signer: signer(name)}
	}
	dll := obs(KindNative, "p/a.dll", "PE code", "")
	hidden := obs(KindHidden, "p/i.png", "9 bytes behind the end", trust.EffectHold)
	script := obs(KindInstallCode, "p/package.json", "runs at installation, postinstall: node a.js", "")
	for name, tc := range map[string]struct {
		before, now []policies.Observation
		oldSum, sum string // of every file
		isNew       bool
		effect      trust.Effect
	}{
		"install code appears":          {nil, []policies.Observation{script}, "1", "2", true, trust.EffectHold},
		"install code as before":        {[]policies.Observation{script}, []policies.Observation{script}, "1", "2", false, ""},
		"install code changes":          {[]policies.Observation{obs(KindInstallCode, "p/package.json", "runs at installation, postinstall: node b.js", "")}, []policies.Observation{script}, "1", "2", true, trust.EffectHold},
		"first native code":             {nil, []policies.Observation{dll}, "1", "2", true, trust.EffectHold},
		"native code changes":           {[]policies.Observation{dll}, []policies.Observation{dll}, "1", "2", true, ""},
		"native code stays":             {[]policies.Observation{dll}, []policies.Observation{dll}, "1", "1", false, ""},
		"hidden data stays":             {[]policies.Observation{hidden}, []policies.Observation{hidden}, "1", "1", false, ""},
		"hidden data in another file":   {[]policies.Observation{hidden}, []policies.Observation{hidden}, "1", "2", true, trust.EffectHold},
		"an attack stays an attack":     {[]policies.Observation{obs(KindLink, "p/l", "link", trust.EffectBlock)}, []policies.Observation{obs(KindLink, "p/l", "link", trust.EffectBlock)}, "1", "1", false, trust.EffectBlock},
		"another signer of binaries":    {[]policies.Observation{signed("a")}, []policies.Observation{signed("b")}, "1", "2", true, ""}, // the policy decides
		"the same signer":               {[]policies.Observation{signed("a")}, []policies.Observation{signed("a")}, "1", "2", false, ""},
		"binaries are no longer signed": {[]policies.Observation{signed("a")}, []policies.Observation{obs(KindNativeUnsig, "p/a.dll", "not signed", "")}, "1", "2", true, trust.EffectHold},
	} {
		t.Run(name, func(t *testing.T) {
			files := func(sum string) map[string]File {
				return map[string]File{"p/a.dll": {SHA256: sum}, "p/i.png": {SHA256: sum}, "p/package.json": {SHA256: sum}}
			}
			before := &Report{Version: "1.0.0", Observations: tc.before, Files: files(tc.oldSum)}
			now := &Report{Version: "1.0.1", Observations: tc.now, Files: files(tc.sum)}
			now.Observations = append([]policies.Observation(nil), tc.now...)
			Compare(now, before)
			if o := now.Observations[0]; o.New != tc.isNew || o.Effect != tc.effect {
				t.Errorf("new %v, effect %q: %s", o.New, o.Effect, o.Detail)
			}
		})
	}
	// The version in a path makes no file new.
	before := &Report{Version: "v1.0.0", Observations: []policies.Observation{obs(KindNative, "example.com/m@v1.0.0/a.so", "ELF code", "")}, Files: map[string]File{"example.com/m@v1.0.0/a.so": {SHA256: "1"}}}
	now := &Report{Version: "v1.0.1", Observations: []policies.Observation{obs(KindNative, "example.com/m@v1.0.1/a.so", "ELF code", "")}, Files: map[string]File{"example.com/m@v1.0.1/a.so": {SHA256: "1"}}}
	if Compare(now, before); now.Observations[0].New {
		t.Error("the version in the path made the file new")
	}
}
