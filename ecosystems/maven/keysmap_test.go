package maven

import (
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/trust"
)

func print40(c string) string { return strings.Repeat(c, 40) }

func TestKeysMap(t *testing.T) {
	a, b, c := print40("A"), print40("B"), print40("C")
	spaced := "0x" + strings.ToLower(a[:8]) + " " + a[8:20] + "  " + a[20:]
	m, err := ParseKeysMap("keys.list", []byte(`
# ours
org.example               = `+spaced+`, 0x`+b+`
org.example.sub.*:tool    = 0x`+c+`
org.range:lib:[1.0,2.0)   = 0x`+a+`
org.exact:lib:1.2.0       = 0x`+a+` # and a comment
org.pack:lib:jar:*        = 0x`+a+`
org.pack:lib:pom:*        = 0x`+b+`
org.cont:lib              = \
                            0x`+a+`, \
                            0x`+b+`
org.any:*                 = any
org.not:*                 = *, !0x`+c+`
org.old:lib:1             = noSig
org.bad:lib               = badSig, noKey
org.v6                    = 0x`+strings.Repeat("D", 64)+`
org.two:lib               = 0x`+a+`
org.two:*                 = 0x`+b+`
`))
	if err != nil {
		t.Fatal(err)
	}
	if n := m.Notes(); len(n) != 3 || !strings.Contains(n[0], "badSig is not honoured") {
		t.Errorf("notes %q", n)
	}
	by := func(print string) []trust.Signer {
		return []trust.Signer{{Kind: trust.SignerOpenPGP, Fingerprint: print}}
	}
	for _, tc := range []struct {
		gav, file, print string
		ok               bool
	}{
		{"org.example/x@1", "x-1.jar", a, true}, {"org.example/x@1", "x-1.pom", b, true}, {"org.example/x@1", "x-1.jar", c, false},
		{"org.example.evil/x@1", "x-1.jar", a, false}, {"org.exampleevil/x@1", "x-1.jar", a, false},
		{"org.example.sub/tool@1", "tool-1.jar", c, true}, {"org.example.sub.deep/tool@1", "tool-1.jar", c, true}, {"org.example.subway/tool@1", "tool-1.jar", c, false},
		{"org.example.sub/other@1", "other-1.jar", c, false},
		{"org.range/lib@1.5", "lib-1.5.jar", a, true}, {"org.range/lib@2.0", "lib-2.0.jar", a, false}, {"org.range/lib@1.5", "lib-1.5.jar", b, false},
		{"org.exact/lib@1.2.0", "lib-1.2.0.jar", a, true}, {"org.exact/lib@1.2.1", "lib-1.2.1.jar", a, false},
		{"org.pack/lib@1", "lib-1.jar", a, true}, {"org.pack/lib@1", "lib-1.pom", a, false}, {"org.pack/lib@1", "lib-1.pom", b, true},
		{"org.cont/lib@1", "lib-1.jar", b, true},
		{"org.any/x@1", "x-1.jar", c, true}, {"org.not/x@1", "x-1.jar", a, true}, {"org.not/x@1", "x-1.jar", c, false},
		{"org.old/lib@1", "lib-1.jar", a, false}, {"org.bad/lib@1", "lib-1.jar", a, false},
		{"org.v6/lib@1", "lib-1.jar", strings.Repeat("D", 64), true}, {"org.v6/lib@1", "lib-1.jar", print40("D"), false},
		{"org.two/lib@1", "lib-1.jar", b, true},
		{"com.unknown/x@1", "x-1.jar", a, false},
	} {
		r := must(trust.ParseRelease("pkg:maven/" + tc.gav))
		if err := Allow([]*KeysMap{m}, r, tc.file, by(tc.print)); (err == nil) != tc.ok {
			t.Errorf("%s %s by %.4s: %v", tc.gav, tc.file, tc.print, err)
		}
	}
	sub := []trust.Signer{{Kind: trust.SignerOpenPGP, Fingerprint: c, SubkeyFingerprint: a}}
	r := must(trust.ParseRelease("pkg:maven/org.example/x@1"))
	if err := Allow([]*KeysMap{m}, r, "x-1.jar", sub); err != nil {
		t.Errorf("a subkey that the map names: %v", err)
	}
	if err := Allow([]*KeysMap{m}, must(trust.ParseRelease("pkg:maven/org.not/x@1")), "x-1.jar", []trust.Signer{{Fingerprint: a, SubkeyFingerprint: c}}); err == nil {
		t.Error("an excluded subkey passed")
	}
	if err := Allow(nil, r, "x-1.jar", by(c)); err != nil {
		t.Errorf("without a map: %v", err)
	}
	if err := Allow([]*KeysMap{m}, r, "x-1.jar", nil); err == nil {
		t.Error("nobody is allowed")
	}
}

