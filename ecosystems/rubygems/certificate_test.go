package rubygems

import (
	"context"
	"crypto"
	"errors"
	"testing"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/trust"
	gt "github.com/headgate/headgate/trust/gemsig/gemsigtest"
)

// pins hands out certificates that were pinned.
type pins func(trust.MaterialKind, trust.Package) ([]trust.Material, error)

func (p pins) Materials(_ context.Context, kind trust.MaterialKind, pkg trust.Package) ([]trust.Material, error) {
	return p(kind, pkg)
}

func certificates(ids ...*gt.Identity) adapter.Materials {
	return pins(func(kind trust.MaterialKind, pkg trust.Package) ([]trust.Material, error) {
		var out []trust.Material
		for _, id := range ids {
			if kind == trust.MaterialX509Root && pkg.Name == "widget" {
				out = append(out, trust.Material{Kind: kind, Data: id.Cert.Raw})
			}
		}
		return out, nil
	})
}

// The suite once more, with gems that are signed inside and have no attestations.
func TestAdapterWithCertificates(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckPublisherSig},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			s := newServer(t)
			s.strip = true
			alice, mallory := gt.Issue(t, adaptertest.Now, "alice", 2048, nil, false), gt.Issue(t, adaptertest.Now, "alice", 2048, nil, false)
			s.materials = certificates(alice)
			spec, by := gt.Spec("widget", "1.2.0", "ruby", alice), alice
			switch env.Scenario {
			case adaptertest.WrongName:
				spec = gt.Spec("gadget", "1.2.0", "ruby", alice)
			case adaptertest.WrongVersion, adaptertest.Replayed:
				spec = gt.Spec("widget", "1.1.0", "ruby", alice)
			case adaptertest.ForeignSigner:
				spec, by = gt.Spec("widget", "1.2.0", "ruby", mallory), mallory
			case adaptertest.Expired:
				old := gt.Issue(t, adaptertest.Now.AddDate(-3, 0, 0), "alice", 2048, nil, false)
				s.materials, spec, by = certificates(old), gt.Spec("widget", "1.2.0", "ruby", old), old
			}
			es := gt.Signed(t, by, crypto.SHA256, spec)
			switch env.Scenario {
			case adaptertest.WrongDigest:
				es[2].Data = gt.GZ("evil")
			case adaptertest.Stripped:
				es = []gt.Entry{es[0], es[2], es[4]}
			case adaptertest.Duplicate:
				es = append(es, es[2])
			}
			s.gem = string(gt.Pack(es...))
			return s.at(t, env)
		},
	})
}

// Without a pinned certificate nothing is fetched for it, and an attestation that
// is missing is not held against a gem that is signed inside.
func TestCertificateBesideAttestations(t *testing.T) {
	alice := gt.Issue(t, adaptertest.Now, "alice", 2048, nil, false)
	gem := string(gt.Pack(gt.Signed(t, alice, crypto.SHA256, gt.Spec("widget", "1.2.0", "ruby", alice))...))
	ask := func(m adapter.Materials, gem string) []trust.Evidence {
		s := newServer(t)
		s.strip, s.gem, s.materials = true, gem, m
		w := s.at(t, adaptertest.NewEnv(t, adaptertest.Right))
		w.Request.Bytes = false
		var out []trust.Evidence
		for _, e := range collect(t, w).Evidence {
			if e.Check == trust.CheckPublisherSig {
				out = append(out, e)
			}
		}
		return out
	}
	if es := ask(certificates(alice), gem); len(es) != 1 || es[0].Outcome != trust.Verified || es[0].Signer.Kind != trust.SignerX509 || es[0].Assurance != trust.AssurancePublisher {
		t.Errorf("signed: %+v", es)
	}
	if es := ask(certificates(), gem); len(es) != 1 || es[0].Outcome != trust.Absent {
		t.Errorf("nothing pinned: %+v", es)
	}
	if es := ask(certificates(alice), string(gt.Pack(gt.Entry{Name: "metadata.gz", Data: gt.GZ(gt.Spec("widget", "1.2.0", "ruby"))}, gt.Entry{Name: "data.tar.gz", Data: gt.GZ("x")}))); len(es) != 2 || es[0].Outcome != trust.Absent || es[1].Outcome != trust.Absent {
		t.Errorf("unsigned though pinned: %+v", es)
	}
	broken := pins(func(trust.MaterialKind, trust.Package) ([]trust.Material, error) { return nil, errors.New("disk") })
	if es := ask(broken, gem); len(es) != 2 || es[1].Outcome != trust.Unreachable {
		t.Errorf("the store cannot be read: %+v", es)
	}
	junk := pins(func(trust.MaterialKind, trust.Package) ([]trust.Material, error) {
		return []trust.Material{{Data: []byte("junk")}}, nil
	})
	if es := ask(junk, gem); len(es) != 2 || es[1].Outcome != trust.Unreachable || es[1].Reason != trust.ReasonUnknownKey {
		t.Errorf("the only certificate cannot be read: %+v", es)
	}
}
