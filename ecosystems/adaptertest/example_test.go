package adaptertest_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// toy is an adapter of a registry with one signed statement per release.
type toy struct {
	get  upstream.Getter
	base string
	key  ed25519.PublicKey
}

// statement is what the toy registry signs.
type statement struct {
	Name, Version, SHA256 string
	Until                 time.Time
	Signatures            [][]byte
}

func (s statement) signed() []byte {
	return fmt.Appendf(nil, "%q %q %q %d", s.Name, s.Version, s.SHA256, s.Until.Unix())
}

func (a toy) Describe() adapter.Description {
	return adapter.Description{Name: "toy", Types: []string{"generic"}, Checks: []trust.Check{trust.CheckRegistrySig}, Offers: trust.AssuranceRegistry}
}

func (a toy) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	c := req.Component
	ev := trust.Evidence{Check: trust.CheckRegistrySig, Release: c.Release, Artifact: c.Artifacts[0]}
	done := func(o trust.Outcome, r trust.Reason, detail string) (adapter.Result, error) {
		ev.Outcome, ev.Reason, ev.Detail = o, r, detail
		return adapter.Result{Evidence: []trust.Evidence{ev}}, nil
	}
	resp, err := a.get.Get(ctx, upstream.Request{URL: a.base + "/toy", MaxBytes: 1 << 16})
	var ue *upstream.Error
	switch {
	case errors.As(err, &ue):
		o, r := ue.Reason()
		return done(o, r, ue.Error())
	case err != nil:
		return adapter.Result{}, err
	}
	var s statement
	if err := json.Unmarshal(resp.Body, &s); err != nil {
		return done(trust.Unreachable, trust.ReasonMalformed, err.Error())
	}
	switch {
	case len(s.Signatures) == 0:
		return done(trust.Absent, trust.ReasonNotPublished, "no signature")
	case len(s.Signatures) > 1:
		return done(trust.Failed, trust.ReasonDuplicate, "two signatures")
	case !ed25519.Verify(a.key, s.signed(), s.Signatures[0]):
		return done(trust.Failed, trust.ReasonBadSignature, "signature does not verify")
	case s.Until.Before(adaptertest.Now):
		return done(trust.Unreachable, trust.ReasonExpiredRoot, "the statement has expired")
	case s.Name != c.Release.Package.Name:
		return done(trust.Failed, trust.ReasonWrongName, "signed for "+s.Name)
	case s.Version != c.Release.Version:
		return done(trust.Failed, trust.ReasonWrongVersion, "signed for "+s.Version)
	case s.SHA256 != c.Artifacts[0].Digests.Get(trust.SHA256).Value:
		return done(trust.Failed, trust.ReasonWrongDigest, "signed "+s.SHA256)
	}
	sum := sha256.Sum256(a.key)
	ev.Signer = &trust.Signer{Kind: trust.SignerRegistry, Name: "toy", KeyDigest: hex.EncodeToString(sum[:])}
	ev.Outcome, ev.Assurance = trust.Verified, trust.AssuranceRegistry
	return adapter.Result{Evidence: []trust.Evidence{ev}}, nil
}

// TestToy shows how an adapter's test uses the suite.
func TestToy(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckRegistrySig},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			pub, key, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256([]byte("artifact"))
			s := statement{Name: "left", Version: "1.0", Until: adaptertest.Now, SHA256: hex.EncodeToString(sum[:])}
			switch env.Scenario {
			case adaptertest.WrongName:
				s.Name = "right"
			case adaptertest.WrongVersion:
				s.Version = "2.0"
			case adaptertest.Expired:
				s.Until = adaptertest.Now.Add(-time.Second)
			case adaptertest.WrongDigest, adaptertest.Replayed: // what was published before
				s.SHA256 = hex.EncodeToString(make([]byte, 32))
			case adaptertest.ForeignSigner:
				if _, key, err = ed25519.GenerateKey(nil); err != nil {
					t.Fatal(err)
				}
			}
			s.Signatures = [][]byte{ed25519.Sign(key, s.signed())}
			switch env.Scenario {
			case adaptertest.Stripped:
				s.Signatures = nil
			case adaptertest.Duplicate:
				s.Signatures = append(s.Signatures, s.Signatures[0])
			}
			base := env.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(s) }))
			rel, err := trust.NewRelease("generic", "", "left", "1.0")
			if err != nil {
				t.Fatal(err)
			}
			return adaptertest.World{
				Adapter: toy{get: env.Getter(), base: base, key: pub},
				Request: adapter.Request{Component: sbom.Component{
					Release: rel, Kind: sbom.KindRegistry,
					Artifacts: []trust.Artifact{{Digests: trust.Digests{trust.DigestOf(trust.SHA256, sum[:])}}},
				}},
			}
		},
	})
}
