package downloads

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/generic"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sshsig"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const (
	url  = "https://files.example.com/tool"
	body = "the tool's bytes"
)

// files answers from memory.
type files map[string]string

func (f files) Get(_ context.Context, r upstream.Request) (*upstream.Response, error) {
	b, ok := f[r.URL]
	if !ok {
		return &upstream.Response{Status: http.StatusNotFound, URL: r.URL}, nil
	}
	return &upstream.Response{Status: http.StatusOK, Body: []byte(b), URL: r.URL}, nil
}

func (f files) Open(_ context.Context, r upstream.Request) (adapter.Blob, error) {
	b, ok := f[r.URL]
	if !ok {
		return nil, &upstream.Error{Kind: upstream.KindNetwork, URL: r.URL, Status: http.StatusNotFound, Err: errors.New("not there")}
	}
	sum := sha256.Sum256([]byte(b))
	if !r.Want.IsZero() && !r.Want.Equal(trust.DigestOf(trust.SHA256, sum[:])) {
		return nil, &upstream.Error{Kind: upstream.KindWrongDigest, URL: r.URL, Err: errors.New("other bytes")}
	}
	return blob{bytes.NewReader([]byte(b))}, nil
}

type blob struct{ *bytes.Reader }

func (blob) Close() error { return nil }
func (blob) Name() string { return "tool" }

// TestSignedDownloadPassesTheBaseline: what the policy says of a download is all
// that the policy asks of it, and nothing less.
func TestSignedDownloadPassesTheBaseline(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := sshsig.Sign(strings.NewReader(body), sshsig.NamespaceFile, signer)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	head := "version: 1\ndownloads:\n  - url: " + url + "\n    name: tool\n    version: 1.2.0\n"
	pin := "    digest: sha256:" + hex.EncodeToString(sum[:]) + "\n"
	by := "    ssh: " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + "\n"
	for _, c := range []struct {
		what, yaml string
		files      files
		allowed    bool
	}{
		{"digest", head + pin, files{url: body}, true},
		{"signer", head + by, files{url: body, url + ".sig": string(sig)}, true},
		{"both", head + pin + by, files{url: body, url + ".sig": string(sig)}, true},
		{"other bytes", head + pin, files{url: "other"}, false},
		{"no signature", head + by, files{url: body}, false},
		{"no signature, right digest", head + pin + by, files{url: body}, false},
		{"signature over other bytes", head + by, files{url: "other", url + ".sig": string(sig)}, false},
		{"gone", head + pin, files{}, false},
	} {
		cfg, err := policies.ParseConfig([]byte(c.yaml))
		if err != nil {
			t.Fatal(err)
		}
		p, err := policies.Load(cfg, now)
		if err != nil {
			t.Fatal(err)
		}
		ds, err := From(*cfg)
		if err != nil {
			t.Fatal(err)
		}
		a, err := generic.New(generic.Options{Get: c.files, Clock: func() time.Time { return now }, Downloads: ds})
		if err != nil {
			t.Fatal(err)
		}
		var inv sbom.Inventory
		if err := errors.Join(Add(&inv, ds, "headgate.yaml"), Add(&inv, ds, "headgate.yaml")); err != nil || len(inv.Components) != 1 {
			t.Fatalf("%v, %d components", err, len(inv.Components))
		}
		res, err := a.Collect(context.Background(), adapter.Request{Component: inv.Components[0]})
		if err != nil {
			t.Fatal(err)
		}
		in := policies.Input{Component: inv.Components[0], Change: policies.ChangeAdded, Evidence: res.Evidence, Adapter: true, Now: now,
			Continuity: trust.ContinuityFirst, AdvisoryState: policies.StateOff, InspectionState: policies.StateOff}
		for _, e := range res.Evidence {
			if e.Signer != nil && e.Outcome == trust.Verified {
				in.Assurance = max(in.Assurance, e.Assurance)
				in.Signers = append(in.Signers, policies.SignerState{Signer: *e.Signer, Check: e.Check})
			}
		}
		out := p.Evaluate(context.Background(), in)
		if (out.Verdict == trust.Allow) != c.allowed {
			t.Errorf("%s: %s: %+v", c.what, out.Verdict, out.Findings)
		}
	}
}

// TestEveryFieldArrives: a field that is lost on the way is an expectation that
// nobody checks.
func TestEveryFieldArrives(t *testing.T) {
	d := reflect.TypeFor[policies.Download]()
	g := reflect.TypeFor[generic.Download]()
	for i := range d.NumField() {
		if _, ok := g.FieldByName(d.Field(i).Name); !ok {
			t.Errorf("%s has no counterpart", d.Field(i).Name)
		}
	}
	if d.NumField() != g.NumField() {
		t.Errorf("%d fields in the policy, %d in the adapter", d.NumField(), g.NumField())
	}
	for _, bad := range []policies.Download{
		{URL: url}, {URL: url, Digest: "sha256:xyz"}, {URL: url, Minisign: "x"}, {URL: url, SSH: "x"}, {URL: url, Signify: "x"}, {URL: url, OpenPGP: "x"},
		{URL: url, Digest: fmt.Sprintf("sha256:%064x", 1), Signature: url + ".sig"}, {URL: url, Digest: fmt.Sprintf("sha256:%064x", 1), Checksums: url + ".sums"},
		{URL: url, Sigstore: &policies.SigstoreIdentity{Identity: "x"}}, {URL: url, Authenticode: &policies.PEPublisher{Subject: "x"}},
	} {
		if _, err := From(policies.Config{Downloads: []policies.Download{bad}}); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
