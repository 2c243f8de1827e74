package helmprov

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/openpgp"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type signer struct{ e *pgp.Entity }

func cfg() *packet.Config {
	return &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return now.Add(-time.Hour) }}
}

func newSigner() signer { return signer{must(pgp.NewEntity("A", "", "a@example.com", cfg()))} }

func (s signer) ring(t testing.TB) *openpgp.Keyring {
	var b bytes.Buffer
	if err := s.e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	cs, _, err := openpgp.ParseCertificates(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return openpgp.NewKeyring(cs...)
}

func (s signer) sign(t testing.TB, text string) []byte {
	var b bytes.Buffer
	w := must(clearsign.Encode(&b, s.e.PrivateKey, cfg()))
	must(w.Write([]byte(text)))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func text(name, version, file, sum string) string {
	return fmt.Sprintf("apiVersion: v1\nname: %s\nversion: %s\n\n...\nfiles:\n  %s: sha256:%s\n", name, version, file, sum)
}

func wantClass(t *testing.T, err error, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if err == nil {
		t.Fatal("verified")
	}
	if gotO, gotR := trust.Classify(err); gotO != o || gotR != r {
		t.Errorf("classified %s/%s, want %s/%s: %v", gotO, gotR, o, r, err)
	}
}

func TestVerify(t *testing.T) {
	s := newSigner()
	sum := strings.Repeat("ab", 32)
	want := Want{Want: openpgp.Want{Keys: s.ring(t), Now: now}, Name: "x", Version: "1.0.0", Digest: must(trust.NewDigest(trust.SHA256, sum))}
	good := s.sign(t, text("x", "1.0.0", "x-1.0.0.tgz", sum))
	v, err := Verify(good, want)
	if err != nil {
		t.Fatal(err)
	}
	if v.Chart()["name"] != "x" || v.Signer().Validate() != nil || !strings.Contains(string(v.Text()), sum) {
		t.Errorf("verified %+v", v)
	}
	for name, tc := range map[string]struct {
		prov []byte
		o    trust.Outcome
		r    trust.Reason
	}{
		"wrong name":     {s.sign(t, text("y", "1.0.0", "x-1.0.0.tgz", sum)), trust.Failed, trust.ReasonWrongName},
		"wrong version":  {s.sign(t, text("x", "1.0.1", "x-1.0.0.tgz", sum)), trust.Failed, trust.ReasonWrongVersion},
		"wrong file":     {s.sign(t, text("x", "1.0.0", "y-1.0.0.tgz", sum)), trust.Failed, trust.ReasonWrongSubject},
		"wrong digest":   {s.sign(t, text("x", "1.0.0", "x-1.0.0.tgz", strings.Repeat("cd", 32))), trust.Failed, trust.ReasonWrongDigest},
		"foreign signer": {newSigner().sign(t, text("x", "1.0.0", "x-1.0.0.tgz", sum)), trust.Unreachable, trust.ReasonUnknownKey},
		"text before":    {append([]byte("name: x\n"), good...), trust.Failed, trust.ReasonHiddenData},
		"text behind":    {append(bytes.Clone(good), "\nfiles:\n"...), trust.Failed, trust.ReasonHiddenData},
		"edited":         {bytes.Replace(good, []byte(sum), []byte(strings.Repeat("cd", 32)), 1), trust.Failed, trust.ReasonBadSignature},
		"duplicate key":  {s.sign(t, "name: y\n"+text("x", "1.0.0", "x-1.0.0.tgz", sum)), trust.Unreachable, trust.ReasonMalformed},
		"three parts":    {s.sign(t, text("x", "1.0.0", "x-1.0.0.tgz", sum)+"...\nfiles: {}\n"), trust.Unreachable, trust.ReasonMalformed},
		"no files":       {s.sign(t, "name: x\nversion: 1.0.0\n...\nfiles: {}\n"), trust.Unreachable, trust.ReasonMalformed},
		"path":           {s.sign(t, text("x", "1.0.0", "../x-1.0.0.tgz", sum)), trust.Unreachable, trust.ReasonMalformed},
		"no sha256":      {s.sign(t, strings.Replace(text("x", "1.0.0", "x-1.0.0.tgz", sum), "sha256:", "md5:", 1)), trust.Unreachable, trust.ReasonMalformed},
		"unsigned":       {[]byte(text("x", "1.0.0", "x-1.0.0.tgz", sum)), trust.Unreachable, trust.ReasonMalformed},
		"large":          {make([]byte, MaxProvenance+1), trust.Unreachable, trust.ReasonTooLarge},
		"large, at max":  {make([]byte, MaxProvenance), trust.Unreachable, trust.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Verify(tc.prov, want)
			wantClass(t, err, tc.o, tc.r)
		})
	}
	if _, err := Verify(good, Want{Want: want.Want, Name: "x"}); !errors.Is(err, trust.ErrConfiguration) {
		t.Errorf("without version and digest: %v", err)
	}
}

func TestFileBound(t *testing.T) {
	list := func(n int) []byte {
		var b strings.Builder
		b.WriteString("name: x\n...\nfiles:\n")
		for i := range n {
			fmt.Fprintf(&b, "  f%d: x\n", i)
		}
		return []byte(b.String())
	}
	if _, _, err := parse(list(MaxFiles)); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if _, _, err := parse(list(MaxFiles + 1)); err == nil {
		t.Error("above the bound")
	}
}

func TestRealData(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	var certs []*openpgp.Certificate
	for _, f := range must(filepath.Glob(filepath.Join(dir, "helm", "*.pub"))) {
		cs, _, err := openpgp.ParseCertificates(must(os.ReadFile(f)))
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cs...)
	}
	provs := must(filepath.Glob(filepath.Join(dir, "helm", "*.prov")))
	if len(provs) == 0 {
		t.Fatal("no provenance files")
	}
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, f := range provs {
		archive := strings.TrimSuffix(f, ".prov")
		base := strings.TrimSuffix(filepath.Base(archive), ".tgz")
		i := strings.LastIndexByte(base, '-')
		sum := sha256.Sum256(must(os.ReadFile(archive)))
		want := Want{Want: openpgp.Want{Keys: openpgp.NewKeyring(certs...), Now: at}, Name: base[:i], Version: base[i+1:], Digest: trust.DigestOf(trust.SHA256, sum[:])}
		v, err := Verify(must(os.ReadFile(f)), want)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		t.Logf("%s: %v", base, v.Signer())
		want.Version += "1"
		_, err = Verify(must(os.ReadFile(f)), want)
		wantClass(t, err, trust.Failed, trust.ReasonWrongVersion)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(text("x", "1", "x-1.tgz", strings.Repeat("ab", 32))))
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, files, err := parse(in); err == nil && (len(files) == 0 || len(files) > MaxFiles) {
			t.Fatal("no files")
		}
	})
}
