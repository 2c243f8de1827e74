package sigstore_test

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

func ruled(w *sigstoretest.World, u sigstore.Rules) (*sigstore.Root, error) {
	return sigstore.LoadTrustedRoot(w.TrustedRoot(), sigstore.RootOptions{Obtained: now, Now: now, Rules: &u})
}

func acmeRules() sigstore.Rules {
	return sigstore.Rules{Instance: "acme", Logs: 1, CertificateLogs: 1, Issuers: []string{trust.GitHubIssuer}}
}

// A private instance judges by its own rules, each of them counts.
func TestInstanceRules(t *testing.T) {
	w := sigstoretest.New(t, now)
	sound := sigstoretest.Options{Statement: provenance()}
	stamped := sigstoretest.Options{Statement: provenance(), Timestamp: true}
	for name, c := range map[string]struct {
		edit func(*sigstore.Rules)
		opts sigstoretest.Options
		want verdict // zero for verified
	}{
		"sound":                          {func(*sigstore.Rules) {}, sound, verdict{}},
		"log v2":                         {func(u *sigstore.Rules) { u.Timestamps = 1 }, sigstoretest.Options{Statement: provenance(), LogV2: true}, verdict{}},
		"timestamp demanded":             {func(u *sigstore.Rules) { u.Timestamps = 1 }, sound, bad},
		"timestamp there":                {func(u *sigstore.Rules) { u.Timestamps = 1 }, stamped, verdict{}},
		"timestamp of a stranger":        {func(u *sigstore.Rules) { u.Timestamps = 1 }, sigstoretest.Options{Statement: provenance(), Fault: sigstoretest.FaultForeignTSA}, bad},
		"two logs, one entry":            {func(u *sigstore.Rules) { u.Logs = 2 }, sound, bad},
		"two logs, one entry twice":      {func(u *sigstore.Rules) { u.Logs = 2 }, sigstoretest.Options{Statement: provenance(), Fault: sigstoretest.FaultTwice}, bad},
		"no certificate log":             {func(*sigstore.Rules) {}, sigstoretest.Options{Statement: provenance(), Fault: sigstoretest.FaultNoSCT}, bad},
		"no certificate log demanded":    {func(u *sigstore.Rules) { u.CertificateLogs = 0 }, sigstoretest.Options{Statement: provenance(), Fault: sigstoretest.FaultNoSCT}, verdict{}},
		"no log demanded":                {func(u *sigstore.Rules) { u.Logs, u.Timestamps, u.CertificateLogs = 0, 1, 0 }, sigstoretest.Options{Statement: provenance(), Private: true}, verdict{}},
		"log demanded":                   {func(u *sigstore.Rules) { u.Timestamps, u.CertificateLogs = 1, 0 }, sigstoretest.Options{Statement: provenance(), Private: true}, bad},
		"issuer that it may not certify": {func(u *sigstore.Rules) { u.Issuers = []string{"https://login.acme.example"} }, sound, stranger},
		"issuer that only resembles":     {func(u *sigstore.Rules) { u.Issuers = []string{trust.GitHubIssuer + "/"} }, sound, stranger},
	} {
		t.Run(name, func(t *testing.T) {
			u := acmeRules()
			c.edit(&u)
			root, err := ruled(w, u)
			if err != nil {
				t.Fatal(err)
			}
			v, err := sigstore.NewVerifier(root)
			if err != nil || v.Instance() != "acme" || root.Instance() != "acme" {
				t.Fatal(v.Instance(), err)
			}
			got, err := v.Verify(w.Bundle(c.opts), keylessWant())
			if c.want == (verdict{}) {
				if err != nil || got.IsZero() {
					t.Fatal(err)
				}
				return
			}
			check(t, err, c.want.o, c.want.r)
		})
	}
	// Keys are judged by the instance's rules too.
	root, err := ruled(w, acmeRules())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := sigstore.ParseNPMKeys(w.NPMKeys())
	if err != nil {
		t.Fatal(err)
	}
	v, err := sigstore.NewKeyVerifier(root, keys, sigstore.UsageAttestations)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(w.Bundle(sigstoretest.Options{Statement: publish(), Key: w.NPM}), keyWant()); err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(w.Bundle(sigstoretest.Options{Statement: publish(), Key: w.NPM, Fault: sigstoretest.FaultNoEntry}), keyWant())
	check(t, err, trust.Failed, trust.ReasonBadSignature)
}

// Two instances: a bundle of the one never verifies by the other, whichever is asked.
func TestInstancesAreNoFallback(t *testing.T) {
	a, b := sigstoretest.New(t, now), sigstoretest.New(t, now)
	mine, err := ruled(a, acmeRules())
	if err != nil {
		t.Fatal(err)
	}
	public := rootOf(t, b)
	for _, c := range []struct {
		root *sigstore.Root
		from *sigstoretest.World
		ok   bool
	}{{mine, a, true}, {mine, b, false}, {public, a, false}, {public, b, true}} {
		v, err := sigstore.NewVerifier(c.root)
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Verify(c.from.Bundle(sigstoretest.Options{Statement: provenance()}), keylessWant())
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.root.Instance(), err)
		}
	}
}

// TestThreat022InstanceThresholds: rules that prove nothing, and rules that can
// never hold, are errors of the configuration.
func TestThreat022InstanceThresholds(t *testing.T) {
	w := sigstoretest.New(t, now)
	for name, c := range map[string]struct {
		edit func(*sigstore.Rules)
		want string
	}{
		"nothing":            {func(u *sigstore.Rules) { u.Logs = 0 }, "nothing says when"},
		"negative":           {func(u *sigstore.Rules) { u.CertificateLogs = -1 }, "between 0 and"},
		"above the bound":    {func(u *sigstore.Rules) { u.Logs = sigstore.MaxThreshold + 1 }, "between 0 and"},
		"at the bound":       {func(u *sigstore.Rules) { u.Logs = sigstore.MaxThreshold }, "trusted root knows 2"},
		"more than the root": {func(u *sigstore.Rules) { u.Timestamps = 2 }, "trusted root knows 1"},
		"no issuer":          {func(u *sigstore.Rules) { u.Issuers = nil }, "certify everybody"},
		"empty issuer":       {func(u *sigstore.Rules) { u.Issuers = append(u.Issuers, "") }, "certify everybody"},
		"no name":            {func(u *sigstore.Rules) { u.Instance = "" }, "name of its own"},
		"the public name":    {func(u *sigstore.Rules) { u.Instance = sigstore.InstancePublic }, "name of its own"},
	} {
		u := acmeRules()
		c.edit(&u)
		_, err := ruled(w, u)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