func TestKeysMapRefuses(t *testing.T) {
	a := print40("A")
	for what, s := range map[string]string{
		"empty": "# nothing\n", "no keys": "org.example =\n", "no equals": "org.example 0x" + a, "key id": "org.example = 0x" + a[:16], "short": "org.example = 0x" + a[:39],
		"long": "org.example = 0x" + a + "0", "no prefix": "org.example = " + a, "not hex": "org.example = 0x" + strings.Repeat("G", 40), "unknown word": "org.example = yes",
		"five parts": "a:b:c:d:e = any", "empty part": "a::b = any", "not any": "org.example = !any", "range": "a:b:[1,2 = any", "class": "org.[e]xample = any",
	} {
		if _, err := ParseKeysMap("k", []byte(s)); err == nil || !strings.Contains(err.Error(), "keys map k") {
			t.Errorf("%s: %v", what, err)
		}
	}
	line := "a = any\n"
	if _, err := ParseKeysMap("k", []byte(strings.Repeat(line, MaxKeysMapEntries))); err != nil {
		t.Error(err)
	}
	if _, err := ParseKeysMap("k", []byte(strings.Repeat(line, MaxKeysMapEntries+1))); err == nil {
		t.Error("one entry above the bound was read")
	}
	if _, err := ParseKeysMap("k", []byte(line+strings.Repeat("#", MaxKeysMap-len(line)))); err != nil {
		t.Error(err)
	}
	if _, err := ParseKeysMap("k", []byte(line+strings.Repeat("#", MaxKeysMap-len(line)+1))); err == nil {
		t.Error("a map above the bound was read")
	}
}

// A map that names another key than the one that signed fails what was pinned for
// too much; one that has no entry leaves it undecided.
func TestKeysMapNarrowsPinnedKeys(t *testing.T) {
	for what, c := range map[string]struct {
		list    func(alice string) string
		outcome trust.Outcome
	}{
		"the right key":   {func(alice string) string { return "org.example:widget = 0x" + alice }, trust.Verified},
		"another key":     {func(string) string { return "org.example:widget = 0x" + print40("0") }, trust.Failed},
		"no entry":        {func(alice string) string { return "org.other = 0x" + alice }, trust.Unreachable},
		"noSig":           {func(string) string { return "org.example:widget = noSig" }, trust.Failed},
		"excluded":        {func(alice string) string { return "org.example:widget = any, !0x" + alice }, trust.Failed},
		"another version": {func(alice string) string { return "org.example:widget:9 = 0x" + alice }, trust.Unreachable},
	} {
		env := adaptertest.NewEnv(t, adaptertest.Right)
		w := newWorld(t)
		aw := w.at(t, env)
		m, err := ParseKeysMap("keys.list", []byte(c.list(fingerprint(w.alice))))
		if err != nil {
			t.Fatal(err)
		}
		aw.Adapter.(*Adapter).KeysMaps = []*KeysMap{m}
		es := collect(t, aw).Evidence
		if !slices.ContainsFunc(es, func(e trust.Evidence) bool {
			return e.Check == trust.CheckPublisherSig && e.Outcome == c.outcome && e.Artifact.Name == "widget-1.2.0.jar"
		}) {
			t.Errorf("%s: %+v", what, es)
		}
		if c.outcome != trust.Verified && slices.ContainsFunc(es, func(e trust.Evidence) bool { return e.Assurance > trust.AssuranceNone }) {
			t.Errorf("%s: assurance was reached: %+v", what, es)
		}
	}
}

func FuzzParseKeysMap(f *testing.F) {
	f.Add("org.example:lib:[1,2) = 0x" + print40("A") + ", !0x" + print40("B"))
	r := must(trust.ParseRelease("pkg:maven/org.example/x@1"))
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := ParseKeysMap("k", []byte(s)); err == nil {
			_ = Allow([]*KeysMap{m}, r, "x-1.jar", []trust.Signer{{Kind: trust.SignerOpenPGP, Fingerprint: print40("A")}})
		}
	})
}
